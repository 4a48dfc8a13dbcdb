// A web worker that colors photographs: `colorseg.colorize` and `segment` in the browser.
//
// Takes {id, file} and answers {id, stage}, then {id, gray, color, mask, ...} or {id, error}; takes
// {id, save: true} and answers {id, png}, the last result at full size. Nothing is sent anywhere.
//
// The network sees a small copy. Large photographs are worked through in bands of rows, as in
// colorseg/predict.py, since two or three whole ones in memory are enough.

import * as ort from "./vendor/onnxruntime/ort.wasm.bundle.min.mjs";

const MODEL = new URL("vendor/model/", import.meta.url);
const RUNTIME = new URL("vendor/onnxruntime/", import.meta.url);
const MEGAPIXELS = 50; // at most: the photograph and its result then take 400 MB
const MEGABYTES = 100; // at most, as a file
const WIDEST = 1280; // of what is shown; what is saved has the photograph's size
const BAND_PIXELS = 1 << 19;
const STRIDE = 32;
const MAX_STRETCH = 8;
const LUMA = [0.299, 0.587, 0.114];
// Pet, background, border, in the colors of the book's masks; half of the picture shines through.
const MASK_COLORS = [[230, 159, 0, 128], [0, 60, 110, 128], [255, 255, 255, 128]];

class PhotoError extends Error {}

let network; // a promise of {about, session}
let saved; // the last result, a canvas
let work = Promise.resolve(); // one photograph after the other

onmessage = ({ data }) => {
  work = work.then(() => answer(data));
};

async function answer({ id, file, save }) {
  const say = (message, transfer = []) => postMessage({ id, ...message }, transfer);
  try {
    if (save) say({ png: await encode() });
    else await color(file, say);
  } catch (error) {
    say({ error: explain(error, file) });
  }
}

function explain(error, file) {
  if (error instanceof PhotoError) return error.message;
  const where = file ? `${file.name} could not be colored` : "The result could not be saved";
  return `${where}: ${error.message || error}. The browser may lack the memory; a smaller photograph may do.`;
}

async function color(file, say) {
  const photo = await open(file);
  try {
    network ??= load(say);
    const { about, session } = await network.catch((error) => {
      network = undefined; // tried anew with the next photograph
      throw new PhotoError(`The network could not be loaded: ${error.message}. Try again later.`);
    });
    const { width, height } = photo;
    say({ stage: "coloring", width, height });
    const start = performance.now();
    const size = networkSize(height, width, about.image_size);
    const gray = new ort.Tensor("float32", shrinkToLuma(photo, ...size), [1, ...size, 1]);
    const { chroma, mask } = await session.run({ gray });
    saved = recolor(photo, chroma, about.output.chroma.rgb_from_yuv);
    const seconds = (performance.now() - start) / 1000;
    const pictures = show(saved, mask);
    say({ ...pictures, width, height, seconds }, Object.values(pictures));
  } finally {
    photo.close();
  }
}

async function encode() {
  // A worker that was started after another broke down has nothing yet.
  if (!saved) throw new PhotoError("The result is lost. Choose the photograph anew.");
  return saved.convertToBlob({ type: "image/png" });
}

/** Returns the photograph of a file, upright, its color profile not applied, as in photo.py. */
async function open(file) {
  if (file.size === 0) throw new PhotoError(`${file.name} is empty. Copy or download it again.`);
  if (file.size > MEGABYTES * 1e6) {
    throw new PhotoError(`${file.name} has more than ${MEGABYTES} MB. Make it smaller.`);
  }
  const options = {
    colorSpaceConversion: "none", imageOrientation: "from-image", premultiplyAlpha: "none",
  };
  const photo = await createImageBitmap(file, options).catch(() => {
    throw new PhotoError(
      `${file.name} is damaged, or no picture that this browser can open. Save it as JPEG or PNG.`,
    );
  });
  const megapixels = (photo.width * photo.height) / 1e6;
  if (megapixels > MEGAPIXELS) {
    photo.close();
    throw new PhotoError(
      `${file.name} has ${Math.round(megapixels)} megapixels, more than the ${MEGAPIXELS} that ` +
        "this page takes. Make it smaller, or use colorseg on your computer.",
    );
  }
  return photo;
}

