// The state of the page and everything that can happen to it. Pure: (state, action) to the next state, nothing else.
//
// Every photo, object, prompt, occluder and job has a number of its own that is never used again. Whatever comes back from the
// service carries the numbers that it was asked for; what fits none of the state's is dropped here, and nowhere else.

import { active, belongs, belongsLayers, completable, layersShown, marked, objectOf, photoOf, same, segmenterKey, usable, visibleOf } from "./select.js";

export const initial = () => ({
  next: 1, about: null, photos: [], current: null, tool: "plus", view: "overlay", brush: 14, job: null, layersOpen: false,
  settings: { choice: {}, samples: 1, seed: 0 }, notice: null,
});

const LONGEST = 200;
const blankPrompt = (id) => ({ id, points: [], box: null, text: "", steps: [] });

function blank(state, number) {
  const key = state.next;
  return [{ ...state, next: key + 3 }, {
    key, name: `Object ${number}`, category: "object", prompt: blankPrompt(key + 1), occluder: { id: key + 2, mode: "auto", at: null, mask: null },
    visible: null, proposals: null, result: null, sample: -1, correction: null,
  }];
}

const withPhoto = (state, patch, key = state.current) =>
  ({ ...state, photos: state.photos.map((photo) => (photo.key === key ? { ...photo, ...patch(photo) } : photo)) });
const snapshot = ({ objects, active: chosen }) => ({ objects, active: chosen });
/** Objects as they were, with what was computed for the same prompt since: Undo takes back what the user did. */
const returned = (objects, photo) => objects.map((object) => {
  const later = photo.objects.find(({ key }) => key === object.key);
  return !object.result && later?.result && later.prompt.id === object.prompt.id ? { ...object, result: later.result, sample: later.sample, correction: later.correction } : object;
});
/** A step that can be undone. */
const step = (state, patch) => withPhoto(state, (photo) => ({ past: [...photo.past, snapshot(photo)].slice(-LONGEST), future: [], ...patch(photo) }));
const replaced = (photo, key, patch) => ({ objects: photo.objects.map((object) => (object.key === key ? { ...object, ...patch(object) } : object)) });
/** What has come from the service: no step of its own. */
const settle = (state, of, patch) => withPhoto(state, (photo) => replaced(photo, of.object, patch), of.photo);
const say = (state, text, kind = "info") => ({ ...state, next: state.next + 1, notice: text ? { id: state.next, text, kind } : null });

/** A changed prompt: what was found for the old one does not belong to it. */
function prompted(state, patch, more = {}) {
  const object = active(state);
  if (!object) return state;
  const prompt = { ...object.prompt, ...patch(object.prompt), id: state.next };
  const next = step({ ...state, next: state.next + 1 }, (photo) =>
    replaced(photo, object.key, () => ({ prompt, result: null, correction: null, sample: -1, proposals: null, ...more })));
  return ["cutout", "certainty"].includes(state.view) ? { ...next, view: "overlay" } : next;
}

/** An object's prompt as steps that can be painted on: what is visible of it now, then more. */
function steps(state, object) {
  if (object.prompt.steps.length) return object.prompt.steps;
  const mask = visibleOf(object, photoOf(state));
  return mask?.area ? [{ kind: "mask", mask, points: object.prompt.points }] : [];
}

function mark(state, { x, y, label }) {
  const object = active(state);
  if (state.tool === "occluder") {
    const next = step({ ...state, tool: "plus", next: state.next + 1 }, (photo) =>
      replaced(photo, object.key, () => ({ occluder: { id: state.next, mode: "mask", at: [x, y], mask: null } })));
    return next;
  }
  if (!label && !marked(object)) return say({ ...state, tool: "plus" }, "First click the object itself; then what does not belong to it.");
  if (!object.prompt.steps.length) return prompted(state, ({ points }) => ({ points: [...points, { x, y, label }] }));
  const click = { kind: "click", id: state.next, x, y, label, found: null };
  return prompted({ ...state, next: state.next + 1 }, (prompt) => ({ steps: [...prompt.steps, click] }));
}

