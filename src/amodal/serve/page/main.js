// The page: wires tools, keys and panel to the state.

import * as api from "./api.js";
import { drawForm } from "./form.js";
import { pick } from "./layers.js";
import { Mask } from "./mask.js";
import { drawPanel, node } from "./panel.js";
import { code, command } from "./recipe.js";
import { canvas, cursor, draft, draw, fit, shownAmodal, toPhoto, view, zoom } from "./stage.js";
import * as store from "./store.js";
import { active, edit, state } from "./store.js";
import * as work from "./work.js";

const $ = (id) => document.getElementById(id);

const TOOLS = [
  ["plus", "Plus", "P", "Click the object"], ["minus", "Minus", "N", "Click what is not the object"],
  ["box", "Box", "B", "Drag a box around the object"], ["brush", "Brush", "R", "Paint the visible object"],
  ["eraser", "Eraser", "E", "Erase from the visible mask"], ["occluder", "Occluder", "O", "Click what hides the object"],
  ["grow", "Correct +", "M", "Correct the amodal mask: paint what belongs to the object"],
  ["shrink", "Correct −", "K", "Correct the amodal mask: erase what does not belong to it"],
];
const VIEWS = [["overlay", "Overlay", "1"], ["cutout", "Cut-out", "2"], ["certainty", "Certainty", "3"], ["photo", "Photo", "4"]];
const KEYS = [
  ...TOOLS.map(([, , key, text]) => [key, text]),
  ["Enter", "complete (on the photo with the cross: mark)"], ["Esc", "cancel the job, leave the layers"], ["A", "another object"],
  ["Delete", "remove the object"], ["[ ]", "smaller, larger brush"], ["1 2 3 4", "overlay, cut-out, certainty, photo"],
  ["Space", "hold to compare with the photo"], ["L", "take the scene apart"], ["Ctrl Z", "undo"], ["Ctrl Shift Z", "redo"],
  ["+ − 0", "zoom in, out, fit (or the wheel; drag with the right button)"], ["Arrows", "move the cross on the photo; Shift: by one pixel"], ["?", "this sheet"],
];
const HINTS = {
  plus: "Click the object", minus: "Click what is not the object", box: "Drag a box around the object",
  brush: "Paint the visible object", eraser: "Erase from the visible mask", occluder: "Click what hides the object",
  grow: "Paint what belongs to the whole object", shrink: "Erase what does not belong to it",
};

// --- drawing ----------------------------------------------------------------------------------------------------------------

function redraw() {
  drawPanel({ select, pickOccluder: () => setTool("occluder"), redraw });
  for (const button of document.querySelectorAll("[data-tool]")) {
    const correcting = ["grow", "shrink"].includes(button.dataset.tool);
    button.setAttribute("aria-pressed", String(button.dataset.tool === state.tool));
    button.disabled = !state.photo || Boolean(state.layers) || (correcting && !active()?.result);
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
    button.disabled = button.dataset.view !== "photo" && button.dataset.view !== "overlay" && !active()?.result;
  }
  const first = state.photo && !work.marked(active()) && !state.layers;
  $("empty").hidden = Boolean(state.photo);
  $("mask-file").disabled = !state.photo || Boolean(state.layers);
  $("hint").textContent = !state.photo ? "" : state.layers ? "Drag an object" :
    state.view === "certainty" && active()?.result ? "Yellow: surely the object; violet: perhaps" :
      first || state.tool === "occluder" ? HINTS[state.tool] : "";
  draw();
}

function select(index) {
  state.active = index;
  state.layers = null;
  redraw();
}

function setTool(tool) {
  state.tool = tool;
  redraw();
}

function setView(name) {
  state.view = name;
  redraw();
}

function showError(text, status) {
  $("message").textContent = text;
  $("message").hidden = !text;
  if (status === 401) $("token").showModal();
}

// --- marking ----------------------------------------------------------------------------------------------------------------

/** A changed prompt: the old result no longer belongs to it. */
function prompt(patch) {
  edit({ result: null, edited: null, sample: -1, ...patch });
  if (state.view === "cutout" || state.view === "certainty") state.view = "overlay";
  work.refreshVisible(active());
}

