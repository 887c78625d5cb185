// Which jobs the list shows. What the gateway looks for in `GET /task` is looked for here in what comes by the stream.

import { byId, make } from "./dom.js";
import { fileName } from "./words.js";

const TYPING_MS = 250;
const form = byId("filter");

export const wanted = () => Object.fromEntries(new FormData(form));

export const isAny = () => Object.values(wanted()).every((value) => !value);

/** Call `changed` where somebody looks for something else. */
export function onChange(changed) {
  let timer = 0;
  const later = (pause) => {
    clearTimeout(timer);
    timer = setTimeout(changed, pause);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    later(0);
  });
  form.addEventListener("input", (event) => later(event.target.name === "text" ? TYPING_MS : 0));
}

export function admits(job, { state, capability, text }) {
  return (!state || job.state === state) && (!capability || job.capability === capability) && (!text || has(job, text));
}

function has(job, text) {
  const files = [...Object.values(job.inputs).flat(), ...Object.values(job.outputs)].map((one) => fileName(String(one)));
  const words = [job.id, job.task, job.worker, job.host, job.error?.message, ...files];
  return words.some((word) => word?.toLowerCase().includes(text.toLowerCase()));
}

/** Offer a capability to be chosen, once it has been seen. */
export function offer(capability) {
  const select = form.elements.capability;
  if ([...select.options].some((option) => option.value === capability)) return;
  const before = [...select.options].slice(1).find((option) => option.value > capability);
  select.insertBefore(make("option", { value: capability }, capability), before ?? null);
}
