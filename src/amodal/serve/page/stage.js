// The stage: three canvases on each other. The photo and pictures change with the view; masks with the state; marks with every
// move of the pointer. Only what has changed is drawn.

import { layered } from "./layers.js";
import { COLOURS, heatOf, Sheet } from "./paint.js";
import { active, amodalOf, layersShown, outdated, photoOf, visibleOf } from "./select.js";
import { now, onChange } from "./store.js";
import { bitmapOf, drawn, onMedia } from "./work.js";

export const canvas = document.getElementById("canvas");
const base = document.getElementById("base"), masks = document.getElementById("masks"), ring = document.getElementById("ring");
const [basePen, maskPen, pen] = [base, masks, canvas].map((element) => element.getContext("2d"));
export const view = { scale: 1, x: 0, y: 0, fitted: true };
/** What the pointer and the keyboard are at: not in the state, because it is no one's work. */
export const draft = { box: null, over: null, comparing: false, stroke: null, cross: null, hover: -1, drag: null, preview: null };

// --- pictures of blobs ------------------------------------------------------------------------------------------------------

const pictures = new WeakMap();
/** The picture in a blob; null until it is decoded, then the stage is drawn again. */
export function pictureOf(blob, make = async (found) => createImageBitmap(found, { premultiplyAlpha: "none", colorSpaceConversion: "none" })) {
  if (!blob) return null;
  if (!pictures.has(blob)) {
    pictures.set(blob, null);
    make(blob).then((picture) => { pictures.set(blob, picture); drawn(); }, (error) => console.error(error));
  }
  return pictures.get(blob);
}
const heatMap = (blob) => pictureOf(blob, async (found) => heatOf(await createImageBitmap(found)));

/** A picture with half the sides, again and again until it is about a screen: each pixel is the mean of four. */
function halved(picture) {
  let made = picture;
  while (made.width * made.height > 6e6) {
    const half = new OffscreenCanvas(Math.round(made.width / 2), Math.round(made.height / 2));
    half.getContext("2d").drawImage(made, 0, 0, half.width, half.height);
    made = half.transferToImageBitmap();
  }
  return made;
}

const small = new WeakMap(), idle = window.requestIdleCallback ?? setTimeout;
/** The photo at about the screen's size where that is enough: a phone's photo has ten times more pixels. Made once it has been shown. */
function photoFor(bitmap, scale) {
  if (bitmap.width * bitmap.height <= 6e6) return bitmap;
  if (!small.has(bitmap)) {
    small.set(bitmap, bitmap);
    idle(() => {
      if (!bitmap.width) return; // the photo was closed meanwhile
      small.set(bitmap, halved(bitmap));
      last.base = null;
      draw();
    });
  }
  const less = small.get(bitmap);
  return scale * bitmap.width <= less.width ? less : bitmap;
}

// --- view -------------------------------------------------------------------------------------------------------------------

/** The box that is shown when fitted: the photo and what leaves it. */
export function extent(state) {
  const photo = photoOf(state);
  let box = [0, 0, photo.width, photo.height];
  if (layersShown(state)) return box;
  for (const { result } of photo.objects) {
    if (!result) continue;
    const [a, b, c, d] = result.amodal.box;
    box = [Math.min(box[0], a), Math.min(box[1], b), Math.max(box[2], c), Math.max(box[3], d)];
  }
  return box;
}

export function fit() {
  view.fitted = true;
  if (!photoOf(now())?.width) return;
  const [x0, y0, x1, y1] = extent(now());
  const pad = canvas.clientWidth < 600 ? 4 : 14, width = canvas.clientWidth - 2 * pad, height = canvas.clientHeight - 2 * pad;
  view.scale = Math.max(0.01, Math.min(width / (x1 - x0), height / (y1 - y0), 8));
  view.x = pad + (width - (x1 - x0) * view.scale) / 2 - x0 * view.scale;
  view.y = pad + (height - (y1 - y0) * view.scale) / 2 - y0 * view.scale;
}

