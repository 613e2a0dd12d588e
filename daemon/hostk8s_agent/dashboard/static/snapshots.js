// The snapshots: a timeline of all stacks, and those of one.

import { byId, h, refill } from "./dom.js";

/** Show the timeline. */
export function showSnapshots() {
  refill(byId("snapshot-view"), h("p", { class: "empty" }, "This agent has taken no snapshot."));
}

/** The snapshots of one stack, for its opened row; null while there are none. */
export function snapshotPanel() {
  return null;
}
