// What the state wants from the outside: photos decoded and uploaded, questions asked, jobs run. Every answer goes back to the
// state as an action with what it is for; whether it is still wanted is decided there.

import * as api from "./api.js";
import { Mask } from "./mask.js";
import { draws, objectOf, photoOf, promptBody, questions, visibleOf, amodalOf, marked } from "./select.js";
import { dispatch, now, onChange } from "./store.js";

/** What cannot lie in the state: per photo its picture, and the promise of its scene on the service. */
const media = new Map(), DECODED = 6; // so many pictures stay decoded: those of the photos shown last
export const bitmapOf = (photo) => media.get(photo?.key)?.bitmap ?? null;
export const upload = { share: null };
const listeners = [];
/** Called when a picture or a share of an upload has come: something must be drawn. */
export const onMedia = (listener) => listeners.push(listener);
export const drawn = () => listeners.forEach((listener) => listener());
const tell = (error) => {
  if (error.name === "AbortError") return;
  if (!(error instanceof api.Refusal)) console.error(error);
  dispatch({ type: "notice", text: error.message, kind: "error", status: error.status });
};

/** Run an action; say what goes wrong in the service's own words. */
export async function attempt(action) {
  try { return await action(); } catch (error) { tell(error); return undefined; }
}

// --- photos -----------------------------------------------------------------------------------------------------------------

/** Open files: the first one is shown, the others wait in the row of photos. */
export function openFiles(files) {
  const pictures = [...files].filter(({ type, name }) => type.startsWith("image/") || /\.(apng|avifs?|bmp|dib|gif|hei[cf]|j2[ck]|jfif|jif|jp[2cefgx]|p?jpeg|mpo|p[bgnp]m|pjp|png|tiff?|webp)$/i.test(name ?? ""));
  if (pictures.length < files.length) dispatch({ type: "notice", kind: "error", text: `${files.length - pictures.length} of ${files.length} files are no pictures and were left out.` });
  if (pictures.length) dispatch({ type: "choose", files: pictures.map((blob) => ({ name: blob.name || "pasted.png", blob })) });
}

let entered;
const aboutReady = new Promise((done) => { entered = done; });
export async function enter() {
  const about = await api.about();
  dispatch({ type: "about", about });
  entered(about);
}

/** How a photo beyond the limits would fit; null where it does. */
function fitting({ width, height }, blob, limits) {
  const scale = Math.min(1, Math.sqrt(limits.pixels / (width * height)));
  if (scale === 1 && blob.size <= limits.upload_bytes) return null;
  return [Math.floor(width * scale), Math.floor(height * scale)];
}

let askScale = async () => true;
export const onTooLarge = (question) => { askScale = question; };

/** A picture as the service reads it: what is transparent lies on white. */
async function pictureIn(blob) {
  const bitmap = await createImageBitmap(blob);
  if (blob.type === "image/jpeg") return bitmap;
  const { width, height } = bitmap, canvas = new OffscreenCanvas(width, height), pen = canvas.getContext("2d", { alpha: false });
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.transferToImageBitmap();
}

async function decode(photo) {
  const entry = { bitmap: null, scene: null };
  media.set(photo.key, entry);
  try {
    let { blob } = photo;
    try { entry.bitmap = await pictureIn(blob); } catch { /* a format that only the service reads */ }
    if (entry.bitmap && now().about && !fitting(entry.bitmap, blob, now().about.limits)) { dispatch({ type: "decoded", photo: photo.key, width: entry.bitmap.width, height: entry.bitmap.height }); drawn(); }
    const { limits } = await aboutReady;
    const size = entry.bitmap && fitting(entry.bitmap, blob, limits);
    if (size) {
      if (!(await askScale(photo.name, entry.bitmap, size, limits))) { dispatch({ type: "close", photo: photo.key }); return; }
      const from = [entry.bitmap.width, entry.bitmap.height];
      entry.bitmap = await createImageBitmap(entry.bitmap, { resizeWidth: size[0], resizeHeight: size[1], resizeQuality: "high" });
      const canvas = new OffscreenCanvas(...size);
      canvas.getContext("2d").drawImage(entry.bitmap, 0, 0);
      blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
      dispatch({ type: "decoded", photo: photo.key, width: size[0], height: size[1], blob, scaled: from });
    }
    else if (entry.bitmap) dispatch({ type: "decoded", photo: photo.key, width: entry.bitmap.width, height: entry.bitmap.height });
    const gone = () => media.get(photo.key) !== entry; // closed, or let go, meanwhile
    if (gone()) return;
    const scene = await sceneOf({ ...photo, blob });
    if (gone()) return;
    if (scene.notes?.length) dispatch({ type: "notice", text: scene.notes.join("; ") });
    const unclear = scene.orientation > 1 && (scene.orientation < 5 || scene.width === scene.height); // turned, and of the same size
    if (entry.bitmap?.width !== scene.width || entry.bitmap?.height !== scene.height || unclear) { // read otherwise here, or not at all
      const upright = await api.photo(scene.id);
      if (gone()) return;
      entry.bitmap = await createImageBitmap(upright);
      dispatch({ type: "decoded", photo: photo.key, width: scene.width, height: scene.height, blob: upright, scaled: photo.scaled });
    }
    drawn();
  } catch (error) {
    if (media.get(photo.key) !== entry) return;
    media.delete(photo.key);
    if (error.status === 401) tell(error);
    else dispatch({ type: "failed", photo: photo.key, text: `${photo.name}: ${error.message}` });
  }
}

