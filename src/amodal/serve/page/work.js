// What the page asks of the service: visible masks as the user marks, jobs with progress, results.

import * as api from "./api.js";
import { load as loadLayers } from "./layers.js";
import { Mask } from "./mask.js";
import { heatOf } from "./stage.js";
import { active, changed, fresh, settle, state } from "./store.js";

export const job = { id: null, text: "", share: 0, unknown: true };
const say = { error: () => {}, live: () => {} };
export const listen = (handlers) => Object.assign(say, handlers);

/** Run an action; show what goes wrong in the service's own words. */
export async function attempt(action) {
  say.error("");
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof api.Refusal)) console.error(error);
    say.error(error.message, error.status);
    return undefined;
  }
}

export const openPhoto = (blob, name) => attempt(async () => {
  say.live(`Opening ${name}`);
  const scene = await api.openScene(blob, name);
  const bitmap = await api.picture(`/api/scenes/${scene.id}/photo.png`);
  fresh({ ...scene, name, bitmap, blob });
  say.live(`${name}, ${scene.width} by ${scene.height} pixels`);
});

/** A call about the open photo; if the service has forgotten the photo, it is opened again. */
async function onScene(call) {
  try {
    return await call(state.photo.id);
  } catch (error) {
    if (error.status !== 404 || !state.photo) throw error;
    state.photo.id = (await api.openScene(state.photo.blob, state.photo.name)).id;
    return call(state.photo.id);
  }
}

const rle = (mask) => {
  const { size, counts } = mask.on(0, 0, state.photo.width, state.photo.height).encode();
  return { size, counts };
};

function promptOf(object) {
  if (object.mask) return { mask: rle(object.mask) };
  const out = {};
  if (object.points.length) {
    out.points = object.points.map(({ x, y }) => [x, y]);
    out.labels = object.points.map(({ label }) => label);
  }
  if (object.box) out.box = object.box;
  return out;
}

export const marked = (object) =>
  Boolean(object && (object.mask || object.box || object.points.some(({ label }) => label)));

const asking = new Map();

/** The visible mask of an object's prompt; only the latest answer counts. */
export async function refreshVisible(object) {
  if (!marked(object)) return;
  const turn = (asking.get(object.key) ?? 0) + 1;
  asking.set(object.key, turn);
  if (object.mask) { settle(object.key, { visible: object.mask }); return; }
  await attempt(async () => {
    const answer = await onScene((scene) => api.visible(scene, { ...promptOf(object), model: state.choice }));
    if (asking.get(object.key) !== turn) return;
    settle(object.key, { visible: Mask.decode(answer.mask) });
    say.live(`Visible mask of ${answer.area} pixels`);
  });
}

/** The mask at a click, without what is at `not` ([x, y] or null). */
export const maskAt = (x, y, not = null) => attempt(async () => {
  const prompt = not ? { points: [[x, y], not], labels: [1, 0] } : { points: [[x, y]], labels: [1] };
  return Mask.decode((await onScene((scene) => api.visible(scene, { ...prompt, model: state.choice }))).mask);
});

function show(update) {
  const { state: phase, place, what, done, total } = update;
  job.unknown = !(phase === "running" && total);
  job.share = total ? done / total : 0;
  if (phase === "queued") job.text = place > 1 ? `Waiting: ${place - 1} before you` : "Waiting: you are next";
  else if (phase === "running") job.text = total ? `${what} ${done} of ${total}` : "Working";
  changed();
}

async function run(what, body) {
  job.text = "Sending";
  job.unknown = true;
  const begun = await onScene((scene) => api.start(scene, what, { ...body, seed: state.seed, model: state.choice }));
  job.id = begun.id;
  show(begun);
  try {
    const end = await api.follow(begun.id, show);
    if (end.state === "cancelled") { say.live("Cancelled"); return null; }
    if (end.state !== "done") throw new api.Refusal(end.error ?? "It failed.", 422);
    return begun.id;
  } finally {
    job.id = null;
    changed();
  }
}

async function takeResult(id, key) {
  const record = await api.result(id);
  const [cutout, certainty] = await Promise.all(
    ["cutout.png", "probability.png"].map((name) => api.picture(api.fileUrl(id, name))));
  const amodalMask = Mask.decode(record.beyond_frame ?? record.amodal);
  const result = {
    ...record, job: id, cutout, heat: heatOf(certainty), amodalMask,
    sampleMasks: record.samples.map((sample) => Mask.decode(sample)), samplePictures: [],
  };
  settle(key, { result, sample: -1, edited: null, visible: Mask.decode(record.visible) });
  say.live(`Done: ${(100 * record.occlusion_rate).toFixed(0)} percent of the object is occluded`);
}

export const complete = (object) => attempt(async () => {
  if (job.id || job.text === "Sending") return;
  const body = { ...promptOf(object), samples: state.samples };
  if (object.occluder.mode === "none") body.occluder = "none";
  if (object.occluder.mode === "mask" && object.occluder.mask) body.occluder = rle(object.occluder.mask);
  try {
    const id = await run("completions", body);
    if (id) await takeResult(id, object.key);
  } finally { job.text = ""; changed(); }
});

export const repaint = (object) => attempt(async () => {
  if (job.id) return;
  const { size, counts, origin } = object.edited.encode();
  try {
    const id = await run("repaints", { visible: rle(object.visible), amodal: { size, counts, origin } });
    if (id) await takeResult(id, object.key);
  } finally { job.text = ""; changed(); }
});

export const takeApart = () => attempt(async () => {
  if (job.id) return;
  const known = state.objects.filter((object) => marked(object) && object.visible);
  const objects = known.length > 1 ? known.map((object) => ({ mask: rle(object.visible) })) : null;
  try {
    const id = await run("layers", { objects });
    if (id) { state.layers = await loadLayers(id); say.live(`${state.layers.objects.length} layers`); }
  } finally { job.text = ""; changed(); }
});

export const cancel = () => attempt(async () => { if (job.id) await api.cancel(job.id); });

/** Show one sample (-1: the vote of all). */
export const choose = (index) => attempt(async () => {
  const { key, result } = active();
  if (index >= 0) result.samplePictures[index] ??= await api.picture(api.fileUrl(result.job, `sample-${index}.png`));
  settle(key, { sample: index, edited: null });
});
