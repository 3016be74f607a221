"use strict";
// The page works without this script, which can show a single model, and describes the mark under
// the pointer at once.
const page = document.documentElement;
const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
document.body.append(tip);
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest("circle, rect");
  tip.hidden = !mark;
  if (!mark) return;
  const title = mark.querySelector("title");
  if (title) {
    // Otherwise the browser would also show it, a second later.
    mark.dataset.tip = title.textContent;
    title.remove();
  }
  tip.textContent = mark.dataset.tip;
  const at = mark.getBoundingClientRect();
  tip.style.left = Math.max(8, Math.min(at.right + 10, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(8, at.top - tip.offsetHeight - 8) + "px";
});
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => {
    const model = button.dataset.model;
    for (const other of document.querySelectorAll("nav button")) {
      other.setAttribute("aria-pressed", other === button);
    }
    for (const group of document.querySelectorAll("[data-of]")) {
      group.toggleAttribute("hidden", model !== undefined && group.dataset.of !== model);
      group.style.display = group.hasAttribute("hidden") ? "none" : "";
    }
  });
}
page.classList.add("live");
