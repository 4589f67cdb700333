// The panel at the side: objects, occluder, progress, layers, and the row of photos; drawn from the state, only where it changed.

import { $, node, percent, radio, refill } from "./dom.js";
import { arrangement, save } from "./files.js";
import { changed } from "./layers.js";
import { active, belongsLayers, completable, occludedShare, layersShown, marked, outdated, photoOf, ready, same, visibleOf, worked } from "./select.js";
import { draft, draw } from "./stage.js";
import { dispatch, now } from "./store.js";
import { attempt, bitmapOf } from "./work.js";

const focus = (name) => ({ "data-focus": name });

function field(value, label, set) {
  const input = node("input", { type: "text", value, maxLength: 60, className: "name", aria: { "aria-label": label } });
  input.onchange = () => set(input.value.trim() || value);
  return input;
}

function objects(state, photo) {
  const rows = photo?.objects ?? [];
  const rate = (object) => (object.result ? `${percent(occludedShare(object))}${outdated(state, object) ? " (old)" : ""}` : visibleOf(object, photo) ? "visible" : marked(object) ? "..." : "");
  refill($("objects"), JSON.stringify([photo?.key, photo?.active, rows.map(({ key, name, category }) => [key, name, category])]), () => rows.map((object, index) => {
    const name = node("button", { aria: { "data-object": index, ...focus(`o${object.key}`) } }, node("span", { className: `dot c${index % 6}` }), object.name, node("span", { className: "rate" }));
    name.onclick = () => dispatch({ type: "select", object: object.key });
    const drop = node("button", { className: "small", textContent: "×", title: "Remove (Delete)", aria: { "aria-label": `Remove ${object.name}`, ...focus(`x${object.key}`) } });
    drop.onclick = () => dispatch({ type: "remove", object: object.key });
    const row = node("li", {}, name, drop);
    if (object.key !== photo.active) return row;
    row.setAttribute("aria-current", "true");
    const set = (patch) => dispatch({ type: "rename", object: object.key, ...patch });
    row.append(node("span", { className: "names" }, field(object.name, "Name", (value) => set({ name: value })), field(object.category, "Category", (value) => set({ category: value }))));
    return row;
  }));
  // what comes from the service changes no row: somebody may be typing in one
  $("objects").querySelectorAll(".rate").forEach((place, k) => { place.textContent = rate(rows[k]); });
  $("add").disabled = !ready(state) || !marked(active(state));
}

function occluder(state) {
  const object = active(state), mode = object?.occluder.mode, clicking = state.tool === "occluder";
  const choices = [["auto", "Automatic", "The method decides what hides the object"], ["none", "Nothing", "Nothing hides the object"], ["mask", "I'll click it", "Name the occluder by a click (O)"]];
  refill($("occluder"), JSON.stringify([mode, clicking, ready(state)]), () => choices.map(([name, text, title]) => {
    const button = radio(mode === name, { textContent: text, title, disabled: !ready(state), aria: { ...focus(name), ...(name === "mask" && clicking && { "data-waiting": "yes" }) } });
    button.onclick = () => dispatch(name === "mask" ? { type: "tool", tool: "occluder" } : { type: "occluder", mode: name });
    return button;
  }));
}

function progress(state) {
  const { job } = state, photo = photoOf(state);
  $("progress").hidden = !job;
  $("progress-text").textContent = job?.text ?? "";
  if (job?.share == null) $("bar").removeAttribute("value");
  else $("bar").value = job.share;
  $("run").hidden = Boolean(layersShown(state));
  $("run").disabled = Boolean(job) || !completable(state, active(state));
  $("run-all").hidden = $("run").hidden || (photo?.objects ?? []).filter(marked).length < 2;
  $("run-all").disabled = Boolean(job);
  $("apart").disabled = Boolean(job) || !ready(state);
  $("apart").textContent = photo?.layers ? "Split again" : "Split into layers";
  $("show-layers").hidden = !photo?.layers || state.layersOpen;
}

