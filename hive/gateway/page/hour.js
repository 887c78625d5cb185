// The picture of the last hour: jobs ended per minute as bars, jobs waiting as a line, each with its own scale.

import { byId, draw, write } from "./dom.js";
import { count } from "./words.js";

const HEIGHT = 116, TOP = 16, BAND = 34, GAP = 18, LEFT = 2;
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const place = byId("hour");
let minutes = [];

export function setHour(all) {
  minutes = all;
  show();
}

export function setMinute(one) {
  if (!minutes.length) return;
  minutes = [...minutes.filter((other) => other.at !== one.at), one].slice(-minutes.length);
  show();
}

function show() {
  const width = Math.max(240, place.clientWidth);
  const ended = minutes.reduce((sum, one) => sum + one.finished, 0);
  const most = Math.max(0, ...minutes.map((one) => one.waiting));
  const words = `${count(ended)} ended, at most ${count(most)} waiting`;
  place.replaceChildren(draw(
    "svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width: "100%", height: HEIGHT, role: "img", "aria-label": `The last hour: ${words}.` },
    ...bars(width), ...line(width, most), ...times(width),
  ));
  write(byId("hour-note"), words);
}

const step = (width) => (width - LEFT) / minutes.length;

function bars(width) {
  const highest = Math.max(0, ...minutes.map((one) => one.finished));
  const most = Math.max(1, highest);
  const bottom = TOP + BAND;
  return [
    label(highest ? `ended per minute, up to ${count(highest)}` : "ended per minute", TOP - 5),
    draw("line", { class: "ground", x1: 0, x2: width, y1: bottom, y2: bottom }),
    ...minutes.map((one, number) => {
      const height = one.finished ? Math.max(2, (one.finished / most) * BAND) : 0;
      return draw(
        "rect", { class: "ended", x: LEFT + number * step(width), y: bottom - height, width: Math.max(1, step(width) - 2), height, rx: 1 },
        draw("title", {}, `${TIME.format(new Date(one.at))}: ${count(one.finished)} ended`),
      );
    }),
  ];
}

function line(width, most) {
  const bottom = TOP + 2 * BAND + GAP;
  const points = minutes.map((one, number) =>
    `${(LEFT + (number + 0.5) * step(width)).toFixed(1)},${(bottom - (one.waiting / Math.max(1, most)) * BAND).toFixed(1)}`);
  const ends = [LEFT + 0.5 * step(width), LEFT + (minutes.length - 0.5) * step(width)];
  return [
    label(most ? `waiting, up to ${count(most)}` : "waiting", bottom - BAND - 5),
    draw("line", { class: "ground", x1: 0, x2: width, y1: bottom, y2: bottom }),
    draw("polygon", { class: "area", points: `${ends[0]},${bottom} ${points.join(" ")} ${ends[1]},${bottom}` }),
    draw("polyline", { class: "waiting", points: points.join(" ") }),
  ];
}

function times(width) {
  const at = (number) => TIME.format(new Date(minutes[number].at));
  return [
    draw("text", { x: 0, y: HEIGHT - 2 }, at(0)),
    draw("text", { x: width / 2, y: HEIGHT - 2, "text-anchor": "middle" }, at(Math.floor(minutes.length / 2))),
    draw("text", { x: width, y: HEIGHT - 2, "text-anchor": "end" }, "now"),
  ];
}

const label = (words, y) => draw("text", { x: 0, y }, words);

new ResizeObserver(() => minutes.length && show()).observe(place);
