"""From a picture and a visible mask to an amodal probability: crop, run, paste. NumPy and OpenCV only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...image import Image
from ...mask import Box, Mask, SoftMask

__all__ = ["Look", "Runner", "Window", "network_input", "predict"]

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(N, 5, S, S) float32 input to (N, 2, S, S) logits."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """How the network looks at an object.

    Attributes:
        size: side of the crop that the network sees, in pixels.
        factors: sides of the crops as multiples of the visible box's longer side; their logits are averaged.
        flip: average with the mirrored crop.
        again: sides of further crops as multiples of the longer side of the first answer, about its centre; they join
            the average.
    """

    size: int = 160
    factors: tuple[float, ...] = (2.0,)
    flip: bool = False
    again: tuple[float, ...] = ()


@dataclass(frozen=True)
class Window:
    """A square of the picture: top-left corner (x0, y0) and side in image pixels; it may pass the frame."""

    x0: float
    y0: float
    side: float

    @classmethod
    def around(cls, box: Sequence[float], factor: float) -> Window:
        """The square about the centre of a half-open box whose side is `factor` times the box's longer side."""
        x0, y0, x1, y1 = box
        side = max(x1 - x0, y1 - y0, 4.0) * factor
        return cls((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)

    @property
    def box(self) -> Box:
        """The half-open box of the image pixels that the window touches."""
        end = (math.ceil(self.x0 + self.side), math.ceil(self.y0 + self.side))
        return (math.floor(self.x0), math.floor(self.y0), *end)

    def matrix(self, size: int, origin: tuple[float, float] = (0, 0)) -> NDArray[np.float64]:
        """2 x 3 map from pixel indices of an array placed at `origin` to pixel indices of the crop (centres at +0.5)."""
        s = size / self.side
        shift = (np.array(origin) + 0.5 - (self.x0, self.y0)) * s - 0.5
        return np.array([[s, 0, shift[0]], [0, s, shift[1]]])


def _warp(source: NDArray[np.uint8], window: Window, size: int, origin: tuple[int, int]) -> NDArray[np.uint8]:
    """The part of `source` (placed at `origin`) in the window, at `size`; shrunk by area first where it shrinks a lot."""
    import cv2

    shrink = 1
    while size / window.side * shrink < 0.6 and min(source.shape[:2]) >= 2 * shrink:
        shrink *= 2
    matrix = window.matrix(size, origin)
    if shrink > 1:
        h, w = source.shape[0] // shrink, source.shape[1] // shrink
        source = np.asarray(
            cv2.resize(source[: h * shrink, : w * shrink], (w, h), interpolation=cv2.INTER_AREA), np.uint8
        )
        matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) * (shrink - 1)
        matrix[:, :2] *= shrink
    return np.asarray(cv2.warpAffine(source, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def network_input(image: Image, visible: Mask, window: Window, size: int) -> Floats:
    """(5, size, size) float32: RGB in [-1, 1] (0 outside the picture), visible mask, frame."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = window.box
    # A little more than the window, so that its edge is interpolated from real pixels.
    left, top = min(max(0, x0 - 8), width - 1), min(max(0, y0 - 8), height - 1)
    right, bottom = max(left + 1, min(width, x1 + 8)), max(top + 1, min(height, y1 + 8))
    rgb = _warp(np.ascontiguousarray(image[top:bottom, left:right]), window, size, (left, top))
    bits = visible.crop((left, top, right, bottom)).astype(np.uint8) * 255
    seen = _warp(bits, window, size, (left, top)) > 127
    step = (np.arange(size) + 0.5) * window.side / size
    x, y = step + window.x0, step + window.y0
    inside = ((y > 0) & (y < height))[:, None] & ((x > 0) & (x < width))
    planes = np.empty((5, size, size), np.float32)
    planes[:3] = (rgb.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1) * inside
    planes[3] = seen & inside
    planes[4] = inside
    return planes


def _paste(crop: Floats, window: Window, box: Box) -> Floats:
    """A crop (S, S, C) back at image resolution on the pixels of `box`; beyond the window its rim goes on."""
    import cv2

    return np.asarray(
        cv2.warpAffine(
            crop,
            window.matrix(crop.shape[0], box[:2]),
            (box[2] - box[0], box[3] - box[1]),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.float32,
    )


def predict(run: Runner, image: Image, visible: Mask, look: Look) -> tuple[SoftMask, SoftMask]:
    """Amodal and occluder probability around one object; they may pass the frame.

    Args:
        run: the network.
        image: (H, W, 3) uint8 RGB.
        visible: non-empty, inside the frame.
        look: how to crop.
    """
    windows = [Window.around(visible.box, f) for f in look.factors]
    crops = _ask(run, image, visible, windows, look)
    canvas, place = _average(crops, windows)
    if look.again:
        box = _grown(canvas, place, visible)
        closer = [Window.around(box, f) for f in look.again]
        crops = np.concatenate([crops, _ask(run, image, visible, closer, look)])
        canvas, place = _average(crops, [*windows, *closer])
    soft = 1 / (1 + np.exp(-_paste(canvas, place, place.box)))
    amodal, occluder = (np.ascontiguousarray(soft[..., i], np.float32) for i in (0, 1))
    return SoftMask(amodal, place.box[:2]), SoftMask(occluder, place.box[:2])


def _ask(run: Runner, image: Image, visible: Mask, windows: list[Window], look: Look) -> Floats:
    """Logits (N, 2, S, S) of each window."""
    x = np.stack([network_input(image, visible, w, look.size) for w in windows])
    if not look.flip:
        return run(x)
    y = run(np.concatenate([x, x[..., ::-1]]))
    return np.asarray((y[: len(windows)] + y[len(windows) :, ..., ::-1]) / 2, np.float32)


def _average(crops: Floats, windows: list[Window]) -> tuple[Floats, Window]:
    """Mean logits (n, n, 2) on a square canvas around all windows; where a window does not reach, the others decide.

    The canvas is finer than the crops and no finer than the picture.
    """
    x0, y0 = min(w.x0 for w in windows), min(w.y0 for w in windows)
    side = max(max(w.x0 - x0, w.y0 - y0) + w.side for w in windows)
    finest = min(w.side for w in windows) / crops.shape[-1]
    size = max(1, min(math.ceil(side), math.ceil(1.5 * side / finest)))
    step = side / size
    total = np.zeros((size, size, 2), np.float32)
    weight = np.zeros((size, size, 1), np.float32)
    centres = np.arange(size) + 0.5
    for crop, window in zip(crops, windows, strict=True):
        local = Window((window.x0 - x0) / step, (window.y0 - y0) / step, window.side / step)
        planes = _paste(np.ascontiguousarray(crop.transpose(1, 2, 0)), local, (0, 0, size, size))
        x, y = centres - local.x0, centres - local.y0
        reach = (((y >= 0) & (y < local.side))[:, None] & ((x >= 0) & (x < local.side)))[..., None]
        np.add(total, planes, out=total, where=reach)
        weight += reach
    return np.where(weight > 0, total / np.maximum(weight, 1), np.float32(-30.0)), Window(x0, y0, side)


def _grown(logits: Floats, canvas: Window, visible: Mask) -> tuple[float, float, float, float]:
    """The box around the visible mask and what the first looks add to it, in image pixels."""
    found = Mask.from_array(logits[..., 0] > 0)
    x0, y0, x1, y1 = (float(v) for v in visible.box)
    if found:
        step = canvas.side / logits.shape[0]
        a, b, c, d = found.box
        x0, y0 = min(x0, canvas.x0 + a * step), min(y0, canvas.y0 + b * step)
        x1, y1 = max(x1, canvas.x0 + c * step), max(y1, canvas.y0 + d * step)
    return x0, y0, x1, y1
