// Asks for what is true while the page's modules are still on their way; what comes meanwhile is kept for live.js.

globalThis.early = { source: new EventSource("api/v1/live"), events: [] };
for (const kind of ["snapshot", "changes"]) {
  globalThis.early.source.addEventListener(kind, (event) => globalThis.early?.events.push(event));
}
