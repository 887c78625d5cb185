// The parts of a job's page: measures, files, facts, story.

import { make } from "./dom.js";
import { address } from "./row.js";
import { bytes, clock, dollars, fileName, moment, shortId, value } from "./words.js";

function section(title, ...children) {
  return make("section", {}, make("h3", {}, title), ...children);
}

function pairs(entries) {
  const rows = entries.filter(([, text]) => text !== null && text !== undefined && text !== "");
  return make("dl", { class: "pairs" }, ...rows.map(([name, text]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, text))));
}

/** What says nothing is not shown; 0 and "no" say something. */
const says = ([, one]) => one !== null && one !== "" && !(typeof one === "object" && Object.keys(one).length === 0);

const words = (name) => name.replaceAll("_", " ");

/** What was measured. */
export function results(job) {
  const found = Object.entries(job.measures).filter(says);
  return found.length ? [section("Measures", pairs(found.map(([name, one]) => [words(name), value(one, job.units[name])])))] : [];
}

/** When, where and how it was asked for. */
export function facts(job) {
  const parameters = Object.entries(job.parameters).filter(says);
  const at = (time) => (time ? moment(time) : null);
  const known = [
    ["queue", job.queue], ["priority", job.priority === "normal" ? null : job.priority],
    ["submitted", at(job.submitted_at)], ["started", at(job.started_at)], ["finished", at(job.finished_at)],
    ["attempts", String(job.attempts)], ["worker", job.worker], ["host", job.worker?.endsWith(job.host) ? null : job.host],
    ["peak memory", job.peak_memory_bytes ? bytes(job.peak_memory_bytes) : null], ["cost", dollars(job.cost_usd)],
    ["part of", job.parent ? link(job.parent) : null], ["parts", job.parts.length ? parts(job.parts) : null],
    ["id", make("code", {}, job.id)],
  ];
  const about = section("About", pairs(known));
  if (!parameters.length) return [about];
  return [about, section("Parameters", pairs(parameters.map(([name, one]) => [words(name), value(one, job.units[name])])))];
}

const link = (id) => make("a", { href: address(id) }, shortId(id));

function parts(ids) {
  const links = ids.slice(0, 50).flatMap((id) => [link(id), " "]);
  return make("span", {}, ...links, ids.length > 50 ? `and ${ids.length - 50} more` : "");
}

/** What it reads and what it has written. */
export function files(job) {
  const read = Object.values(job.inputs).flat().map(String);
  const written = Object.values(job.outputs).map(String);
  const found = [];
  if (read.length) found.push(section("Reads", list(read)));
  if (written.length) {
    const fetch = make("p", { class: "small" }, "Download all: ", make("code", {}, `hive fetch ${shortId(job.id)} .`));
    found.push(section("Outputs", list(written), fetch));
  }
  return found;
}

function list(references) {
  const rest = references.length - 20;
  return make("ul", { class: "files" },
    ...references.slice(0, 20).map((one) => make("li", {}, make("span", {}, fileName(one)))),
    rest > 0 ? make("li", {}, `and ${rest} more`) : null);
}

/** Everything that has happened to it. */
export function story(job) {
  const steps = job.story.map(({ at, event, ...details }) => make(
    "li", { class: event.replaceAll(" ", "-") },
    make("time", { datetime: at }, clock(at)), make("strong", {}, event),
    make("span", {}, Object.entries(details).map(([name, one]) => `${name} ${value(one)}`).join(", ")),
  ));
  return [section("History", make("ol", { class: "story" }, ...steps))];
}
