"""COCO run-length encoding in NumPy: column-major runs that start with zeros, packed six bits a character."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import MaskError

__all__ = ["check", "decode", "decode_crop", "encode", "pack_counts", "runs_of", "unpack_counts"]

Counts = NDArray[np.int64]


def runs_of(bits: NDArray[np.bool_]) -> Counts:
    """Run lengths of `bits` (H, W) bool in column-major order, zeros first (so the first may be 0)."""
    flat = np.asarray(bits, dtype=bool).T.ravel()
    if flat.size == 0:
        return np.zeros(1, np.int64)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [flat.size]]))
    return np.concatenate([[0], counts]) if flat[0] else counts


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
    raw = np.frombuffer(text.encode("latin-1") if isinstance(text, str) else text, np.uint8).astype(np.int64) - 48
    if raw.size == 0:
        return np.zeros(0, np.int64)
    if raw.min() < 0 or raw.max() > 63:
        raise MaskError("the RLE counts hold a character outside of COCO's code; is this a COCO RLE string?")
    last = (raw & 0x20) == 0
    if not last[-1]:
        raise MaskError("the RLE counts end within a number; the string was cut short")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise MaskError("the RLE counts hold a number above 2^34; the string is damaged")
    shift = 5 * (np.arange(raw.size) - np.repeat(starts, lengths))
    values = np.add.reduceat((raw & 0x1F) << shift, starts)
    values -= np.where(raw[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    for parity in (1, 2):  # undo the differences: two interleaved running sums
        values[parity::2] = np.cumsum(values[parity::2])
    return values


def encode(bits: NDArray[np.bool_]) -> dict[str, Any]:
    """`bits` (H, W) bool to a COCO RLE `{"size": [H, W], "counts": str}` that pycocotools decodes to the same bits."""
    height, width = bits.shape
    return {"size": [int(height), int(width)], "counts": pack_counts(runs_of(bits))}


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
        height, width = (int(n) for n in rle["size"])
        packed = rle["counts"]
        counts = unpack_counts(packed) if isinstance(packed, str | bytes) else np.asarray(packed, np.int64)
    except (TypeError, KeyError, ValueError, OverflowError) as error:
        if isinstance(error, MaskError):
            raise
        raise MaskError('an RLE is {"size": [H, W], "counts": string or list of run lengths}') from error
    total = int(counts.sum()) if counts.size else 0
    if height < 0 or width < 0 or total != height * width or (counts.size and counts.min() < 0):
        raise MaskError(f"the RLE runs add up to {total}, the size {height} x {width} needs {height * width}")
    return counts, height, width
