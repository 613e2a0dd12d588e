// What values are called: states, sizes, times, numbers.

import { h } from "./dom.js";

/** Worst first: the order in which stacks are shown. */
export const STATES = ["Blocked", "Invalid", "Pending", "Removing", "Ready"];

const SYMBOLS = { Blocked: "✗", Invalid: "✗", Pending: "…", Removing: "−", Ready: "✓" };
const EXPLAINED = {
  Ready: "Everything that the contract asks for was seen in place.",
  Pending: "On its way, or waiting for Docker or the cluster.",
  Blocked: "Held back: someone has to decide.",
  Invalid: "The contract has a mistake. Its last good version stays in force.",
  Removing: "The contract is gone. Volumes and data are kept.",
};

const PART_WORDS = { Absent: "stand-in", NoKubeconfig: "no kubeconfig", NotRunning: "not running" };

/** The state of the agent, Docker or the cluster in words. */
export const partWords = (state) => PART_WORDS[state] ?? state;

const PARTS = [
  [/^(Cluster|Kubeconfig|Context)/, "Cluster"],
  [/^(Engine|Endpoint|Helper|Volume|Node)/, "Docker"],
  [/^(Snapshot|Repository|Restic|Drill)/, "Snapshots"],
  [/^(StacksFolder|FolderUnreadable|LinkedFolder|TooManyFolders|Inotify|EventsNot|NativeEvents)/, "Watch"],
  [/^Settings/, "Settings"],
];

/** What a problem that is no stack's own is about, by its code: `Cluster`; the agent where it is nothing else. */
export const partOf = (code) => PARTS.find(([pattern]) => pattern.test(code))?.[1] ?? "Agent";

/** Where a state stands among the others; one that is not known comes first. */
export const rank = (state) => STATES.indexOf(state);

/** A state as a symbol and a word, in a colour besides. */
export function badge(state) {
  return h(
    "span",
    { class: `badge ${state.toLowerCase()}`, title: EXPLAINED[state] ?? null },
    h("span", { "aria-hidden": "true" }, SYMBOLS[state] ?? "?"),
    ` ${state}`,
  );
}

/** A number with its noun: `1 directory`, `2 directories`. */
export function count(number, noun) {
  const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
  return `${number.toLocaleString("en")} ${number === 1 ? noun : plural}`;
}

/** Bytes as people read them, in powers of 1024 as Kubernetes counts: `1.5 GiB`. */
export function bytes(number) {
  if (number === 0) return "0";
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = number;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** A moment as a `<time>`: how long ago, with the exact time for who points at it. Empty for none. */
export function ago(moment) {
  if (!moment) return h("span", { class: "quiet" }, "not yet");
  const element = h("time", { datetime: moment, title: new Date(moment).toLocaleString() });
  element.textContent = distance(moment);
  return element;
}

/** How far a moment is from now, in words: `12 s ago`, `in 5 min`. */
export function distance(moment) {
  const seconds = (Date.now() - Date.parse(moment)) / 1000;
  const amount = Math.abs(seconds);
  if (amount < 5) return "just now";
  const [size, unit] =
    amount < 60 ? [1, "s"] : amount < 3600 ? [60, "min"] : amount < 86400 ? [3600, "h"] : [86400, "d"];
  const words = `${Math.floor(amount / size)} ${unit}`;
  return seconds >= 0 ? `${words} ago` : `in ${words}`;
}

/** Write every `<time>` of the page anew: time goes on. */
export function refreshTimes() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const words = distance(element.getAttribute("datetime"));
    if (element.textContent !== words) element.textContent = words;
  }
}
