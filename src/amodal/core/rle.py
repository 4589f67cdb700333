"""COCO run-length encoding in NumPy: column-major runs that start with zeros, packed six bits a character.

Own code: pycocotools is compiled and not for every machine, and the core needs no more than packing and unpacking.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MaskError

__all__ = ["check", "decode", "decode_crop", "encode", "numbers_of", "pack_counts", "runs_of", "unpack_counts"]

Counts = NDArray[np.int64]
MAX_PIXELS = 100_000_000
"""RLEs of more pixels are refused before they are unpacked, as pictures are (`picture.MAX_PIXELS`)."""


def runs_of(bits: NDArray[np.bool_]) -> Counts:
    """Run lengths of `bits` (H, W) bool in column-major order, zeros first (so the first may be 0)."""
    flat = _columns(bits).ravel()
    if flat.size == 0:
        return np.zeros(1, np.int64)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return np.concatenate([[0], counts]) if flat[0] else counts


def _columns(bits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The columns (W, H) one after the other in memory."""
    import cv2

    if bits.size == 0:
        return np.zeros(bits.shape[::-1], bool)
    return np.asarray(cv2.transpose(np.ascontiguousarray(bits, bool).view(np.uint8))).view(bool)


LIMITS = np.int64(1) << np.arange(4, 60, 5, dtype=np.int64)
"""The least number that needs one group more, in COCO's code."""


def pack_counts(counts: Counts) -> str:
    """Run lengths to COCO's compressed string: from the fourth on, differences to the run two before, in 5-bit groups."""
    values = np.asarray(counts, np.int64).copy()
    values[3:] -= np.asarray(counts, np.int64)[1:-2]
    # n groups hold the numbers from -2^(5n-1) to 2^(5n-1) - 1; all but a number's last group carry the sixth bit
    lengths = 1 + np.searchsorted(LIMITS, np.where(values < 0, ~values, values), side="right")[:, None]
    place = np.arange(lengths.max(initial=0))
    groups = (values[:, None] >> 5 * place) & 0x1F | np.where(place < lengths - 1, 0x20, 0)
    return str((groups[place < lengths] + 48).astype(np.uint8).tobytes(), "ascii")


