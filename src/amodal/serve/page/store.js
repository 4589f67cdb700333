// What the user has made, and its history. Objects are never changed, only replaced, so that a snapshot is a list.

let past = [], future = [];

export const state = {
  photo: null,        // { id, name, width, height, bitmap, blob }
  objects: [],        // see `blank`
  active: 0,
  tool: "plus",
  view: "overlay",
  brush: 14,          // radius in screen pixels
  layers: null,       // a scene taken apart, while it is shown
  about: null,
  choice: {},         // method, inpainter, segmenter and options that differ from the service's
  samples: 1,
  seed: 0,
};

const listeners = [];
export const onChange = (listener) => listeners.push(listener);
export const changed = () => listeners.forEach((listener) => listener());

let counter = 0;
export function blank() {
  counter += 1;
  return {
    key: counter, name: `Object ${counter}`, points: [], box: null, mask: null,
    visible: null, occluder: { mode: "auto", mask: null }, result: null, sample: -1, edited: null,
  };
}

/** What the files of an object are called, without their endings; with several objects, the object's place too. */
export const stem = () => `${state.photo.name.replace(/\.[^.]*$/, "")}${state.objects.length > 1 ? `.${state.active + 1}` : ""}`;

export const active = () => state.objects[state.active] ?? null;

const snapshot = () => ({ objects: state.objects.slice(), active: state.active });

/** Change the active object (or another) as a step that can be undone. */
export function edit(patch, index = state.active) {
  past.push(snapshot());
  future = [];
  if (past.length > 200) past.shift();
  state.objects = state.objects.map((object, k) => (k === index ? { ...object, ...patch } : object));
  changed();
}

/** Change what has come from the service: no step of its own. */
export function settle(key, patch) {
  state.objects = state.objects.map((object) => (object.key === key ? { ...object, ...patch } : object));
  changed();
}

export function add() {
  const last = active();
  if (last && !last.points.length && !last.box && !last.mask) return changed();
  past.push(snapshot());
  future = [];
  state.objects = [...state.objects, blank()];
  state.active = state.objects.length - 1;
  changed();
}

export function remove(index) {
  past.push(snapshot());
  future = [];
  state.objects = state.objects.filter((_, k) => k !== index);
  if (!state.objects.length) state.objects = [blank()];
  state.active = Math.min(state.active, state.objects.length - 1);
  changed();
}

export function reset() {
  past.push(snapshot());
  future = [];
  counter = 0;
  state.objects = [blank()];
  state.active = 0;
  changed();
}

export function fresh(photo) {
  past = []; future = []; counter = 0;
  Object.assign(state, { photo, objects: [blank()], active: 0, layers: null, view: "overlay" });
  changed();
}

function travel(from, to) {
  if (!from.length) return false;
  to.push(snapshot());
  Object.assign(state, from.pop());
  changed();
  return true;
}
export const undo = () => travel(past, future);
export const redo = () => travel(future, past);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;
