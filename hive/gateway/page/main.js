// Where everything comes together.

import { byId, write } from "./dom.js";
import * as fleet from "./fleet.js";
import * as hour from "./hour.js";
import * as jobs from "./jobs.js";
import * as opened from "./job.js";
import { listen } from "./stream.js";

const TICK_MS = 1_000;

function connected(isLive, words) {
  const place = byId("connection");
  place.classList.toggle("live", isLive);
  place.classList.toggle("lost", !isLive);
  write(place, words);
}

listen({
  hello: () => {
    connected(true, "Live");
    jobs.reload();
    opened.reload();
  },
  workers: fleet.setWorkers,
  queues: fleet.setQueues,
  spending: fleet.setSpending,
  hour: hour.setHour,
  minute: hour.setMinute,
  jobs: (changed) => {
    jobs.take(changed);
    opened.take(changed);
  },
  many: () => {
    jobs.reloadSoon();
    opened.reload();
  },
  away: ({ message }) => connected(false, message),
  lost: () => connected(false, "Disconnected; reconnecting…"),
});

setInterval(() => {
  if (document.hidden) return;
  jobs.tick();
  fleet.tick();
  opened.tick();
}, TICK_MS);