/** The photo on the service: uploaded once, and again where the service has forgotten it. */
function sceneOf(photo, again = false) {
  const entry = media.get(photo.key);
  if (!again && !entry.scene && photo.scene) entry.scene = Promise.resolve({ id: photo.scene, width: photo.width, height: photo.height });
  if (again || !entry.scene) {
    entry.scene = api.openScene(photo.blob, photo.name, (share) => { upload.share = share < 1 ? share : null; drawn(); });
    entry.scene.then(({ id }) => dispatch({ type: "uploaded", photo: photo.key, scene: id }), () => { entry.scene = null; });
  }
  return entry.scene;
}

async function onScene(photo, call) {
  const { id } = await sceneOf(photo);
  try {
    return await call(id);
  } catch (error) {
    if (error.status !== 404) throw error;
    return call((await sceneOf(photo, true)).id);
  }
}

// --- questions --------------------------------------------------------------------------------------------------------------

const asking = new Set();

async function put(photo, { key, kind, of, body, after }) {
  asking.add(key);
  if (after) {
    await new Promise((next) => setTimeout(next, after));
    if (!questions(now()).some((question) => question.key === key)) { asking.delete(key); return; }
  }
  try {
    const found = await onScene(photo, (scene) => api.visible(scene, body));
    const answer = { mask: Mask.decode(found.mask), score: found.score, others: found.others.map(({ mask }) => Mask.decode(mask)) };
    asking.delete(key);
    dispatch({ type: "answered", kind, of, answer });
  } catch (error) {
    asking.delete(key);
    if (!(error instanceof api.Refusal)) console.error(error);
    dispatch({ type: "answered", kind, of, error: error.message, status: error.status });
  }
}

/** A picture of the visible mask, read by the service as it reads all masks; dropped where another object is shown meanwhile. */
export async function takeMask(picture) {
  const photo = photoOf(now()), { active: object } = photo;
  const { mask, notes } = await onScene(photo, (scene) => api.mask(scene, picture));
  if (photoOf(now())?.key === photo.key && photoOf(now()).active === object) {
    dispatch({ type: "mask", mask: Mask.decode(mask) });
    if (notes.length) dispatch({ type: "notice", text: notes.join("; ") });
  }
  else dispatch({ type: "notice", kind: "error", text: `The mask was left out: it was for ${photo.name}, and another object is shown now.` });
}

// --- jobs -------------------------------------------------------------------------------------------------------------------

const running = { ticket: null, stop: null };

function bodyOf(state, { kind, list, place }) {
  const photo = photoOf(state), { settings } = state;
  const common = { seed: settings.seed, model: settings.choice };
  const frame = (mask) => mask.rle(photo.width, photo.height);
  if (kind === "layers") {
    const known = photo.objects.filter((object) => marked(object) && visibleOf(object, photo)?.area);
    return ["layers", { ...common, ...(known.length > 1 && { objects: known.map((object) => ({ mask: frame(visibleOf(object, photo)) })), names: known.map(({ name }) => name) }) }];
  }
  const object = objectOf(state, list[place]);
  if (kind === "repaint") return ["repaints", { ...common, visible: frame(object.result.visible), amodal: amodalOf(object).tight().encode() }];
  const { mode, mask } = object.occluder;
  return ["completions", { ...common, ...promptBody(object, photo), samples: draws(state) ? settings.samples : 1,
    ...(mode === "none" && { occluder: "none" }), ...(mode === "mask" && mask && { occluder: frame(mask) }) }];
}

