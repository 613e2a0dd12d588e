// The stream of what is true, for as long as somebody looks.

import { ask } from "./api.js";

const RETRY_MILLISECONDS = 1000;
// A page that nobody sees gives its connection up: a browser has six for one address.
const HIDDEN_MILLISECONDS = 10_000;
// The agent says something at least each 15 s.
const SILENCE_MILLISECONDS = 40_000;

/** The stream that begin.js has opened and what has come by it, once: a stream that has ended is none. */
function takeEarly() {
  const { source, events } = globalThis.early ?? {};
  globalThis.early = undefined;
  return source && source.readyState !== EventSource.CLOSED ? { source, events } : { source: null, events: [] };
}

/** Follow the agent. `tell` has `snapshot`, `changes`, `lost` (the agent) and `ended` (the session). */
export function follow(tell) {
  let source = null;
  let retry = 0;
  let hiding = 0;
  let watching = 0;

  function open() {
    close();
    const begun = takeEarly();
    source = begun.source ?? new EventSource("api/v1/live");
    for (const kind of ["snapshot", "changes"]) source.addEventListener(kind, take);
    source.addEventListener("alive", watch);
    source.addEventListener("error", () => lose());
    watch();
    begun.events.forEach(take);
  }

  function take(event) {
    watch();
    tell[event.type](JSON.parse(event.data));
  }

  function watch() {
    clearTimeout(watching);
    watching = setTimeout(lose, SILENCE_MILLISECONDS);
  }

  function close() {
    clearTimeout(retry);
    clearTimeout(watching);
    source?.close();
    source = null;
  }

  async function lose() {
    close();
    tell.lost();
    // EventSource does not say why it failed: a question does.
    const refusal = await ask("/v1/stacks/").then(
      () => null,
      (error) => error,
    );
    if (refusal?.status === 401) tell.ended();
    retry = setTimeout(open, refusal?.status === 401 ? 10 * RETRY_MILLISECONDS : RETRY_MILLISECONDS);
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(close, HIDDEN_MILLISECONDS);
    else if (source === null) open();
  });
  open();
}
