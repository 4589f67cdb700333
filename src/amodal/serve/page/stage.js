// The canvas: photo, masks, tools under the pointer, zoom.

import { Mask, outline, tint } from "./mask.js";
import { active, state } from "./store.js";
import { drawLayers } from "./layers.js";

const VISIBLE = [10, 150, 255], OCCLUDED = [255, 122, 0];
const COLOURS = [[10, 150, 255], [33, 181, 115], [192, 92, 255], [229, 183, 0], [255, 92, 138], [23, 184, 196]];

export const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
export const view = { scale: 1, x: 0, y: 0, fitted: true };
export const cursor = { x: 0, y: 0, shown: false };
export const draft = { box: null, over: null, comparing: false };
const cache = new WeakMap();

/** The box that is shown when fitted: the photo and what leaves it. */
function extent() {
  const { width, height } = state.photo;
  let [x0, y0, x1, y1] = [0, 0, width, height];
  if (!state.layers) {
    for (const object of state.objects) {
      if (!object.result) continue;
      const [a, b, c, d] = object.result.amodal_box;
      [x0, y0, x1, y1] = [Math.min(x0, a), Math.min(y0, b), Math.max(x1, c), Math.max(y1, d)];
    }
  }
  return [x0, y0, x1, y1];
}

export function fit() {
  view.fitted = true;
  if (!state.photo) return;
  const [x0, y0, x1, y1] = extent();
  const pad = 14, width = canvas.clientWidth - 2 * pad, height = canvas.clientHeight - 2 * pad;
  view.scale = Math.min(width / (x1 - x0), height / (y1 - y0), 8);
  view.x = pad + (width - (x1 - x0) * view.scale) / 2 - x0 * view.scale;
  view.y = pad + (height - (y1 - y0) * view.scale) / 2 - y0 * view.scale;
}

export function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.min(32, Math.max(0.05, view.scale * factor));
  view.x = x - ((x - view.x) * scale) / view.scale;
  view.y = y - ((y - view.y) * scale) / view.scale;
  view.scale = scale;
  view.fitted = false;
  draw();
}

export const toPhoto = (event) => {
  const frame = canvas.getBoundingClientRect();
  return [(event.clientX - frame.left - view.x) / view.scale, (event.clientY - frame.top - view.y) / view.scale];
};

function cached(key, name, make) {
  if (!cache.has(key)) cache.set(key, {});
  const entry = cache.get(key);
  return (entry[name] ??= make());
}

const tinted = (mask, colour, alpha) => cached(mask, `tint ${colour} ${alpha}`, () => tint(mask, [...colour, alpha]));
const lined = (mask) => cached(mask, "line", () => outline(mask));

/** The amodal mask that is shown: corrected by hand, the chosen sample's, or the vote. */
export function shownAmodal(object) {
  if (object.edited) return object.edited;
  const { result } = object;
  if (!result) return null;
  return object.sample >= 0 ? result.sampleMasks[object.sample] : result.amodalMask;
}

function stroke(path, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width / view.scale;
  pen.stroke(path);
}

function line(mask) {
  stroke(lined(mask), "#000c", 4);
  stroke(lined(mask), "#fff", 1.8);
}

function board(x, y, width, height) {
  const cell = 10 / view.scale;
  pen.save();
  pen.beginPath();
  pen.rect(x, y, width, height);
  pen.clip();
  pen.fillStyle = "#fff";
  pen.fillRect(x, y, width, height);
  pen.fillStyle = "#ccc";
  pen.beginPath();
  for (let row = 0; row * cell < height; row++) {
    for (let column = row % 2; column * cell < width; column += 2) pen.rect(x + column * cell, y + row * cell, cell, cell);
  }
  pen.fill();
  pen.restore();
}

function drawCutout(object) {
  const picture = object.sample >= 0 ? object.result.samplePictures[object.sample] : object.result.cutout;
  const mask = object.sample >= 0 ? object.result.sampleMasks[object.sample] : null;
  if (!picture) return null;
  const [x, y] = mask ? [mask.x, mask.y] : object.result.amodal_box;
  pen.drawImage(picture, x, y);
  return [x, y, picture.width, picture.height];
}