def unpack_counts(text: str | bytes) -> Counts:
    """COCO's compressed string to run lengths.

    Raises:
        MaskError: a character outside of the code, or a string that ends within a number.
    """
    try:
        raw = np.frombuffer(text.encode("ascii") if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError as error:
        raise MaskError("the RLE counts hold a character outside of COCO's code; is this a COCO RLE string?") from error
    if raw.size == 0:
        return np.zeros(0, np.int64)
    if raw.min() < 0 or raw.max() > 63:
        raise MaskError("the RLE counts hold a character outside of COCO's code; is this a COCO RLE string?")
    last = (raw & 0x20) == 0
    if not last[-1]:
        raise MaskError("the RLE counts end within a number; the string was cut short")
    values = numbers_of(raw, last)
    for parity in (1, 2):  # undo the differences: two interleaved running sums
        values[parity::2] = np.cumsum(values[parity::2])
    return values


def numbers_of(raw: Counts, last: NDArray[np.bool_]) -> Counts:
    """The signed numbers of groups of five bits, the lowest first; `last` marks the end of each. Raises MaskError: too large."""
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > 7:
        raise MaskError("the RLE counts hold a number above 2^34; the string is damaged")
    shift = 5 * (np.arange(raw.size) - np.repeat(starts, lengths))
    values: Counts = np.add.reduceat((raw & 0x1F) << shift, starts)
    values -= np.where(raw[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    return values


def encode(
    bits: NDArray[np.bool_], origin: tuple[int, int] = (0, 0), size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Bits to a COCO RLE `{"size": [H, W], "counts": str}` that pycocotools decodes to the same bits.

    Args:
        bits: (h, w) bool.
        origin: the place (x, y) of their first pixel in the frame; they lie inside it.
        size: (H, W) of the frame; None: the bits are the frame. The cost is that of the bits.
    """
    height, width = size or bits.shape
    if size is None or tuple(size) == bits.shape:
        return {"size": [int(height), int(width)], "counts": pack_counts(runs_of(bits))}
    # Ends of runs in the padded columns of the crop, laid end to end, then as places in the frame's column-major order.
    columns = np.zeros((bits.shape[1], bits.shape[0] + 2), bool)
    columns[:, 1:-1] = _columns(bits)
    flat = columns.ravel()
    column, row = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), bits.shape[0] + 2)
    ends = (column + origin[0]).astype(np.int64) * height + row + origin[1]
    if bits.shape[0] == height:  # a run over a column's end goes on in the next
        joined = np.flatnonzero(ends[1:] == ends[:-1])
        ends = np.delete(ends, np.concatenate([joined, joined + 1]))
    counts = np.diff(np.concatenate([[0], ends, [height * width]]))
    if ends.size and ends[-1] == height * width:
        counts = counts[:-1]
    return {"size": [int(height), int(width)], "counts": pack_counts(counts)}


def decode(rle: Any) -> NDArray[np.bool_]:
    """A COCO RLE (compressed string, bytes or a list of run lengths) to bits (H, W) bool.

    Raises:
        MaskError: not an RLE, or runs that do not add up to H x W.
    """
    counts, height, width = check(rle)
    values = np.arange(counts.size) % 2 == 1
    return np.asarray(np.repeat(values, counts).reshape(width, height).T)


def decode_crop(rle: Any) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """As `decode`, but only the tight crop: bits (h, w) bool and the place (x, y) of their first pixel, without a full frame.

    Raises:
        MaskError: as `decode`.
    """
    counts, height, _ = check(rle)
    ends = np.cumsum(counts)
    filled = 2 * np.flatnonzero(counts[1::2]) + 1
    if filled.size == 0:
        return np.zeros((0, 0), bool), (0, 0)
    starts, stops = ends[filled - 1], ends[filled]
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    tops, bottoms = starts % height, (stops - 1) % height
    wraps = bool((starts // height != (stops - 1) // height).any())  # a run over a column's end fills top and bottom
    top, bottom = (0, height) if wraps else (int(tops.min()), int(bottoms.max()) + 1)
    first, last = int(filled[0]), int(filled[-1])
    runs = counts[first - 1 : last + 1].copy()
    runs[0] = starts[0] - left * height
    flat = np.zeros((right - left) * height, bool)
    part = np.repeat(np.arange(runs.size) % 2 == 1, runs)
    flat[: part.size] = part
    return flat.reshape(right - left, height)[:, top:bottom].T.copy(), (left, top)


def check(rle: Any) -> tuple[Counts, int, int]:
    """The run lengths, height and width of a COCO RLE.

    Raises:
        MaskError: not an RLE, or runs that do not add up to H x W.
    """
    try:
        height, width = (whole(n) for n in rle["size"])
        packed = rle["counts"]
        if height < 0 or width < 0 or height * width > MAX_PIXELS:
            raise MaskError(f"an RLE of {height} x {width} pixels is not within the limit of {MAX_PIXELS:,}")
        if len(packed) > 7 * (height * width + 2):
            raise MaskError(f"the RLE holds more runs than its size {height} x {width} has pixels")
        counts = unpack_counts(packed) if isinstance(packed, str | bytes) else _listed(packed)
    except (TypeError, KeyError, ValueError, OverflowError, IndexError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError('an RLE is {"size": [H, W], "counts": string or list of run lengths}') from error
    if counts.size and (counts.min() < 0 or counts.max() > MAX_PIXELS):
        raise MaskError("the RLE holds a run that is negative or too long; it is damaged")
    counts = counts.astype(np.int64, copy=False)
    total = int(counts.sum())
    if total != height * width:
        raise MaskError(f"the RLE runs add up to {total}, the size {height} x {width} needs {height * width}")
    return counts, height, width


def whole(value: Any) -> int:
    """A whole number as int: an integer, or a float without a fraction. Raises TypeError, ValueError."""
    if isinstance(value, bool | str | bytes) or not math.isfinite(value) or int(value) != value:
        raise ValueError
    return int(value)


def _listed(values: Any) -> Counts:
    counts = np.asarray(values)
    if counts.ndim != 1 or (counts.size and (counts.dtype.kind not in "uif" or (counts != np.rint(counts)).any())):
        raise ValueError
    return counts
