// What the page knows: the status document, kept up to date by what the agent tells.

const MAX_EVENTS = 500;

/** The newest of everything. `frame` is the status without its stacks, null until the agent has said something. */
export const store = {
  frame: null,
  stacks: new Map(),
  events: [],
};

/** Take a whole status; return the names of the stacks that may have changed. */
export function takeSnapshot({ stacks, events, ...frame }) {
  const names = new Set([...store.stacks.keys(), ...stacks.map((stack) => stack.name)]);
  store.frame = frame;
  store.stacks = new Map(stacks.map((stack) => [stack.name, stack]));
  // Numbers begin anew with each agent: what an earlier one told is kept apart by its time.
  store.events = mergeEvents(store.events, events);
  return names;
}

/** Take what has changed; return the names of the stacks that did. */
export function takeChanges({ frame, stacks, removed, events }) {
  if (frame) store.frame = frame;
  for (const stack of stacks) store.stacks.set(stack.name, stack);
  for (const name of removed) store.stacks.delete(name);
  store.events = mergeEvents(store.events, events);
  return new Set([...stacks.map((stack) => stack.name), ...removed]);
}

/** Every problem, those of the whole agent first, then the worst stacks'. */
export function listProblems(order) {
  const stacks = [...store.stacks.values()].filter((stack) => stack.problems.length > 0).sort(order);
  return [
    ...(store.frame?.problems ?? []).map((problem) => ({ problem, stack: null })),
    ...stacks.flatMap((stack) => stack.problems.map((problem) => ({ problem, stack }))),
  ];
}

function mergeEvents(known, more) {
  if (more.length === 0) return known;
  const keys = new Set(known.map(keyOf));
  const all = [...known, ...more.filter((event) => !keys.has(keyOf(event)))];
  return all.slice(-MAX_EVENTS);
}

const keyOf = (event) => `${event.at} ${event.sequence}`;