async function load(say) {
  const about = await (await get("model.json")).json();
  say({ stage: "loading", bytes: about.bytes });
  const model = await (await get("model.onnx")).arrayBuffer();
  // Several threads need headers that plain web servers do not send.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", RUNTIME).href };
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return { about, session };
}

async function get(name) {
  const response = await fetch(new URL(name, MODEL));
  if (!response.ok) throw new Error(`${name} is not there (${response.status})`);
  return response;
}

/** Returns [height, width] of what the network sees: `predict.network_size`. */
function networkSize(height, width, size) {
  const stretch = Math.sqrt(height / width);
  const longest = Math.max(STRIDE, Math.floor((MAX_STRETCH * size) / STRIDE) * STRIDE);
  const clamp = (side) => Math.min(Math.max(roundHalfEven(side / STRIDE) * STRIDE, STRIDE), longest);
  return [clamp(size * stretch), clamp(size / stretch)];
}

function roundHalfEven(x) {
  const below = Math.floor(x);
  return x - below === 0.5 ? below + (below % 2) : Math.round(x);
}

/** Yields [top, rows, RGBA values] of a photograph, some rows at a time. */
function* bands({ width, height }, photo) {
  const most = Math.min(height, Math.max(1, Math.floor(BAND_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, most);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += most) {
    const rows = Math.min(most, height - top);
    context.clearRect(0, 0, width, most);
    context.drawImage(photo, 0, -top);
    yield [top, rows, context.getImageData(0, 0, width, rows)];
  }
}

/** Returns the luma of a photograph made small as Pillow does: rows first, each step in 8 bits. */
function shrinkToLuma(photo, height, width) {
  const across = filter(photo.width, width, triangle, 1);
  const down = filter(photo.height, height, triangle, 1);
  const narrow = new Uint8ClampedArray(photo.height * width * 3);
  let isBlank = true;
  for (const [top, rows, { data }] of bands(photo, photo)) {
    isBlank &&= data.every((value) => value === 0);
    for (let y = 0; y < rows; y++) {
      for (let x = 0; x < width; x++) {
        const { first, shares } = across[x];
        let [red, green, blue] = [0.5, 0.5, 0.5];
        for (let k = 0, i = (y * photo.width + first) * 4; k < shares.length; k++, i += 4) {
          red += shares[k] * data[i];
          green += shares[k] * data[i + 1];
          blue += shares[k] * data[i + 2];
        }
        const o = ((top + y) * width + x) * 3;
        narrow[o] = Math.floor(red);
        narrow[o + 1] = Math.floor(green);
        narrow[o + 2] = Math.floor(blue);
      }
    }
  }
  if (isBlank) throw new Error("it came out blank"); // black is opaque
  const gray = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const { first, shares } = down[y];
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = 0.5;
        for (let k = 0; k < shares.length; k++) {
          sum += shares[k] * narrow[((first + k) * width + x) * 3 + channel];
        }
        gray[y * width + x] += (LUMA[channel] * Math.floor(sum)) / 255;
      }
    }
  }
  return gray;
}

/** Returns a canvas with the photograph's luma and the network's chroma: `predict._recolor`. */
function recolor(photo, chroma, rgbFromYuv) {
  const { width, height } = photo;
  const result = new OffscreenCanvas(width, height);
  const context = result.getContext("2d", { willReadFrequently: true });
  // Some browsers leave a canvas blank that is too large for them, and say nothing.
  context?.fillRect(width - 1, height - 1, 1, 1);
  if (!context?.getImageData(width - 1, height - 1, 1, 1).data[3]) {
    throw new Error("no canvas of this size");
  }
  const [uRow, vRow] = enlarger(chroma, height, width);
  const [[, , redV], [, greenU, greenV], [, blueU]] = rgbFromYuv;
  for (const [top, rows, image] of bands(photo, photo)) {
    const { data } = image;
    for (let row = 0, i = 0; row < rows; row++) {
      const [us, vs] = [uRow(top + row), vRow(top + row)];
      for (let x = 0; x < width; x++, i += 4) {
        const y = (LUMA[0] * data[i] + LUMA[1] * data[i + 1] + LUMA[2] * data[i + 2]) / 255;
        const red = redV * vs[x];
        const green = greenU * us[x] + greenV * vs[x];
        const blue = blueU * us[x];
        // Fit to the gamut: as much of the color as keeps all three between black and white.
        const highest = Math.max(red, green, blue, 1e-7);
        const lowest = Math.max(-red, -green, -blue, 1e-7);
        const share = Math.min((1 - y) / highest, y / lowest, 1);
        data[i] = Math.floor((y + share * red) * 255 + 0.5);
        data[i + 1] = Math.floor((y + share * green) * 255 + 0.5);
        data[i + 2] = Math.floor((y + share * blue) * 255 + 0.5);
      }
    }
    context.putImageData(image, 0, top);
  }
  return result;
}