function words(state) {
  const name = state.settings.choice.segmenter ?? state.about?.segmenters.default;
  const can = name === "sam3";
  $("words").disabled = !can || !ready(state);
  if (document.activeElement !== $("words")) $("words").value = active(state)?.prompt.text ?? "";
  $("words-part").hidden = !can || !ready(state);
  $("words-why").hidden = can || !ready(state);
  $("words-why").textContent = can ? "" : `Words need the segmenter sam3; ${name} is chosen.`;
}

// --- layers -----------------------------------------------------------------------------------------------------------------

function layerRow(layers, item, place) {
  const object = layers.objects[item.index];
  const arrange = (patch) => dispatch({ type: "arrange", picked: place, items: layers.items.map((other) => (other === item ? { ...other, ...patch } : other)) });
  const shift = (step) => () => {
    const items = layers.items.filter((other) => other !== item);
    items.splice(place + step, 0, item);
    dispatch({ type: "arrange", picked: place + step, items });
  };
  const box = node("input", { type: "checkbox", checked: item.shown, aria: { "aria-label": `Show ${object.name}`, ...focus(`s${item.index}`) } });
  box.onchange = () => arrange({ shown: box.checked });
  const thumb = node("img", { alt: "", src: urlOf(object.picture) });
  const name = node("button", { className: "small", aria: focus(`n${item.index}`) }, thumb, object.name, node("span", { className: "rate", textContent: percent(object.rate) }));
  name.onclick = () => dispatch({ type: "arrange", picked: place });
  const small = (text, title, disabled, action) => { const button = node("button", { className: "small", textContent: text, title, disabled, aria: { "aria-label": `${title}: ${object.name}`, ...focus(`${text}${item.index}`) } }); button.onclick = action; return button; };
  const row = node("li", {}, box, name, small("↑", "Nearer", place === layers.items.length - 1, shift(1)), small("↓", "Farther", place === 0, shift(-1)),
    small("↺", "Put back", !item.dx && !item.dy, () => arrange({ dx: 0, dy: 0 })));
  row.onpointerenter = () => { draft.hover = place; draw(); };
  row.onpointerleave = () => { draft.hover = -1; draw(); };
  if (place === layers.picked) row.setAttribute("aria-current", "true");
  return row;
}

const urls = new WeakMap();
/** An address for a blob, the same each time. */
export function urlOf(blob) {
  if (!urls.has(blob)) urls.set(blob, URL.createObjectURL(blob));
  return urls.get(blob);
}

function layers(state, photo) {
  const found = layersShown(state);
  $("layers").hidden = !found;
  for (const id of ["objects-part", "occluder-part", "settings"]) $(id).hidden = Boolean(found);
  if (!found) return;
  $("layers-old").hidden = same(found.of, belongsLayers(state));
  refill($("layer-list"), JSON.stringify([photo.key, found.of, found.items, found.picked]), () => found.items.map((item, place) => layerRow(found, item, place)).reverse());
  const name = photo.name.replace(/\.[^.]*$/, ""), way = changed(found) ? ".rearranged" : "";
  refill($("layer-downloads"), JSON.stringify([photo.key, way]), () => [["png", "Picture", `${name}${way || ".layers"}.png`], ["ora", "OpenRaster", `${name}${way}.ora`]].map(([kind, text, file]) => {
    const button = node("button", { className: "small", textContent: text, aria: { "data-file": kind === "ora" ? "layers.ora" : "layers.png" } });
    button.onclick = () => attempt(async () => save(await arrangement(now(), kind), file));
    return button;
  }));
}

// --- the row of photos ------------------------------------------------------------------------------------------------------

const CHIPS = 30; // so many photos have a button, around the one that is shown
let ask = async () => true;
export const onLoss = (question) => { ask = question; };