function stroke(state, { points, radius }) {
  const object = active(state), { tool } = state;
  const value = ["brush", "grow"].includes(tool) ? 1 : 0;
  if (tool === "grow" || tool === "shrink") {
    if (!object.result) return state;
    const strokes = [...(object.correction?.strokes ?? []), { value, radius, points }];
    return step({ ...state, next: state.next + 1 }, (photo) => replaced(photo, object.key, () => ({ correction: { id: state.next, strokes } })));
  }
  const before = steps(state, object);
  if (!before.length && !value) return say(state, "There is nothing to erase yet.");
  const next = prompted(state, () => ({ points: [], box: null, text: "", steps: [...before, { kind: "stroke", value, radius, points }] }));
  const left = visibleOf(active(next), photoOf(next));
  return left && !left.area ? prompted(state, () => ({ points: [], box: null, text: "", steps: [] })) : next;
}

function choose(state, { files }) {
  let next = state, first = null;
  const opened = files.map(({ name, blob }) => {
    const key = next.next;
    let object;
    [next, object] = blank({ ...next, next: key + 1 }, 1);
    first ??= key;
    return { key, name, blob, width: 0, height: 0, scene: null, error: "", objects: [object], active: object.key, count: 1, past: [], future: [], layers: null, scaled: null };
  });
  return { ...next, photos: [...next.photos, ...opened], current: first ?? state.current, view: "overlay", layersOpen: false, notice: null };
}

function close(state, { photo: key }) {
  const place = state.photos.findIndex((photo) => photo.key === key);
  const photos = state.photos.filter((photo) => photo.key !== key);
  const current = state.current === key ? photos[Math.min(place, photos.length - 1)]?.key ?? null : state.current;
  return { ...state, photos, current, layersOpen: false };
}

function travel(state, from, to) {
  const photo = photoOf(state), layers = layersShown(state);
  if (layers) {
    if (!layers[from].length) return state;
    return withPhoto(state, () => ({ layers: { ...layers, [to]: [...layers[to], layers.items], [from]: layers[from].slice(0, -1), items: layers[from].at(-1) } }));
  }
  if (!photo?.[from].length) return state;
  const there = photo[from].at(-1), here = { ...snapshot(photo), ...("layers" in there && { layers: photo.layers }) };
  return withPhoto(state, () => ({ [to]: [...photo[to], here], [from]: photo[from].slice(0, -1), ...there, objects: returned(there.objects, photo) }));
}

function begin(state, { kind, keys = null }) {
  if (state.job || !photoOf(state)?.width || (kind !== "layers" && layersShown(state))) return state;
  const list = kind === "layers" ? [null] : (keys ?? [photoOf(state).active]).filter((key) => completable(state, objectOf(state, key)));
  if (!list.length) return state;
  return start({ ...state, notice: null }, kind, list, 0);
}

function start(state, kind, list, place) {
  const object = objectOf(state, list[place]);
  const of = kind === "layers" ? belongsLayers(state) : { ...belongs(state, object), ...(kind === "repaint" && { correction: object.correction?.id ?? null, sample: object.sample }) };
  return { ...state, next: state.next + 1, job: { ticket: state.next, kind, of, list, place, id: null, text: "Sending", share: null } };
}

/** Whether the job that runs still makes what is wanted. */
function wanted(state) {
  const { kind, of, list, place } = state.job;
  if (of.photo !== state.current) return false;
  if (kind === "layers") return same(of, belongsLayers(state));
  const object = objectOf(state, list[place]);
  if (!object) return false;
  const { correction, sample, ...plain } = of;
  return same(plain, belongs(state, object)) && (kind !== "repaint" || (correction === object.correction?.id && sample === object.sample));
}