async function mark(x, y, label) {
  const point = { x: Math.round(x * 100) / 100, y: Math.round(y * 100) / 100, label };
  if (state.tool === "occluder") {
    const mask = await work.maskAt(point.x, point.y);
    if (mask) edit({ occluder: { mode: "mask", mask }, result: null });
    return;
  }
  const object = active();
  if (!object.mask) { prompt({ points: [...object.points, point] }); return; }
  // On a painted or uploaded mask a click adds what it finds, or takes it away; then the rest of the mask is not meant.
  const found = await work.maskAt(point.x, point.y, label ? null : object.mask.farFrom(x, y));
  const mask = found && active() === object && object.mask.stamp(found, label);
  if (mask) prompt(mask.area ? { mask } : { mask: null, visible: null });
}

const inside = (x, y) => x >= 0 && y >= 0 && x < state.photo.width && y < state.photo.height;

let gesture = null;

function press(event) {
  if (!state.photo) return;
  canvas.classList.add("by-pointer");
  canvas.focus({ preventScroll: true });
  canvas.setPointerCapture(event.pointerId);
  cursor.shown = false;
  const [x, y] = toPhoto(event);
  if (event.button === 1 || event.button === 2) {
    gesture = { kind: "pan", x: event.clientX, y: event.clientY };
  } else if (state.layers) {
    state.layers.picked = pick(x, y);
    const object = state.layers.objects[state.layers.picked];
    gesture = object ? { kind: "layer", object, x: x - object.dx, y: y - object.dy } : null;
    redraw();
  } else if (["plus", "minus", "occluder"].includes(state.tool)) {
    if (inside(x, y)) mark(x, y, event.altKey || state.tool === "minus" ? 0 : 1);
  } else if (state.tool === "box") {
    gesture = { kind: "box", x, y };
  } else {
    begin(x, y);
  }
}

function begin(x, y) {
  const object = active(), { width, height } = state.photo;
  const correcting = ["grow", "shrink"].includes(state.tool);
  if (correcting && !object.result) return;
  let mask = correcting ? shownAmodal(object) : (object.visible ?? new Mask(0, 0, width, height));
  if (correcting) {
    const x0 = Math.min(0, mask.x), y0 = Math.min(0, mask.y);
    mask = mask.on(x0, y0, Math.max(width, mask.x + mask.width) - x0, Math.max(height, mask.y + mask.height) - y0);
  }
  const value = ["brush", "grow"].includes(state.tool) ? 1 : 0;
  gesture = { kind: "paint", correcting, value, x, y, mask };
  paintTo(x, y, true);
}

function paintTo(x, y, first = false) {
  const radius = Math.max(0.7, state.brush / view.scale);
  gesture.mask = gesture.mask.stroke(gesture.x, gesture.y, x, y, radius, gesture.value);
  Object.assign(gesture, { x, y });
  const object = active();
  if (gesture.correcting) {
    const seen = object.visible.on(gesture.mask.x, gesture.mask.y, gesture.mask.width, gesture.mask.height);
    for (let k = 0; k < seen.data.length; k++) if (seen.data[k]) gesture.mask.data[k] = 1;
  }
  const patch = gesture.correcting ? { edited: gesture.mask } : { mask: gesture.mask, visible: gesture.mask, points: [], box: null, result: null };
  if (first) edit(patch);
  else store.settle(object.key, patch);
}

function move(event) {
  if (!state.photo) return;
  const [x, y] = toPhoto(event);
  draft.over = [x, y];
  if (gesture?.kind === "pan") {
    view.x += event.clientX - gesture.x;
    view.y += event.clientY - gesture.y;
    view.fitted = false;
    Object.assign(gesture, { x: event.clientX, y: event.clientY });
  } else if (gesture?.kind === "box") {
    const clamp = (value, high) => Math.min(high, Math.max(0, Math.round(value)));
    const { width, height } = state.photo;
    draft.box = [clamp(Math.min(x, gesture.x), width), clamp(Math.min(y, gesture.y), height),
      clamp(Math.max(x, gesture.x), width), clamp(Math.max(y, gesture.y), height)];
  } else if (gesture?.kind === "paint") {
    paintTo(x, y);
  } else if (gesture?.kind === "layer") {
    gesture.object.dx = Math.round(x - gesture.x);
    gesture.object.dy = Math.round(y - gesture.y);
  }
  draw();
}

function release() {
  const ended = gesture;
  gesture = null;
  if (ended?.kind === "box" && draft.box) {
    const [x0, y0, x1, y1] = draft.box;
    const box = draft.box;
    draft.box = null;
    if (x1 - x0 >= 2 && y1 - y0 >= 2) prompt({ box, mask: null });
  } else if (ended?.kind === "paint" && !ended.correcting && !active().mask?.area) {
    prompt({ mask: null, visible: null });
  }
  if (ended) redraw();
}

