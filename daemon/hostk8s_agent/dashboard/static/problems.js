// What is wrong, and what to do about it.

import { byId, h, refill, setText } from "./dom.js";
import { listProblems } from "./store.js";
import { openStack, worstFirst } from "./stacks.js";
import { badge, partOf } from "./words.js";

const SHOWN_AT_FIRST = 6;
let showsAll = false;

/** Show every problem, the worst first. */
export function showProblems() {
  const problems = listProblems(worstFirst);
  byId("problems").hidden = problems.length === 0;
  setText(byId("problems-title"), problems.length > 1 ? `Problems (${problems.length})` : "Problem");
  const shown = showsAll ? problems : problems.slice(0, SHOWN_AT_FIRST);
  const rest = problems.length - shown.length;
  refill(byId("problem-list"), shown.map(render), rest > 0 ? renderMore(problems.length) : null);
}

/** One problem as a list item. `stack` is whose it is, null for the whole agent's. */
export function render({ problem, stack }) {
  const place = [problem.file, problem.line, problem.column].filter((part) => part !== null && part !== undefined);
  return h(
    "li",
    { class: "problem" },
    h(
      "p",
      { class: "what" },
      stack === null ? h("span", { class: "badge blocked" }, `✗ ${partOf(problem.code)}`) : badge(stack.state),
      " ",
      stack === null ? null : link(stack.name),
      h("span", { class: "message" }, problem.message),
    ),
    problem.hint ? h("p", { class: "todo" }, h("strong", {}, "To do: "), problem.hint) : null,
    h(
      "p",
      { class: "where" },
      h("code", { title: "docs/problems.md explains each code" }, problem.code),
      place.length ? ` in ${place.join(":")}` : null,
    ),
  );
}

function link(name) {
  const button = h("button", { type: "button", class: "link", "data-key": `problem ${name}` }, name);
  button.addEventListener("click", () => openStack(name));
  return h("span", {}, button, ": ");
}

function renderMore(number) {
  const button = h("button", { type: "button", "data-key": "all problems" }, `Show all ${number} problems`);
  button.addEventListener("click", () => {
    showsAll = true;
    showProblems();
  });
  return h("li", {}, button);
}
