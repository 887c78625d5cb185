// Questions to the gateway. An answer that is none becomes a sentence for people.

class Refused extends Error {}

async function ask(method, path) {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { Accept: "application/json" } });
  } catch {
    throw new Refused("The gateway does not answer.");
  }
  if (answer.status === 401) {
    location.assign("/login");
    throw new Refused("Log in again.");
  }
  const body = await answer.json();
  if (!answer.ok) throw new Refused(body.error.message);
  return body;
}

const path = (id) => `/task/${encodeURIComponent(id)}`;

export const job = (id) => ask("GET", path(id));
export const why = (id) => ask("GET", `${path(id)}/why`);
export const cancel = (id) => ask("POST", `${path(id)}/cancel`);
export const retry = (id) => ask("POST", `${path(id)}/retry`);
export const isOpen = () => ask("GET", "/healthcheck");
export const logOf = (id) => new EventSource(`${path(id)}/logs?follow=1`);

/** Where a preview is; a job that runs again makes a new one, so its end is part of the address. */
export function previewOf(job, name) {
  return `${path(job.id)}/preview/${encodeURIComponent(name)}?${Date.parse(job.finished_at)}`;
}

export function jobs({ state, capability, text }, limit, after) {
  const asked = new URLSearchParams({ limit });
  for (const [name, value] of Object.entries({ state, capability, text, after })) if (value) asked.set(name, value);
  return ask("GET", `/task?${asked}`);
}
