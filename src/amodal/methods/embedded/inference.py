"""From a picture and a visible mask to an amodal probability: crop, run, paste. NumPy and OpenCV only.

Nothing here has the photo's size but the photo's own pyramid, which is made once: the answer stays on a canvas of a few
hundred pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.crop import mask_levels
from ...core.image import Image
from ...core.mask import Box, Mask
from ...core.scaling import Levels, in_frame, to_unit
from ...core.soft_mask import SoftMask

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


def network_input(image: Image | Levels, visible: Mask | Levels, window: Window, size: int) -> Floats:
    """(5, size, size) float32: RGB in [-1, 1] (0 outside the picture), visible mask, frame."""
    photo = image if isinstance(image, Levels) else Levels(image)
    seen = visible if isinstance(visible, Levels) else mask_levels(visible)
    # inside (size, size) bool: which pixels of the crop have their centre in the photo.
    inside = in_frame((window.x0, window.y0), (window.side, window.side), (size, size), photo.arrays[0].shape)
    planes = np.empty((5, size, size), np.float32)
    planes[:3] = to_unit(photo.cut(window.x0, window.y0, window.side, size)).transpose(2, 0, 1) * inside
    planes[3] = (seen.cut(window.x0, window.y0, window.side, size) > 127) & inside
    planes[4] = inside
    return planes


def _paste(crop: Floats, window: Window, box: Box) -> Floats:
    """A crop (S, S, C) laid on the canvas pixels of `box`; beyond the window its rim goes on."""
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


def predict(run: Runner, image: Image | Levels, visible: Mask, look: Look) -> tuple[SoftMask, SoftMask]:
    """Amodal and occluder probability around one object, on a canvas of the network's scale; they may pass the frame.

    Args:
        run: the network.
        image: (H, W, 3) uint8 RGB, or its levels.
        visible: non-empty, inside the frame.
        look: how to crop.
    """
    photo, seen = image if isinstance(image, Levels) else Levels(image), mask_levels(visible)
    # 1. A first look, from near and far: logits (N, 2, S, S), laid on one canvas (n, n, 2).
    windows = [Window.around(visible.box, f) for f in look.factors]
    crops = _ask(run, photo, seen, windows, look)
    canvas, place = _average(crops, windows)
    if look.again:
        # 2. A second look about what the first one found; all looks together decide.
        box = _grown(canvas, place, visible)
        closer = [Window.around(box, f) for f in look.again]
        crops = np.concatenate([crops, _ask(run, photo, seen, closer, look)])
        canvas, place = _average(crops, [*windows, *closer])
    # 3. Probabilities (n, n) with the place of the canvas in the photo.
    soft = 1 / (1 + np.exp(-canvas))
    amodal, occluder = (np.ascontiguousarray(soft[..., i], np.float32) for i in (0, 1))
    origin, size = (round(place.x0), round(place.y0)), (round(place.side), round(place.side))
    return SoftMask(amodal, origin, size), SoftMask(occluder, origin, size)


def _ask(run: Runner, image: Levels, visible: Levels, windows: list[Window], look: Look) -> Floats:
    """Logits (N, 2, S, S) of each window."""
    x = np.stack([network_input(image, visible, w, look.size) for w in windows])
    if not look.flip:
        return run(x)
    # Crops and mirrored crops in one batch; the mirrored answers are turned back before the mean.
    y = run(np.concatenate([x, x[..., ::-1]]))
    return np.asarray((y[: len(windows)] + y[len(windows) :, ..., ::-1]) / 2, np.float32)


def _average(crops: Floats, windows: list[Window]) -> tuple[Floats, Window]:
    """Mean logits (n, n, 2) on a square canvas around all windows; where a window does not reach, the others decide.

    The canvas is finer than the crops and no finer than the picture.
    """
    # The canvas: a square that holds all windows, its pixels `step` image pixels wide.
    x0, y0 = (float(math.floor(min(values))) for values in zip(*((w.x0, w.y0) for w in windows), strict=True))
    side = float(math.ceil(max(max(w.x0 - x0, w.y0 - y0) + w.side for w in windows)))
    finest = min(w.side for w in windows) / crops.shape[-1]
    size = max(1, min(math.ceil(side), math.ceil(1.5 * side / finest)))
    step = side / size
    total = np.zeros((size, size, 2), np.float32)
    weight = np.zeros((size, size, 1), np.float32)
    centres = np.arange(size) + 0.5
    for crop, window in zip(crops, windows, strict=True):
        # The window in canvas pixels; `reach` (n, n, 1) is where it has a say.
        local = Window((window.x0 - x0) / step, (window.y0 - y0) / step, window.side / step)
        planes = _paste(np.ascontiguousarray(crop.transpose(1, 2, 0)), local, (0, 0, size, size))
        x, y = centres - local.x0, centres - local.y0
        reach = (((y >= 0) & (y < local.side))[:, None] & ((x >= 0) & (x < local.side)))[..., None]
        np.add(total, planes, out=total, where=reach)
        weight += reach
    return np.where(weight > 0, total / np.maximum(weight, 1), np.float32(-30.0)), Window(x0, y0, side)


def _grown(logits: Floats, canvas: Window, visible: Mask) -> tuple[float, float, float, float]:
    """The box around the visible mask and what the first looks add to it, in image pixels."""
    # Logits above 0 are pixels more likely of the object than not; canvas pixels to image pixels by `step`.
    found = Mask.from_array(logits[..., 0] > 0)
    x0, y0, x1, y1 = (float(v) for v in visible.box)
    if found:
        step = canvas.side / logits.shape[0]
        a, b, c, d = found.box
        x0, y0 = min(x0, canvas.x0 + a * step), min(y0, canvas.y0 + b * step)
        x1, y1 = max(x1, canvas.x0 + c * step), max(y1, canvas.y0 + d * step)
    return x0, y0, x1, y1
