// What saves clicks. Every page works without it.
"use strict";

// Commands are copied by a button, where the browser allows it.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

// A box for all boxes of a list, and a button that waits for one to be chosen.
for (const form of document.querySelectorAll("form[data-choose]")) {
  const boxes = [...form.querySelectorAll("tbody input[type=checkbox]")];
  const head = form.querySelector("thead .box");
  const button = form.querySelector("button");
  if (boxes.length === 0 || !head) continue;
  const all = document.createElement("input");
  all.type = "checkbox";
  all.setAttribute("aria-label", "Choose all on this page");
  head.replaceChildren(all);
  const show = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    button.disabled = chosen === 0;
  };
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  for (const box of boxes) box.addEventListener("change", show);
  show();
}

// The slash key leads to the search, as in many places.
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.querySelector("input[name=q]").focus();
  }
});
