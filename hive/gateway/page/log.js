// The log of a job, line by line as it is written.

import * as api from "./api.js";
import { make, write } from "./dom.js";
import { clock } from "./words.js";

const MOST_LINES = 2_000;
const LOUD = ["WARNING", "ERROR", "CRITICAL"];

export class Log {
  #source = null;
  #waiting = [];
  #hasEnded = false;

  constructor(id) {
    this.id = id;
    this.lines = make("div", { class: "lines", role: "log", tabindex: "0", "aria-label": "Log lines" });
    this.note = make("span", { class: "small" });
    this.element = make("section", { class: "log" }, make("h3", {}, "Log ", this.note), this.lines);
  }

  /** Read it from its first line, and follow it while the job goes on. */
  follow(isOver) {
    if (this.#source || (isOver && this.#hasEnded)) return;
    this.lines.replaceChildren();
    this.#hasEnded = false;
    write(this.note, isOver ? "" : "· live");
    this.#source = api.logOf(this.id);
    this.#source.onmessage = (message) => this.#hear(JSON.parse(message.data));
    this.#source.addEventListener("end", () => {
      this.close();
      this.#hasEnded = true;
      write(this.note, this.lines.childElementCount || this.#waiting.length ? "" : "· no output");
    });
  }

  close() {
    this.#source?.close();
    this.#source = null;
  }

  /** Lines that come together are drawn together. */
  #hear(entry) {
    if (this.#waiting.push(entry) === 1) setTimeout(() => this.#draw(), 50);
  }

  #draw() {
    const isAtEnd = this.lines.scrollHeight - this.lines.scrollTop - this.lines.clientHeight < 24;
    const entries = this.#waiting.splice(0).slice(-MOST_LINES);
    this.lines.append(...entries.map(line));
    while (this.lines.childElementCount > MOST_LINES) this.lines.firstElementChild.remove();
    if (isAtEnd) this.lines.scrollTop = this.lines.scrollHeight;
  }
}

function line({ time, level, attempt, text }) {
  const kind = LOUD.includes(level) ? "loud" : level.startsWith("STD") ? "raw" : "";
  return make("p", { class: kind, title: `${level}, attempt ${attempt}` }, make("time", { datetime: time }, clock(time)), text);
}