function drawOverlay(object, index) {
  const amodal = shownAmodal(object);
  const current = index === state.active;
  if (object.result && amodal) {
    pen.globalAlpha = object.edited ? 0.35 : 1;
    drawCutout(object);
    pen.globalAlpha = 1;
  }
  if (amodal && current) {
    const occluded = cached(amodal, "occluded", () => {
      const out = new Mask(amodal.x, amodal.y, amodal.width, amodal.height, amodal.data.slice());
      const seen = object.visible.on(amodal.x, amodal.y, amodal.width, amodal.height);
      for (let k = 0; k < out.data.length; k++) if (seen.data[k]) out.data[k] = 0;
      return out;
    });
    pen.drawImage(tinted(occluded, OCCLUDED, 84), occluded.x, occluded.y);
  }
  if (object.visible) {
    const colour = current ? VISIBLE : COLOURS[index % COLOURS.length];
    pen.drawImage(tinted(object.visible, colour, current ? 88 : 60), object.visible.x, object.visible.y);
    line(amodal ?? object.visible);
  }
  if (current && object.occluder.mask) {
    const hides = object.occluder.mask;
    pen.drawImage(tinted(hides, [160, 40, 200], 80), hides.x, hides.y);
    pen.setLineDash([5 / view.scale, 4 / view.scale]);
    stroke(lined(hides), "#e6b3ff", 1.5);
    pen.setLineDash([]);
  }
}

function drawCertainty(object) {
  const { width, height } = state.photo;
  pen.fillStyle = "#000a";
  pen.fillRect(0, 0, width, height);
  const [x, y] = object.result.probability_box;
  pen.drawImage(object.result.heat, x, y);
  line(object.result.amodalMask);
}

function drawMarks(object) {
  const size = 6.5 / view.scale;
  for (const { x, y, label } of object.points) {
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
  const box = draft.box ?? object.box;
  if (box) {
    const path = new Path2D();
    path.rect(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    stroke(path, "#000a", 3.5);
    stroke(path, "#fff", 1.6);
  }
}

function drawPointer() {
  if (cursor.shown) {
    const arm = 12 / view.scale, path = new Path2D();
    path.moveTo(cursor.x - arm, cursor.y); path.lineTo(cursor.x + arm, cursor.y);
    path.moveTo(cursor.x, cursor.y - arm); path.lineTo(cursor.x, cursor.y + arm);
    stroke(path, "#000", 4);
    stroke(path, "#ffb020", 2);
  }
  if (draft.over && ["brush", "eraser", "grow", "shrink"].includes(state.tool)) {
    const path = new Path2D();
    path.arc(draft.over[0], draft.over[1], state.brush / view.scale, 0, 7);
    stroke(path, "#000a", 3);
    stroke(path, "#fff", 1.4);
  }
}

let waiting = false;
/** Draw at the next frame. */
export function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}

function paint() {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  if (view.fitted) fit();
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!state.photo) return;
  pen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
  pen.imageSmoothingEnabled = view.scale < 3;
  const object = active();
  const plain = draft.comparing || state.view === "photo";
  if (state.layers && !draft.comparing) {
    drawLayers(pen, view.scale);
    return;
  }
  if (!plain && state.view === "cutout" && object?.result) {
    const [x0, y0, x1, y1] = extent();
    board(x0, y0, x1 - x0, y1 - y0);
    drawCutout(object);
    return;
  }
  const [x0, y0, x1, y1] = extent();
  pen.fillStyle = "#808080";
  pen.fillRect(x0, y0, x1 - x0, y1 - y0);
  pen.drawImage(state.photo.bitmap, 0, 0);
  if (plain) return;
  if (state.view === "certainty" && object?.result) {
    drawCertainty(object);
    return;
  }
  state.objects.forEach((other, index) => { if (index !== state.active) drawOverlay(other, index); });
  if (object) { drawOverlay(object, state.active); drawMarks(object); }
  drawPointer();
}

/** Grey levels of certainty as a heat map: transparent at 0, through violet and orange, to yellow at 1. */
export function heatOf(bitmap) {
  const out = new OffscreenCanvas(bitmap.width, bitmap.height);
  const brush = out.getContext("2d");
  brush.drawImage(bitmap, 0, 0);
  const picture = brush.getImageData(0, 0, out.width, out.height);
  const { data } = picture;
  for (let k = 0; k < data.length; k += 4) {
    const p = data[k] / 255;
    data[k] = 255 * Math.min(1, 0.35 + 0.8 * p);
    data[k + 1] = 255 * Math.max(0, 1.45 * p - 0.45);
    data[k + 2] = 255 * Math.max(0, 0.75 - 1.1 * p);
    data[k + 3] = 240 * Math.min(1, 2.5 * p); // unlikely pixels fade out instead of ending in an edge
  }
  brush.putImageData(picture, 0, 0);
  return out;
}

new ResizeObserver(draw).observe(canvas);