function jobDone(state, { ticket, result }) {
  if (state.job?.ticket !== ticket) return state;
  const { kind, of, list, place } = state.job;
  if (kind === "layers") {
    const items = result.objects.map((_, index) => ({ index, dx: 0, dy: 0, shown: true }));
    const layers = { ...result, of, items, past: [], future: [], picked: -1 };
    return { ...withPhoto(state, () => ({ layers }), of.photo), job: null, layersOpen: true };
  }
  const earlier = objectOf(state, of.object).result; // what it takes the place of can be brought back: it may hold work by hand
  const next = settle({ ...(earlier ? step(state, () => ({})) : state), job: null }, of, () => ({ result: { ...result, of: { photo: of.photo, object: of.object, prompt: of.prompt, occluder: of.occluder, settings: of.settings } }, sample: -1, correction: null }));
  const rest = list.slice(place + 1).find((key) => completable(next, objectOf(next, key)));
  return rest === undefined ? next : start(next, kind, list, list.indexOf(rest));
}

function answered(state, { kind, of, answer, error, status }) {
  const photo = state.photos.find(({ key }) => key === of.photo);
  const object = photo?.objects.find(({ key }) => key === of.object);
  if (!object) return state;
  const told = error ? say(state, error, "error") : state;
  if (kind === "visible") {
    if (object.prompt.id !== of.prompt || of.segmenter !== segmenterKey(state)) return state;
    return settle(told, of, () => ({ visible: { prompt: of.prompt, segmenter: of.segmenter, mask: error ? null : answer.mask, score: answer?.score ?? null, lost: status === 0 || status === 401 }, proposals: null }));
  }
  if (kind === "others") {
    if (object.prompt.id !== of.prompt || object.visible?.prompt !== of.prompt || object.visible.segmenter !== of.segmenter) return state;
    const visible = { ...object.visible, asked: true };
    const proposals = answer?.others.length ? { list: [visible.mask, ...answer.others], chosen: 0, prompt: object.prompt, visible } : null;
    return settle(told, of, () => ({ visible, proposals }));
  }
  if (kind === "occluder") {
    if (object.occluder.id !== of.occluder) return state;
    return settle(told, of, () => ({ occluder: error ? { id: of.occluder, mode: "auto", at: null, mask: null } : { ...object.occluder, mask: answer.mask } }));
  }
  if (object.prompt.id !== of.prompt) return state;
  const now = object.prompt.steps.map((item) => (item.id === of.step ? (error ? null : { ...item, found: answer.mask }) : item)).filter(Boolean);
  return settle(told, of, () => ({ prompt: { ...object.prompt, steps: now } }));
}

function propose(state, { index }) {
  const object = active(state), { proposals } = object ?? {};
  if (!proposals?.list[index] || index === proposals.chosen) return state;
  const { list, prompt, visible } = proposals;
  const now = { ...proposals, chosen: index };
  if (index === 0) return prompted(state, () => prompt, { proposals: now, visible: { ...visible, prompt: state.next } });
  return prompted(state, () => ({ points: [], box: null, text: "", steps: [{ kind: "mask", mask: list[index], points: prompt.points }] }), { proposals: now });
}

function arrange(state, { items, picked, quiet }) {
  const layers = layersShown(state);
  if (!layers) return state;
  if (!items) return withPhoto(state, () => ({ layers: { ...layers, picked } }));
  const past = quiet ? layers.past : [...layers.past, layers.items].slice(-LONGEST);
  return withPhoto(state, () => ({ layers: { ...layers, items, past, future: quiet ? layers.future : [], picked: picked ?? layers.picked } }));
}

function add(state) {
  if (!photoOf(state)?.width || (active(state) && !marked(active(state)))) return state;
  const [next, object] = blank(state, photoOf(state).count + 1);
  return step({ ...next, tool: "plus", layersOpen: false }, (photo) => ({ objects: [...photo.objects, object], active: object.key, count: photo.count + 1 }));
}

function remove(state, { object: key }) {
  const photo = photoOf(state);
  const place = photo.objects.findIndex((object) => object.key === key);
  const left = photo.objects.filter((object) => object.key !== key);
  if (left.length) return step(state, () => ({ objects: left, active: photo.active === key ? left[Math.min(place, left.length - 1)].key : photo.active }));
  return emptied(state, {});
}

/** One object without a mark, and `more` of the photo that is changed and can be brought back. */
function emptied(state, more) {
  const [next, object] = blank(state, 1), photo = photoOf(state), before = Object.fromEntries(Object.keys(more).map((name) => [name, photo[name]]));
  return { ...withPhoto(next, () => ({ past: [...photo.past, { ...snapshot(photo), ...before }].slice(-LONGEST), future: [], objects: [object], active: object.key, count: 1, ...more })),
    layersOpen: false, view: "overlay", tool: "plus", notice: null };
}

