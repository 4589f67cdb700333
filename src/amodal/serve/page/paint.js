// Masks as pixels of the screen: the cost is that of the screen, whatever the size of the photo.

export const COLOURS = [[10, 150, 255], [33, 181, 115], [192, 92, 255], [229, 183, 0], [255, 92, 138], [23, 184, 196]];
const word = ([red, green, blue], alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;

/** A picture of the screen's size that masks are laid on. `place` is { scale, x, y } from the photo to device pixels. */
export class Sheet {
  constructor(width, height) {
    this.canvas = new OffscreenCanvas(Math.max(1, width), Math.max(1, height));
    this.picture = new ImageData(this.canvas.width, this.canvas.height);
    this.words = new Uint32Array(this.picture.data.buffer);
  }

  clear() { this.words.fill(0); }

  /** The canvas with all that was laid. */
  done() {
    this.canvas.getContext("2d").putImageData(this.picture, 0, 0);
    return this.canvas;
  }

  /**
   * Lay a mask. `fill` is the alpha of its colour, `hatch` that of stripes over it, `line` the half width of its contour
   * (0: none), `white` whether the contour is white on dark, `without` a mask that is left out of the fill.
   */
  lay(mask, place, colour, { fill = 0, hatch = 0, line = 0, white = false, without = null }) {
    const { width, height } = this.canvas, pad = line + 1;
    const x0 = Math.max(0, Math.floor(place.x + mask.x * place.scale) - pad), y0 = Math.max(0, Math.floor(place.y + mask.y * place.scale) - pad);
    const x1 = Math.min(width, Math.ceil(place.x + (mask.x + mask.width) * place.scale) + pad);
    const y1 = Math.min(height, Math.ceil(place.y + (mask.y + mask.height) * place.scale) + pad);
    if (x0 >= x1 || y0 >= y1) return;
    const across = x1 - x0, down = y1 - y0, bits = sampled(mask, place, x0, y0, across, down);
    const left = without && sampled(without, place, x0, y0, across, down);
    const plain = word(colour, fill), striped = word(colour, hatch);
    for (let row = 0; row < down; row++) {
      const at = (y0 + row) * width + x0, from = row * across;
      for (let column = 0; column < across; column++) {
        const k = from + column;
        if (bits[k] && !(left && left[k])) {
          const stripe = hatch && (x0 + column + y0 + row) % 9 < 2;
          if (stripe) this.words[at + column] = striped;
          else if (fill) this.words[at + column] = plain;
        }
      }
    }
    if (line) this.contour(bits, x0, y0, across, down, line, white ? null : word(colour, 255));
  }

  contour(bits, x0, y0, across, down, reach, single) {
    const { width } = this.canvas, inner = single ?? 0xffffffff, outer = 0xb0000000, near = new Uint8Array(across * down);
    // only where two pixels beside or below each other differ is there something to do
    const mark = (k, step, place, count) => {
      for (let far = 1; far <= reach; far++) {
        const before = k - (far - 1) * step, after = k + far * step;
        if (place - far + 1 >= 0 && (!near[before] || near[before] > far)) near[before] = far;
        if (place + far < count && (!near[after] || near[after] > far)) near[after] = far;
      }
    };
    for (let row = 0, k = 0; row < down; row++) {
      for (let column = 0; column < across; column++, k++) {
        if (column + 1 < across && bits[k] !== bits[k + 1]) mark(k, 1, column, across);
        if (row + 1 < down && bits[k] !== bits[k + across]) mark(k, across, row, down);
      }
    }
    for (let row = 0, k = 0; row < down; row++) {
      for (let column = 0; column < across; column++, k++) {
        if (near[k]) this.words[(y0 + row) * width + x0 + column] = single === null && near[k] === reach && reach > 1 ? outer : inner;
      }
    }
  }
}

/** The mask at the middles of device pixels: (down x across) of 0 and 1. */
function sampled(mask, place, x0, y0, across, down) {
  const out = new Uint8Array(across * down), columns = new Int32Array(across);
  for (let column = 0; column < across; column++) {
    const x = Math.floor((x0 + column + 0.5 - place.x) / place.scale) - mask.x;
    columns[column] = x >= 0 && x < mask.width ? x : -1;
  }
  for (let row = 0; row < down; row++) {
    const y = Math.floor((y0 + row + 0.5 - place.y) / place.scale) - mask.y;
    if (y < 0 || y >= mask.height) continue;
    const from = y * mask.width;
    for (let column = 0; column < across; column++) if (columns[column] >= 0) out[row * across + column] = mask.data[from + columns[column]];
  }
  return out;
}

/** Certainty as a colour: violet, orange, yellow at 1; unlikely pixels fade out instead of ending in an edge. */
export const heat = (p) => [255 * Math.min(1, 0.35 + 0.8 * p), 255 * Math.max(0, 1.45 * p - 0.45), 255 * Math.max(0, 0.75 - 1.1 * p), 175 * Math.min(1, 2.5 * p)];

/** Grey levels of certainty as a heat map, at most a megapixel. */
export function heatOf(bitmap) {
  const share = Math.min(1, Math.sqrt(1e6 / (bitmap.width * bitmap.height)));
  const out = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * share)), Math.max(1, Math.round(bitmap.height * share)));
  const brush = out.getContext("2d");
  brush.drawImage(bitmap, 0, 0, out.width, out.height);
  const picture = brush.getImageData(0, 0, out.width, out.height), { data } = picture;
  const table = Array.from({ length: 256 }, (_, k) => heat(k / 255));
  for (let k = 0; k < data.length; k += 4) data.set(table[data[k]], k);
  brush.putImageData(picture, 0, 0);
  return out;
}
