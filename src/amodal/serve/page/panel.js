// The panel at the side: objects, occluder, progress, result, layers; drawn anew from the state.

import * as api from "./api.js";
import { active, canRedo, canUndo, edit, remove, state, stem } from "./store.js";
import { choose, job, marked } from "./work.js";

const $ = (id) => document.getElementById(id);

const node = (name, attributes = {}, ...children) => {
  const out = document.createElement(name);
  const { aria = {}, ...rest } = attributes;
  Object.assign(out, rest);
  for (const [key, value] of Object.entries(aria)) out.setAttribute(key, value);
  out.append(...children);
  return out;
};

const percent = (share) => `${(100 * share).toFixed(share && share < 0.1 ? 1 : 0)} %`;

function objects(select) {
  $("objects").replaceChildren(...state.objects.map((object, index) => {
    const dot = node("span", { className: `dot c${index % 6}` });
    const rate = object.result ? percent(object.result.occlusion_rate) : object.visible ? "visible" : "";
    const name = node("button", { aria: { "data-object": index } }, dot, object.name, node("span", { className: "rate", textContent: rate }));
    name.onclick = () => select(index);
    const drop = node("button", { className: "small", textContent: "×", title: "Remove", aria: { "aria-label": `Remove ${object.name}` } });
    drop.onclick = () => remove(index);
    const row = node("li", {}, name, drop);
    if (index === state.active) row.setAttribute("aria-current", "true");
    return row;
  }));
}

function occluder(pickOccluder) {
  const object = active();
  const choices = [["auto", "Find it", "The method decides"], ["none", "Nothing", "Nothing hides the object"], ["mask", "Click it", "Name the occluder by a click (O)"]];
  $("occluder").replaceChildren(...choices.map(([mode, text, title]) => {
    const chosen = object?.occluder.mode === mode;
    const button = node("button", { textContent: text, title, aria: { role: "radio", "aria-checked": chosen } });
    button.onclick = () => (mode === "mask" ? pickOccluder() : edit({ occluder: { mode, mask: null } }));
    return button;
  }));
}

function progress() {
  const busy = Boolean(job.text);
  $("progress").hidden = !busy;
  $("progress-text").textContent = job.text;
  if (job.unknown) $("bar").removeAttribute("value");
  else $("bar").value = job.share;
  $("cancel").disabled = !job.id;
  const object = active();
  $("run").disabled = busy || !state.photo || !marked(object);
  $("run-all").hidden = state.objects.filter(marked).length < 2;
  $("run-all").disabled = busy;
  $("apart").disabled = busy || !state.photo;
}

function thumbs(object) {
  const { result } = object;
  if (result.samples.length < 2) return $("thumbs").replaceChildren();
  const all = [["vote", -1, "cutout.png"], ...result.samples.map((_, k) => [`${k + 1}`, k, `sample-${k}.png`])];
  const key = result.job;
  if ($("thumbs").dataset.job !== key) {
    $("thumbs").dataset.job = key;
    $("thumbs").replaceChildren(...all.map(([text, index, file]) => {
      const button = node("button", { aria: { role: "radio", "data-sample": index, "aria-label": index < 0 ? "The vote of all samples" : `Sample ${text}` } },
        node("img", { src: api.fileUrl(key, file), alt: "" }), text);
      button.onclick = () => choose(index);
      return button;
    }));
  }
  for (const button of $("thumbs").children) button.setAttribute("aria-checked", String(Number(button.dataset.sample) === object.sample));
}

const link = (id, file, text, name) => node("a", { href: api.fileUrl(id, file), download: name, textContent: text, aria: { "data-file": file } });

function result() {
  const object = active();
  const { result: found } = object ?? {};
  $("result").hidden = !found || Boolean(state.layers);
  if (!found) { delete $("thumbs").dataset.job; return; }
  const facts = [["occluded", percent(found.occlusion_rate)], ["visible area", `${found.visible_area.toLocaleString("en")} px`],
    ["whole area", `${found.amodal_area.toLocaleString("en")} px`]];
  if (found.beyond_frame) facts.push(["leaves the photo", "yes"]);
  if (found.samples.length > 1) {
    const areas = found.samples.map((sample) => sample.amodal_area);
    facts.push(["range of samples", `${Math.min(...areas).toLocaleString("en")} to ${Math.max(...areas).toLocaleString("en")} px`]);
  }
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => [node("dt", { textContent: name }), node("dd", { textContent: value })]));
  thumbs(object);
  $("correct").hidden = !object.edited;
  const name = stem();
  const sample = object.sample >= 0 ? `sample-${object.sample}` : null;
  $("downloads").replaceChildren(
    link(found.job, sample ? `${sample}.mask.png` : "amodal.png", "Mask", `${name}.amodal.png`),
    link(found.job, "visible.png", "Visible", `${name}.visible.png`),
    link(found.job, sample ? `${sample}.png` : "cutout.png", "Cut-out", `${name}.cutout.png`),
    link(found.job, "overlay.png", "Overlay", `${name}.overlay.png`),
    link(found.job, "result.json", "JSON", `${name}.json`),
    link(found.job, "coco.json", "COCO", `${name}.coco.json`),
  );
}

function layers(redraw) {
  const { layers: found } = state;
  $("layers").hidden = !found;
  for (const id of ["occluder-part", "settings"]) $(id).hidden = Boolean(found);
  if (!found) return;
  const rows = found.objects.map((object, index) => {
    const box = node("input", { type: "checkbox", checked: object.shown, aria: { "aria-label": `Show ${object.name}` } });
    box.onchange = () => { object.shown = box.checked; redraw(); };
    const back = node("button", { className: "small", textContent: "Put back", disabled: !object.dx && !object.dy });
    back.onclick = () => { object.dx = object.dy = 0; redraw(); };
    const name = node("button", { className: "small", textContent: object.name });
    name.onclick = () => { found.picked = index; redraw(); };
    return node("li", {}, box, name, node("span", { className: "rate", textContent: percent(object.rate) }), back);
  });
  $("layer-list").replaceChildren(...rows.reverse());
  const name = state.photo.name.replace(/\.[^.]*$/, "");
  $("layer-downloads").replaceChildren(
    link(found.job, "layers.ora", "OpenRaster", `${name}.ora`), link(found.job, "layers.zip", "PNGs", `${name}.layers.zip`),
    link(found.job, "result.json", "JSON", `${name}.layers.json`), link(found.job, "background.png", "Background", `${name}.background.png`),
  );
}

export function drawPanel({ select, pickOccluder, redraw }) {
  objects(select);
  occluder(pickOccluder);
  progress();
  result();
  layers(redraw);
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
}

export { node };