/** A service that has answered again is asked again what it did not answer. */
const met = (state, { about }) => ({ ...state, about, photos: state.photos.map((photo) => ({ ...photo, objects: photo.objects.map((object) => (object.visible?.lost ? { ...object, visible: null } : object)) })) });

const HANDLERS = {
  about: met, reset: (state) => emptied(state, { layers: null }),
  choose, close, mark, stroke, begin, jobDone, answered, propose, arrange, add, remove,
  show: (state, { photo }) => (state.photos.some(({ key }) => key === photo) ? { ...state, current: photo, layersOpen: false, notice: null } : state),
  decoded: (state, { photo, width, height, blob, scaled }) => withPhoto(state, (old) => ({ width, height, ...(blob && { blob, scaled }) }), photo),
  uploaded: (state, { photo, scene }) => withPhoto(state, () => ({ scene }), photo),
  failed: (state, { photo, text }) => say(close(state, { photo }), text, "error"),
  box: (state, { box }) => prompted(state, () => ({ box, steps: [] })),
  words: (state, { text }) => (active(state) && text !== active(state).prompt.text ? prompted(state, () => ({ text, steps: [] })) : state),
  mask: (state, { mask }) => prompted(state, () => ({ points: [], box: null, text: "", steps: [{ kind: "mask", mask, points: [] }] })),
  occluder: (state, { mode }) => step({ ...state, tool: state.tool === "occluder" ? "plus" : state.tool, next: state.next + 1 }, (photo) => replaced(photo, photo.active, () => ({ occluder: { id: state.next, mode, at: null, mask: null } }))),
  rename: (state, { object, name, category }) => step(state, (photo) => replaced(photo, object, (old) => ({ name: name ?? old.name, category: category ?? old.category }))),
  select: (state, { object }) => ({ ...withPhoto(state, () => ({ active: object })), layersOpen: false }),
  sample: (state, { index }) => (active(state)?.correction ? step : withPhoto)(state, (photo) => replaced(photo, photo.active, () => ({ sample: index, correction: null }))),
  undo: (state) => travel(state, "past", "future"),
  redo: (state) => travel(state, "future", "past"),
  jobMoved: (state, { ticket, id, text, share }) => (state.job?.ticket === ticket ? { ...state, job: { ...state.job, id: id ?? state.job.id, text, share } } : state),
  jobFailed: (state, { ticket, text, kind }) => (state.job?.ticket === ticket ? say({ ...state, job: null }, text, kind ?? "error") : state),
  cancel: (state) => (state.job ? say({ ...state, job: null }, "Cancelled") : state),
  tool: (state, { tool }) => (usable(state, tool) ? { ...state, tool } : state),
  view: (state, { view }) => (layersShown(state) ? state : { ...state, view }),
  brush: (state, { radius }) => ({ ...state, brush: Math.min(80, Math.max(2, radius)) }),
  settings: (state, { patch }) => ({ ...state, settings: { ...state.settings, ...patch } }),
  layersOpen: (state, { open }) => ({ ...state, layersOpen: Boolean(open && photoOf(state)?.layers) }),
  notice: (state, { text, kind }) => say(state, text, kind),
  unnotice: (state, { id }) => (state.notice?.id === id ? { ...state, notice: null } : state),
  restore: (state, { saved }) => ({ ...state, ...saved, job: null }),
};

/** The next state. */
export function reduce(state, action) {
  let next = HANDLERS[action.type](state, action);
  if (next.job && !wanted(next)) next = say({ ...next, job: null }, next.job.of.photo === next.current ? "Cancelled: what it was for has changed" : "");
  if (next.layersOpen && !layersShown(next)) next = { ...next, layersOpen: false };
  if (!usable(next, next.tool)) next = { ...next, tool: "plus" };
  return ["cutout", "certainty"].includes(next.view) && !active(next)?.result ? { ...next, view: "overlay" } : next;
}
