// The restore of a snapshot: what it would replace, what becomes of the pods that use it, and that it is meant.

import { commandLine, confirmByTyping, shellQuote } from "./actions.js";
import { ask } from "./api.js";
import { h, refill } from "./dom.js";
import { ago, bytes, count, distance } from "./words.js";

// What can be done to the pods that use it, in the order of the command's documentation.
const WAYS = [
  { field: "scaleDown", option: "--scale-down", label: "Scale them to zero meanwhile, and back" },
  { field: "inUse", option: "--in-use", label: "Have their containers started anew" },
];

/** The command that restores a snapshot. */
export const restoreCommand = (one, option = "") =>
  ["hostk8s-agent snapshot restore", shellQuote(`${one.stack}@${one.id}`), option].filter(Boolean).join(" ");

/** Show the plan, ask, and restore; `refresh` is called once it is done. Returns what came of it in words. */
export async function restore(one, refresh) {
  const wanted = { stack: one.stack, which: one.id };
  const ways = await planWays(wanted);
  const { plan } = ways.find((way) => way.plan);
  const choice = { way: plan.users.length ? ways.find((way) => way.plan) : null };
  const content = restorePlan(one, plan, plan.users.length ? ways : [], choice);
  if (!(await confirmByTyping(`Restore ${plan.target}`, content, plan.target, "Restore"))) return "";
  const stop = choice.way ? { [choice.way.field]: true } : {};
  const { safety, notes } = await ask("/v1/snapshots/restore", { ...wanted, ...stop });
  await refresh();
  const before = safety ? ` What was there before is the snapshot ${safety.id}.` : "";
  return [`${plan.target} is as it was ${distance(one.takenAt)}.${before}`, ...notes].join(" ");
}

/** The ways with the plan of each, or with why it cannot be gone. Throws where none can. */
async function planWays(wanted) {
  const answers = await Promise.allSettled(
    WAYS.map((way) => ask("/v1/snapshots/plan", { ...wanted, [way.field]: true })),
  );
  if (answers.every((answer) => answer.status === "rejected")) throw answers[0].reason;
  return WAYS.map((way, index) => ({
    ...way,
    plan: answers[index].value?.plan ?? null,
    refusal: answers[index].reason?.message ?? "",
  }));
}

function restorePlan(one, plan, ways, choice) {
  const same = h("p", {});
  const showCommand = () => refill(same, "The same by command: ", commandLine(restoreCommand(one, choice.way?.option), "copy restore"));
  showCommand();
  return h(
    "div",
    { class: "plan" },
    h("p", {}, "These directories are replaced, all or none, by what they held ", ago(one.takenAt), ":"),
    h(
      "ul",
      {},
      plan.directories.map((each) =>
        h("li", {}, h("code", {}, each.path), ` by ${count(each.files, "file")}, ${bytes(each.bytes)}`),
      ),
    ),
    plan.leftAlone.length ? h("p", {}, `Not in the snapshot, and left alone: ${plan.leftAlone.join(", ")}`) : null,
    ways.length ? usersChoice(plan, ways, choice, showCommand) : null,
    same,
    h("p", {}, "A snapshot of what is there now is taken first. To take it back afterwards:"),
    commandLine(`hostk8s-agent snapshot restore ${shellQuote(plan.target)} --undo`, "copy undo"),
  );
}

/** What is to become of the pods that use it; `onChange` is called once another way is in `choice`. */
function usersChoice(plan, ways, choice, onChange) {
  return h(
    "fieldset",
    { class: "ways" },
    h("legend", { class: "bad" }, `✗ In use by ${plan.users.join(", ")}`),
    ways.map((way) => {
      const field = h("input", {
        type: "radio",
        name: "way",
        value: way.field,
        checked: way === choice.way,
        disabled: way.plan === null,
      });
      field.addEventListener("change", () => {
        choice.way = way;
        onChange();
      });
      const words = way.plan
        ? h("span", { class: "quiet" }, way.plan.stops.join("; "))
        : h("span", { class: "note-line" }, `Not possible: ${way.refusal}`);
      return h("label", {}, field, h("span", {}, way.label, words));
    }),
  );
}
