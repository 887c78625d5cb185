// The list of jobs: the newest hundred, and more where somebody asks.

import * as api from "./api.js";
import { byId, busy, write } from "./dom.js";
import * as filter from "./filter.js";
import { Row } from "./row.js";
import { notifyError } from "./notice.js";

const PAGE = 100, RELOAD_MS = 2_000;
const list = byId("job-list"), more = byId("job-more"), none = byId("job-none");
const rows = new Map();
let after = null, room = PAGE, asked = 0, reloading = 0;

/** Read the list anew; an answer that comes after that of a later question is not wanted. */
export async function reload() {
  clearTimeout(reloading);
  reloading = 0;
  const number = ++asked;
  try {
    const page = await api.jobs(filter.wanted(), room);
    if (number !== asked) return;
    const kept = new Set(page.jobs.map((job) => job.id));
    for (const id of rows.keys()) if (!kept.has(id)) drop(id);
    list.replaceChildren(...page.jobs.map((job) => put(job).element));
    after = page.after;
    count();
  } catch (error) {
    notifyError(error.message);
  }
}

/** Read it anew soon: more has happened than is told one by one. */
export function reloadSoon() {
  reloading ||= setTimeout(reload, RELOAD_MS);
}

/** Show more of it. */
async function showMore() {
  const number = ++asked;
  try {
    const page = await api.jobs(filter.wanted(), PAGE, after);
    if (number !== asked) return;
    list.append(...page.jobs.filter((job) => !rows.has(job.id)).map((job) => put(job).element));
    room = Math.min(1000, Math.max(room, rows.size));
    after = page.after;
    count();
  } catch (error) {
    notifyError(error.message);
  }
}

/** Take in what has happened to jobs; parts of other jobs are not in the list. */
export function take(jobs) {
  const wanted = filter.wanted();
  for (const job of jobs) {
    if (job.parent) continue;
    filter.offer(job.capability);
    if (!filter.admits(job, wanted)) drop(job.id);
    else if (rows.has(job.id)) rows.get(job.id).update(job);
    else insert(job);
  }
  while (rows.size > room) {
    drop(list.lastElementChild.dataset.job);
    after = list.lastElementChild.dataset.job;
  }
  count();
}

function put(job) {
  filter.offer(job.capability);
  const row = rows.get(job.id);
  if (row) row.update(job);
  else rows.set(job.id, new Row(job));
  return rows.get(job.id);
}

/** Put a job where it belongs by its age; one that is older than all that are shown waits for "show more". */
function insert(job) {
  const next = [...list.children].find((one) => rows.get(one.dataset.job).job.submitted_at <= job.submitted_at);
  if (next || !after) list.insertBefore(put(job).element, next ?? null);
}

function drop(id) {
  rows.get(id)?.element.remove();
  rows.delete(id);
}

function count() {
  more.hidden = !after;
  const nothing = after ? "None among the newest jobs. Show more to search older ones." : "No matching jobs.";
  const start = "No jobs yet. Send the first one: hive submit test --seconds 10";
  write(none, rows.size ? "" : filter.isAny() ? start : nothing);
  none.hidden = rows.size > 0;
}

export function tick() {
  for (const row of rows.values()) row.tick();
}

more.addEventListener("click", () => busy(more, showMore));
filter.onChange(() => {
  room = PAGE;
  reload();
});
