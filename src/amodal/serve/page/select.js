// What follows from the state: which prompt an object has, what a result belongs to, what must be asked of the service. Pure.

import { Mask } from "./mask.js";

export const photoOf = (state) => state.photos.find(({ key }) => key === state.current) ?? null;
export const ready = (state) => Boolean(photoOf(state)?.width);
export const active = (state) => {
  const photo = photoOf(state);
  return photo?.objects.find(({ key }) => key === photo.active) ?? null;
};
export const objectOf = (state, key) => photoOf(state)?.objects.find((object) => object.key === key) ?? null;
export const layersShown = (state) => (state.layersOpen ? photoOf(state)?.layers ?? null : null);

/** Whether the prompt says where the object is. */
export const marked = (object) => Boolean(object && (object.prompt.steps.length || object.prompt.box
  || object.prompt.text || object.prompt.points.some(({ label }) => label)));
export const worked = (photo) => Boolean(photo.layers) || photo.objects.some((object) => marked(object) || object.prompt.points.length || object.result);

const painted = new WeakMap();
/** The mask of a painted prompt: a mask, strokes and found clicks on each other; null while a click is not answered. */
export function maskOf(prompt, frame) {
  if (prompt.steps.some((step) => step.kind === "click" && !step.found)) return null;
  if (!painted.has(prompt)) {
    let mask = Mask.empty();
    for (const step of prompt.steps) {
      if (step.kind === "mask") mask = step.mask;
      else if (step.kind === "stroke") mask = mask.painted([step], frame);
      else mask = mask.with(step.found, step.label);
    }
    painted.set(prompt, mask);
  }
  return painted.get(prompt);
}

/** The visible mask, if it is known for the prompt as it is now. */
export function visibleOf(object, photo) {
  if (!object) return null;
  if (object.prompt.steps.length) return maskOf(object.prompt, [photo.width, photo.height]);
  return object.visible?.prompt === object.prompt.id ? object.visible.mask : null;
}

const corrected = new WeakMap();
/** The amodal mask that is shown: the vote of all samples or the chosen one, with corrections by hand. */
export function amodalOf(object) {
  if (!object?.result) return null;
  const { result, sample, correction } = object;
  const plain = sample >= 0 ? result.samples[sample] : result.amodal;
  if (!correction) return plain;
  if (!corrected.has(correction)) corrected.set(correction, plain.painted(correction.strokes).with(result.visible, 1));
  return corrected.get(correction);
}

/** Whether the chosen method draws by chance, so that several samples differ; true while it is not known. */
export const draws = ({ about, settings: { choice } }) => about?.methods?.choices.find(({ name }) => name === (choice.method ?? about.methods.default))?.draws ?? true;

export const settingsKey = ({ settings }) => JSON.stringify([settings.choice, settings.samples, settings.seed]);
export const segmenterKey = ({ settings: { choice } }) => JSON.stringify([choice.segmenter ?? null, choice.segmenter_options ?? null]);

/** What a result made now would belong to. */
export const belongs = (state, object) => ({
  photo: state.current, object: object.key, prompt: object.prompt.id, occluder: object.occluder.id, settings: settingsKey(state),
});
/** Several marked objects are the layers; else they are found. */
export const belongsLayers = (state) => {
  const ids = photoOf(state).objects.filter(marked).map(({ prompt }) => prompt.id);
  return { photo: state.current, objects: ids.length > 1 ? ids.join() : "", settings: settingsKey(state) };
};
export const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** The share of an object that is occluded, of what is shown: the chosen sample, corrected by hand. */
export const occludedShare = (object) => 1 - object.result.visible.area / Math.max(1, amodalOf(object).area);

/** Why an object's result is out of date, or "". */
export function outdated(state, object) {
  const of = object?.result?.of;
  if (!of) return "";
  if (of.occluder !== object.occluder.id) return "what hides the object was changed";
  return of.settings === settingsKey(state) ? "" : "the method or an option was changed";
}

/** Whether a tool can be used now. */
export function usable(state, tool) {
  if (!ready(state) || layersShown(state)) return tool === "plus";
  return !["grow", "shrink"].includes(tool) || Boolean(active(state)?.result);
}

/** An object's prompt as the service takes it; null while it is not complete. */
export function promptBody(object, photo) {
  const { points, box, text, steps } = object.prompt;
  if (steps.length) {
    const mask = maskOf(object.prompt, [photo.width, photo.height]);
    return mask?.area ? { mask: mask.rle(photo.width, photo.height) } : null;
  }
  if (!marked(object)) return null;
  const body = {};
  if (points.length) Object.assign(body, { points: points.map(({ x, y }) => [x, y]), labels: points.map(({ label }) => label) });
  if (box) body.box = box;
  if (text) body.text = text;
  return body;
}

/** Whether a job for this object could begin. */
export function completable(state, object) {
  const photo = photoOf(state);
  if (!ready(state) || !object || !marked(object)) return false;
  return Boolean(object.prompt.steps.length ? visibleOf(object, photo)?.area : true) && !(object.occluder.at && !object.occluder.mask);
}

/** A click on a painted mask: what is taken away is not the rest of the mask. */
function clickBody({ steps }, { x, y, label, id }, photo) {
  const far = label ? null : maskOf({ steps: steps.slice(0, steps.findIndex((step) => step.id === id)) }, [photo.width, photo.height])?.farFrom(x, y);
  return far ? { points: [[x, y], far], labels: [1, 0] } : { point: [x, y] };
}

/** How long a single click must stand, in ms, until it is asked what else it may mean: who clicks on does not wait for that. */
const STANDS = 250;
const isClick = ({ points, box, text, steps }) => points.length === 1 && points[0].label && !box && !text && !steps.length;

/** What the service must be asked now: each { key, kind, of, body, after }, the same again until it is answered;
 * `after` so many milliseconds, if it must be asked then still. */
export function questions(state) {
  const photo = photoOf(state);
  if (!photo?.width) return [];
  const out = [], segmenter = segmenterKey(state), model = state.settings.choice;
  const add = (kind, of, body, after = 0) => out.push({ key: JSON.stringify([kind, of]), kind, of, body: { ...body, model }, after });
  for (const object of photo.objects) {
    const of = { photo: photo.key, object: object.key };
    const { prompt, visible, occluder } = object;
    const known = visible?.prompt === prompt.id && visible.segmenter === segmenter;
    if (!prompt.steps.length && marked(object) && !known) add("visible", { ...of, prompt: prompt.id, segmenter }, { ...promptBody(object, photo), others: false });
    if (!state.job && known && !visible.asked && visible.mask && isClick(prompt)) add("others", { ...of, prompt: prompt.id, segmenter }, promptBody(object, photo), STANDS);
    const open = prompt.steps.find((step) => step.kind === "click" && !step.found);
    if (open) add("found", { ...of, prompt: prompt.id, step: open.id }, clickBody(prompt, open, photo));
    if (occluder.at && !occluder.mask) add("occluder", { ...of, occluder: occluder.id }, { point: occluder.at });
  }
  return out;
}