async function uploadMask(file) {
  await work.attempt(async () => {
    const bitmap = await createImageBitmap(file);
    const { width, height } = state.photo;
    if (bitmap.width !== width || bitmap.height !== height) {
      throw new api.Refusal(`The mask is ${bitmap.width} x ${bitmap.height} pixels, the photo ${width} x ${height}; they must be equal.`, 422);
    }
    const pen = new OffscreenCanvas(width, height).getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    const { data } = pen.getImageData(0, 0, width, height);
    const mask = new Mask(0, 0, width, height);
    for (let k = 0; k < mask.data.length; k++) mask.data[k] = data[4 * k + 3] > 127 && data[4 * k] > 127 ? 1 : 0;
    if (!mask.area) throw new api.Refusal("The mask marks no pixel; white marks the visible object.", 422);
    prompt({ mask, points: [], box: null });
  });
}

// --- actions ----------------------------------------------------------------------------------------------------------------

async function completeAll() {
  for (const { key } of state.objects.filter(work.marked)) {
    const object = state.objects.find((other) => other.key === key);
    state.active = state.objects.indexOf(object);
    await work.complete(object);
    if (!$("message").hidden) return;
  }
}

function afterTravel() {
  const object = active();
  if (work.marked(object) && !object.visible) work.refreshVisible(object);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    announce(`${what} copied`);
    $("hint").textContent = `${what} copied`;
  } catch {
    window.prompt(`${what}:`, text);
  }
  document.body.dataset.copied = text;
}

const announce = (text) => { $("live").textContent = text; };

function crossKeys(event) {
  const step = event.shiftKey ? 1 : 8;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (moves[event.key] && document.activeElement === canvas) {
    if (!cursor.shown) Object.assign(cursor, { x: state.photo.width / 2, y: state.photo.height / 2, shown: true });
    cursor.x = Math.min(state.photo.width - 1, Math.max(0, cursor.x + moves[event.key][0]));
    cursor.y = Math.min(state.photo.height - 1, Math.max(0, cursor.y + moves[event.key][1]));
    announce(`${Math.round(cursor.x)}, ${Math.round(cursor.y)}`);
    draw();
    return true;
  }
  if (event.key === "Enter" && document.activeElement === canvas && cursor.shown) {
    mark(cursor.x, cursor.y, event.shiftKey || state.tool === "minus" ? 0 : 1);
    cursor.shown = false;
    return true;
  }
  return false;
}

function keyDown(event) {
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea") || document.querySelector("dialog[open]");
  if (typing) return;
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && key === "z") { (event.shiftKey ? store.redo : store.undo)(); afterTravel(); event.preventDefault(); return; }
  if (command && key === "y") { store.redo(); afterTravel(); event.preventDefault(); return; }
  if (command || event.altKey) return;
  if (event.key === "?") { $("sheet").showModal(); return; }
  if (event.key === "Escape") { work.job.id ? work.cancel() : leaveLayers(); return; }
  if (!state.photo) return;
  canvas.classList.remove("by-pointer");
  if (crossKeys(event)) { event.preventDefault(); return; }
  if (event.key === " " && !event.target.closest("button, summary, a")) { draft.comparing = true; draw(); event.preventDefault(); return; }
  const tool = TOOLS.find(([, , letter]) => letter.toLowerCase() === key);
  const shown = VIEWS.find(([, , digit]) => digit === event.key);
  if (tool && !document.querySelector(`[data-tool=${tool[0]}]`).disabled) setTool(tool[0]);
  else if (shown && !document.querySelector(`[data-view=${shown[0]}]`).disabled) setView(shown[0]);
  else if (event.key === "Enter" && !event.target.closest("button, summary, a")) { if (!$("run").disabled) work.complete(active()); }
  else if (key === "a") store.add();
  else if (event.key === "Delete" || event.key === "Backspace") store.remove(state.active);
  else if (key === "l") { if (!$("apart").disabled) work.takeApart(); }
  else if (event.key === "[" || event.key === "]") setBrush(state.brush * (event.key === "]" ? 1.25 : 0.8));
  else if (event.key === "+" || event.key === "=") zoom(1.25);
  else if (event.key === "-") zoom(0.8);
  else if (event.key === "0") { fit(); draw(); }
}

function setBrush(radius) {
  state.brush = Math.min(80, Math.max(2, radius));
  $("brush-size").value = state.brush;
  draw();
}

