"""Pixel counts straight from run lengths: thousands of RLE masks at once, none of them decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core import rle
from ..core.errors import MALFORMED, MaskError
from .metrics import Counts

__all__ = ["count_rles"]

BATCH = 2000
Numbers = NDArray[np.int64]


def count_rles(predicted: Sequence[Any], amodal: Sequence[Any], visible: Sequence[Any]) -> Counts:
    """The counts of `metrics.count` for many objects, each given by three COCO RLEs of one size.

    The run ends of all masks are merged into one sorted list; walking along it, three bits say which masks a piece is in.

    Raises:
        MaskError: a malformed RLE, or three of different sizes; names the object's position.
    """
    parts = []
    for start in range(0, len(amodal), BATCH):
        stop = start + BATCH
        parts.append(_batch([predicted[start:stop], amodal[start:stop], visible[start:stop]], start))
    table = np.concatenate(parts) if parts else np.zeros((0, 8))
    inside = [table[:, [code for code in range(8) if code & bit]].sum(axis=1) for bit in (1, 2, 4)]
    return Counts(
        intersection=table[:, 3] + table[:, 7],
        union=table[:, [1, 2, 3, 5, 6, 7]].sum(axis=1),
        occluded_intersection=table[:, 3],
        occluded_union=table[:, 1:4].sum(axis=1),
        amodal=inside[1],
        visible=inside[2],
        predicted=inside[0],
    )


def _batch(columns: Sequence[Sequence[Any]], first: int) -> NDArray[np.float64]:
    """Areas (n, 8) by code: 1 predicted + 2 amodal + 4 visible."""
    sizes = np.array([_size(entry, first + k) for k, entry in enumerate(columns[0])], np.int64).reshape(-1, 2)
    pixels = sizes[:, 0] * sizes[:, 1]
    offsets = np.concatenate([[0], np.cumsum(pixels + 1)])  # a gap of one keeps the objects apart
    places, objects, bits = [], [], []
    for bit, column in zip((1, 2, 4), columns, strict=True):
        for k, entry in enumerate(column):
            if _size(entry, first + k) != tuple(sizes[k]):
                raise MaskError(
                    f"object {first + k}: RLEs of the sizes {tuple(sizes[k])} and {_size(entry, first + k)}"
                )
        ends, owner = _run_ends(column, pixels, first)
        places.append(ends + offsets[owner])
        objects.append(owner)
        bits.append(np.full(ends.size, bit, np.uint8))
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    place = place[order]
    code = np.bitwise_xor.accumulate(np.concatenate(bits)[order])[:-1] if place.size else np.zeros(0, np.uint8)
    owner = np.concatenate(objects)[order][:-1]
    table: NDArray[np.float64] = np.bincount(owner * 8 + code, weights=np.diff(place), minlength=8 * len(sizes)).astype(
        np.float64
    )
    return table.reshape(-1, 8)


def _size(entry: Any, number: int) -> tuple[int, int]:
    try:
        height, width = entry["size"]
        return int(height), int(width)
    except MALFORMED as error:
        raise MaskError(f'object {number}: an RLE is {{"size": [H, W], "counts": string}}') from error


def _run_ends(column: Sequence[Any], pixels: Numbers, first: int) -> tuple[Numbers, Numbers]:
    """Where masks begin and end along their flat pixels, and the object of each place; an even number an object."""
    texts = [_text(entry, first + k) for k, entry in enumerate(column)]
    lengths = np.array([len(text) for text in texts], np.int64)
    if (lengths == 0).any():
        raise MaskError(f"object {first + int(np.argmin(lengths))}: the RLE has no counts")
    raw = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    if raw.size and (raw.min() < 0 or raw.max() > 63):
        wrong = int(np.searchsorted(np.cumsum(lengths), np.flatnonzero((raw < 0) | (raw > 63))[0], side="right"))
        raise MaskError(f"object {first + wrong}: the RLE counts hold a character outside of COCO's code")
    last = (raw & 0x20) == 0
    stops = np.cumsum(lengths)
    if not last[stops - 1].all():
        raise MaskError(f"object {first + int(np.argmin(last[stops - 1]))}: the RLE counts end within a number")
    values = rle.numbers_of(raw, last)
    per_mask = np.diff(np.concatenate([[0], np.cumsum(last)[stops - 1]]))
    starts = np.cumsum(per_mask) - per_mask
    owner = np.repeat(np.arange(len(column)), per_mask)
    local = np.arange(values.size) - starts[owner]
    for parity in (1, 0):  # undo the differences: from the fourth on, to the run two before
        chosen = (local % 2 == parity) & (local > 0)
        values[chosen] = _running(values[chosen], owner[chosen])
    ends = _running(values, owner)
    wrong_total = ends[starts + per_mask - 1] != pixels
    negative = values < 0
    if wrong_total.any() or negative.any():
        number = int(np.argmax(wrong_total)) if wrong_total.any() else int(owner[np.argmax(negative)])
        raise MaskError(f"object {first + number}: the RLE runs do not add up to its {int(pixels[number])} pixels")
    keep = (local < per_mask[owner] - 1) | (per_mask[owner] % 2 == 0)  # the end of a last run of zeros is no border
    return ends[keep], owner[keep]


def _text(entry: Any, number: int) -> bytes:
    counts = entry.get("counts") if isinstance(entry, dict) else None
    if isinstance(counts, str):
        return counts.encode("latin-1", "replace")
    if isinstance(counts, bytes):
        return counts
    try:
        return rle.pack_counts(np.asarray(counts, np.int64)).encode()
    except (TypeError, ValueError, OverflowError) as error:
        raise MaskError(f"object {number}: the RLE counts are neither text nor numbers") from error


def _running(values: Numbers, owner: Numbers) -> Numbers:
    """Running sums that begin anew with each owner (sorted)."""
    total = np.cumsum(values)
    fresh = np.flatnonzero(np.diff(owner, prepend=-1))
    before = total[fresh] - values[fresh]
    sums: Numbers = total - np.repeat(before, np.diff(np.concatenate([fresh, [values.size]])))
    return sums
