// The line of what the agent is connected to, and the footer.

import { byId, h, refill, setText } from "./dom.js";
import { ago, partWords } from "./words.js";

const GOOD = new Set(["Running", "Connected", "Absent", "Following"]);

/** Show the agent, Docker, the cluster and the watcher. */
export function showParts(frame) {
  const { agent, docker, cluster, watch } = frame;
  refill(
    byId("parts"),
    part("Agent", agent.state, `version ${agent.version}`, null),
    part("Docker", docker.state, docker.message || join(docker.volume, docker.access), docker.endpoint),
    part("Cluster", cluster.state, cluster.message || join(cluster.context, cluster.version), cluster.server),
    watchPart(watch),
  );
  setText(byId("workspace"), agent.workspace.split("/").pop() || agent.workspace);
  byId("workspace").title = agent.workspace;
  refill(
    byId("about"),
    h("span", {}, `hostk8s-agent ${agent.version}, process ${agent.pid}, started `, ago(agent.startedAt)),
    h("span", { class: "path" }, agent.workspace),
  );
  document.title = `${agent.workspace.split("/").pop()} · hostk8s-agent`;
}

// Without its folder of stacks the watcher waits for it.
function watchPart(watch) {
  const [state, what] =
    watch.backend === "waiting" ? ["Waiting", "for the folder of stacks"] : ["Following", `contracts, by ${watch.backend}`];
  return part("Watch", state, `${what}, scanned `, watch.roots.join("\n"), [ago(watch.lastScanAt)]);
}

function part(name, state, detail, title, more = []) {
  const isGood = GOOD.has(state);
  return h(
    "li",
    { class: isGood ? "part" : "part bad", title },
    h("span", { class: "name" }, name),
    h("span", { class: "state" }, `${isGood ? "✓" : "✗"} ${partWords(state)}`),
    detail || more.length ? h("span", { class: "detail" }, detail, ...more) : null,
  );
}

const join = (...words) => words.filter(Boolean).join(", ");
