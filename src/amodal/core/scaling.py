"""From the photo's scale to a network's and back: `Levels` cuts windows out of large arrays, `stretch` enlarges small ones,
`fit` scales whole pictures, `to_unit` and `to_bytes` change the values."""

from __future__ import annotations

import math
import threading
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

__all__ = ["Levels", "fit", "in_frame", "is_scaled", "stretch", "to_bytes", "to_unit"]

LARGE = 4
"""From this factor on, `stretch` may be off by a fraction of a pixel of its result."""
TRIES = 16
"""Places of the array at which `stretch` may begin."""


_HELD: WeakValueDictionary[int, Levels] = WeakValueDictionary()


class Levels:
    """An array (H, W, C) or (H, W) uint8 placed at `origin` (x, y), and its halves: windows are cut from the one that is fine
    enough, so that a window costs what its result has pixels. Threads may share it."""

    def __init__(self, array: NDArray[np.uint8], origin: tuple[int, int] = (0, 0)) -> None:
        self.arrays = [array]
        self.origin = origin
        self._lock = threading.Lock()

    @classmethod
    def of(cls, image: NDArray[np.uint8]) -> Levels:
        """Those of a picture, made once for all who ask while somebody holds them."""
        found = _HELD.get(
            id(image)
        )  # the number of an array is another's only after the array is gone, and the levels hold it
        if found is None:
            _HELD[id(image)] = found = cls(image)
        return found

    def _at(self, shrink: int) -> NDArray[np.uint8]:
        """The array shrunk by a power of two, by area."""
        import cv2

        with self._lock:
            while len(self.arrays) < shrink.bit_length():
                last = self.arrays[-1]
                h, w = last.shape[0] // 2, last.shape[1] // 2
                half = cv2.resize(last[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA)
                self.arrays.append(np.asarray(half, np.uint8))
            return self.arrays[shrink.bit_length() - 1]

    def cut(self, x0: float, y0: float, side: float, size: int, *, edge: bool = False) -> NDArray[np.uint8]:
        """The square window with its corner at (x0, y0), shown at (size, size).

        Args:
            x0: in pixels of the picture that the array is placed on, pixel edges at integers; the window may pass the frame.
            y0: as `x0`.
            side: of the window, in those pixels.
            size: of the result.
            edge: beyond the array its rim goes on; else there is 0.
        """
        import cv2

        shrink, scale = 1, size / side
        while scale * shrink < 0.6 and min(self.arrays[0].shape[:2]) >= 4 * shrink:
            shrink *= 2
        # A pixel of the level has its centre at (i + 0.5) * shrink, one of the window at (j + 0.5) / scale.
        matrix = np.array([[scale * shrink, 0, 0], [0, scale * shrink, 0]])
        matrix[:, 2] = (np.array(self.origin) + 0.5 * shrink - (x0, y0)) * scale - 0.5
        border = cv2.BORDER_REPLICATE if edge else cv2.BORDER_CONSTANT
        made = cv2.warpAffine(self._at(shrink), matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
        return np.asarray(made, np.uint8)


def stretch(
    values: NDArray[Any], full: tuple[int, int], place: tuple[int, int], size: tuple[int, int], *, cubic: bool = False
) -> NDArray[Any]:
    """A part of an array that is stretched over more pixels, edges on edges.

    Args:
        values: (h, w) or (h, w, C), uint8 or float32.
        full: what it is stretched over, (H, W) pixels.
        place: the first pixel (x, y) of the part.
        size: of the part, (H', W'); it lies inside.
        cubic: interpolate bicubically, else bilinearly.
    """
    import cv2

    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    sy, sx = values.shape[0] / full[0], values.shape[1] / full[1]  # array pixels a pixel
    if max(sx, sy) * LARGE > 1:
        matrix = np.array([[sx, 0, (place[0] + 0.5) * sx - 0.5], [0, sy, (place[1] + 0.5) * sy - 0.5]])
        flags = how | cv2.WARP_INVERSE_MAP
        source = np.ascontiguousarray(values)
        return np.asarray(cv2.warpAffine(source, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE))
    # A resize is twenty times as quick as a warp, but begins at an edge of an array pixel: at one near a pixel's edge.
    left, right = _span(sx, place[0], size[1], values.shape[1])
    top, bottom = _span(sy, place[1], size[0], values.shape[0])
    source = np.ascontiguousarray(values[top:bottom, left:right])
    made = np.asarray(cv2.resize(source, None, fx=1 / sx, fy=1 / sy, interpolation=how))
    x = min(math.floor(place[0] - left / sx + 0.5), made.shape[1] - size[1])
    y = min(math.floor(place[1] - top / sy + 0.5), made.shape[0] - size[0])
    return made[y : y + size[0], x : x + size[1]]


def _span(scale: float, start: int, length: int, pixels: int) -> tuple[int, int]:
    """First and last array pixel (half-open) whose stretch covers a range, with what interpolation needs beside it."""
    latest = max(0, math.floor(start * scale) - 2)
    first = min(range(max(0, latest - TRIES + 1), latest + 1), key=lambda k: (abs(k / scale - round(k / scale)), -k))
    return first, min(pixels, math.ceil((start + length) * scale) + 2)


def is_scaled(size: tuple[int, int], frame: tuple[int, int]) -> bool:
    """Whether a picture of `size` (H, W) can be a scaled copy of one of size `frame`, but for rounding to whole pixels."""
    wide, high = size[1] / frame[1], size[0] / frame[0]
    return abs(wide - high) * max(frame) <= max(1.0, 0.005 * max(size))


def fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture (h, w, 3) at `size` (H, W), edges on edges: shrunk by area, enlarged bilinearly."""
    import cv2

    how = cv2.INTER_AREA if image.shape[0] > size[0] or image.shape[1] > size[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=how), np.uint8)


def in_frame(
    corner: tuple[float, float], sides: tuple[float, float], shape: tuple[int, int], frame: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Which pixels of a grid over a window have their centre in the photo's frame: `shape` bool.

    Args:
        corner: (x, y) of the window, in image pixels.
        sides: its width and height, in image pixels.
        shape: (h, w) of the grid.
        frame: (H, W) of the photo.
    """
    x, y = (corner[k] + (np.arange(shape[1 - k]) + 0.5) * sides[k] / shape[1 - k] for k in (0, 1))
    return np.asarray(((y > 0) & (y < frame[0]))[:, None] & ((x > 0) & (x < frame[1])))


def to_unit(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours from [0, 255] to float32 in [-1, 1]."""
    return np.asarray(picture.astype(np.float32) / 127.5 - 1)


def to_bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours from [-1, 1] to uint8; what passes the range is cut off."""
    return np.asarray(np.rint((np.clip(picture, -1, 1) + 1) * 127.5), np.uint8)
