"""Masks in Label Studio's forms: its brush (thi.ng's rle-pack of an RGBA picture) and polygons.

Label Studio's own package has the brush too, but brings forty others and holds OpenCV back; the format is a page of code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import PromptError
from ..core.mask import Bits, Mask, Size
from ..core.regions import rings

__all__ = ["decode_brush", "encode_brush", "polygons"]

SIZES = (3, 4, 8, 16)
"""Bit widths of run lengths in the brush format."""
LONGEST = 4_000_000
"""Bytes of a brush that are read."""


def encode_brush(bits: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) bool in Label Studio's brush format: the RGBA picture (255 where set), run-length packed into bytes."""
    flat = bits.ravel()
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    lengths = 4 * np.diff(np.append(-1, ends))
    out = [f"{4 * flat.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for length, end in zip(lengths.tolist(), ends.tolist(), strict=True):
        word = "11111111" if flat[end] else "00000000"
        while length:
            part = min(length, 1 << 16)
            index = next(k for k, size in enumerate(SIZES) if part <= 1 << size)
            out.append(f"1{index:02b}{part - 1:0{SIZES[index]}b}{word}")
            length -= part
    text = "".join(out)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode_brush(packed: Any, size: Size) -> NDArray[np.bool_]:
    """The inverse of `encode_brush` for a picture of `size` (H, W).

    Raises:
        PromptError: malformed, or of another size.
    """
    if not isinstance(packed, list) or not all(type(value) is int and 0 <= value <= 255 for value in packed):
        raise PromptError("the brush's rle must be a list of bytes")
    if len(packed) > LONGEST:
        raise PromptError(f"the brush's rle has {len(packed)} bytes, at most {LONGEST} are read; draw a simpler brush")
    raw = bytes(packed)
    text = bin(int.from_bytes(b"\x01" + raw, "big"))[3:]
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(text):
            raise PromptError("the brush's rle is cut short")
        place += count
        return int(text[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if total != 4 * size[0] * size[1]:
        raise PromptError(f"the brush has {total // 4} pixels, the picture {size[0] * size[1]}; they must be equal")
    out = np.zeros(total, bool)
    at = 0
    while at < total:
        same = take(1)
        length = take(sizes[take(2)]) + 1
        values = [take(word)] if same else [take(word) for _ in range(length)]
        out[at : at + length] = np.array(values[0] > 127) if same else (np.array(values) > 127)[: total - at]
        at += length
    return np.asarray(out.reshape(*size, 4)[..., 3])


def polygons(bits: Bits) -> list[NDArray[np.float64]]:
    """A mask (H, W) bool as one closed ring (N, 2) of points (x, y) a piece, along the edges of pixels, within a pixel.

    A hole is joined to the ring around it by a cut without width, so that the ring's area is the piece's.
    """
    import cv2

    x0, y0, x1, y1 = Mask.from_array(bits).box
    tight = bits[y0:y1, x0:x1]
    simple = [_simpler(ring.astype(np.int32)) for ring in rings(tight)]
    areas = [_area(ring) for ring in simple]
    outer = [[ring] for ring, area in zip(simple, areas, strict=True) if area > 0]
    for hole in (ring for ring, area in zip(simple, areas, strict=True) if area < 0):
        place = (float(hole[0, 0]), float(hole[0, 1]))
        around = [rows for rows in outer if cv2.pointPolygonTest(rows[0].astype(np.float32), place, False) >= 0]
        min(around or outer, key=lambda rows: _area(rows[0])).append(hole)
    return [np.asarray(_joined(rows) + np.array([x0, y0]), np.float64) for rows in outer]


def _simpler(ring: NDArray[np.int32]) -> NDArray[np.int32]:
    """A ring with fewer points, each within a pixel of it; the ring itself where that would lose a twentieth of its area."""
    import cv2

    made = np.asarray(cv2.approxPolyDP(ring[:, None], 0.75, True)[:, 0], np.int32)
    return made if abs(_area(made) - _area(ring)) <= abs(_area(ring)) / 20 else ring


def _area(ring: NDArray[np.int32]) -> float:
    x, y = ring[:, 0].astype(float), ring[:, 1].astype(float)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _joined(rows: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """A ring and its holes as one ring: each hole is entered from the nearest point of what is joined already."""
    out = rows[0]
    for hole in rows[1:]:
        near = int(((out - hole[0]) ** 2).sum(axis=1).argmin())
        out = np.concatenate([out[: near + 1], hole, hole[:1], out[near:]])
    return out
