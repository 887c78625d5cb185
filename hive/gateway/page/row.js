// One line of the list of jobs.

import * as api from "./api.js";
import { byId, busy, careful, make, write } from "./dom.js";
import { showPicture } from "./picture.js";
import { notify, notifyError } from "./notice.js";
import { ago, dollars, inputNames, progressed, ran, shortId, STATES } from "./words.js";

export const address = (id) => `#/job/${id}`;

/** The badge of a state. */
export const badge = (state) => make("span", { class: `state ${state}` }, STATES[state] ?? state);

/** A bar that shows how far a job is; it moves on its own while the total is unknown. */
export function setProgress(bar, progress) {
  if (progress?.total > 0) {
    bar.max = progress.total;
    bar.value = Math.min(progress.done, progress.total);
  } else {
    bar.removeAttribute("value");
  }
}

/** What can be done with a job now: stop it or run it again. */
export function action(job) {
  if (job.state === "queued" || job.state === "running") {
    const button = careful("Cancel", "Really cancel?", () => tell(api.cancel(job.id), "is cancelled"));
    button.setAttribute("aria-description", `job ${shortId(job.id)}`);
    return button;
  }
  if (job.state !== "failed" && job.state !== "cancelled") return null;
  const button = make("button", { type: "button", "aria-description": `job ${shortId(job.id)}` }, "Retry");
  button.addEventListener("click", () => busy(button, () => tell(api.retry(job.id), "waits again")));
  return button;
}

async function tell(answer, words) {
  try {
    notify(`Job ${shortId((await answer).id)} ${words}.`);
  } catch (error) {
    notifyError(error.message);
  }
}

export class Row {
  constructor(job) {
    this.title = make("a", { class: "title", href: address(job.id) }, job.task);
    this.file = make("span", { class: "file" }, inputNames(job));
    this.facts = make("p", { class: "facts" });
    this.note = make("p", { class: "note" });
    this.bar = make("progress", { "aria-label": `Progress of job ${shortId(job.id)}` });
    this.thumb = make("div", { class: "thumb" });
    this.state = make("div");
    this.time = make("p", { class: "time" });
    this.act = make("div", { class: "act" });
    this.element = make(
      "li", { "data-job": job.id }, this.thumb,
      make("div", { class: "what" }, make("p", { class: "name" }, this.title, this.file), this.facts, this.note, this.bar),
      make("div", { class: "how" }, this.state, this.time), this.act,
    );
    this.update(job);
  }

  update(job) {
    const before = this.job;
    this.job = job;
    if (before?.state !== job.state || before?.finished_at !== job.finished_at) this.#change(job);
    const note = job.state === "running" ? job.progress?.message : job.state === "failed" ? job.error?.message : "";
    write(this.note, (job.state === "running" && job.progress ? `${progressed(job.progress)}${note ? " · " : ""}` : "") + (note ?? ""));
    this.note.hidden = !this.note.textContent;
    if (job.state === "running") setProgress(this.bar, job.progress);
    this.tick();
  }

  /** Write the times anew. */
  tick() {
    const job = this.job;
    const who = job.worker && job.state !== "queued" ? ` · ${job.worker}` : "";
    write(this.facts, `${shortId(job.id)} · ${ago(job.submitted_at)}${who}`);
    const cost = job.cost_usd === null ? "" : ` · ${dollars(job.cost_usd)}`;
    write(this.time, ran(job) + cost);
  }

  #change(job) {
    this.element.className = job.state;
    this.state.replaceChildren(badge(job.state));
    this.bar.hidden = job.state !== "running";
    const act = action(job);
    const hadFocus = this.act.contains(document.activeElement);
    this.act.replaceChildren(...(act ? [act] : []));
    if (hadFocus && !byId("job").open) (act ?? this.title).focus();
    this.thumb.replaceChildren(...job.previews.slice(0, 1).map((name) => thumbnail(job, name)));
  }
}

/** A preview, small; it opens large. */
export function thumbnail(job, name) {
  const words = `Preview of ${inputNames(job) || job.task}, job ${shortId(job.id)}`;
  const source = api.previewOf(job, name);
  return make(
    "button", { type: "button", class: "open", "aria-label": `${words}: show it large`, click: () => showPicture(source, words) },
    make("img", { src: source, alt: "", loading: "lazy", decoding: "async" }),
  );
}
