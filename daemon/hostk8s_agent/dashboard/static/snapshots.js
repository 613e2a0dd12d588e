// The snapshots: a timeline of all stacks, and those of one, with what can be done with them.

import { action, shellQuote } from "./actions.js";
import { ask } from "./api.js";
import { byId, h, refill } from "./dom.js";
import { restore, restoreCommand } from "./restoring.js";
import { openStack } from "./stacks.js";
import { store } from "./store.js";
import { ago, bytes, count, distance } from "./words.js";

const DAY = 86_400_000;
const STACKS_AT_FIRST = 8;
const SNAPSHOTS_AT_FIRST = 3;
const MARKS = { good: "●", unverified: "○", suspect: "▲", damaged: "✗" };
const STATES = {
  good: "read back whole",
  unverified: "not read back yet",
  suspect: "far smaller than the one before: look at it before older ones expire",
  damaged: "not what was written",
};

let known = null;
let asked = "";
let showsAll = false;
let told = () => {};
const opened = new Set();

/** Begin. `onChange` is called with the names of the stacks whose snapshots are others now. */
export function startSnapshots(onChange) {
  told = onChange;
}

/** Show the timeline, and ask for the snapshots anew where the agent's status says that they are others. */
export function showSnapshots() {
  const summary = JSON.stringify(store.frame.snapshots ?? null);
  if (summary !== asked) {
    asked = summary;
    refresh();
  }
  showTimeline();
}

async function refresh() {
  let found = { snapshots: [], problems: [], bytes: 0, repository: "", isMissing: true };
  try {
    if (store.frame.snapshots) found = await ask("/v1/snapshots");
  } catch {
    // An agent that is away is told of elsewhere, and asked again when it is back.
    asked = "";
    return;
  }
  known = { ...found, snapshots: [...found.snapshots].sort((one, other) => Date.parse(one.takenAt) - Date.parse(other.takenAt)) };
  showTimeline();
  told([...new Set(known.snapshots.map((one) => one.stack))]);
}

function showTimeline() {
  const view = byId("snapshot-view");
  if (known === null) return;
  if (known.snapshots.length === 0) {
    const words = known.isMissing ? "This agent takes no snapshots." : "No snapshot yet. Open a stack to take one.";
    refill(view, problemList(), h("p", { class: "empty" }, words));
    return;
  }
  const taken = groupByStack(known.snapshots);
  const protection = groupByStack(store.frame.snapshots?.directories ?? []);
  const isSafe = (name) => protection.get(name)?.every((one) => one.isProtected) ?? false;
  const newest = (name) => Date.parse(taken.get(name)?.at(-1).takenAt ?? 0);
  // Worst first: what is not protected, then what has waited longest.
  const order = [...new Set([...protection.keys(), ...taken.keys()])].sort(
    (one, other) => isSafe(one) - isSafe(other) || newest(one) - newest(other),
  );
  const begin = Math.min(Date.parse(known.snapshots[0].takenAt), Date.now() - DAY);
  const shown = showsAll ? order : order.slice(0, STACKS_AT_FIRST);
  const safe = [...protection.keys()].filter(isSafe).length;
  refill(
    view,
    problemList(),
    h(
      "p",
      { class: "facts" },
      h("span", {}, `${count(known.snapshots.length, "snapshot")}, ${bytes(known.bytes)}`),
      protection.size ? h("span", {}, `${safe} of ${count(protection.size, "stack")} protected`) : null,
    ),
    h(
      "ul",
      { class: "timeline" },
      shown.map((name) => track(name, taken.get(name) ?? [], begin, isSafe(name))),
    ),
    h("p", { class: "scale quiet" }, h("span", {}, distance(new Date(begin).toISOString())), h("span", {}, "now")),
    h("p", { class: "legend quiet" }, "●\u00a0good  ○\u00a0not\u00a0verified  ▲\u00a0suspect  ✗\u00a0damaged  ★\u00a0pinned"),
    order.length > shown.length ? showAllButton(order.length) : null,
  );
}

function problemList() {
  return (known.problems ?? []).map((problem) => h("p", { class: "bad" }, `✗ ${problem.message}; ${problem.hint}`));
}

