// The result of the chosen object: the cut-out large, numbers, samples, how it is kept, downloads.

import { Refusal } from "./api.js";
import { $, node, percent, radio, refill } from "./dom.js";
import { cutout, everything, fileOf, fill, save, stem } from "./files.js";
import { urlOf } from "./panel.js";
import { code, command } from "./recipe.js";
import { active, amodalOf, occludedShare, layersShown, outdated, photoOf } from "./select.js";
import { board, cutoutOf, pictureOf } from "./stage.js";
import { dispatch, now } from "./store.js";
import { attempt } from "./work.js";

/** How cut-outs are kept: see `cutout` in files.js. */
const look = { ground: "", whole: false, soft: false };
const pixels = (count) => `${count.toLocaleString("en")} px`;

function facts(object) {
  const { record, amodal, samples } = object.result, whole = amodalOf(object);
  $("words-rate").textContent = whole.area === object.result.visible.area ? "Nothing of it is occluded." : `${percent(occludedShare(object))} of it is occluded.`;
  const rows = [["visible area", pixels(object.result.visible.area)], ["whole area", pixels(whole.area)]];
  if (record.beyond_frame) rows.push(["leaves the photo", "yes"]);
  if (record.score != null) rows.push(["score", record.score.toFixed(2)]);
  if (samples.length > 1) {
    const areas = samples.map(({ area }) => area);
    rows.push(["range of samples", `${Math.min(...areas).toLocaleString("en")} to ${pixels(Math.max(...areas))}`]);
    if (areas.every((area) => area === amodal.area)) rows.push(["samples", "all equal: this method draws no chance"]);
  }
  if (record.provenance.samples > record.samples.length) rows.push(["samples", "one: this method draws no chance"]);
  $("facts").replaceChildren(...rows.flatMap(([name, value]) => [node("dt", { textContent: name }), node("dd", { textContent: value })]));
}

function preview(object) {
  const canvas = $("preview"), { blob } = cutoutOf(object), picture = pictureOf(blob), pen = canvas.getContext("2d");
  const width = Math.max(120, canvas.clientWidth || 316), height = 220;
  Object.assign(canvas, { width, height });
  if (!look.ground) board(pen, 0, 0, width, height, 10);
  else if (look.ground instanceof ImageBitmap) fill(pen, look.ground);
  else { pen.fillStyle = look.ground; pen.fillRect(0, 0, width, height); }
  if (!picture) return;
  const scale = Math.min((width - 12) / picture.width, (height - 12) / picture.height, 4);
  pen.drawImage(picture, (width - picture.width * scale) / 2, (height - picture.height * scale) / 2, picture.width * scale, picture.height * scale);
}

function thumbs(object) {
  const { result } = object, all = result.samples.length > 1 ? [[-1, "consensus", result.files.cutout], ...result.files.samples.map((blob, k) => [k, `${k + 1}`, blob])] : [];
  refill($("thumbs"), JSON.stringify([result.of, object.sample, all.length]), () => all.map(([index, text, blob]) => {
    const button = radio(index === object.sample, { aria: { "data-sample": index, "data-focus": index, "aria-label": index < 0 ? "The consensus of all samples" : `Sample ${text}` } }, node("img", { src: urlOf(blob), alt: "" }), text);
    button.onclick = () => dispatch({ type: "sample", index });
    return button;
  }));
}

const FILES = [["amodal.png", "Mask", "amodal.png"], ["visible.png", "Visible", "visible.png"], ["cutout.png", "Cut-out", "cutout.png"],
  ["overlay.png", "Overlay", "overlay.png"], ["result.json", "JSON", "json"], ["coco.json", "COCO", "coco.json"]];

