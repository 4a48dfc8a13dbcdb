// MyST-NB calls the toggle of a hidden cell "Toggle hidden content" to those who cannot see it,
// whatever the words on it: the words shall count.
addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll("summary[aria-label]")) {
    toggle.removeAttribute("aria-label");
  }
});
