// What has happened, the newest first.

import { byId, h, refill } from "./dom.js";
import { openStack } from "./stacks.js";
import { store } from "./store.js";
import { ago, count, partWords } from "./words.js";

const SHOWN_AT_FIRST = 12;
const TOGETHER_MILLISECONDS = 10_000;
let shown = SHOWN_AT_FIRST;

// What every stack begins with is no news: it would bury what is.
const isNews = (event) => !event.message.endsWith("not reconciled yet since the agent started");

const TYPES = { "docker.state": "Docker", "cluster.state": "Cluster" };

/** Show the newest events. */
export function showEvents() {
  const groups = group(store.events.filter(isNews));
  const newest = groups.slice(-shown).reverse();
  byId("events-empty").hidden = newest.length > 0;
  refill(byId("event-list"), newest.map(render), groups.length > shown ? renderMore() : null);
}

/** Put what many stacks did at once into one line: a start of a thousand would bury everything else. */
function group(events) {
  const groups = [];
  for (const event of events) {
    const last = groups.at(-1);
    const isMore =
      last !== undefined &&
      event.type === "stack.state" &&
      last[0].type === event.type &&
      stateOf(last[0]) === stateOf(event) &&
      Date.parse(event.at) - Date.parse(last.at(-1).at) < TOGETHER_MILLISECONDS;
    if (isMore) last.push(event);
    else groups.push([event]);
  }
  return groups;
}

// The message begins with the state: `Ready: 1 directory`.
const stateOf = (event) => event.message.split(":", 1)[0];

function render(events) {
  const event = events.at(-1);
  if (events.length > 1) {
    const names = [...new Set(events.map((one) => one.stack))];
    return h("li", { title: names.slice(0, 50).join("\n") }, ago(event.at), h("span", {}, `${count(names.length, "stack")} ${stateOf(event)}`));
  }
  const name = h("button", { type: "button", class: "link", "data-key": `event ${event.sequence}` }, event.stack);
  name.addEventListener("click", () => openStack(event.stack));
  const isWarning = event.severity === "Warning";
  return h(
    "li",
    { class: isWarning ? "warning" : null },
    ago(event.at),
    h(
      "span",
      {},
      isWarning ? "✗ " : null,
      event.stack ? name : h("strong", {}, TYPES[event.type] ?? event.type),
      " ",
      event.stack ? event.message : partWords(event.message),
    ),
  );
}

function renderMore() {
  const button = h("button", { type: "button", "data-key": "more events" }, "Show earlier ones");
  button.addEventListener("click", () => {
    shown += 50;
    showEvents();
  });
  return h("li", { class: "more" }, button);
}
