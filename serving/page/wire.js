// Requests to our own server and to nobody else, and what goes wrong with them in words.

export const connection = new EventTarget();
let reachable = true;

/** What the server refuses, or that there is no server: `status` 0. */
export class RequestError extends Error {
  constructor(status, kind, detail, hint, after = 0) {
    super(detail);
    Object.assign(this, { status, kind, detail, hint, after });
  }
}

/** Whether an error only says that nobody wants the answer any more. */
export function isAbort(error) {
  return error?.name === "AbortError";
}

/**
 * Send a request and return its response once its head is there.
 * @param {string} method
 * @param {string} path relative to the page
 * @param {{key: string, token?: string, body?: object, signal?: AbortSignal, accept?: string}} given
 */
export async function send(method, path, { key, token = "", body, signal, accept = "application/json" }) {
  const headers = { Accept: accept, Authorization: `Bearer ${key}` };
  if (token) headers["Headrace-Person"] = token;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), {
      method,
      headers,
      signal,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    tellReachable(false);
    throw new RequestError(
      0,
      "unreachable",
      "The server cannot be reached.",
      "It is asked again by itself while this page is open.",
    );
  }
  tellReachable(true);
  if (!response.ok) throw await refused(response);
  return response;
}

/** The events of a stream of server-sent events: `{name, data}`, data read as JSON. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (line === "") {
          if (data.length) yield { name: name || "message", data: JSON.parse(data.join("\n")) };
          name = "";
          data = [];
        }
      }
    }
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new RequestError(0, "broken", "The connection broke off.", "Ask once more.");
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function refused(response) {
  const after = Number(response.headers.get("Retry-After")) || 0;
  try {
    const { error } = await response.json();
    return new RequestError(response.status, error.kind, error.detail, error.hint ?? "", after);
  } catch {
    return new RequestError(response.status, "answer", `The server answers ${response.status}.`, "", after);
  }
}

function tellReachable(is) {
  if (is === reachable) return;
  reachable = is;
  connection.dispatchEvent(new CustomEvent(is ? "up" : "down"));
}
