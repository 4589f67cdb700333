// The page: builds the tools, wires events to actions, draws what has changed.

import * as api from "./api.js";
import { $, icon, node, radios } from "./dom.js";
import { drawForm } from "./form.js";
import { listenHover } from "./hover.js";
import { listenIntake } from "./intake.js";
import { keep, restore } from "./keep.js";
import { HELP, listenKeys, showKeys, TOOLS, VIEWS, zoomTo } from "./keys.js";
import { drawPanel, onLoss } from "./panel.js";
import { abandon, listen } from "./pointer.js";
import { buildResult, drawResult } from "./result.js";
import { active, occludedShare, layersShown, marked, outdated, photoOf, ready, usable } from "./select.js";
import { canvas, draft, draw } from "./stage.js";
import { dispatch, now, onChange } from "./store.js";
import { attempt, enter, onMedia, onTooLarge, openFiles, takeMask, upload } from "./work.js";

const HINTS = {
  plus: "Click the object", minus: "Click what is not the object", box: "Drag a box around the object",
  brush: "Paint the visible object", eraser: "Erase from the visible mask", occluder: "Click what hides the object",
  grow: "Paint what belongs to the whole object", shrink: "Erase what does not belong to it",
};

// --- drawing ----------------------------------------------------------------------------------------------------------------

function hintOf(state) {
  const photo = photoOf(state);
  if (!photo) return "";
  if (upload.share !== null) return `Uploading ${Math.round(100 * upload.share)} %`;
  if (!photo.width) return `Opening ${photo.name}`;
  if (layersShown(state)) return "Drag an object";
  if (["certainty", "cutout", "photo"].includes(state.view)) return "";
  return !marked(active(state)) || state.tool !== "plus" ? HINTS[state.tool] : "";
}

function redraw(state) {
  const photo = photoOf(state);
  drawPanel(state);
  drawResult(state);
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === state.tool));
    button.disabled = !ready(state) || Boolean(layersShown(state)) || !usable(state, button.dataset.tool);
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
    button.disabled = Boolean(layersShown(state)) || (!["photo", "overlay"].includes(button.dataset.view) && !active(state)?.result);
  }
  $("brush-size").value = state.brush;
  $("brush-part").hidden = !["brush", "eraser", "grow", "shrink"].includes(state.tool);
  $("empty").hidden = Boolean(photo);
  $("mask-file").disabled = !ready(state) || Boolean(layersShown(state));
  $("hint").textContent = hintOf(state);
  $("legend").hidden = state.view !== "certainty" || Boolean(layersShown(state));
  canvas.dataset.tool = ["overlay", "certainty"].includes(state.view) && !layersShown(state) ? state.tool : "pan";
}

let toast = 0;
function showNotice({ notice }, action) {
  $("toast").hidden = !notice || action.status === 401;
  if (action.status === 401 && !$("token").open) askToken("It has another token than before, or was started anew.");
  if ($("toast").hidden) return;
  $("toast").textContent = notice.text;
  $("toast").className = notice.kind;
  if (notice.kind !== "error") { $("live").textContent = notice.text; }
  clearTimeout(toast);
  toast = setTimeout(() => dispatch({ type: "unnotice", id: notice.id }), notice.kind === "error" ? 12_000 : 4000);
}

function announce(state, before) {
  const [object, earlier] = [active(state), active(before)], photo = photoOf(state);
  if (photo?.width && photo.width !== photoOf(before)?.width) $("live").textContent = `${photo.name}, ${photo.width} by ${photo.height} pixels`;
  if (object?.result && object.result !== earlier?.result) $("live").textContent = `Done: ${Math.round(100 * occludedShare(object))} percent of the object is occluded`;
  else if (object?.visible?.mask && object.visible !== earlier?.visible) $("live").textContent = `Visible mask of ${object.visible.mask.area} pixels`;
}

// --- questions --------------------------------------------------------------------------------------------------------------

/** Ask yes or no. */
function ask(text, yes) {
  $("question-text").textContent = text;
  $("question-yes").textContent = yes;
  $("question").returnValue = "no";
  $("question").showModal();
  return new Promise((done) => { $("question").addEventListener("close", () => done($("question").returnValue === "yes"), { once: true }); });
}
onLoss(ask);
onTooLarge((name, { width, height }, [w, h], limits) =>
  ask(`${name} is ${width} x ${height}; this service takes ${limits.pixels / 1e6} megapixels and ${limits.upload_bytes >> 20} MB. Use it scaled to ${w} x ${h}?`, "Scale it down"));

function askToken(why) {
  $("token-why").textContent = why;
  $("token").showModal();
}

// --- building ---------------------------------------------------------------------------------------------------------------

const keycap = (key) => node("kbd", { textContent: key, aria: { "aria-hidden": "true" } });
function buildTools() {
  const buttons = TOOLS.map(([tool, text, key, title]) => {
    const button = node("button", { title: `${title} (${key})`, aria: { "data-tool": tool, "aria-label": text } }, icon(tool), node("span", { textContent: text }), keycap(key));
    button.onclick = () => dispatch({ type: "tool", tool });
    return button;
  });
  const file = node("input", { type: "file", accept: "image/*", className: "hidden-input", id: "mask-file", aria: { "aria-label": "Mask file" } });
  file.onchange = () => { const [picture] = file.files; file.value = ""; if (picture) attempt(() => takeMask(picture)); };
  const group = (name, ...children) => node("span", { className: "set", aria: { role: "group", "aria-label": name } }, ...children);
  $("tools").append(group("Mark", ...buttons.slice(0, 3)), group("Paint", ...buttons.slice(3, 5), node("label", { className: "button", title: "Upload a visible mask: white marks the object" }, icon("file"), node("span", { textContent: "File" }), file)),
    group("Occluder", buttons[5]), group("Correct", ...buttons.slice(6)));
}