export function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.min(32, Math.max(0.02, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  view.fitted = false;
  draw();
}

export function pan(dx, dy) {
  view.x += dx;
  view.y += dy;
  view.fitted = false;
  draw();
}

export const toPhoto = (event) => {
  const frame = canvas.getBoundingClientRect();
  return [(event.clientX - frame.left - view.x) / view.scale, (event.clientY - frame.top - view.y) / view.scale];
};

// --- the photo --------------------------------------------------------------------------------------------------------------

export function board(target, x, y, width, height, cell) {
  target.fillStyle = "#fff";
  target.fillRect(x, y, width, height);
  target.fillStyle = "#ccc";
  for (let row = 0; row * cell < height; row++) {
    for (let column = row % 2; column * cell < width; column += 2) {
      target.fillRect(x + column * cell, y + row * cell, Math.min(cell, width - column * cell), Math.min(cell, height - row * cell));
    }
  }
}

/** The chosen cut-out and its place. */
export function cutoutOf(object) {
  const { result, sample } = object, mask = sample >= 0 ? result.samples[sample] : result.amodal;
  return { blob: sample >= 0 ? result.files.samples[sample] : result.files.cutout, x: mask.x, y: mask.y };
}

function drawBase(state, ratio) {
  const photo = photoOf(state), bitmap = bitmapOf(photo), object = active(state);
  basePen.setTransform(1, 0, 0, 1, 0, 0);
  basePen.clearRect(0, 0, base.width, base.height);
  if (!bitmap || !photo.width) return;
  basePen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  basePen.imageSmoothingEnabled = view.scale < 3;
  const layers = layersShown(state), [x0, y0, x1, y1] = extent(state);
  if (layers && !draft.comparing && layered(basePen, layers, photo, pictureOf, draft)) return;
  if (state.view === "cutout" && object?.result && !layers && !draft.comparing) {
    board(basePen, x0, y0, x1 - x0, y1 - y0, 10 / view.scale);
    const { blob, x, y } = cutoutOf(object), picture = pictureOf(blob);
    if (picture) basePen.drawImage(picture, x, y);
    return;
  }
  basePen.fillStyle = "#808080";
  basePen.fillRect(x0, y0, x1 - x0, y1 - y0);
  basePen.drawImage(photoFor(bitmap, ratio * view.scale), 0, 0, photo.width, photo.height);
}

// --- masks ------------------------------------------------------------------------------------------------------------------

let sheet = new Sheet(1, 1);

function layObject(state, photo, object, index, place, line) {
  const current = object === active(state), colour = COLOURS[index % COLOURS.length];
  const amodal = amodalOf(object), seen = visibleOf(object, photo), old = outdated(state, object) !== "";
  if (amodal && current && !old) sheet.lay(amodal, place, colour, { fill: 102, hatch: 200, without: object.result.visible });
  if (seen) sheet.lay(seen, place, colour, { fill: current ? 64 : 50, line: amodal ? 0 : line, white: current });
  if (amodal) sheet.lay(amodal, place, old ? [150, 150, 150] : colour, { line: current ? line : Math.max(1, line - 1), white: current && !old });
  if (current && object.occluder.mask) sheet.lay(object.occluder.mask, place, [160, 40, 200], { fill: 60, hatch: 120, line: 1 });
}

function drawMasks(state, ratio) {
  const photo = photoOf(state), object = active(state);
  maskPen.setTransform(1, 0, 0, 1, 0, 0);
  maskPen.clearRect(0, 0, masks.width, masks.height);
  if (!photo?.width || draft.comparing || state.view === "photo" || state.view === "cutout" || layersShown(state)) return;
  const place = { scale: ratio * view.scale, x: ratio * view.x, y: ratio * view.y }, line = Math.max(2, Math.round(1.6 * ratio));
  if (sheet.canvas.width !== masks.width || sheet.canvas.height !== masks.height) sheet = new Sheet(masks.width, masks.height);
  sheet.clear();
  if (state.view === "certainty" && object?.result) {
    maskPen.setTransform(place.scale, 0, 0, place.scale, place.x, place.y);
    maskPen.fillStyle = "#000a";
    maskPen.fillRect(0, 0, photo.width, photo.height);
    const picture = heatMap(object.result.files.probability), [x0, y0, x1, y1] = object.result.record.probability_box;
    if (picture) maskPen.drawImage(picture, x0, y0, x1 - x0, y1 - y0);
    maskPen.setTransform(1, 0, 0, 1, 0, 0);
    sheet.lay(amodalOf(object), place, [255, 255, 255], { line, white: true });
  } else {
    photo.objects.forEach((other, index) => { if (other !== object) layObject(state, photo, other, index, place, line); });
    const chosen = photo.objects.indexOf(object);
    if (object) layObject(state, photo, object, chosen, place, line);
    if (draft.preview) sheet.lay(draft.preview.mask, place, COLOURS[chosen % COLOURS.length], { fill: 56, line: 1 });
  }
  maskPen.drawImage(sheet.done(), 0, 0);
}

// --- marks ------------------------------------------------------------------------------------------------------------------

function outlined(path, dark, light) {
  for (const [colour, width] of [["#000b", dark], ["#fff", light]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width / view.scale;
    pen.stroke(path);
  }
}

function drawMarks(state, ratio) {
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  const object = active(state);
  if (!object || layersShown(state) || draft.comparing || !["overlay", "certainty"].includes(state.view)) return;
  pen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  const size = 6.5 / view.scale, { prompt } = object;
  const clicks = [...prompt.points, ...prompt.steps.flatMap((step) => (step.kind === "click" ? [step] : step.points && step.kind === "mask" ? step.points : []))];
  for (const { x, y, label } of clicks) {
    pen.beginPath();
    pen.arc(x, y, size, 0, 7);
    pen.fillStyle = label ? "#12a150" : "#d92d20";
    pen.fill();
    pen.strokeStyle = "#fff";
    pen.lineWidth = 2 / view.scale;
    pen.stroke();
    pen.beginPath();
    pen.moveTo(x - size / 2, y); pen.lineTo(x + size / 2, y);
    if (label) { pen.moveTo(x, y - size / 2); pen.lineTo(x, y + size / 2); }
    pen.stroke();
  }
  const box = draft.box ?? prompt.box;
  if (box) {
    const path = new Path2D();
    path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    outlined(path, 3.5, 1.6);
  }
  if (draft.cross) {
    const arm = 12 / view.scale, path = new Path2D(), { x, y } = draft.cross;
    path.moveTo(x - arm, y); path.lineTo(x + arm, y); path.moveTo(x, y - arm); path.lineTo(x, y + arm);
    outlined(path, 5, 2);
  }
}

/** A piece of the stroke that is being painted: nothing else is drawn, so that it costs the same on any photo. */
export function ink([x0, y0], [x1, y1], { radius, value }) {
  const ratio = window.devicePixelRatio || 1;
  pen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  pen.strokeStyle = value ? "rgb(10 150 255)" : "rgb(217 45 32)";
  pen.lineCap = "round";
  pen.lineWidth = 2 * radius;
  pen.beginPath();
  pen.moveTo(x0, y0);
  pen.lineTo(x1 + 1e-3, y1);
  pen.stroke();
}

/** The ring of the brush, as an element that is only moved. */
export function moveRing() {
  const state = now(), painting = ["brush", "eraser", "grow", "shrink"].includes(state.tool) && draft.over && !layersShown(state);
  ring.hidden = !painting;
  if (!painting) return;
  const side = 2 * state.brush;
  ring.style.width = ring.style.height = `${side}px`;
  ring.style.transform = `translate(${view.x + draft.over[0] * view.scale - state.brush}px, ${view.y + draft.over[1] * view.scale - state.brush}px)`;
}

let waiting = false, last = {};
/** Draw at the next frame what has changed. */
export function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(now()); });
}