function photos(state) {
  $("row").hidden = state.photos.length < 2;
  const done = (photo) => (photo.objects.some(({ result }) => result) ? "done" : worked(photo) ? "begun" : "");
  const turned = refill($("row"), JSON.stringify([state.current, state.photos.map((photo) => [photo.key, photo.name, done(photo)])]), () => {
    const count = state.photos.filter((photo) => done(photo) === "done").length, place = state.photos.findIndex(({ key }) => key === state.current);
    const turn = (step, name) => {
      const button = node("button", { title: name, disabled: !state.photos[place + step], aria: { "aria-label": name, ...focus(name) } }, step < 0 ? "‹" : "›");
      button.onclick = () => dispatch({ type: "show", photo: state.photos[place + step].key });
      return button;
    };
    const from = Math.max(0, Math.min(place - CHIPS / 2, state.photos.length - CHIPS));
    const chips = state.photos.slice(from, from + CHIPS).map((photo) => {
      const name = node("button", { className: `chip ${done(photo)}`, title: photo.name, aria: { "aria-pressed": String(photo.key === state.current), "data-photo": photo.name, ...focus(`p${photo.key}`) } }, photo.name);
      name.onclick = () => dispatch({ type: "show", photo: photo.key });
      const close = node("button", { className: "small", textContent: "×", aria: { "aria-label": `Close ${photo.name}` } });
      close.onclick = async () => { if (!worked(photo) || await ask(`Close ${photo.name}? What was marked and completed on it is lost.`, "Close")) dispatch({ type: "close", photo: photo.key }); };
      return node("span", { className: "pair" }, name, close);
    });
    return [turn(-1, "Previous photo (PageUp)"), node("span", { className: "quiet", textContent: `${place + 1} of ${state.photos.length}, ${count} done` }), turn(1, "Next photo (PageDown)"), node("span", { className: "chips" }, ...chips)];
  });
  if (turned) $("row").querySelector("[aria-pressed=true]")?.parentNode.scrollIntoView({ block: "nearest", inline: "nearest" });
}

// --- what a click means -----------------------------------------------------------------------------------------------------

function proposals(state, photo) {
  const { proposals: found } = active(state) ?? {}, shown = found && !state.job && state.view === "overlay" && !layersShown(state);
  $("proposals").hidden = !shown;
  if (!shown) return;
  const around = joint(found.list);
  refill($("proposals"), JSON.stringify([photo.key, active(state).prompt.id, found.chosen, Boolean(bitmapOf(photo))]), () => found.list.map((mask, index) => {
    const picture = node("canvas", { width: 64, height: 48 });
    thumbnail(picture, mask, photo, around);
    const button = radio(index === found.chosen, { title: "What the click means (S)", aria: { "data-proposal": index, "aria-label": `Proposal ${index + 1}: ${percent(mask.area / (photo.width * photo.height))} of the photo`, ...focus(`m${index}`) } }, picture);
    button.onclick = () => dispatch({ type: "propose", index });
    return button;
  }));
}

const joint = (masks) => masks.map(({ box }) => box).reduce((a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])]);

/** A mask on the part of the photo that all proposals lie in. */
function thumbnail(canvas, mask, photo, [x0, y0, x1, y1]) {
  const pen = canvas.getContext("2d"), { width, height } = canvas, bitmap = bitmapOf(photo);
  const scale = Math.min(width / (x1 - x0), height / (y1 - y0), 4) * 0.86, left = (x0 + x1 - width / scale) / 2, top = (y0 + y1 - height / scale) / 2;
  if (bitmap) pen.drawImage(bitmap, -left * scale, -top * scale, photo.width * scale, photo.height * scale);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      pen.fillStyle = mask.get(Math.floor(left + (x + 0.5) / scale), Math.floor(top + (y + 0.5) / scale)) ? "#0a96ff70" : "#000a";
      pen.fillRect(x, y, 1, 1);
    }
  }
}

export function drawPanel(state) {
  const photo = photoOf(state);
  objects(state, photo);
  occluder(state);
  progress(state);
  words(state);
  layers(state, photo);
  photos(state);
  proposals(state, photo);
  const shown = layersShown(state), past = shown ? shown.past : photo?.past, future = shown ? shown.future : photo?.future;
  $("undo").disabled = !past?.length;
  $("redo").disabled = !future?.length;
  $("reset").disabled = !photo || !worked(photo);
}
