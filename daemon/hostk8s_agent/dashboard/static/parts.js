// The line of what the agent is connected to, and the footer.

import { byId, h, refill, setText } from "./dom.js";
import { ago, partWords } from "./words.js";

const GOOD = new Set(["Running", "Connected", "Absent"]);

/** Show the agent, Docker, the cluster and the watcher. */
export function showParts(frame) {
  const { agent, docker, cluster, watch } = frame;
  refill(
    byId("parts"),
    part("Agent", agent.state, `version ${agent.version}`, null),
    part("Docker", docker.state, docker.message || join(docker.volume, docker.access), docker.endpoint),
    part("Cluster", cluster.state, cluster.message || join(cluster.context, cluster.version), cluster.server),
    part("Watch", watch.backend, null, watch.roots.join("\n"), ["scanned ", ago(watch.lastScanAt)]),
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

function part(name, state, detail, title, more = []) {
  const isGood = GOOD.has(state) || name === "Watch";
  return h(
    "li",
    { class: isGood ? "part" : "part bad", title },
    h("span", { class: "name" }, name),
    h("span", { class: "state" }, `${isGood ? "✓" : "✗"} ${partWords(state)}`),
    detail || more.length ? h("span", { class: "detail" }, detail, ...more) : null,
  );
}

const join = (...words) => words.filter(Boolean).join(", ");
