// The one stream of changes. A page that nobody sees lets go of it, so that the laptop has nothing to do.

import { isOpen } from "./api.js";

const LET_GO_MS = 30_000, AGAIN_MS = 3_000;

/** Call `hear[name](value)` for each message, and `hear.lost()` where the gateway does not answer. */
export function listen(hear) {
  let source = null, timer = 0;

  function open() {
    clearTimeout(timer);
    if (source) return;
    source = new EventSource("/events");
    for (const name of Object.keys(hear)) {
      if (name !== "lost") source.addEventListener(name, (message) => hear[name](JSON.parse(message.data)));
    }
    source.onerror = () => {
      hear.lost();
      if (source.readyState !== EventSource.CLOSED) return; // it tries again on its own
      close();
      timer = setTimeout(open, AGAIN_MS);
      isOpen().catch(() => {}); // leads to the log-in page where the cookie has ended
    };
  }

  function close() {
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(close, LET_GO_MS);
    else open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}
