// The keyboard: every tool has a key, and the cross on the photo marks, draws boxes and paints without a mouse.

import { $ } from "./dom.js";
import { active, completable, layersShown, photoOf, ready, usable } from "./select.js";
import { boxBetween, finishBox, keys, markAt } from "./pointer.js";
import { canvas, draft, draw, fit, view, zoom } from "./stage.js";
import { dispatch, now } from "./store.js";

export const TOOLS = [
  ["plus", "Plus", "P", "Click the object"], ["minus", "Minus", "N", "Click what is not the object"],
  ["box", "Box", "B", "Drag a box around the object"], ["brush", "Brush", "R", "Paint the visible object"],
  ["eraser", "Eraser", "E", "Erase from the visible mask"], ["occluder", "Occluder", "O", "Click what hides the object"],
  ["grow", "Grow", "M", "Correct the whole object's mask: paint what belongs to it"],
  ["shrink", "Shrink", "K", "Correct the whole object's mask: erase what does not belong to it"],
];
export const VIEWS = [["overlay", "Overlay", "1"], ["cutout", "Cut-out", "2"], ["certainty", "Certainty", "3"], ["photo", "Photo", "4"]];
export const HELP = [
  ...TOOLS.map(([, , key, text]) => [key, text]),
  ["Enter", "complete (on the photo with the cross: mark, begin and end a box or a stroke)"], ["Esc", "cancel the job, leave the layers"], ["A", "another object"],
  ["Delete", "remove the object, or the chosen layer"], ["S", "what the click means: the next proposal"], ["[ ]", "smaller, larger brush"], ["1 2 3 4", "overlay, cut-out, certainty, photo"],
  ["Space", "hold to compare with the photo, drag to pan"], ["L", "split the scene into layers"], ["Ctrl Z", "undo"], ["Ctrl Shift Z", "redo"],
  ["PageUp PageDown", "the photo before, the next photo"],
  ["+ − 0", "zoom in, out, fit (or the wheel; drag with the right button; two fingers)"], ["Arrows", "move the cross on the photo, or the chosen layer; Shift: by one pixel"], ["?", "this sheet"],
];

const live = (text) => { $("live").textContent = text; };
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function crossKeys(event, state) {
  if (document.activeElement !== canvas) return false;
  const photo = photoOf(state), move = MOVES[event.key], layers = layersShown(state);
  const step = event.shiftKey ? 1 : Math.max(1, Math.round(8 / Math.min(1, view.scale)));
  if (move && layers) {
    const item = layers.items[layers.picked];
    if (item) dispatch({ type: "arrange", quiet: event.repeat, items: layers.items.map((other) => (other === item ? { ...item, dx: item.dx + move[0] * step, dy: item.dy + move[1] * step } : other)) });
    return true;
  }
  if (move) {
    const cross = draft.cross ?? { x: photo.width / 2, y: photo.height / 2 };
    draft.cross = { ...cross, x: Math.min(photo.width - 1, Math.max(0, cross.x + move[0] * step)), y: Math.min(photo.height - 1, Math.max(0, cross.y + move[1] * step)) };
    if (cross.start && state.tool === "box") draft.box = boxBetween(...cross.start, draft.cross.x, draft.cross.y);
    if (cross.stroke) cross.stroke.push([draft.cross.x, draft.cross.y]);
    live(`${Math.round(draft.cross.x)}, ${Math.round(draft.cross.y)}`);
    draw();
    return true;
  }
  if (event.key !== "Enter" || !draft.cross) return false;
  const { x, y, start, stroke } = draft.cross;
  if (state.tool === "box") {
    draft.cross = start ? null : { x, y, start: [x, y] };
    if (start) finishBox(); else live("The box begins here");
  } else if (["brush", "eraser", "grow", "shrink"].includes(state.tool)) {
    draft.cross = stroke ? { x, y } : { x, y, stroke: [[x, y]] };
    if (stroke) dispatch({ type: "stroke", points: stroke, radius: Math.max(0.7, state.brush / view.scale) }); else live("The stroke begins here");
  } else {
    draft.cross = null;
    markAt(x, y, event.shiftKey || state.tool === "minus" ? 0 : 1);
  }
  draw();
  return true;
}

