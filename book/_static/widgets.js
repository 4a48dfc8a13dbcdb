/* Stands before require.js on pages with sliders, see ../fetch_static.py. */

// The widget manager looks for its fonts beside its modules, which all lie in one file.
const { vendor } = document.currentScript.dataset;
if (vendor) {
  const folder = new URL(vendor, document.currentScript.src).href;
  const modules = ["base", "controls", "html-manager", "html-manager/dist/libembed-amd"];
  window.require = {
    paths: Object.fromEntries(
      modules.map((name) => [`@jupyter-widgets/${name}`, folder + name.replaceAll("/", "-")]),
    ),
  };
}

// A slider of ipywidgets has no name and no words for those who do not see them beside it.
function nameSliders() {
  for (const slider of document.querySelectorAll(".widget-slider")) {
    const handle = slider.querySelector("[role=slider]");
    const label = slider.querySelector(".widget-label");
    const readout = slider.querySelector(".widget-readout");
    handle?.setAttribute("aria-label", label.textContent);
    handle?.setAttribute("aria-valuetext", readout.textContent);
    if (slider.closest(".colorseg-slider")) readout.contentEditable = "false";
  }
}
new MutationObserver(nameSliders).observe(document, {
  childList: true,
  characterData: true,
  subtree: true,
});

// The widget manager speaks to MathJax 2; the pages have 3, which is there before this event.
addEventListener("DOMContentLoaded", () => {
  if (!window.MathJax) return;
  const { startup } = window.MathJax;
  window.MathJax.Hub = {
    Queue: ([, , element]) =>
      startup?.promise.then(() => window.MathJax.typesetPromise([element])),
  };
});