function downloads(state, photo, object) {
  const many = photo.objects.filter(({ result }) => result).length > 1;
  refill($("downloads"), JSON.stringify([photo.key, object.key, stem(photo, object), object.sample, many]), () => {
    const links = FILES.map(([file, text, ending]) => {
      const shown = object.sample >= 0 && file === "amodal.png" ? `sample-${object.sample}.mask.png` : object.sample >= 0 && file === "cutout.png" ? `sample-${object.sample}.png` : file;
      const button = node("button", { className: "small", textContent: text, aria: { "data-file": shown } });
      button.onclick = () => attempt(async () => {
        const old = outdated(now(), active(now()));
        save(await fileOf(now(), photoOf(now()), active(now()), file, look), `${stem(photo, object)}${old ? ".out-of-date" : ""}.${ending}`);
        if (old) dispatch({ type: "notice", text: `Saved as it was made: ${old} since.` });
      });
      return button;
    });
    if (!many) return links;
    const all = node("button", { className: "small", textContent: "All objects (ZIP)", aria: { "data-file": "all.zip" } });
    all.onclick = () => attempt(async () => save(await everything(now(), look), `${photo.name.replace(/\.[^.]*$/, "")}.objects.zip`));
    return [...links, all];
  });
}

export function drawResult(state) {
  const photo = photoOf(state), object = active(state), shown = object?.result && !layersShown(state);
  $("result").hidden = !shown;
  if (!shown) return;
  const old = outdated(state, object);
  $("old").hidden = !old;
  $("old").textContent = old ? `Out of date: ${old} since. Complete it again.` : "";
  $("correct").hidden = !object.correction;
  facts(object);
  preview(object);
  thumbs(object);
  downloads(state, photo, object);
}

async function copy(text, what) {
  document.body.dataset.copied = text;
  try {
    await navigator.clipboard.writeText(text);
    dispatch({ type: "notice", text: `${what} copied` });
  } catch {
    $("text-title").textContent = what;
    $("text-field").value = text;
    $("text").showModal();
    $("text-field").select();
  }
}

async function copyPicture() {
  if (!navigator.clipboard?.write) throw new Refusal("This browser copies pictures only from localhost or https; save the cut-out instead.", 0);
  const blob = await cutout(photoOf(now()), active(now()), look);
  await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
  dispatch({ type: "notice", text: "Picture copied" });
}

/** The controls of the look, made once. */
export function buildResult() {
  const ground = node("select", { id: "ground", aria: { "aria-label": "Background of the cut-out" } }, ...[["", "transparent"], ["#ffffff", "white"], ["#000000", "black"], ["colour", "a colour"], ["picture", "a picture"]].map(([value, text]) => node("option", { value, textContent: text })));
  const colour = node("input", { type: "color", value: "#88bbee", hidden: true, aria: { "aria-label": "Colour" } });
  const picture = node("input", { type: "file", accept: "image/*", hidden: true, aria: { "aria-label": "Picture behind the cut-out" } });
  const set = (patch) => { Object.assign(look, patch); drawResult(now()); };
  ground.onchange = () => {
    colour.hidden = ground.value !== "colour";
    picture.hidden = ground.value !== "picture";
    set({ ground: ground.value === "colour" ? colour.value : ground.value === "picture" ? "" : ground.value });
  };
  colour.oninput = () => set({ ground: colour.value });
  picture.onchange = () => attempt(async () => { if (picture.files[0]) set({ ground: await createImageBitmap(picture.files[0]) }); });
  const frame = node("select", { aria: { "aria-label": "Frame of the cut-out" } }, node("option", { value: "", textContent: "trimmed" }), node("option", { value: "yes", textContent: "full frame" }));
  frame.onchange = () => set({ whole: Boolean(frame.value) });
  const soft = node("input", { type: "checkbox", id: "soft" });
  soft.onchange = () => set({ soft: soft.checked });
  $("look").append(ground, colour, picture, frame, node("label", {}, soft, "soft edge"));
  const recipe = (make) => () => attempt(async () => copy(...make(active(now()), photoOf(now()))));
  $("copy-picture").onclick = () => attempt(copyPicture);
  $("copy-command").onclick = recipe((object, photo) => [command(object.result.record, photo, now().about, stem(photo, object)), "Command"]);
  $("copy-python").onclick = recipe((object, photo) => [code(object.result.record, photo, now().about), "Python"]);
}
