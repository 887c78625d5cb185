// How times, sizes and money are written.

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

const TIME_AS_TEXT = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d*[1-9])?)(?:\.?0*)Z$/;

export const STATES = {
  queued: "Waiting", running: "Running", succeeded: "Succeeded", failed: "Failed", cancelled: "Cancelled",
};

export const count = (number) => number.toLocaleString("en");
export const moment = (time) => MOMENT.format(new Date(time));
export const clock = (time) => CLOCK.format(new Date(time));
export const shortId = (id) => id.slice(0, 8);

/** When something was: `3 min ago`, later the date. */
export function ago(time, now = Date.now()) {
  const passed = now - Date.parse(time);
  if (passed < 10_000) return "just now";
  if (passed < MINUTE) return `${Math.floor(passed / 1000)} s ago`;
  if (passed < HOUR) return `${Math.floor(passed / MINUTE)} min ago`;
  if (passed < DAY) return `${Math.floor(passed / HOUR)} h ago`;
  return DATE.format(new Date(time));
}

/** How long something took [ms]. */
function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 0.05) return "< 0.1 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

/** How old something is [s], in one unit. */
export function age(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}

/** How long a job has run, or ran; nothing before it starts. */
export function ran(job, now = Date.now()) {
  if (!job.started_at || job.state === "queued") return "";
  return duration((job.finished_at ? Date.parse(job.finished_at) : now) - Date.parse(job.started_at));
}

export function bytes(size) {
  if (size < 1024) return `${size} B`;
  const power = Math.min(4, Math.floor(Math.log2(size) / 10));
  const value = size / 1024 ** power;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${["KiB", "MiB", "GiB", "TiB"][power - 1]}`;
}

/** An amount of money; one that nobody knows is never shown as nothing. */
export function dollars(amount, otherwise = "unknown") {
  if (amount === null || amount === undefined) return otherwise;
  return `$${amount.toFixed(amount > 0 && amount < 0.1 ? 4 : 2)}`;
}

/** A value of a parameter or a measure, with its unit. */
export function value(one, unit = "") {
  if (one === null || one === undefined) return "–";
  if (typeof one === "boolean") return one ? "yes" : "no";
  if (Array.isArray(one)) return one.map((each) => value(each, unit)).join(", ");
  if (typeof one === "object") return Object.entries(one).map(([name, each]) => `${name} ${value(each, unit)}`).join(", ");
  if (typeof one !== "number") return String(one).replace(TIME_AS_TEXT, "$1 $2 UTC");
  const number = Number.isInteger(one) ? count(one) : String(Number(one.toPrecision(6)));
  return unit ? `${number} ${unit}` : number;
}

/** `3 of 12 tiles`. */
export function progressed({ done, total, unit }) {
  const short = (number) => count(Math.round(number * 10) / 10);
  return `${short(done)}${total === null ? "" : ` of ${short(total)}`}${unit ? ` ${unit}` : ""}`;
}

/** The name of a file, without the digest of a reference. */
export function fileName(reference) {
  return reference.startsWith("sha256:") ? reference.slice(72) : reference.split("/").pop() || reference;
}

/** The files that a job reads, in a few words. */
export function inputNames(job) {
  const names = Object.values(job.inputs).flat().filter((one) => typeof one === "string").map(fileName);
  return names.length > 1 ? `${names[0]} and ${count(names.length - 1)} more` : names[0] ?? "";
}
