// Downloads, made from what the page holds: they work when the service has forgotten the result, or has ended.

import { rearranged } from "./layers.js";
import { COLOURS, Sheet } from "./paint.js";
import { amodalOf, outdated, photoOf } from "./select.js";
import { edgeOf, softened } from "./soft.js";
import { cutoutOf } from "./stage.js";
import { bitmapOf } from "./work.js";

const text = (value) => new TextEncoder().encode(value);
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => { let c = n; for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1; return c >>> 0; });
function crc(bytes) {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** Pixels (rows first, `channels` bytes each: 1 grey, 4 RGBA) as a PNG, byte for byte: a canvas would lose colours where alpha is low. */
async function png(data, width, height, channels) {
  const line = width * channels, rows = new Uint8Array(height * (line + 1));
  for (let row = 0; row < height; row++) {
    const from = row * line, to = row * (line + 1) + 1;
    rows[to - 1] = 1; // each byte is stored as its difference to the pixel before
    for (let k = 0; k < line; k++) rows[to + k] = data[from + k] - (k < channels ? 0 : data[from + k - channels]);
  }
  const packed = new Uint8Array(await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer());
  const chunk = (kind, content) => {
    const out = new Uint8Array(content.length + 12), look = new DataView(out.buffer);
    look.setUint32(0, content.length);
    out.set(text(kind), 4);
    out.set(content, 8);
    look.setUint32(content.length + 8, crc(out.subarray(4, content.length + 8)));
    return out;
  };
  const head = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 8, channels === 1 ? 0 : 6, 0, 0, 0]), look = new DataView(head.buffer);
  look.setUint32(0, width);
  look.setUint32(4, height);
  return new Blob([new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", head), chunk("IDAT", packed), chunk("IEND", new Uint8Array())], { type: "image/png" });
}

/** A mask as a PNG of one grey channel, 255 on the object, of the photo's size. */
export const maskPng = (mask, { width, height }) => png(mask.on(0, 0, width, height).data.map((value) => value * 255), width, height, 1);

/** A zip of { name: blob or text }, stored without packing: PNGs are packed already. */
export async function zip(files, type = "application/zip") {
  const parts = [], index = [];
  let at = 0;
  for (const [name, content] of Object.entries(files)) {
    const bytes = content instanceof Blob ? new Uint8Array(await content.arrayBuffer()) : text(content), title = text(name), sum = crc(bytes);
    const head = (signature, more) => {
      const look = new DataView(new ArrayBuffer(signature === 0x04034b50 ? 30 : 46));
      look.setUint32(0, signature, true);
      const from = signature === 0x04034b50 ? 4 : 6;
      if (from === 6) look.setUint16(4, 20, true);
      [20, 0x0800, 0, 0, 0x21].forEach((value, k) => look.setUint16(from + 2 * k, value, true)); // version, names are UTF-8, stored, 1980
      [sum, bytes.length, bytes.length].forEach((value, k) => look.setUint32(from + 10 + 4 * k, value, true));
      look.setUint16(from + 22, title.length, true);
      if (more !== undefined) look.setUint32(42, more, true);
      return look.buffer;
    };
    parts.push(head(0x04034b50), title, bytes);
    index.push(head(0x02014b50, at), title);
    at += 30 + title.length + bytes.length;
  }
  const size = index.reduce((sum, part) => sum + part.byteLength, 0), end = new DataView(new ArrayBuffer(22)), count = Object.keys(files).length;
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, count, true);
  end.setUint16(10, count, true);
  end.setUint32(12, size, true);
  end.setUint32(16, at, true);
  return new Blob([...parts, ...index, end.buffer], { type });
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const plain = (name) => name.replace(/\.[^.]*$/, "").replace(/[\\/:*?"<>|]+/g, "_");
/** What the files of an object are called, without their endings; with several objects, the object's place too. */
export const stem = (photo, object) => `${plain(photo.name)}${photo.objects.length > 1 ? `.${photo.objects.indexOf(object) + 1}` : ""}`;

/** The record of a result as it is shown: the chosen sample and corrections by hand are what its masks hold. */
export function recordOf(state, object, photo) {
  const { record } = object.result, amodal = amodalOf(object), seen = object.result.visible, old = outdated(state, object);
  const out = { ...record, name: object.name, category: object.category };
  if (object.sample >= 0 || object.correction) {
    const whole = amodal.tight(), inside = whole.x >= 0 && whole.y >= 0 && whole.x + whole.width <= photo.width && whole.y + whole.height <= photo.height;
    const occluded = whole.with(seen, 0);
    Object.assign(out, { amodal: whole.rle(photo.width, photo.height), occluded: occluded.rle(photo.width, photo.height), amodal_box: whole.box,
      beyond_frame: inside ? null : whole.encode(), amodal_area: whole.area, occlusion_rate: Number((occluded.area / whole.area).toFixed(6)) });
    if (object.sample >= 0) out.sample = object.sample;
    if (object.correction) out.corrected = true;
  }
  if (old) out.out_of_date = old;
  return out;
}

/** All objects with a result as one COCO file, with the names and categories that the user gave. */
export function coco(state, photo, objects = photo.objects.filter(({ result }) => result)) {
  const names = [...new Set(objects.map(({ category }) => category))];
  return {
    info: { description: "amodal masks", version: state.about?.version ?? "" },
    images: [{ id: 1, file_name: photo.name, width: photo.width, height: photo.height }],
    categories: names.map((name, k) => ({ id: k + 1, name })),
    annotations: objects.map((object, k) => {
      const record = recordOf(state, object, photo), mask = amodalOf(object).on(0, 0, photo.width, photo.height).tight();
      return { id: k + 1, image_id: 1, category_id: names.indexOf(object.category) + 1, iscrowd: 0, name: object.name, segmentation: record.amodal,
        visible_mask: record.visible, visible_area: record.visible_area, bbox: [mask.x, mask.y, mask.width, mask.height], area: mask.area, occlude_rate: record.occlusion_rate };
    }),
  };
}

/** The photo with the object marked on it. */
async function overlay(photo, object) {
  const out = new OffscreenCanvas(photo.width, photo.height), pen = out.getContext("2d"), sheet = new Sheet(photo.width, photo.height);
  const place = { scale: 1, x: 0, y: 0 }, colour = COLOURS[photo.objects.indexOf(object) % COLOURS.length], line = Math.max(2, Math.round(Math.max(photo.width, photo.height) / 800));
  pen.drawImage(bitmapOf(photo), 0, 0);
  sheet.lay(amodalOf(object), place, colour, { fill: 102, hatch: 200, without: object.result.visible });
  sheet.lay(object.result.visible, place, colour, { fill: 64 });
  sheet.lay(amodalOf(object), place, colour, { line, white: true });
  pen.drawImage(sheet.done(), 0, 0);
  return out.convertToBlob();
}

/** A cut-out's pixels with a soft edge, as ImageData. */
function softly(picture, x, y, photo) {
  const { width, height } = picture, pen = new OffscreenCanvas(width, height).getContext("2d");
  pen.drawImage(picture, 0, 0);
  const closed = [x === 0, y === 0, x + width === photo.width, y + height === photo.height];
  return new ImageData(softened(pen.getImageData(0, 0, width, height), edgeOf(photo), closed), width, height);
}

/** Pixels on a transparent frame of the photo's size. */
function framed({ data, width, height }, left, top, photo) {
  const out = new Uint8Array(4 * photo.width * photo.height), first = Math.max(0, -left), last = Math.min(width, photo.width - left);
  for (let row = Math.max(0, -top); row < Math.min(height, photo.height - top); row++) {
    out.set(data.subarray(4 * (row * width + first), 4 * (row * width + last)), 4 * ((row + top) * photo.width + left + first));
  }
  return out;
}

/** A picture that fills a canvas, cut at two sides where it must. */
export function fill(pen, picture, { width, height } = pen.canvas) {
  const scale = Math.max(width / picture.width, height / picture.height);
  pen.drawImage(picture, (width - picture.width * scale) / 2, (height - picture.height * scale) / 2, picture.width * scale, picture.height * scale);
}

/** The cut-out as the user wants it: `ground` is "" (transparent), a colour or a picture; `whole` keeps the photo's frame; `soft` fades the edge. */
export async function cutout(photo, object, { ground = "", whole = false, soft = false } = {}) {
  const { blob, x, y } = cutoutOf(object);
  if (!ground && !whole && !soft) return blob;
  let picture = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  if (soft) {
    const pixels = softly(picture, x, y, photo);
    if (!ground) return whole ? png(framed(pixels, x, y, photo), photo.width, photo.height, 4) : png(pixels.data, pixels.width, pixels.height, 4);
    picture = await createImageBitmap(pixels, { premultiplyAlpha: "none" });
  }
  const out = whole ? new OffscreenCanvas(photo.width, photo.height) : new OffscreenCanvas(picture.width, picture.height), pen = out.getContext("2d");
  pen.drawImage(picture, ...(whole ? [x, y] : [0, 0]));
  pen.globalCompositeOperation = "destination-over";
  if (ground instanceof ImageBitmap) fill(pen, ground);
  else if (ground) {
    pen.fillStyle = ground;
    pen.fillRect(0, 0, out.width, out.height);
  }
  return out.convertToBlob();
}

const json = (value) => new Blob([JSON.stringify(value, null, 1)], { type: "application/json" });

/** One of an object's files, by name. */
export async function fileOf(state, photo, object, name, look) {
  if (name === "amodal.png") return maskPng(amodalOf(object), photo);
  if (name === "visible.png") return maskPng(object.result.visible, photo);
  if (name === "cutout.png") return cutout(photo, object, look);
  if (name === "overlay.png") return overlay(photo, object);
  return json(name === "coco.json" ? coco(state, photo, [object]) : recordOf(state, object, photo));
}

/** All objects of a photo in one zip, with one COCO file. */
export async function everything(state, look) {
  const photo = photoOf(state), files = {};
  for (const object of photo.objects.filter(({ result }) => result)) {
    for (const name of ["amodal.png", "visible.png", "cutout.png", "json"]) files[`${stem(photo, object)}.${name}`] = await fileOf(state, photo, object, name, look);
  }
  files[`${plain(photo.name)}.coco.json`] = json(coco(state, photo));
  return zip(files);
}

/** The rearranged scene: "png", or "ora" for GIMP and Krita. */
export async function arrangement(state, kind) {
  const photo = photoOf(state), { whole, parts } = await rearranged(photo.layers, photo), flat = await whole.convertToBlob();
  if (kind === "png") return flat;
  const quoted = (name) => name.replace(/[<>&"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const rows = parts.map(({ name, x, y }, k) => `<layer name="${quoted(name)}" src="data/${k}.png" x="${x}" y="${y}" opacity="1.0"/>`).reverse();
  const small = new OffscreenCanvas(256, Math.max(1, Math.round((256 * photo.height) / photo.width)));
  small.getContext("2d").drawImage(whole, 0, 0, small.width, small.height);
  return zip({
    mimetype: "image/openraster",
    "stack.xml": `<?xml version='1.0' encoding='UTF-8'?>\n<image version="0.0.3" w="${photo.width}" h="${photo.height}"><stack>${rows.join("")}</stack></image>\n`,
    ...Object.fromEntries(parts.map(({ blob }, k) => [`data/${k}.png`, blob])), "mergedimage.png": flat, "Thumbnails/thumbnail.png": await small.convertToBlob(),
  }, "image/openraster");
}