const differ = (name, values) => {
  const before = last[name];
  last[name] = values;
  return !before || values.some((value, k) => value !== before[k]);
};

function paint(state) {
  const ratio = window.devicePixelRatio || 1, [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) {
    for (const element of [base, masks, canvas]) Object.assign(element, { width, height });
    last = {};
  }
  if (view.fitted) fit();
  const photo = photoOf(state), object = active(state);
  const place = [width, height, view.scale, view.x, view.y, state.current, state.view, draft.comparing, state.layersOpen, photo?.width];
  const cut = state.view === "cutout" && object?.result ? cutoutOf(object).blob : null;
  const shown = state.layersOpen ? photo?.layers : null;
  const restless = shown ? [shown.items, shown.picked, draft.hover, draft.drag?.dx, draft.drag?.dy, pictureOf(shown.rest), ...shown.objects.map(({ picture }) => pictureOf(picture))] : [];
  if (differ("base", [...place, bitmapOf(photo), cut, cut && pictureOf(cut), ...restless])) drawBase(state, ratio);
  const certain = state.view === "certainty" && object?.result ? heatMap(object.result.files.probability) : null;
  if (differ("masks", [...place, photo?.objects, photo?.active, state.settings, certain, draft.preview])) drawMasks(state, ratio);
  if (!draft.stroke) drawMarks(state, ratio);
  moveRing();
  document.getElementById("zoom-text").textContent = photo?.width ? `${Math.round(100 * view.scale)} %` : "";
}

new ResizeObserver(draw).observe(canvas);
onChange((state, before) => { if (state.current !== before.current) view.fitted = true; draw(); });
onMedia(draw);
