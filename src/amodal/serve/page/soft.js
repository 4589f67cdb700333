// The soft edge of a cut-out, by the formula of `amodal segment --edge soft` (`softened` in core/drawing.py), to the same bytes within
// rounding. Only the inner side of the edge fades, since beyond it the photo shows another thing, and what a camera mixes into it of
// the old background is gone: its colours are a Gaussian mean of the pixels that lie deeper.
//
// No matting library does it, though pymatting is one that is kept: it runs on the service, which the page's files do not need, it
// brings a compiler (numba) that is larger than all of amodal, and where the object is hidden, photo and painted picture have no common
// edge for it to find. Pure: no canvas, no document.

/** How wide the edge of a cut-out from a photo fades, in pixels. */
export const edgeOf = ({ width, height }) => Math.max(1.5, Math.max(width, height) / 1200);

/** Pixels to the nearest one outside, at most `most`: Float32Array. `closed` [left, top, right, bottom]: nothing is outside beyond. */
function depth(solid, width, height, most, [left, top, right, bottom]) {
  const column = new Int32Array(width * height), out = new Float32Array(width * height), far = most + 1;
  for (let k = 0; k < column.length; k++) column[k] = solid[k] ? Math.min(far, (k < width ? (top ? far : 0) : column[k - width]) + 1) : 0;
  for (let k = column.length - 1; k >= 0; k--) column[k] = Math.min(column[k], (k + width >= column.length ? (bottom ? far : 0) : column[k + width]) + 1);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = y * width + x;
      let least = column[here] ** 2;
      for (let step = 1; step <= most && step * step < least; step++) {
        const before = x < step ? (left ? far : 0) : column[here - step], after = x + step >= width ? (right ? far : 0) : column[here + step];
        const nearer = Math.min(before, after);
        least = Math.min(least, step * step + nearer * nearer);
      }
      out[here] = Math.sqrt(least);
    }
  }
  return out;
}

const mirrored = (place, count) => { // as in a mirror whose middle is the last pixel
  while (place < 0 || place >= count) place = place < 0 ? -place : 2 * count - 2 - place;
  return place;
};

/** RGBA bytes of a cut-out (alpha 0 or 255) with an edge that fades over `edge` pixels; straight alpha. */
export function softened({ width, height, data }, edge, closed) {
  const solid = new Uint8Array(width * height), out = new Uint8ClampedArray(data);
  for (let k = 0; k < solid.length; k++) solid[k] = data[4 * k + 3] ? 1 : 0;
  const inward = depth(solid, width, height, Math.ceil(edge) + 1, closed); // seen from a pixel's middle, the edge is half a pixel nearer
  for (let k = 0; k < inward.length; k++) inward[k] -= 0.5;
  const reach = Math.ceil(3 * edge), bell = Float64Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / edge) ** 2));
  const whole = bell.reduce((sum, value) => sum + value, 0) ** 2;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const here = y * width + x;
      if (!solid[here] || inward[here] >= edge) continue;
      out[4 * here + 3] = Math.max(0, (255 * inward[here]) / edge);
      let [weight, red, green, blue] = [0, 0, 0, 0];
      for (let v = -reach; v <= reach; v++) {
        const row = y + v < 0 || y + v >= height ? (height > 1 ? mirrored(y + v, height) : 0) : y + v;
        for (let u = -reach; u <= reach; u++) {
          const column = x + u < 0 || x + u >= width ? (width > 1 ? mirrored(x + u, width) : 0) : x + u, there = row * width + column;
          if (inward[there] < edge) continue;
          const share = bell[v + reach] * bell[u + reach];
          weight += share;
          red += share * data[4 * there];
          green += share * data[4 * there + 1];
          blue += share * data[4 * there + 2];
        }
      }
      if (weight > 1e-3 * whole) out.set([red / weight, green / weight, blue / weight], 4 * here);
    }
  }
  return out;
}
