// Short notices, for eyes and for screen readers.

import { byId, make } from "./dom.js";

const VISIBLE_MS = 5_000;
const place = byId("notice");

function show(text, kind) {
  const line = make("p", { class: kind }, text);
  // An open dialog lies above everything else, and hides it from screen readers too.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  place.append(line);
  setTimeout(() => line.remove(), VISIBLE_MS);
}

export const notify = (text) => show(text, "right");
export const notifyError = (text) => show(text, "wrong");
