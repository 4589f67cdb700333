// Masks: bits on a box of the photo's coordinates (which may pass the frame), strokes on them, and COCO's run-length code.
// Pure: no canvas, no document.

export class Mask {
  /** `data` (Uint8Array of 0 and 1, rows first) is never changed after the mask is made. */
  constructor(x, y, width, height, data) {
    Object.assign(this, { x, y, width, height, data: data ?? new Uint8Array(width * height) });
  }

  static empty = () => new Mask(0, 0, 0, 0);

  get(x, y) {
    const column = x - this.x, row = y - this.y;
    return column >= 0 && row >= 0 && column < this.width && row < this.height ? this.data[row * this.width + column] : 0;
  }

  get area() {
    if (this.counted === undefined) {
      this.counted = 0;
      for (let k = 0; k < this.data.length; k++) this.counted += this.data[k]; // ten times faster than `reduce`
    }
    return this.counted;
  }

  get box() { return [this.x, this.y, this.x + this.width, this.y + this.height]; }

  /** The same mask on another box. */
  on(x, y, width, height) {
    if (x === this.x && y === this.y && width === this.width && height === this.height) return this;
    const out = new Mask(x, y, width, height);
    const left = Math.max(x, this.x), right = Math.min(x + width, this.x + this.width);
    const top = Math.max(y, this.y), bottom = Math.min(y + height, this.y + this.height);
    for (let row = top; row < bottom && left < right; row++) {
      const from = (row - this.y) * this.width + left - this.x;
      out.data.set(this.data.subarray(from, from + right - left), (row - y) * width + left - x);
    }
    return out;
  }

  /** The same mask on the smallest box that holds it. */
  tight() {
    let [x0, y0, x1, y1] = [this.width, this.height, 0, 0];
    for (let row = 0; row < this.height; row++) {
      const line = this.data.subarray(row * this.width, (row + 1) * this.width), first = line.indexOf(1);
      if (first < 0) continue;
      x0 = Math.min(x0, first);
      x1 = Math.max(x1, line.lastIndexOf(1) + 1);
      y0 = Math.min(y0, row);
      y1 = row + 1;
    }
    return x0 < x1 ? this.on(this.x + x0, this.y + y0, x1 - x0, y1 - y0) : Mask.empty();
  }

  /** With strokes, each { value, radius, points: [[x, y], ...] }: discs along lines set to 1 or 0. `frame` [w, h] bounds it. */
  painted(strokes, frame) {
    let box = [this.x, this.y, this.x + this.width, this.y + this.height];
    if (!this.width) box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const { value, radius, points } of strokes) {
      if (!value) continue;
      for (const [x, y] of points) {
        box = [Math.min(box[0], Math.floor(x - radius)), Math.min(box[1], Math.floor(y - radius)),
          Math.max(box[2], Math.ceil(x + radius)), Math.max(box[3], Math.ceil(y + radius))];
      }
    }
    if (frame) box = [Math.max(0, box[0]), Math.max(0, box[1]), Math.min(frame[0], box[2]), Math.min(frame[1], box[3])];
    if (!(box[0] < box[2] && box[1] < box[3])) return Mask.empty();
    const here = this.on(box[0], box[1], box[2] - box[0], box[3] - box[1]);
    const out = here === this ? new Mask(...[box[0], box[1], box[2] - box[0], box[3] - box[1]], this.data.slice()) : here;
    for (const stroke of strokes) stroke.points.forEach((point, k) => out.line(stroke.points[Math.max(0, k - 1)], point, stroke));
    return out;
  }

  /** Only on masks that nobody else has yet. */
  line([x0, y0], [x1, y1], { radius, value }) {
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / Math.max(1, radius / 2)));
    for (let step = 0; step <= steps; step++) {
      const cx = x0 + ((x1 - x0) * step) / steps - this.x, cy = y0 + ((y1 - y0) * step) / steps - this.y;
      for (let row = Math.max(0, Math.floor(cy - radius)); row <= Math.min(this.height - 1, cy + radius); row++) {
        const reach = Math.sqrt(Math.max(0, radius * radius - (row + 0.5 - cy) ** 2));
        const from = Math.max(0, Math.round(cx - reach)), to = Math.min(this.width, Math.round(cx + reach));
        if (from < to) this.data.fill(value, row * this.width + from, row * this.width + to);
      }
    }
  }

  /** With the pixels of another mask added (1) or taken away (0). */
  with(other, value) {
    const [a, b] = [this.box, other.box];
    const box = !value || !other.width ? a : !this.width ? b : [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
    const [width, height] = [box[2] - box[0], box[3] - box[1]];
    const here = this.on(box[0], box[1], width, height);
    const out = new Mask(box[0], box[1], width, height, here === this ? this.data.slice() : here.data);
    const there = other.on(box[0], box[1], width, height).data;
    for (let k = 0; k < there.length; k++) if (there[k]) out.data[k] = value;
    return out;
  }

  /** A pixel [x, y] that lies well away from a place: the one nearest to the middle of what is far from it; or null. */
  farFrom(x, y) {
    const step = Math.max(1, Math.floor(this.data.length / 20_000)), places = [];
    for (let k = 0; k < this.data.length; k += step) if (this.data[k]) places.push([this.x + (k % this.width) + 0.5, this.y + Math.floor(k / this.width) + 0.5]);
    let [weight, sumX, sumY] = [0, 0, 0], best = null, least = Infinity;
    for (const [u, v] of places) { const far = (u - x) ** 2 + (v - y) ** 2; weight += far; sumX += far * u; sumY += far * v; }
    for (const [u, v] of places) { const away = (u - sumX / weight) ** 2 + (v - sumY / weight) ** 2; if (away < least) { least = away; best = [u, v]; } }
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

  /** COCO's code of the part inside a frame of the photo's size. */
  rle(width, height) {
    const { size, counts } = this.on(0, 0, width, height).encode();
    return { size, counts };
  }

  /** On the smallest box that holds it. */
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
    // the box first: a large photo's mask is never unpacked as a whole
    let at = 0, left = width, right = 0, top = height, bottom = 0;
    runs.forEach((run, index) => {
      if (index % 2 && run) {
        const end = at + run - 1, first = Math.floor(at / height), last = Math.floor(end / height);
        left = Math.min(left, first);
        right = Math.max(right, last + 1);
        top = first === last ? Math.min(top, at % height) : 0;
        bottom = first === last ? Math.max(bottom, (end % height) + 1) : height;
      }
      at += run;
    });
    if (left >= right) return Mask.empty();
    const mask = new Mask(origin[0] + left, origin[1] + top, right - left, bottom - top);
    at = 0;
    runs.forEach((run, index) => {
      if (index % 2) {
        for (let k = at; k < at + run;) {
          const column = Math.floor(k / height), end = Math.min(at + run, (column + 1) * height);
          for (let row = k - column * height - top, stop = end - column * height - top; row < stop; row++) mask.data[row * mask.width + column - left] = 1;
          k = end;
        }
      }
      at += run;
    });
    return mask;
  }
}
