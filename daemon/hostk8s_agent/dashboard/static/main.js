// The page: puts its parts together.

import { action, commandLine } from "./actions.js";
import { byId, h, refill, setText } from "./dom.js";
import { showEvents } from "./events.js";
import { follow } from "./live.js";
import { showParts } from "./parts.js";
import { showLeftBehind } from "./past.js";
import { showProblems } from "./problems.js";
import { showSnapshots, startSnapshots } from "./snapshots.js";
import { reconcile, showStacks, startStacks } from "./stacks.js";
import { store, takeChanges, takeSnapshot } from "./store.js";
import { count, refreshTimes } from "./words.js";

let lostAt = null;
let showingRest = 0;

function show(names) {
  showParts(store.frame);
  showVerdict();
  showProblems();
  showLeftBehind();
  showStacks(names);
  // In a turn of its own: the stacks are painted without waiting for what stands beside them.
  clearTimeout(showingRest);
  showingRest = setTimeout(showRest);
}

function showRest() {
  showSnapshots();
  showEvents();
}

function showVerdict() {
  const stacks = [...store.stacks.values()];
  const number = (...states) => stacks.filter((stack) => states.includes(stack.state)).length;
  const stuck = number("Blocked", "Invalid");
  const waiting = number("Pending", "Removing");
  const troubles = store.frame.problems.length;
  const verdict = byId("verdict");
  const [kind, words] =
    lostAt !== null
      ? ["bad", "? Not known: the agent does not answer"]
      : stuck
        ? ["bad", `✗ ${count(stuck, "stack")} of ${stacks.length.toLocaleString("en")} ${stuck === 1 ? "needs" : "need"} you`]
        : troubles
          ? ["bad", `✗ ${count(troubles, "problem")} of the agent`]
          : waiting
            ? ["wait", `… ${count(waiting, "stack")} of ${stacks.length} not Ready yet`]
            : store.frame.agent.state !== "Running"
              ? ["wait", `… The agent is ${store.frame.agent.state.toLowerCase()}`]
              : stacks.length === 0
                ? ["wait", "No stack yet"]
                : ["good", stacks.length === 1 ? "✓ The one stack is Ready" : `✓ All ${stacks.length} stacks are Ready`];
  verdict.className = `verdict ${kind}`;
  setText(verdict, words);
}

function setLost(isLost, ...words) {
  lostAt = isLost ? (lostAt ?? new Date()) : null;
  document.body.classList.toggle("lost", isLost);
  byId("banner").hidden = !isLost;
  if (isLost) refill(byId("banner"), ...words);
  for (const button of document.querySelectorAll(".action > button")) button.disabled = isLost;
  if (store.frame) showVerdict();
}

follow({
  snapshot(document) {
    setLost(false);
    show(takeSnapshot(document));
  },
  changes(document) {
    setLost(false);
    show(takeChanges(document));
  },
  lost() {
    const since = (lostAt ?? new Date()).toLocaleTimeString();
    const shown = store.frame ? ` What is shown is from ${since}.` : "";
    setLost(true, h("strong", {}, "The agent does not answer."), `${shown} Trying again …`);
  },
  ended() {
    setLost(true, h("strong", {}, "This page's session has ended. "), "Open it anew: ", commandLine("hostk8s-agent dashboard", "copy dashboard"));
  },
});

startStacks(show);
startSnapshots(showStacks);
refill(
  document.querySelector("header .actions"),
  action("Reconcile all", "hostk8s-agent reconcile --wait", () => reconcile(null), { isPrimary: true }),
);
document.addEventListener("keydown", (event) => {
  const isTyping = ["INPUT", "TEXTAREA"].includes(event.target.tagName);
  if (event.key !== "/" || isTyping || byId("filter").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  byId("filter").focus();
});
setInterval(refreshTimes, 5000);
