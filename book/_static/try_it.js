// The page "Try it on your photograph": takes a photograph, lets the worker color it, shows both.

const app = document.querySelector("#try-it");
const find = (name) => app.querySelector(`[data-try="${name}"]`);
const [input, status, frame] = ["file", "status", "result"].map(find);
let worker;
let current = 0; // number of the last photograph: answers to earlier ones come too late
let fileName; // of that
let shownName; // of the one whose result is shown

function say(text, isError = false) {
  status.textContent = text;
  status.classList.toggle("error", isError);
}

function start() {
  worker = new Worker(new URL("colorize.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => data.id === current && hear(data);
  worker.onerror = () => {
    worker.terminate();
    worker = undefined;
    fail("The network could not be started. This page needs a browser of 2023 or later.");
  };
}

/** Asks the worker, a new one if the last one broke down. */
function ask(message) {
  if (!worker) start();
  worker.postMessage({ id: current, ...message });
}

function take(file) {
  if (!file) return;
  current += 1;
  fileName = file.name;
  app.ariaBusy = "true";
  say(`Opening ${file.name} …`);
  ask({ file });
}

function hear(message) {
  const { stage, error, png, color } = message;
  if (stage === "loading") {
    const { model, runtime } = message.bytes;
    say(`Loading the network (${megabytes(model)}) and ONNX Runtime (${megabytes(runtime)}) …`);
  } else if (stage === "coloring") {
    say(`Coloring ${message.width} × ${message.height} pixels …`);
  } else if (error) {
    fail(error);
  } else if (png) {
    download(png);
  } else if (color) {
    app.ariaBusy = "false";
    show(message);
    const { width, height, seconds } = message;
    say(`Done: ${shownName}, ${width} × ${height} pixels, in ${seconds.toFixed(1)}\u00a0s.`);
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(0)}\u00a0MB`;
}

function fail(error) {
  app.ariaBusy = "false";
  say(error, true);
}

function show({ gray, color, mask }) {
  if (!frame.childElementCount) build();
  shownName = fileName;
  const { width, height } = gray;
  frame.querySelector(".colorseg-wipe").style.maxWidth = `${Math.max(width, 320) + 16}px`;
  for (const [name, bitmap] of Object.entries({ gray, color, mask })) {
    const canvas = find(name);
    canvas.width = width;
    canvas.height = height;
    if (bitmap) canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  }
  find("gray").ariaLabel = `${shownName} in gray`;
  find("color").ariaLabel = `${shownName} in the colors that the network guesses`;
}

/** Fills the frame for results, which is empty before the first. */
function build() {
  frame.append(find("template").content.cloneNode(true));
  const wipe = frame.querySelector(".colorseg-wipe");
  find("wipe").oninput = ({ target }) => wipe.style.setProperty("--at", `${target.value}%`);
  find("show-mask").onchange = ({ target }) => {
    find("mask").hidden = find("legend").hidden = !target.checked;
  };
  find("save").onclick = () => {
    say("Writing the PNG …");
    ask({ save: true });
  };
}

function download(png) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(png);
  link.download = `${shownName.replace(/\.[^.]*$/, "")}-colored.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  say(`Saved as ${link.download}.`);
}

input.onclick = () => {
  input.value = ""; // the same file can be chosen again
};
input.onchange = () => take(input.files[0]);
find("example").onclick = async ({ currentTarget }) => {
  input.value = "";
  const response = await fetch(currentTarget.dataset.source).catch(() => null);
  if (!response?.ok) fail("The drawing could not be loaded. Try a photograph of yours.");
  else take(new File([await response.blob()], "drawn-pet.png"));
};

const drop = find("drop");
drop.ondragover = (event) => {
  event.preventDefault();
  drop.classList.add("over");
};
drop.ondragleave = () => drop.classList.remove("over");
drop.ondrop = (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  input.value = "";
  const [file] = event.dataTransfer.files;
  if (file) take(file);
  else fail("That was no file. Drop a photograph that lies on your computer.");
};

const about = await fetch(new URL("vendor/model/model.json", import.meta.url)).catch(() => null);
if (about?.ok) {
  const { model, runtime } = (await about.json()).bytes;
  for (const control of [input, find("example")]) control.disabled = false;
  say(`Choose a photograph, or try the drawing. The first loads ${megabytes(model + runtime)}.`);
} else {
  fail("The network is missing here. Build the book anew, or look at another copy of it.");
}
