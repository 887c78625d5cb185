// Workers, queues, and the totals.

import { byId, make, write } from "./dom.js";
import { offer } from "./filter.js";
import { age, ago, bytes, count, dollars } from "./words.js";

let known = [];

export function setWorkers(workers) {
  known = workers.toSorted((one, other) => one.name.localeCompare(other.name));
  const slots = workers.reduce((sum, one) => sum + one.slots, 0);
  const taken = workers.reduce((sum, one) => sum + one.busy, 0);
  write(byId("total-slots"), slots ? `${count(taken)} of ${count(slots)}` : "no worker");
  const none = make("li", { class: "card none" }, "No workers. Start one: hive worker");
  byId("workers").replaceChildren(...(workers.length ? known.map(card) : [none]));
  workers.flatMap((one) => one.capabilities).forEach(offer);
}

/** Write anew when each was heard of. */
export function tick() {
  for (const [number, one] of known.entries()) {
    const seen = byId("workers").children[number]?.querySelector(".seen");
    if (seen) write(seen, ago(one.last_seen));
  }
}

function card(worker) {
  const price = dollars(worker.price_usd_per_h, "–");
  const facts = {
    CPU: `${Math.round(worker.cpu_percent)} %`,
    Memory: bytes(worker.memory_bytes),
    GPU: worker.gpus.join(", ") || "none",
    Price: price === "–" ? price : `${price}/h`,
  };
  return make(
    "li", { class: "card worker" },
    make("p", { class: "name" }, make("strong", {}, worker.name), make("span", { class: "seen" }, ago(worker.last_seen))),
    make("p", { class: "small" }, worker.capabilities.join(", "), worker.name.endsWith(worker.host) ? "" : ` on ${worker.host}`),
    make(
      "p", { class: "slots" },
      make("meter", { min: 0, max: worker.slots, value: worker.busy, "aria-label": `Slots of ${worker.name} in use` }),
      make("span", {}, `${worker.busy} of ${worker.slots} ${worker.slots === 1 ? "slot" : "slots"}`),
    ),
    make("dl", { class: "mini" }, ...Object.entries(facts).map(([name, text]) =>
      make("div", {}, make("dt", {}, name), make("dd", {}, text)))),
  );
}

export function setQueues(queues) {
  const total = (name) => queues.reduce((sum, one) => sum + one[name], 0);
  write(byId("total-running"), count(total("running")));
  write(byId("total-queued"), count(total("queued")));
  byId("queues").replaceChildren(...queues.map((one) => make(
    "tr", { class: one.queued && !one.workers ? "unserved" : null },
    make("th", { scope: "row" }, one.name),
    ...[count(one.queued), one.queued ? age(one.oldest_s) : "–", count(one.running), count(one.workers)]
      .map((text) => make("td", {}, text)),
  )));
}

/** What was spent; what nobody knows is not free. */
export function setSpending({ usd, unknown, is_counted: isCounted }) {
  write(byId("total-cost"), unknown || usd !== null ? dollars(usd) : "–");
  const note = unknown && usd !== null ? `and ${count(unknown)} ${unknown === 1 ? "job" : "jobs"} of unknown cost` : "";
  write(byId("cost-note"), isCounted ? note : "still counting…");
}
