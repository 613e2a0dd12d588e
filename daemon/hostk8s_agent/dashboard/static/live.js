// The stream of what is true, for as long as somebody looks.

import { ask } from "./api.js";

const RETRY_MILLISECONDS = 1000;
// A page that nobody sees gives its connection up: a browser has six for one address.
const HIDDEN_MILLISECONDS = 10_000;
// The agent says something at least each 15 s.
const SILENCE_MILLISECONDS = 40_000;

/** Follow the agent. `tell` has `snapshot`, `changes`, `lost` (the agent) and `ended` (the session). */
export function follow(tell) {
  let source = null;
  let retry = 0;
  let hiding = 0;
  let watching = 0;

  function open() {
    close();
    source = new EventSource("api/v1/live");
    source.addEventListener("snapshot", (event) => take(() => tell.snapshot(JSON.parse(event.data))));
    source.addEventListener("changes", (event) => take(() => tell.changes(JSON.parse(event.data))));
    source.addEventListener("alive", watch);
    source.addEventListener("error", () => lose());
    watch();
  }

  function take(action) {
    watch();
    action();
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
