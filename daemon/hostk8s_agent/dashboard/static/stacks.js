// The stacks, worst first: a line each, and all of one when it is opened.

import { ask } from "./api.js";
import { action, shellQuote } from "./actions.js";
import { arrange, byId, h, refill, setText } from "./dom.js";
import { render as renderProblem } from "./problems.js";
import { snapshotPanel } from "./snapshots.js";
import { store, takeChanges } from "./store.js";
import { usage } from "./usage.js";
import { STATES, ago, badge, bytes, count, rank } from "./words.js";

const DRIFT_SHOWN = 5;
// As many lines as the highest screen has.
const FIRST_ROWS = 60;
const rows = new Map();
let layingOut = 0;
let wantedState = null;
let told = () => {};

/** Worst first, then by name. */
export const worstFirst = (one, other) => rank(one.state) - rank(other.state) || one.name.localeCompare(other.name, "en");

/** Begin. `onChange` is called when a button has brought new stacks. */
export function startStacks(onChange) {
  told = onChange;
  byId("filter").addEventListener("input", filter);
  byId("filter").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    byId("filter").value = "";
    filter();
  });
  byId("stack-list").addEventListener("keydown", moveByArrows);
}

/** Show the stacks of these names anew, and all others where they belong. */
export function showStacks(names) {
  for (const name of names) {
    const stack = store.stacks.get(name);
    if (stack === undefined) rows.delete(name);
    else rows.get(name)?.show(stack);
  }
  const ordered = [...store.stacks.values()].sort(worstFirst);
  layOut(ordered);
  showStateButtons(ordered);
}

/** Put the lines into their order; of a whole new page what fits a screen first, and the rest a little later. */
function layOut(ordered) {
  clearTimeout(layingOut);
  const shown = rows.size === 0 ? ordered.slice(0, FIRST_ROWS) : ordered;
  for (const stack of shown) {
    if (!rows.has(stack.name)) rows.set(stack.name, new Row(stack));
  }
  arrange(
    byId("stack-list"),
    shown.map((stack) => rows.get(stack.name).element),
  );
  filter();
  if (shown.length < ordered.length) layingOut = setTimeout(layOutAll);
}

const layOutAll = () => layOut([...store.stacks.values()].sort(worstFirst));

/** Open one stack, and go there. */
export function openStack(name) {
  wantedState = null;
  byId("filter").value = "";
  showStateButtons([...store.stacks.values()]);
  if (!rows.has(name)) layOutAll();
  filter();
  const row = rows.get(name);
  if (!row) return;
  row.element.open = true;
  row.element.scrollIntoView({ block: "start", behavior: "smooth" });
  row.summary.focus({ preventScroll: true });
}

class Row {
  constructor(stack) {
    this.state = h("span", { class: "state" });
    this.message = h("span", { class: "message" });
    this.counts = h("span", { class: "counts" });
    this.summary = h(
      "summary",
      {},
      this.state,
      h("span", { class: "name" }, stack.name),
      this.message,
      this.counts,
    );
    this.body = h("div", { class: "body" });
    this.element = h("details", { class: "stack", "data-stack": stack.name }, this.summary, this.body);
    this.element.addEventListener("toggle", () => this.element.open && this.showBody());
    this.show(stack);
  }

  show(stack) {
    this.stack = stack;
    if (this.shownState !== stack.state) {
      this.shownState = stack.state;
      refill(this.state, badge(stack.state));
    }
    setText(this.message, stack.state === "Ready" ? "" : stack.message);
    setText(this.counts, summarize(stack));
    if (this.element.open) this.showBody();
  }

  showBody() {
    const stack = this.stack;
    refill(
      this.body,
      stack.problems.length
        ? h("ul", { class: "problems" }, stack.problems.map((problem) => renderProblem({ problem, stack: null }, true)))
        : null,
      directoryTable(stack),
      h(
        "p",
        { class: "facts" },
        h("span", {}, "Contract ", h("code", {}, stack.file)),
        h("span", {}, "Reconciled ", ago(stack.lastReconciledAt)),
      ),
      h(
        "div",
        { class: "actions" },
        action("Reconcile", `hostk8s-agent reconcile ${shellQuote(stack.name)} --wait`, () => reconcile(stack.name), {
          key: `reconcile ${stack.name}`,
        }),
      ),
      driftList(stack),
      snapshotPanel(stack.name),
    );
  }
}

/** Have stacks (null: all) reconciled now, wait for it, and return what came of it. */
export async function reconcile(name) {
  const answer = await ask("/v1/reconcile", {
    stacks: name === null ? null : [name],
    wait: true,
    timeoutSeconds: 60,
  });
  const changed = takeChanges({ frame: null, stacks: answer.stacks, removed: [], events: [] });
  told(changed);
  const unready = answer.stacks.filter((stack) => stack.state !== "Ready");
  if (name !== null) return `${name} was reconciled: ${answer.stacks[0]?.state ?? "gone"}`;
  const rest = unready.length ? `, ${unready.length} of them not Ready` : ", all Ready";
  return `${count(answer.stacks.length, "stack")} reconciled${rest}`;
}