/** The sheet of keys, from its top: the button at its end has the focus. */
export function showKeys() {
  $("sheet").showModal();
  $("sheet").scrollTop = 0;
}

/** Whether a key is for the element that has the focus: a field that is typed in, or a list. */
const forElement = ({ target, key }) => target.matches("input:not([type=checkbox]):not([type=range]):not([type=radio]), select, textarea")
  || (target.matches("input[type=range]") && key.startsWith("Arrow")) || Boolean(document.querySelector("dialog[open]"));

function turnPhoto(state, step) {
  const place = state.photos.findIndex(({ key }) => key === state.current) + step;
  if (state.photos[place]) dispatch({ type: "show", photo: state.photos[place].key });
}

export function zoomTo(key) {
  if (key === "0") { fit(); draw(); } else zoom(key === "-" || key === "−" ? 0.8 : 1.25);
}

/** Remove the object; of layers the chosen one, behind which the photo is restored. */
function drop(state) {
  const layers = layersShown(state), chosen = layers?.items[layers.picked];
  if (!layers) dispatch({ type: "remove", object: photoOf(state).active });
  else if (chosen?.shown) dispatch({ type: "arrange", items: layers.items.map((item) => (item === chosen ? { ...item, shown: false } : item)) });
}

function keyDown(event) {
  if (forElement(event)) return;
  const command = event.ctrlKey || event.metaKey, key = event.key.toLowerCase(), state = now();
  if (command && (key === "z" || key === "y")) { dispatch({ type: event.shiftKey || key === "y" ? "redo" : "undo" }); event.preventDefault(); return; }
  if (command || event.altKey) return;
  if (event.key === "?") { showKeys(); return; }
  if (event.key === "Escape") { dispatch(state.job ? { type: "cancel" } : { type: "layersOpen", open: false }); draft.cross = draft.box = null; draw(); return; }
  if (!ready(state)) return;
  if (event.key !== "Tab") canvas.classList.remove("by-pointer");
  if (crossKeys(event, state)) { event.preventDefault(); return; }
  const pressing = event.target.closest("button, summary, a, label, input[type=checkbox]") && event.target !== canvas;
  if (event.key === " " && !pressing) {
    if (!keys.space) { keys.space = draft.comparing = true; draw(); }
    event.preventDefault();
    return;
  }
  const tool = TOOLS.find(([, , letter]) => letter.toLowerCase() === key), shown = VIEWS.find(([, , digit]) => digit === event.key);
  if (tool) dispatch({ type: "tool", tool: usable(state, tool[0]) ? tool[0] : state.tool });
  else if (shown) dispatch({ type: "view", view: shown[0] });
  else if (event.key === "Enter" && !pressing) { if (completable(state, active(state))) dispatch({ type: "begin", kind: "completion" }); }
  else if (key === "a") dispatch({ type: "add" });
  else if (key === "s") { const { proposals } = active(state) ?? {}; if (proposals) dispatch({ type: "propose", index: (proposals.chosen + 1) % proposals.list.length }); }
  else if (event.key === "Delete" || event.key === "Backspace") drop(state);
  else if (key === "l") dispatch({ type: "begin", kind: "layers" });
  else if (event.key === "[" || event.key === "]") dispatch({ type: "brush", radius: state.brush * (event.key === "]" ? 1.25 : 0.8) });
  else if (["+", "=", "-", "0"].includes(event.key)) zoomTo(event.key);
  else if (event.key === "PageUp" || event.key === "PageDown") { turnPhoto(state, event.key === "PageUp" ? -1 : 1); event.preventDefault(); }
}

export function listenKeys() {
  addEventListener("keydown", keyDown);
  addEventListener("keyup", (event) => { if (event.key === " ") { keys.space = draft.comparing = false; draw(); } });
  addEventListener("blur", () => { keys.space = draft.comparing = false; draw(); });
}