function progressText({ list, place }, { state, place: line, what, done, total }) {
  const of = list.length > 1 ? `Object ${place + 1} of ${list.length}: ` : "";
  if (state === "queued") return `${of}${line > 1 ? `${line - 1} before you` : "you are next"}`;
  return `${of}${total ? `${what} ${done} of ${total}` : "working"}`;
}

async function run(state, job) {
  const stop = new AbortController(), { ticket } = job, photo = photoOf(state);
  Object.assign(running, { ticket, stop });
  let id = null;
  const show = (update) => dispatch({ type: "jobMoved", ticket, id: update.id, text: progressText(job, update),
    share: job.list.length > 1 ? (job.place + (update.total ? update.done / update.total : 0)) / job.list.length : update.total ? update.done / update.total : null });
  try {
    const [what, body] = bodyOf(state, job);
    ({ id } = await onScene(photo, (scene) => api.start(scene, what, body)));
    if (stop.signal.aborted) return;
    const end = await api.follow(id, show, stop.signal);
    if (end.state !== "done") throw new api.Refusal(end.error ?? `the job is ${end.state}`, 422);
    const result = job.kind === "layers" ? await takeLayers(id, stop.signal) : await takeResult(id, stop.signal);
    dispatch({ type: "jobDone", ticket, result });
  } catch (error) {
    if (error.name !== "AbortError" && !stop.signal.aborted) {
      if (!(error instanceof api.Refusal)) console.error(error);
      dispatch({ type: "jobFailed", ticket, text: error.message, status: error.status });
    }
  } finally {
    if (stop.signal.aborted && id) api.cancel(id).catch(() => {}); // it may have ended, or the service with it
  }
}

async function takeResult(id, signal) {
  const record = await api.result(id, signal);
  const many = record.samples.length > 1 ? record.samples.map((_, k) => `sample-${k}.png`) : [];
  const [cutout, probability, ...samples] = await Promise.all(["cutout.png", "certainty.png", ...many].map((name) => api.file(id, name, signal)));
  return {
    record, files: { cutout, probability, samples }, visible: Mask.decode(record.visible),
    amodal: Mask.decode(record.beyond_frame ?? record.amodal), samples: many.length ? record.samples.map((sample) => Mask.decode(sample)) : [],
  };
}

async function takeLayers(id, signal) {
  const record = await api.result(id, signal);
  const names = ["background", "rest", ...record.objects.map((_, k) => `object-${k + 1}`)];
  const [background, rest, ...pictures] = await Promise.all(names.map((name) => api.file(id, `${name}.png`, signal)));
  const objects = record.objects.map((object, k) => ({
    name: object.name.replace(/^object-(?=\d+$)/, "Object "), picture: pictures[k],
    x: object.layer_box[0], y: object.layer_box[1], width: object.layer_box[2] - object.layer_box[0], height: object.layer_box[3] - object.layer_box[1],
    visible: Mask.decode(object.visible), rate: object.occlusion_rate,
  }));
  return { record, background, rest, objects };
}

/** Keep the outside in step with the state. */
function follow(state) {
  const photo = photoOf(state);
  if (photo && !media.has(photo.key)) decode(photo);
  else if (photo && [...media.keys()].at(-1) !== photo.key) { const entry = media.get(photo.key); media.delete(photo.key); media.set(photo.key, entry); }
  for (const [key, { bitmap }] of [...media].slice(0, -DECODED)) {
    if (bitmap && state.photos.find((other) => other.key === key)?.scene) { bitmap.close(); media.delete(key); }
  }
  for (const [key, { bitmap }] of media) {
    if (!state.photos.some((other) => other.key === key)) {
      media.get(key).scene?.then(({ id }) => api.closeScene(id)).catch(() => {}); // forgotten there already
      bitmap?.close();
      media.delete(key);
    }
  }
  for (const question of questions(state)) if (!asking.has(question.key) && media.has(photo.key)) put(photo, question);
  if (running.stop && running.ticket !== (state.job?.ticket ?? null)) { running.stop.abort(); Object.assign(running, { ticket: null, stop: null }); }
  if (state.job && running.ticket !== state.job.ticket) run(state, state.job);
}
onChange(follow);