function summarize(stack) {
  const bound = stack.volumes.filter((volume) => volume.claim).length;
  const used = stack.directories.reduce((sum, one) => sum + (one.usedBytes ?? 0), 0);
  const isMeasured = stack.directories.some((one) => typeof one.usedBytes === "number");
  const declared = stack.directories.reduce((sum, one) => sum + (one.declaredBytes ?? 0), 0);
  if (stack.directories.length === 0) return "nothing in force";
  return [
    count(stack.directories.length, "directory"),
    stack.volumes.length && stack.volumes.some((volume) => volume.phase !== "Manifest")
      ? `${bound}/${stack.volumes.length} claimed`
      : null,
    declared ? (isMeasured ? `${bytes(used)} of ${bytes(declared)}` : bytes(declared)) : null,
  ]
    .filter(Boolean)
    .join(" · ");
}

function directoryTable(stack) {
  if (stack.directories.length === 0) return null;
  const volumes = new Map(stack.volumes.map((volume) => [volume.directory, volume]));
  const head = ["Directory", "Owner, mode", "Used of declared", "Volume", "Claim"];
  return h(
    "table",
    { class: "directories" },
    h("thead", {}, h("tr", {}, head.map((words) => h("th", { scope: "col" }, words)))),
    h(
      "tbody",
      {},
      stack.directories.map((directory) => directoryRow(stack, directory, volumes.get(directory.name))),
    ),
  );
}

function driftList(stack) {
  const newest = (stack.drift ?? []).slice(-DRIFT_SHOWN).reverse();
  if (newest.length === 0) return null;
  const words = (one) =>
    one.field === "existence"
      ? `${one.object} was removed`
      : `${one.object}: ${one.field} was ${one.observed ?? "absent"}, not ${one.desired}`;
  return h(
    "div",
    { class: "drift" },
    h("h3", {}, "Changed by somebody, and put back"),
    h(
      "ul",
      { class: "events" },
      newest.map((one) => h("li", {}, ago(one.at), h("span", {}, words(one), one.manager ? ` (by ${one.manager})` : null))),
    ),
  );
}

function directoryRow(stack, directory, volume) {
  const cell = (label, ...children) => h("td", { "data-label": label }, ...children);
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      directory.state === "Ready" ? null : badge(directory.state),
      " ",
      h("span", {}, directory.name),
      h("code", { class: "path" }, directory.path),
      directory.message ? h("span", { class: "note-line" }, directory.message) : null,
    ),
    cell("Owner, mode", `${directory.owner}, ${directory.permissions}`),
    cell("Used of declared", usage(stack.name, directory)),
    cell("Volume", ...volumeCell(volume)),
    cell("Claim", volume?.claim ? h("span", {}, volume.claim) : h("span", { class: "quiet" }, "none")),
  );
}

function volumeCell(volume) {
  if (!volume) return [h("span", { class: "quiet" }, "none")];
  const phase = volume.phase === "Manifest" ? "written to a file" : volume.phase || "not there yet";
  return [
    volume.state === "Ready" ? null : badge(volume.state),
    " ",
    h("span", { title: `StorageClass ${volume.storageClass}` }, phase),
    h("code", { class: "path" }, volume.name),
    volume.message ? h("span", { class: "note-line" }, volume.message) : null,
  ];
}

function showStateButtons(stacks) {
  const present = STATES.filter((state) => stacks.some((stack) => stack.state === state));
  if (wantedState && !present.includes(wantedState)) wantedState = null;
  const buttons = [null, ...present].map((state) => {
    const number = state === null ? stacks.length : stacks.filter((stack) => stack.state === state).length;
    const button = h(
      "button",
      { type: "button", "aria-pressed": String(state === wantedState), "data-key": `state ${state}` },
      `${state ?? "All"} ${number.toLocaleString("en")}`,
    );
    button.addEventListener("click", () => {
      wantedState = state;
      showStateButtons([...store.stacks.values()]);
      filter();
    });
    return button;
  });
  refill(byId("states"), present.length > 1 ? buttons : []);
}

function filter() {
  const words = byId("filter").value.trim().toLowerCase();
  let shown = 0;
  for (const [name, row] of rows) {
    const fits = name.toLowerCase().includes(words) && (wantedState === null || row.stack.state === wantedState);
    row.element.hidden = !fits;
    shown += fits;
  }
  byId("filter").hidden = store.stacks.size < 6 && !words;
  const empty = byId("stacks-empty");
  empty.hidden = shown > 0 || store.frame === null;
  setText(
    empty,
    store.stacks.size === 0
      ? "No stack has a storage contract yet. Save one as software/stacks/<stack>/hostk8s.storage.yaml, and it appears here by itself. A first one is written by: hostk8s-agent init sample"
      : "No stack fits the filter.",
  );
}

function moveByArrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || event.target.tagName !== "SUMMARY") return;
  const summaries = [...byId("stack-list").querySelectorAll("details:not([hidden]) > summary")];
  summaries[summaries.indexOf(event.target) + step]?.focus();
  event.preventDefault();
}
