// Masks: bits on a box of the photo's coordinates (which may pass the frame), and COCO's run-length code.

export class Mask {
  /** `data` (Uint8Array of 0 and 1, rows first) is never changed after the mask is made. */
  constructor(x, y, width, height, data) {
    Object.assign(this, { x, y, width, height, data: data ?? new Uint8Array(width * height) });
  }

  get(x, y) {
    const column = x - this.x, row = y - this.y;
    return column >= 0 && row >= 0 && column < this.width && row < this.height ? this.data[row * this.width + column] : 0;
  }

  get area() {
    let sum = 0;
    for (const value of this.data) sum += value;
    return sum;
  }

  /** The same mask on another box. */
  on(x, y, width, height) {
    const out = new Mask(x, y, width, height);
    const left = Math.max(x, this.x), right = Math.min(x + width, this.x + this.width);
    const top = Math.max(y, this.y), bottom = Math.min(y + height, this.y + this.height);
    for (let row = top; row < bottom && left < right; row++) {
      const from = (row - this.y) * this.width + left - this.x;
      out.data.set(this.data.subarray(from, from + right - left), (row - y) * width + left - x);
    }
    return out;
  }

  /** With a stroke of discs from (x0, y0) to (x1, y1) set to `value`. */
  stroke(x0, y0, x1, y1, radius, value) {
    const out = new Mask(this.x, this.y, this.width, this.height, this.data.slice());
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const cx = x0 + ((x1 - x0) * step) / steps - this.x, cy = y0 + ((y1 - y0) * step) / steps - this.y;
      for (let row = Math.max(0, Math.floor(cy - radius)); row <= Math.min(this.height - 1, cy + radius); row++) {
        const reach = Math.sqrt(Math.max(0, radius * radius - (row + 0.5 - cy) ** 2));
        const from = Math.max(0, Math.round(cx - reach)), to = Math.min(this.width, Math.round(cx + reach));
        if (from < to) out.data.fill(value, row * this.width + from, row * this.width + to);
      }
    }
    return out;
  }

  /** With the pixels of another mask set to `value`. */
  stamp(other, value) {
    const out = new Mask(this.x, this.y, this.width, this.height, this.data.slice());
    const there = other.on(this.x, this.y, this.width, this.height).data;
    for (let k = 0; k < there.length; k++) if (there[k]) out.data[k] = value;
    return out;
  }

  /** A pixel [x, y] of the mask that lies well away from a place: the one nearest to the middle of what is far from it. */
  farFrom(x, y) {
    let [weight, sumX, sumY] = [0, 0, 0], best = null, least = Infinity;
    const each = (visit) => { for (let k = 0; k < this.data.length; k++) if (this.data[k]) visit(this.x + (k % this.width) + 0.5, this.y + Math.floor(k / this.width) + 0.5); };
    each((u, v) => { const far = (u - x) ** 2 + (v - y) ** 2; weight += far; sumX += far * u; sumY += far * v; });
    each((u, v) => {
      const away = (u - sumX / weight) ** 2 + (v - sumY / weight) ** 2;
      if (away < least) { least = away; best = [u, v]; }
    });
    return best;
  }

  /** COCO's code, compressed; with the place of the first pixel. */
  encode() {
    const counts = [];
    let run = 0, last = 0;
    for (let column = 0; column < this.width; column++) {
      for (let row = 0; row < this.height; row++) {
        const value = this.data[row * this.width + column];
        if (value !== last) { counts.push(run); run = 0; last = value; }
        run++;
      }
    }
    counts.push(run);
    let text = "";
    counts.forEach((count, index) => {
      let value = index > 2 ? count - counts[index - 2] : count;
      for (let more = true; more;) {
        let group = value & 31;
        value >>= 5;
        more = group & 16 ? value !== -1 : value !== 0;
        if (more) group |= 32;
        text += String.fromCharCode(group + 48);
      }
    });
    return { size: [this.height, this.width], counts: text, origin: [this.x, this.y] };
  }

  static decode({ size: [height, width], counts, origin = [0, 0] }) {
    const runs = [];
    for (let place = 0; place < counts.length;) {
      let value = 0, shift = 0, group;
      do {
        group = counts.charCodeAt(place++) - 48;
        value |= (group & 31) << shift;
        shift += 5;
      } while (group & 32);
      if (group & 16 && shift < 32) value |= -1 << shift;
      if (runs.length > 2) value += runs[runs.length - 2];
      runs.push(value);
    }
    const mask = new Mask(origin[0], origin[1], width, height);
    let at = 0;
    runs.forEach((run, index) => {
      if (index % 2) for (let k = at; k < at + run; k++) mask.data[(k % height) * width + Math.floor(k / height)] = 1;
      at += run;
    });
    return mask;
  }
}

/** A canvas of a mask's box in one colour [r, g, b, a]. */
export function tint(mask, [red, green, blue, alpha]) {
  const canvas = new OffscreenCanvas(Math.max(1, mask.width), Math.max(1, mask.height));
  const picture = new ImageData(canvas.width, canvas.height);
  const words = new Uint32Array(picture.data.buffer);
  const colour = (alpha << 24) | (blue << 16) | (green << 8) | red;
  for (let k = 0; k < mask.data.length; k++) if (mask.data[k]) words[k] = colour;
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/** The line around a mask, as a path of pixel edges. */
export function outline(mask) {
  const path = new Path2D();
  const { x, y, width, height, data } = mask;
  const at = (column, row) => column >= 0 && row >= 0 && column < width && row < height ? data[row * width + column] : 0;
  for (let row = 0; row <= height; row++) {
    for (let column = 0, from = -1; column <= width; column++) {
      const edge = column < width && at(column, row) !== at(column, row - 1);
      if (edge && from < 0) from = column;
      if (!edge && from >= 0) { path.moveTo(x + from, y + row); path.lineTo(x + column, y + row); from = -1; }
    }
  }
  for (let column = 0; column <= width; column++) {
    for (let row = 0, from = -1; row <= height; row++) {
      const edge = row < height && at(column, row) !== at(column - 1, row);
      if (edge && from < 0) from = row;
      if (!edge && from >= 0) { path.moveTo(x + column, y + from); path.lineTo(x + column, y + row); from = -1; }
    }
  }
  return path;
}
