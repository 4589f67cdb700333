// What a click would mark, shown while the mouse rests on the photo before the first click. It is asked only of segmenters with a
// quick look (`glance`), one question at a time; it is no part of the state, and whatever it was for has changed drops it.

import * as api from "./api.js";
import { Mask } from "./mask.js";
import { rounded } from "./pointer.js";
import { active, layersShown, marked, photoOf, ready, segmenterKey } from "./select.js";
import { canvas, draft, draw } from "./stage.js";
import { now, onChange } from "./store.js";

const REST = 90; // milliseconds without a move
const SLOW = 700; // milliseconds: after two answers that took longer, this segmenter is not asked any more
let timer = 0, asking = false, missed = null, slow = { segmenter: "", count: 0 };

const quick = ({ about, settings: { choice } }) => Boolean(about?.segmenters.choices.find(({ name }) => name === (choice.segmenter ?? about.segmenters.default))?.glance);

/** What a preview belongs to now; null where none is shown: the object is marked already, something else is done, or it costs too much. */
export function previewed(state) {
  const photo = photoOf(state), object = active(state), segmenter = segmenterKey(state);
  if (!ready(state) || !photo.scene || !object || marked(object) || state.job || layersShown(state)) return null;
  if (state.tool !== "plus" || state.view !== "overlay" || !quick(state) || (slow.segmenter === segmenter && slow.count > 1)) return null;
  return JSON.stringify([photo.key, object.key, object.prompt.id, segmenter]);
}

function drop() {
  clearTimeout(timer);
  if (!draft.preview) return;
  draft.preview = null;
  draw();
}

const rests = (x, y) => draft.over?.[0] === x && draft.over[1] === y;

async function ask(x, y) {
  const state = now(), of = previewed(state), photo = photoOf(state), segmenter = segmenterKey(state), begun = performance.now();
  if (!of) return;
  if (asking) { missed = [x, y]; return; }
  asking = true;
  try {
    const { mask } = await api.visible(photo.scene, { point: rounded(x, y), glance: true, model: state.settings.choice });
    if (slow.segmenter !== segmenter) slow = { segmenter, count: 0 };
    slow.count = performance.now() - begun > SLOW ? slow.count + 1 : 0;
    if (previewed(now()) !== of || !rests(x, y)) return;
    draft.preview = { of, mask: Mask.decode(mask) };
    draw();
  } catch { /* nothing there, a busy service, a photo that it has forgotten: a click will say */ } finally {
    asking = false;
    if (missed && rests(...missed)) ask(...missed);
    missed = null;
  }
}

/** A photo that has just come is read by the segmenter before it is clicked: the answer is of no interest. */
const warm = ({ scene, width, height }, model) => { api.visible(scene, { point: [width / 2, height / 2], glance: true, model }).catch(() => {}); };

function rest(event) {
  clearTimeout(timer);
  if (event.pointerType !== "mouse" || event.buttons) { drop(); return; }
  const { over, preview } = draft;
  if (!over || (preview && preview.mask.get(Math.floor(over[0]), Math.floor(over[1])))) return;
  drop();
  const photo = photoOf(now()), [x, y] = over;
  if (previewed(now()) && x >= 0 && y >= 0 && x < photo.width && y < photo.height) timer = setTimeout(ask, REST, x, y);
}

export function listenHover() {
  canvas.addEventListener("pointermove", rest);
  for (const name of ["pointerdown", "pointerleave"]) canvas.addEventListener(name, drop);
  onChange((state, before) => {
    if (draft.preview && draft.preview.of !== previewed(state)) drop();
    const photo = photoOf(state);
    if (photo?.scene && photo.scene !== photoOf(before)?.scene && previewed(state)) warm(photo, state.settings.choice);
  });
}
