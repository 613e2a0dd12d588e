// What has happened, the newest first.

import { byId, h, refill } from "./dom.js";
import { openStack } from "./stacks.js";
import { store } from "./store.js";
import { ago, partWords } from "./words.js";

const SHOWN_AT_FIRST = 12;
let shown = SHOWN_AT_FIRST;

// What every stack begins with is no news: it would bury what is.
const isNews = (event) => !event.message.endsWith("not reconciled yet since the agent started");

const TYPES = { "docker.state": "Docker", "cluster.state": "Cluster" };

/** Show the newest events. */
export function showEvents() {
  const news = store.events.filter(isNews);
  const newest = news.slice(-shown).reverse();
  byId("events-empty").hidden = newest.length > 0;
  refill(byId("event-list"), newest.map(render), news.length > shown ? renderMore() : null);
}

function render(event) {
  const name = h("button", { type: "button", class: "link", "data-key": `event ${event.sequence}` }, event.stack);
  name.addEventListener("click", () => openStack(event.stack));
  return h(
    "li",
    {},
    ago(event.at),
    h("span", {}, event.stack ? name : h("strong", {}, TYPES[event.type] ?? event.type), " ", event.stack ? event.message : partWords(event.message)),
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
