// What the page tells in passing, for eyes and for screen readers.

import { byId, make } from "./dom.js";

const SHOWN_MS = 5_000;
const place = byId("said");

function show(text, kind) {
  const line = make("p", { class: kind }, text);
  // An open dialog lies above everything else, and hides it from screen readers too.
  (document.querySelector("dialog[open]") ?? document.body).append(place);
  place.append(line);
  setTimeout(() => line.remove(), SHOWN_MS);
}

export const said = (text) => show(text, "right");
export const saidWrong = (text) => show(text, "wrong");
