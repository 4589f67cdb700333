// A scene taken apart: objects that can be moved, hidden, deleted and put in another order; what was behind them comes forward.

export const moved = ({ dx, dy, shown }) => Boolean(dx || dy || !shown);
export const changed = (layers) => layers.items.some(moved) || layers.items.some(({ index }, place) => index !== place);

/** Layers on each other: background first if `first`, what lies before all objects last if `last`. */
function laid(layers, items, photo, pictureOf, share, { first, last }) {
  const out = new OffscreenCanvas(Math.round(photo.width * share), Math.round(photo.height * share)), pen = out.getContext("2d");
  pen.scale(share, share);
  if (first) pen.drawImage(pictureOf(layers.background), 0, 0);
  for (const { index, dx, dy, shown } of items) {
    const { picture, x, y } = layers.objects[index];
    if (shown) pen.drawImage(pictureOf(picture), x + dx, y + dy);
  }
  if (last) pen.drawImage(pictureOf(layers.rest), 0, 0);
  return out;
}

let cache = {};
/** Draw the scene; what is dragged lies between what is below and what is above it. False while its pictures are not decoded. */
export function layered(pen, layers, photo, pictureOf, draft) {
  const blobs = [layers.background, layers.rest, ...layers.objects.map(({ picture }) => picture)];
  if (blobs.map((blob) => pictureOf(blob)).includes(null)) return false;
  const place = draft.drag ? draft.drag.place : layers.items.length;
  if (cache.items !== layers.items || cache.place !== place || cache.layers !== layers.objects) {
    const share = Math.min(1, Math.sqrt(2e6 / (photo.width * photo.height)));
    const { items } = layers;
    cache = { items, place, layers: layers.objects, below: laid(layers, items.slice(0, place), photo, pictureOf, share, { first: true, last: place === items.length }) };
    if (place < items.length) cache.above = laid(layers, items.slice(place + 1), photo, pictureOf, share, { last: true });
  }
  pen.drawImage(cache.below, 0, 0, photo.width, photo.height);
  const one = layers.items[place];
  if (one) {
    const { picture, x, y } = layers.objects[one.index];
    pen.drawImage(pictureOf(picture), x + one.dx + draft.drag.dx, y + one.dy + draft.drag.dy);
    pen.drawImage(cache.above, 0, 0, photo.width, photo.height);
  }
  const marked = layers.items[draft.hover >= 0 ? draft.hover : layers.picked];
  if (marked?.shown) {
    const { x, y, width, height } = layers.objects[marked.index], { dx = 0, dy = 0 } = marked === one ? draft.drag : {};
    pen.strokeStyle = "#ffb020";
    pen.lineWidth = Math.max(2, photo.width / 500);
    pen.strokeRect(x + marked.dx + dx, y + marked.dy + dy, width, height);
  }
  return true;
}

/** The place in the order of the topmost object at a point: moved ones by their box, others by what is visible there; or -1. */
export function pick(layers, x, y) {
  for (let place = layers.items.length - 1; place >= 0; place--) {
    const item = layers.items[place], object = layers.objects[item.index];
    if (!item.shown) continue;
    const [left, top] = [x - object.x - item.dx, y - object.y - item.dy];
    if (moved(item) ? left >= 0 && top >= 0 && left < object.width && top < object.height : object.visible.get(Math.floor(x), Math.floor(y))) return place;
  }
  return -1;
}

/** The rearranged picture at the photo's size, and its layers from below, each { name, canvas, x, y }. */
export async function rearranged(layers, photo) {
  const pictures = new Map();
  const load = async (blob) => pictures.set(blob, await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" }));
  await Promise.all([layers.background, layers.rest, ...layers.objects.map(({ picture }) => picture)].map(load));
  const get = (blob) => pictures.get(blob);
  const whole = laid(layers, layers.items, photo, get, 1, { first: true, last: true });
  const parts = layers.items.filter(({ shown }) => shown).map(({ index, dx, dy }) => {
    const { name, picture, x, y } = layers.objects[index];
    return { name, blob: picture, x: x + dx, y: y + dy };
  });
  return { whole, parts: [{ name: "background", blob: layers.background, x: 0, y: 0 }, ...parts, { name: "rest", blob: layers.rest, x: 0, y: 0 }] };
}
