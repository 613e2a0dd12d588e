// Questions to the agent, by the control API below this page's own address.

/** An answer that says no. `status` is 0 when there was none at all. */
export class Refusal extends Error {
  constructor(status, { code = "", message = "", hint = "" }) {
    super(message);
    Object.assign(this, { status, code, hint });
  }
}

/** Ask for a resource of the control API and return its JSON. Throws a `Refusal`. */
export async function ask(path, body = undefined) {
  const options = { cache: "no-store", redirect: "error" };
  if (body !== undefined) {
    Object.assign(options, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  }
  let answer;
  try {
    answer = await fetch(`api${path}`, options);
  } catch {
    throw new Refusal(0, { message: "The agent does not answer.", hint: "hostk8s-agent status says whether one runs" });
  }
  if (answer.ok) return answer.json();
  throw new Refusal(answer.status, await answer.json().catch(() => ({})));
}

/** A stack's name in a path: slashes stay as they are. */
export const quoteName = (name) => name.split("/").map(encodeURIComponent).join("/");
