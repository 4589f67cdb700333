// The service's calls. Everything the page does goes through the same HTTP API that programs use.

export class Refusal extends Error {
  constructor(text, status) { super(text); this.status = status; }
}

let token = null;

/** Take the token out of the address (#token=...), so that it is neither sent in a URL nor kept in the history. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) { token = found; history.replaceState(null, "", location.pathname); }
  return Boolean(found);
}

export function setToken(text) { token = text; }

const GONE = "The service does not answer. Is it still running?";
const headers = (type) => ({ ...(token && { Authorization: `Bearer ${token}` }), ...(type && { "Content-Type": type }) });

async function ask(verb, path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, { method: verb, signal, headers: headers(body && (body instanceof Blob ? "application/octet-stream" : "application/json")), body: body instanceof Blob ? body : body && JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(GONE, 0);
  }
  if (answer.ok) return answer;
  let text = `The service answered ${answer.status}.`;
  try { text = (await answer.json()).error; } catch { /* no JSON: the status must do */ }
  throw new Refusal(text, answer.status);
}

const json = async (...request) => (await ask(...request)).json();

export const about = () => json("GET", "/api/about");
export const visible = (scene, body) => json("POST", `/api/scenes/${scene}/visible`, body);
export const mask = (scene, picture) => json("POST", `/api/scenes/${scene}/mask`, picture);
export const start = (scene, what, body, signal) => json("POST", `/api/scenes/${scene}/${what}`, body, signal);
export const cancel = (job) => json("DELETE", `/api/jobs/${job}`);
export const closeScene = (scene) => ask("DELETE", `/api/scenes/${scene}`);
export const result = (job, signal) => json("GET", `/api/jobs/${job}/result`, undefined, signal);
export const file = async (job, name, signal) => (await ask("GET", `/api/jobs/${job}/files/${name}`, undefined, signal)).blob();
export const photo = async (scene) => (await ask("GET", `/api/scenes/${scene}/photo.png`)).blob();
export const sample = async (name) => (await ask("GET", `/samples/${name}`)).blob();

/** Upload a photo; `tell` gets the share that is sent. */
export const openScene = (blob, name, tell) => new Promise((done, fail) => {
  const line = new XMLHttpRequest();
  line.open("POST", `/api/scenes?name=${encodeURIComponent(name.slice(0, 150).toWellFormed?.() ?? name.slice(0, 150))}`);
  for (const [key, value] of Object.entries(headers(blob.type.startsWith("image/") ? blob.type : "application/octet-stream"))) line.setRequestHeader(key, value);
  line.upload.onprogress = ({ loaded, total }) => tell(loaded / total);
  line.onerror = () => fail(new Refusal(GONE, 0));
  line.onload = () => {
    let answer = {};
    try { answer = JSON.parse(line.responseText); } catch { /* no JSON: the status must do */ }
    if (line.status === 201) done(answer);
    else fail(new Refusal(answer.error ?? `The service answered ${line.status}.`, line.status));
  };
  line.send(blob);
});

/** Follow a job to its end; `show` gets every state. */
export async function follow(job, show, signal) {
  const reader = (await ask("GET", `/api/jobs/${job}/events`, undefined, signal)).body.pipeThrough(new TextDecoderStream()).getReader();
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
  return state ?? { state: "failed", error: "the service ended" };
}
