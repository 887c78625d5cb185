// One job: everything about it, in a dialog with an address of its own.

import * as api from "./api.js";
import { byId, make, write } from "./dom.js";
import { facts, files, results, story } from "./job_parts.js";
import { Log } from "./log.js";
import { action, address, badge, setProgress, thumbnail } from "./row.js";
import { notifyError } from "./notice.js";
import { inputNames, progressed, ran, shortId } from "./words.js";

const dialog = byId("job");
const FINAL = ["succeeded", "failed", "cancelled"];
let shown = null;

class Shown {
  constructor(job) {
    this.id = job.id;
    this.state = make("div", { class: "now" });
    this.time = make("span", { class: "time" });
    this.act = make("div", { class: "act" });
    this.bar = make("progress", { "aria-label": "Progress" });
    this.note = make("p", { class: "note" });
    this.why = make("div", { class: "why" });
    this.previews = make("div", { class: "previews" });
    this.results = make("div", { class: "body" });
    this.body = make("div", { class: "body" });
    this.log = new Log(job.id);
    dialog.replaceChildren(
      make(
        "header", {},
        make("div", {}, make("h2", { id: "job-title" }, job.task), make("p", { class: "file" }, inputNames(job))),
        make("button", { type: "button", class: "plain", "aria-label": "Close this job", click: () => dialog.close() }, "Close"),
      ),
      make("div", { class: "line" }, this.state, this.time, this.act),
      this.bar, this.note, this.why, this.previews, this.results, this.log.element, this.body,
    );
    this.update(job);
  }

  /** Show what is different; `job` has its story. */
  update(job) {
    const isNew = !this.#isAsIn(job);
    this.job = job;
    this.#progress(job);
    if (!isNew) return;
    this.state.replaceChildren(badge(job.state));
    const act = action(job);
    this.act.replaceChildren(...(act ? [act] : []));
    this.previews.replaceChildren(...job.previews.map((name) => thumbnail(job, name)));
    this.results.replaceChildren(...results(job));
    this.body.replaceChildren(...[story(job), files(job), facts(job)].flat());
    this.log.follow(FINAL.includes(job.state));
    this.#explain(job);
  }

  #progress(job) {
    this.bar.hidden = job.state !== "running";
    if (job.state === "running") setProgress(this.bar, job.progress);
    const { progress } = job;
    write(this.note, job.state === "running" && progress ? [progressed(progress), progress.message].filter(Boolean).join(" · ") : "");
    this.tick();
  }

  /** Why it waits or failed, and what to do. */
  async #explain(job) {
    this.why.hidden = job.state === "succeeded" || job.state === "running";
    if (this.why.hidden) return;
    this.why.className = `why ${job.state}`;
    try {
      const { why, todo } = await api.why(job.id);
      if (!this.#isAsIn(job)) return; // it has gone on meanwhile, and so has the reason
      this.why.replaceChildren(make("p", {}, why), make("p", { class: "small" }, todo));
    } catch (error) {
      notifyError(error.message);
    }
  }

  #isAsIn(job) {
    return this.job?.state === job.state && this.job.attempts === job.attempts;
  }

  tick() {
    write(this.time, [shortId(this.id), ran(this.job)].filter(Boolean).join(" · "));
  }
}

const named = () => /^#\/job\/([0-9a-zA-Z]{1,64})$/.exec(location.hash)?.[1];

/** Show the job that the address names, or none. */
async function route() {
  const id = named();
  if (!id) {
    if (dialog.open) dialog.close();
    return;
  }
  if (shown?.id === id) return;
  try {
    const job = await api.job(id);
    if (named() !== id) return; // another one was wanted meanwhile
    shown?.log.close();
    shown = new Shown(job);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  } catch (error) {
    history.replaceState(null, "", location.pathname);
    notifyError(error.message);
  }
}

/** Read the open job anew. */
export async function reload() {
  const asked = shown;
  if (!asked) return;
  try {
    const job = await api.job(asked.id);
    if (asked === shown) asked.update(job);
  } catch (error) {
    notifyError(error.message);
  }
}

/** Take in what has happened; a new state has a new story, which is asked for. */
export function take(jobs) {
  const changed = shown && jobs.find((one) => one.id === shown.id);
  if (!changed) return;
  if (changed.state !== shown.job.state || changed.attempts !== shown.job.attempts) reload();
  else shown.update({ ...shown.job, ...changed });
}

export const tick = () => shown?.tick();

dialog.addEventListener("close", () => {
  const id = shown?.id;
  shown?.log.close();
  shown = null;
  if (location.hash) history.replaceState(null, "", location.pathname);
  document.querySelector(`a.title[href="${CSS.escape(address(id ?? ""))}"]`)?.focus();
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
addEventListener("hashchange", route);
route();
