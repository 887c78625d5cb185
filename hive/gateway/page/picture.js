// A preview, as large as the window.

import { byId, make } from "./dom.js";

export function showPicture(source, words) {
  const dialog = byId("picture");
  dialog.replaceChildren(
    make("form", { method: "dialog" }, make("p", {}, words), make("button", { "aria-label": "Close the preview" }, "Close")),
    make("img", { src: source, alt: words }),
  );
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}