function buildViews() {
  const compare = node("button", { title: "Hold to compare with the photo (Space)", id: "compare" }, "Compare", keycap("Space"));
  const comparing = (value) => () => { draft.comparing = value; draw(); };
  compare.onpointerdown = comparing(true);
  compare.onpointerup = compare.onpointerleave = compare.onblur = comparing(false);
  const size = node("input", { type: "range", min: 2, max: 80, value: now().brush, id: "brush-size" });
  size.oninput = () => dispatch({ type: "brush", radius: Number(size.value) });
  const zooms = [["−", "Zoom out (-)"], ["0", "Fit (0)"], ["+", "Zoom in (+)"]].map(([key, title]) => {
    const button = node("button", { title, aria: { "aria-label": title, ...(key === "0" && { id: "zoom-text" }) } }, key === "0" ? "" : key);
    button.onclick = () => zoomTo(key);
    return button;
  });
  $("views").append(...VIEWS.map(([name, text, key]) => {
    const button = node("button", { aria: { "data-view": name } }, text, keycap(key));
    button.onclick = () => dispatch({ type: "view", view: name });
    return button;
  }), compare, node("label", { id: "brush-part" }, "Brush", size), node("span", { className: "set zoom" }, ...zooms));
  $("keys").replaceChildren(...HELP.flatMap(([keys, text]) => [node("dt", {}, ...keys.split(" ").map((key) => node("kbd", { textContent: key }))), node("dd", { textContent: text })]));
}

function buildSamples(place) {
  $(place).replaceChildren(...now().about.samples.map((name) => {
    const button = node("button", { title: `Example: ${name}`, aria: { "aria-label": `Example ${name}`, "data-example": name } }, node("img", { src: `/samples/${name}`, alt: "" }));
    button.onclick = () => attempt(async () => openFiles([new File([await api.sample(name)], name, { type: "image/jpeg" })]));
    return button;
  }));
}

// --- wiring -----------------------------------------------------------------------------------------------------------------

function wire() {
  // a pointer's click on a button leaves the keys to the photo; the keyboard's stays where it is
  addEventListener("click", (event) => { if (event.detail && event.target.closest?.("button") && !event.target.closest("dialog") && ready(now())) canvas.focus({ preventScroll: true }); });
  addEventListener("hashchange", () => { if (api.takeToken()) begin(); });
  const completeAll = () => { // what is complete and up to date is left as it is: it may be corrected by hand
    const { objects } = photoOf(now()), open = objects.filter((object) => !object.result || outdated(now(), object));
    dispatch({ type: "begin", kind: "completion", keys: (open.some(marked) ? open : objects).map(({ key }) => key) });
  };
  const begins = (kind) => () => dispatch({ type: "begin", kind });
  const clicks = {
    undo: () => dispatch({ type: "undo" }), redo: () => dispatch({ type: "redo" }), reset: () => dispatch({ type: "reset" }), help: showKeys,
    add: () => dispatch({ type: "add" }), run: begins("completion"), "run-all": completeAll,
    apart: begins("layers"), cancel: () => dispatch({ type: "cancel" }), repaint: begins("repaint"),
    "leave-layers": () => dispatch({ type: "layersOpen", open: false }), "show-layers": () => dispatch({ type: "layersOpen", open: true }), toast: () => dispatch({ type: "notice", text: "" }),
  };
  for (const [id, action] of Object.entries(clicks)) $(id).onclick = action;
  $("words").onchange = () => dispatch({ type: "words", text: $("words").value.trim() });
  $("token-form").onsubmit = (event) => { event.preventDefault(); api.setToken($("token-field").value); $("token").close(); begin(); };
  for (const id of ["occluder", "thumbs", "proposals"]) radios($(id));
}

async function begin() {
  try {
    await enter();
  } catch (error) {
    if (error.status === 401) askToken($("token-field").value ? "That token is wrong: the service refuses it." : "");
    else dispatch({ type: "notice", text: error.message, kind: "error" });
    return;
  }
  if ($("token").open) $("token").close();
  buildSamples("samples");
  buildSamples("examples");
  drawForm($("choices"));
  redraw(now());
  document.body.dataset.ready = "yes";
}

onChange((state, before, action) => {
  redraw(state);
  announce(state, before);
  if (state.notice !== before.notice) showNotice(state, action);
  if (state.current !== before.current) draft.cross = null;
  if (state.current !== before.current || state.tool !== before.tool || state.layersOpen !== before.layersOpen) abandon();
});
onMedia(() => { $("hint").textContent = hintOf(now()); drawResult(now()); });
api.takeToken();
buildTools();
buildViews();
buildResult();
wire();
listenIntake();
listen();
listenHover();
listenKeys();
restore().then((found) => {
  if (found) dispatch({ type: "notice", text: "Your work from before is back." });
  keep();
  begin();
});
