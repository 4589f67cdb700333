// A scene taken apart: objects that can be dragged; what was behind them comes forward.

import * as api from "./api.js";
import { Mask, tint } from "./mask.js";
import { state } from "./store.js";

export async function load(job) {
  const record = await api.result(job);
  const count = record.objects.length;
  const [background, rest, ...pictures] = await Promise.all([
    api.picture(api.fileUrl(job, "background.png")),
    api.picture(api.fileUrl(job, "rest.png")),
    ...record.objects.map((_, k) => api.picture(api.fileUrl(job, `object-${k + 1}.png`))),
  ]);
  const objects = record.objects.map((object, k) => ({
    name: k === count - 1 ? "nearest" : k === 0 ? "farthest" : `layer ${k + 1}`,
    picture: pictures[k], x: object.amodal_box[0], y: object.amodal_box[1], dx: 0, dy: 0, shown: true,
    visible: Mask.decode(object.visible), rate: object.occlusion_rate,
  }));
  return { job, background, rest, objects, picked: -1 };
}

/** The rest without the rim of the objects that were moved or hidden: their edges bleed into it. */
function restNow(layers) {
  const moved = layers.objects.filter((object) => object.dx || object.dy || !object.shown);
  const key = moved.map((object) => layers.objects.indexOf(object)).join();
  if (layers.restKey !== key) {
    const out = new OffscreenCanvas(layers.rest.width, layers.rest.height);
    const pen = out.getContext("2d");
    pen.drawImage(layers.rest, 0, 0);
    pen.globalCompositeOperation = "destination-out";
    const reach = Math.max(3, Math.round(Math.max(out.width, out.height) / 160));
    for (const object of moved) {
      object.stamp ??= tint(object.visible, [0, 0, 0, 255]);
      for (let step = 0; step < 64; step++) {
        const radius = (reach + 1.5) * (step % 2 ? 1 : 0.5), angle = (step * Math.PI) / 32;
        const [x, y] = [Math.cos(angle) * radius, Math.sin(angle) * radius];
        pen.drawImage(object.stamp, Math.round(object.visible.x + x), Math.round(object.visible.y + y));
      }
    }
    layers.restKey = key;
    layers.restCanvas = out;
  }
  return layers.restCanvas;
}

/** Everything that lies where it was, at the photo's own size: scaled as one picture, no seams show between the layers. */
function still(layers, photo) {
  const key = layers.objects.map((object) => (object.shown ? (object.dx || object.dy ? 2 : 1) : 0)).join();
  if (layers.stillKey !== key) {
    const out = new OffscreenCanvas(photo.width, photo.height);
    const pen = out.getContext("2d");
    pen.drawImage(layers.background, 0, 0);
    for (const object of layers.objects) if (object.shown && !object.dx && !object.dy) pen.drawImage(object.picture, object.x, object.y);
    pen.drawImage(restNow(layers), 0, 0);
    layers.stillKey = key;
    layers.stillCanvas = out;
  }
  return layers.stillCanvas;
}

export function drawLayers(pen, scale) {
  const { layers, photo } = state;
  pen.drawImage(still(layers, photo), 0, 0);
  for (const object of layers.objects) {
    if (!object.shown || (!object.dx && !object.dy)) continue;
    pen.shadowColor = "#000a";
    pen.shadowBlur = 16;
    pen.drawImage(object.picture, object.x + object.dx, object.y + object.dy);
    pen.shadowColor = "transparent";
  }
  const picked = layers.objects[layers.picked];
  if (picked?.shown) {
    pen.strokeStyle = "#ffb020";
    pen.lineWidth = 2 / scale;
    pen.strokeRect(picked.x + picked.dx, picked.y + picked.dy, picked.picture.width, picked.picture.height);
  }
}

/** The topmost object at a point: moved ones first, then by what is visible there. */
export function pick(x, y) {
  const { objects } = state.layers;
  for (let k = objects.length - 1; k >= 0; k--) {
    const object = objects[k];
    const moved = object.dx || object.dy;
    if (!object.shown || !moved) continue;
    const [left, top] = [x - object.x - object.dx, y - object.y - object.dy];
    if (left >= 0 && top >= 0 && left < object.picture.width && top < object.picture.height) return k;
  }
  return objects.findIndex((object) => object.shown && object.visible.get(Math.floor(x), Math.floor(y)));
}
