// The service's calls. Everything the page does goes through the same HTTP API that programs use.

export class Refusal extends Error {
  constructor(text, status) { super(text); this.status = status; }
}

let token = null;

/** Take the token out of the address (#token=...), so that it is neither sent in a URL nor kept in the history. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) { token = found; history.replaceState(null, "", location.pathname); }
}

export function setToken(text) { token = text; }

async function ask(verb, path, body, type) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = type ?? "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: verb, headers, body: body === undefined || type ? body : JSON.stringify(body) });
  } catch {
    throw new Refusal("The service does not answer. Is it still running?", 0);
  }
  if (answer.ok) return answer;
  let text = `The service answered ${answer.status}.`;
  try { text = (await answer.json()).error; } catch { /* no JSON: the status must do */ }
  throw new Refusal(text, answer.status);
}

const json = async (...request) => (await ask(...request)).json();

export const about = () => json("GET", "/api/about");
export const openScene = (blob, name) =>
  json("POST", `/api/scenes?name=${encodeURIComponent(name.slice(0, 150))}`, blob, blob.type.startsWith("image/") ? blob.type : "application/octet-stream");
export const visible = (scene, body) => json("POST", `/api/scenes/${scene}/visible`, body);
export const start = (scene, what, body) => json("POST", `/api/scenes/${scene}/${what}`, body);
export const cancel = (job) => json("DELETE", `/api/jobs/${job}`);
export const result = (job) => json("GET", `/api/jobs/${job}/result`);
export const fileUrl = (job, name) => `/api/jobs/${job}/files/${name}`;

export async function picture(path) {
  const blob = await (await ask("GET", path)).blob();
  return createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
}

/** Follow a job to its end; `show` gets every state. */
export async function follow(job, show) {
  const reader = (await ask("GET", `/api/jobs/${job}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", state = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ")) { state = JSON.parse(part.slice(6)); show(state); }
    }
  }
  return state ?? { state: "failed", error: "The service ended." };
}
