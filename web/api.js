// Calls to the server this page came from: key, errors, server-sent events.

const KEY = "inazuma.key";
let key = readKey();

function readKey() {
  try {
    return sessionStorage.getItem(KEY) ?? "";
  } catch {
    return "";  // storage is switched off: the key is asked for again after a reload
  }
}

export const hasKey = () => key !== "";

export function useKey(value) {
  key = value;
  try {
    if (value === "") sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // kept in memory only
  }
}

/** What the server said instead of a result. `status` 0: it could not be reached. */
export class ApiError extends Error {
  constructor(status, message, type = "") {
    super(message);
    this.status = status;
    this.type = type;
  }
}

async function send(path, options) {
  const headers = { accept: "application/json", ...options.headers };
  if (key !== "") headers.authorization = `Bearer ${key}`;
  let reply;
  try {
    reply = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, String(error.message ?? error));
  }
  if (reply.ok) return reply;
  const text = await reply.text();
  let parsed = null;
  try {
    parsed = JSON.parse(text);
  } catch {
    // not one of the server's own errors (a proxy's page): the text is shown as it is
  }
  const message = typeof parsed?.error === "string" ? parsed.error : parsed?.error?.message ?? (text.slice(0, 300) || reply.statusText);
  throw new ApiError(reply.status, message, parsed?.error_type ?? parsed?.error?.type ?? "");
}

const post = (body, signal) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });

export async function getJson(path) {
  return (await send(path, {})).json();
}

export async function getText(path) {
  return (await send(path, { headers: { accept: "text/plain" } })).text();
}

/** {value, headers, milliseconds} of a computed route. */
export async function postJson({ path, body }, signal) {
  const start = performance.now();
  const reply = await send(path, post(body, signal));
  const value = await reply.json();
  return { value, headers: reply.headers, milliseconds: performance.now() - start };
}

/** Reads a stream of server-sent events; `onEvent` gets each parsed `data:`. */
export async function postStream({ path, body }, signal, onEvent) {
  const reply = await send(path, post(body, signal));
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return reply.headers;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const data = rest.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      rest = rest.slice(end + 2);
      if (data !== "") onEvent(JSON.parse(data));
    }
  }
}