const leaveLayers = () => select(state.active);

// --- building ---------------------------------------------------------------------------------------------------------------

function buildTools() {
  const buttons = TOOLS.map(([tool, text, key, title]) => {
    const button = node("button", { title: `${title} (${key})`, aria: { "data-tool": tool } }, text, node("kbd", { textContent: key, aria: { "aria-hidden": "true" } }));
    button.onclick = () => setTool(tool);
    return button;
  });
  const upload = node("input", { type: "file", accept: "image/*", className: "hidden-input", id: "mask-file" });
  upload.onchange = () => { if (upload.files[0] && state.photo) uploadMask(upload.files[0]); upload.value = ""; };
  const size = node("input", { type: "range", min: 2, max: 80, value: state.brush, id: "brush-size" });
  size.oninput = () => setBrush(Number(size.value));
  $("tools").append(...buttons.slice(0, 5), node("label", { className: "button", title: "Upload a visible mask: white marks the object" }, "Mask file", upload),
    ...buttons.slice(5));
  const compare = node("button", { title: "Hold to compare with the photo (Space)", id: "compare" }, "Hold to compare", node("kbd", { textContent: "Space", aria: { "aria-hidden": "true" } }));
  const comparing = (value) => () => { draft.comparing = value; draw(); };
  compare.onpointerdown = comparing(true);
  compare.onpointerup = compare.onpointerleave = compare.onblur = comparing(false);
  $("views").append(...VIEWS.map(([name, text, key]) => {
    const button = node("button", { aria: { "data-view": name } }, text, node("kbd", { textContent: key, aria: { "aria-hidden": "true" } }));
    button.onclick = () => setView(name);
    return button;
  }), compare, node("label", {}, "Brush size", size));
  $("keys").replaceChildren(...KEYS.flatMap(([keys, text]) => [
    node("dt", {}, ...keys.split(" ").map((key) => node("kbd", { textContent: key }))), node("dd", { textContent: text })]));
}

function buildSamples(place) {
  $(place).replaceChildren(...state.about.samples.map((name) => {
    const button = node("button", { title: `Example: ${name}`, aria: { "aria-label": `Example ${name}`, "data-example": name } }, node("img", { src: `/samples/${name}`, alt: "" }));
    button.onclick = async () => work.openPhoto(await (await fetch(`/samples/${name}`)).blob(), name);
    return button;
  }));
}

function wire() {
  canvas.addEventListener("pointerdown", press);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => { draft.over = null; draw(); });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const frame = canvas.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * 0.0016), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });
  addEventListener("keydown", keyDown);
  addEventListener("keyup", (event) => { if (event.key === " ") { draft.comparing = false; draw(); } });
  $("file").onchange = () => { const [file] = $("file").files; if (file) work.openPhoto(file, file.name); $("file").value = ""; };
  addEventListener("dragover", (event) => { event.preventDefault(); $("drop").hidden = false; });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").hidden = true; });
  addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").hidden = true;
    const [file] = event.dataTransfer.files;
    if (file) work.openPhoto(file, file.name);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) work.openPhoto(file, file.name || "pasted.png");
  });
  const clicks = {
    undo: () => { store.undo(); afterTravel(); }, redo: () => { store.redo(); afterTravel(); },
    reset: () => { state.layers = null; store.reset(); }, help: () => $("sheet").showModal(), add: store.add,
    run: () => work.complete(active()), "run-all": completeAll, apart: work.takeApart, cancel: work.cancel,
    repaint: () => work.repaint(active()), "leave-layers": leaveLayers,
    "copy-command": () => copy(command(active().result, state.photo), "Command"),
    "copy-python": () => copy(code(active().result, state.photo), "Python"),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).onclick = action;
  $("token-form").onsubmit = async (event) => {
    event.preventDefault();
    api.setToken($("token-field").value);
    $("token").close();
    enter();
  };
}

function optionsChanged(part, anew) {
  if (anew) drawForm($("choices"), optionsChanged);
  if (part === "segmenter" && active()) work.refreshVisible(active());
}

async function enter() {
  await work.attempt(async () => {
    state.about = await api.about();
    buildSamples("samples");
    buildSamples("examples");
    drawForm($("choices"), optionsChanged);
    redraw();
    document.body.dataset.ready = "yes";
  });
}

work.listen({ error: showError, live: announce });
store.onChange(redraw);
api.takeToken();
buildTools();
wire();
enter();
