// What stacks that are gone have left in the volume, in the words of `status`.

import { byId, h, refill } from "./dom.js";
import { store } from "./store.js";
import { ago } from "./words.js";

/** Show what was left behind, a line for each stack; nothing when there is nothing. */
export function showLeftBehind() {
  const stacks = new Map();
  for (const one of store.frame?.leftBehind ?? []) {
    if (!stacks.has(one.stack)) stacks.set(one.stack, []);
    stacks.get(one.stack).push(one);
  }
  byId("left").hidden = stacks.size === 0;
  refill(byId("left-list"), [...stacks].map(render));
}

function render([stack, left]) {
  return h(
    "li",
    {},
    h(
      "p",
      {},
      h("strong", {}, stack),
      ": its contract is gone since ",
      ago(left[0].since),
      ", and nothing was changed in ",
      left.flatMap((one, place) => [place ? ", " : null, h("code", {}, one.path)]),
      `. Bring ${left[0].file} back, and it is used again.`,
    ),
  );
}