/** Returns what is shown: gray, color and mask as bitmaps of one size, none wider than needed. */
function show(colored, mask) {
  const scale = Math.min(1, WIDEST / Math.max(colored.width, colored.height));
  const [width, height] = [colored.width, colored.height].map((n) => Math.max(1, Math.round(n * scale)));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(colored, 0, 0, width, height);
  const image = context.getImageData(0, 0, width, height);
  const color = canvas.transferToImageBitmap();
  const { data } = image;
  for (let i = 0; i < data.length; i += 4) {
    // The colored photograph has the luma of the gray one.
    data.fill(LUMA[0] * data[i] + LUMA[1] * data[i + 1] + LUMA[2] * data[i + 2], i, i + 3);
  }
  context.putImageData(image, 0, 0);
  const gray = canvas.transferToImageBitmap();
  if (!mask) return { gray, color };

  const rowsOf = enlarger(mask, height, width);
  for (let y = 0, i = 0; y < height; y++) {
    const shares = rowsOf.map((row) => row(y));
    for (let x = 0; x < width; x++, i += 4) {
      let best = 0;
      for (let c = 1; c < shares.length; c++) if (shares[c][x] > shares[best][x]) best = c;
      data.set(MASK_COLORS[best], i);
    }
  }
  context.putImageData(image, 0, 0);
  return { gray, color, mask: canvas.transferToImageBitmap() };
}

/** Returns, for each channel of a tensor [1, h, w, C], a function that gives a row of it enlarged. */
function enlarger({ data, dims: [, h, w, channels] }, height, width) {
  const across = filter(w, width, cubic, 2);
  const down = filter(h, height, cubic, 2);
  return Array.from({ length: channels }, (_, channel) => {
    const wide = new Float32Array(h * width);
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < width; x++) {
        const { first, shares } = across[x];
        let sum = 0;
        for (let k = 0; k < shares.length; k++) {
          sum += shares[k] * data[(y * w + first + k) * channels + channel];
        }
        wide[y * width + x] = sum;
      }
    }
    const row = new Float32Array(width);
    return (y) => {
      const { first, shares } = down[y];
      row.fill(0);
      for (let k = 0; k < shares.length; k++) {
        const start = (first + k) * width;
        for (let x = 0; x < width; x++) row[x] += shares[k] * wide[start + x];
      }
      return row;
    };
  });
}

/** Returns, for each of `to` outputs, the first of `from` inputs that it mixes, and their shares. */
function filter(from, to, kernel, reach) {
  const scale = from / to;
  const stretch = Math.max(scale, 1); // a smaller picture averages over more
  return Array.from({ length: to }, (_, i) => {
    const center = (i + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - reach * stretch + 0.5));
    const end = Math.min(from, Math.floor(center + reach * stretch + 0.5));
    const shares = Float64Array.from({ length: end - first }, (_, k) =>
      kernel(Math.abs(first + k - center + 0.5) / stretch),
    );
    const sum = shares.reduce((a, b) => a + b);
    return { first, shares: shares.map((share) => share / sum) };
  });
}

function triangle(x) {
  return Math.max(0, 1 - x);
}

/** Keys' cubic convolution with a = -1/2. */
function cubic(x) {
  if (x >= 2) return 0;
  return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2;
}
