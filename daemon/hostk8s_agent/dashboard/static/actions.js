// Buttons that do what a command does, and say which; what came of it; and a question before what cannot be undone.

import { byId, h, refill } from "./dom.js";

/** A button with the command that does the same. `act` returns the words that say what came of it. */
export function action(label, command, act, { key = label, isPrimary = false } = {}) {
  const button = h("button", { type: "button", class: isPrimary ? "primary" : null, "data-key": key }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
    try {
      notify(await act());
    } catch (error) {
      notify(error.message || "That did not work.", error.hint ?? "", true);
    } finally {
      button.disabled = false;
      button.removeAttribute("aria-busy");
    }
  });
  return h("span", { class: "action" }, button, commandLine(command, `copy ${key}`));
}

/** A command that can be copied. */
export function commandLine(command, key) {
  const copy = h("button", { type: "button", class: "copy", title: "Copy the command", "data-key": key }, "copy");
  copy.setAttribute("aria-label", `Copy the command ${command}`);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      copy.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(copy.previousElementSibling);
    }
    setTimeout(() => (copy.textContent = "copy"), 2000);
  });
  return h("span", { class: "command" }, h("code", {}, command), copy);
}

/** A name as a shell takes it. */
export const shellQuote = (text) => (/^[A-Za-z0-9_./@%+=:,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

let leaving = 0;

/** Say what came of something. */
export function notify(words, hint = "", isBad = false) {
  if (!words) return;
  const note = byId("note") ?? document.body.appendChild(h("div", { id: "note", role: "status", "aria-live": "polite" }));
  note.className = isBad ? "note bad" : "note";
  refill(note, h("span", {}, `${isBad ? "✗" : "✓"} ${words}`), hint ? h("span", { class: "hint" }, hint) : null);
  note.hidden = false;
  clearTimeout(leaving);
  leaving = setTimeout(() => (note.hidden = true), isBad ? 15_000 : 6000);
}

/** Ask before what cannot be undone: shows `content`, and wants `word` typed. Resolves to whether it was. */
export function confirmByTyping(title, content, word, label) {
  const dialog = byId("dialog");
  return new Promise((resolve) => {
    const field = h("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": `Type ${word}` });
    const go = h("button", { type: "button", class: "danger", disabled: true }, label);
    const cancel = h("button", { type: "button" }, "Cancel");
    field.addEventListener("input", () => (go.disabled = field.value !== word));
    field.addEventListener("keydown", (event) => event.key === "Enter" && !go.disabled && go.click());
    go.addEventListener("click", () => dialog.close("yes"));
    cancel.addEventListener("click", () => dialog.close(""));
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    refill(
      dialog,
      h("h2", { id: "dialog-title" }, title),
      content,
      h("p", {}, "To go on, type ", h("strong", {}, word), ":"),
      field,
      h("div", { class: "row" }, go, cancel),
    );
    dialog.returnValue = "";
    dialog.showModal();
    field.focus();
  });
}
