// How full a directory is, and how that is known.

import { h } from "./dom.js";
import { store } from "./store.js";
import { ago, bytes } from "./words.js";

const NEARLY_FULL = 0.9;

/** What a directory holds of what it may, as it was measured or, where that cannot be done, at its newest snapshot. */
export function usage(stack, directory) {
  const known = store.frame?.snapshots?.directories ?? [];
  const bySnapshot = known.find(
    (one) => one.sizeFrom === "snapshot" && one.stack === stack && one.directory === directory.name,
  );
  const declared = directory.declaredBytes ? bytes(directory.declaredBytes) : "?";
  if (typeof directory.usedBytes !== "number" && bySnapshot) {
    const share = directory.declaredBytes ? bySnapshot.sizeBytes / directory.declaredBytes : 0;
    return h(
      "span",
      { class: share > NEARLY_FULL ? "usage high" : "usage", title: `Not measured: it is what the snapshot ${bySnapshot.sizeSnapshot} holds. What is there now is not known.` },
      gauge(share),
      h("span", {}, `${bytes(bySnapshot.sizeBytes)} of ${declared} at the snapshot `, ago(bySnapshot.sizeAt), warning(share)),
    );
  }
  if (typeof directory.usedBytes !== "number") {
    return h("span", { class: "quiet", title: "Not measured: nobody has looked yet, or only a helper container leads into the volume, and each look would run a container." }, `? of ${declared}`);
  }
  const share = directory.declaredBytes ? directory.usedBytes / directory.declaredBytes : 0;
  return h(
    "span",
    { class: share > NEARLY_FULL ? "usage high" : "usage", title: `measured ${new Date(directory.usedAt).toLocaleString()}` },
    gauge(share),
    h("span", {}, `${bytes(directory.usedBytes)} of ${declared}`, warning(share)),
  );
}

function gauge(share) {
  const fill = h("span", {});
  fill.style.inlineSize = `${Math.min(100, share * 100)}%`;
  return h("span", { class: "gauge", "aria-hidden": "true" }, fill);
}

function warning(share) {
  if (share <= NEARLY_FULL) return "";
  return h("strong", {}, share > 1 ? "more than declared" : "nearly full");
}
