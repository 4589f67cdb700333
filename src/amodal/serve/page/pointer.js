// Mouse, pen and touch on the stage: a tap or click marks, a drag draws, two fingers pinch and pan, the right button or Space pans.

import { pick } from "./layers.js";
import { layersShown, photoOf, ready, usable } from "./select.js";
import { canvas, draft, draw, ink, moveRing, pan, toPhoto, view, zoom } from "./stage.js";
import { dispatch, now } from "./store.js";

const fingers = new Map();
let gesture = null;
export const keys = { space: false };
const PAINT = ["brush", "eraser", "grow", "shrink"];
const SLACK = 8; // pixels that a finger may slip in a tap

export const inside = (x, y) => { const photo = photoOf(now()); return x >= 0 && y >= 0 && x < photo.width && y < photo.height; };
/** A place as it is asked of the service: the preview of a click and the click are the same question. */
export const rounded = (...numbers) => numbers.map((number) => Math.round(number * 100) / 100);
export const markAt = (u, v, label) => { const [x, y] = rounded(u, v); dispatch({ type: "mark", x, y, label }); };

function press(event) {
  if (!ready(now())) return;
  canvas.classList.add("by-pointer");
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture?.(event.pointerId);
  draft.cross = null;
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (fingers.size === 2) { abandon(); gesture = { kind: "pinch" }; return; }
  if (fingers.size > 2 || gesture?.kind === "pinch") return;
  const [x, y] = toPhoto(event), state = now(), layers = layersShown(state), start = { from: [event.clientX, event.clientY], x, y, alt: event.altKey };
  if (event.button === 1 || event.button === 2 || keys.space) gesture = { kind: "pan", last: [event.clientX, event.clientY] };
  else if (layers) {
    const place = pick(layers, x, y);
    dispatch({ type: "arrange", picked: place });
    gesture = place < 0 ? { kind: "pan", last: [event.clientX, event.clientY] } : { ...start, kind: "layer" };
    if (place >= 0) draft.drag = { place, dx: 0, dy: 0 };
  } else if (state.view === "photo" || state.view === "cutout") gesture = { kind: "pan", last: [event.clientX, event.clientY] };
  else if (state.tool === "box") gesture = { ...start, kind: "box" };
  else if (PAINT.includes(state.tool)) beginStroke(x, y);
  else gesture = { ...start, kind: "tap" };
  draw();
}

function beginStroke(x, y) {
  const { tool, brush } = now();
  if (!usable(now(), tool)) return;
  const stroke = { points: [[x, y]], radius: Math.max(0.7, brush / view.scale), value: tool === "brush" || tool === "grow" ? 1 : 0 };
  canvas.classList.add("inking");
  draft.stroke = stroke;
  gesture = { kind: "paint", stroke };
  ink([x, y], [x, y], stroke);
}

function move(event) {
  if (!ready(now())) return;
  draft.over = toPhoto(event);
  const before = fingers.get(event.pointerId);
  if (gesture?.kind === "pinch" && before) { pinch(event, before); return; }
  if (before) fingers.set(event.pointerId, [event.clientX, event.clientY]);
  const [x, y] = draft.over;
  moveRing();
  if (!gesture) return;
  if (gesture.kind === "paint") {
    const { points } = gesture.stroke;
    ink(points.at(-1), [x, y], gesture.stroke);
    points.push([Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
    return;
  }
  if (gesture.kind === "pan") {
    pan(event.clientX - gesture.last[0], event.clientY - gesture.last[1]);
    gesture.last = [event.clientX, event.clientY];
  } else if (gesture.kind === "box") draft.box = boxBetween(gesture.x, gesture.y, x, y);
  else if (gesture.kind === "layer") Object.assign(draft.drag, { dx: Math.round(x - gesture.x), dy: Math.round(y - gesture.y) });
  draw();
}

function pinch(event, before) {
  const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1], at = [event.clientX, event.clientY];
  fingers.set(event.pointerId, at);
  if (!other) return;
  const distance = (a) => Math.max(10, Math.hypot(a[0] - other[0], a[1] - other[1])), frame = canvas.getBoundingClientRect();
  pan((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
  zoom(distance(at) / distance(before), (at[0] + other[0]) / 2 - frame.left, (at[1] + other[1]) / 2 - frame.top);
}

export function boxBetween(x0, y0, x1, y1) {
  const { width, height } = photoOf(now()), clamp = (value, high) => Math.min(high, Math.max(0, Math.round(value)));
  return [clamp(Math.min(x0, x1), width), clamp(Math.min(y0, y1), height), clamp(Math.max(x0, x1), width), clamp(Math.max(y0, y1), height)];
}

export function finishBox() {
  const { box } = draft;
  draft.box = null;
  if (box && box[2] - box[0] >= 2 && box[3] - box[1] >= 2) dispatch({ type: "box", box });
}

/** Forget what was begun: a second finger has come down, or another tool or photo has. The cross stays where it is. */
export function abandon() {
  Object.assign(draft, { box: null, stroke: null, drag: null, cross: draft.cross && { x: draft.cross.x, y: draft.cross.y } });
  canvas.classList.remove("inking");
  gesture = null;
  draw();
}

function release(event) {
  fingers.delete(event.pointerId);
  const ended = gesture;
  if (ended?.kind === "pinch") { if (!fingers.size) gesture = null; return; }
  gesture = null;
  if (!ended || event.type === "pointercancel") { abandon(); return; }
  if (ended.kind === "tap" && Math.hypot(event.clientX - ended.from[0], event.clientY - ended.from[1]) <= SLACK) {
    if (inside(ended.x, ended.y)) markAt(ended.x, ended.y, ended.alt || now().tool === "minus" ? 0 : 1);
  } else if (ended.kind === "box") finishBox();
  else if (ended.kind === "paint") {
    const { stroke } = ended;
    Object.assign(draft, { stroke: null });
    canvas.classList.remove("inking");
    dispatch({ type: "stroke", points: stroke.points, radius: stroke.radius });
  } else if (ended.kind === "layer") {
    const { place, dx, dy } = draft.drag, layers = layersShown(now());
    draft.drag = null;
    if (layers && (dx || dy)) dispatch({ type: "arrange", picked: place, items: layers.items.map((item, k) => (k === place ? { ...item, dx: item.dx + dx, dy: item.dy + dy } : item)) });
  }
  draw();
}

export function listen() {
  canvas.addEventListener("pointerdown", press);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { draft.over = null; moveRing(); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = canvas.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });
}