function track(name, snapshots, begin, isProtected) {
  const link = h("button", { type: "button", class: "link", "data-key": `snapshots of ${name}` }, name);
  link.addEventListener("click", () => openStack(name));
  const line = h("span", { class: "track", "aria-hidden": "true" });
  const span = Math.max(1, Date.now() - begin);
  for (const one of snapshots) {
    const dot = h("span", { class: `dot ${one.state}`, title: describe(one) }, one.pinned ? "★" : (MARKS[one.state] ?? "?"));
    dot.style.insetInlineStart = `${((Date.parse(one.takenAt) - begin) / span) * 100}%`;
    line.append(dot);
  }
  const newest = snapshots.at(-1);
  const words = newest ? [isProtected ? "✓ protected, " : "✗ not protected, ", "newest ", ago(newest.takenAt)] : ["✗ none"];
  return h(
    "li",
    {},
    h(
      "span",
      { class: "what" },
      link,
      h("span", { class: "quiet" }, words),
    ),
    line,
  );
}

function describe(one) {
  const words = [one.id, new Date(one.takenAt).toLocaleString(), `${one.state}: ${STATES[one.state] ?? ""}`, bytes(one.bytes)];
  return [...words, one.name, one.pinned ? "pinned" : ""].filter(Boolean).join("\n");
}

function showAllButton(number) {
  const button = h("button", { type: "button", "data-key": "all timelines" }, `Show all ${number} stacks`);
  button.addEventListener("click", () => {
    showsAll = true;
    showTimeline();
  });
  return button;
}

/** The snapshots of one stack, for its opened row; null where the agent takes none. */
export function snapshotPanel(stack) {
  if (known === null || known.isMissing) return null;
  const newestFirst = known.snapshots.filter((one) => one.stack === stack).reverse();
  const shown = opened.has(stack) ? newestFirst : newestFirst.slice(0, SNAPSHOTS_AT_FIRST);
  const more = h("button", { type: "button", "data-key": `all snapshots of ${stack}` }, `Show all ${newestFirst.length}`);
  more.addEventListener("click", () => {
    opened.add(stack);
    told([stack]);
  });
  return h(
    "div",
    { class: "snapshots" },
    h("h3", {}, "Snapshots"),
    action("Take a snapshot", `hostk8s-agent snapshot create ${shellQuote(stack)}`, () => take(stack), {
      key: `take ${stack}`,
    }),
    newestFirst.length ? h("ul", {}, shown.map(entry)) : h("p", { class: "empty" }, "None yet."),
    newestFirst.length > shown.length ? more : null,
  );
}

function entry(one) {
  const isFit = one.state !== "damaged";
  return h(
    "li",
    {},
    h(
      "span",
      { class: "facts" },
      h("span", { class: `mark ${one.state}`, title: STATES[one.state] ?? null }, `${MARKS[one.state] ?? "?"} ${one.state}`),
      h("span", {}, ago(one.takenAt)),
      h("code", {}, one.id),
      h("span", {}, bytes(one.bytes)),
      one.name ? h("span", {}, `“${one.name}”`) : null,
      one.pinned ? h("span", {}, "★ pinned") : null,
      one.tags.length ? h("span", {}, one.tags.join(", ")) : null,
      one.verifiedAt ? h("span", {}, "verified ", ago(one.verifiedAt)) : null,
    ),
    one.reason ? h("span", { class: "note-line" }, one.reason) : null,
    h(
      "span",
      { class: "actions" },
      action("Verify", `hostk8s-agent snapshot verify ${one.id}`, () => verify(one), { key: `verify ${one.id}` }),
      isFit
        ? action("Restore …", restoreCommand(one), () => restore(one, refresh), { key: `restore ${one.id}` })
        : null,
    ),
  );
}

async function take(stack) {
  const { snapshot } = await ask("/v1/snapshots/create", { stack });
  await refresh();
  return `The snapshot ${snapshot.id} of ${stack} was taken and read back: ${snapshot.state}`;
}

async function verify(one) {
  const { isWhole } = await ask("/v1/snapshots/verify", { ids: [one.id] });
  await refresh();
  if (!isWhole) throw new Error(`The snapshot ${one.id} is not what was written.`);
  return `The snapshot ${one.id} was read back: every byte is as it was written`;
}

function groupByStack(values) {
  const groups = new Map();
  for (const one of values) {
    if (!groups.has(one.stack)) groups.set(one.stack, []);
    groups.get(one.stack).push(one);
  }
  return groups;
}
