"""How the pocket segmenter looks at a picture: the whole frame coarsely, then as close as the object allows."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...image import Image
from .prompts import prompt_maps

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(1, 4, S, S) RGB in [-1, 1] and frame mask, to features."""
Decode = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Features and (1, 4, S, S) prompt maps to logits (1, 1, S, S)."""
Box = tuple[float, float, float, float]

SIZE = 160
"""Side of the first view of the whole frame, in pixels."""
NEAR = 256
"""Side of the later views, in pixels."""
REACH = 1.6
"""Side of a closer view over the object's longer side."""
FULL = 0.8
"""Closer views that would be larger than this share of the frame's longer side show the whole frame."""
KEEP = 8
"""Closer views that a scene remembers."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A square window of the picture and its features."""

    x0: float
    y0: float
    side: float
    size: int
    features: NDArray[np.float32]

    @property
    def matrix(self) -> NDArray[np.float64]:
        """2 x 3 map from picture to view coordinates, pixel edges at integers."""
        s = self.size / self.side
        return np.array([[s, 0, -self.x0 * s], [0, s, -self.y0 * s]])

    def holds(self, box: Box) -> bool:
        """Whether the box lies in the view with a little air around, or as much of it as matters."""
        air = 0.02 * self.side
        inside = box[0] >= self.x0 + air and box[1] >= self.y0 + air
        return inside and box[2] <= self.x0 + self.side - air and box[3] <= self.y0 + self.side - air


def look(encode: Encode, image: Image, x0: float, y0: float, side: float, size: int) -> View:
    """Encode one square window of the picture; beyond the frame there is nothing."""
    view = View(x0, y0, side, size, np.zeros(0, np.float32))
    h, w = image.shape[:2]
    left, top = max(0, int(x0) - 4), max(0, int(y0) - 4)
    right, bottom = min(w, int(x0 + side) + 5), min(h, int(y0 + side) + 5)
    matrix = view.matrix
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top])
    rgb = _warp(image[top:bottom, left:right], matrix, size).astype(np.float32)
    x = (np.arange(size) + 0.5) * side / size + x0
    y = (np.arange(size) + 0.5) * side / size + y0
    inside = ((y > 0) & (y < h))[:, None] & ((x > 0) & (x < w))
    planes = np.empty((1, 4, size, size), np.float32)
    planes[0, :3] = (rgb / 127.5 - 1).transpose(2, 0, 1) * inside
    planes[0, 3] = inside
    return View(x0, y0, side, size, encode(planes))


def _warp(source: NDArray[Any], matrix: NDArray[np.float64], size: int) -> NDArray[Any]:
    import cv2

    shrink = 1
    while matrix[0, 0] * shrink < 0.6 and min(source.shape[:2]) >= 2 * shrink:
        shrink *= 2
    if shrink > 1:
        h, w = source.shape[0] // shrink, source.shape[1] // shrink
        source = cv2.resize(source[: h * shrink, : w * shrink], (w, h), interpolation=cv2.INTER_AREA)
    linear = matrix[:, :2] * shrink
    offset = matrix[:, 2] + linear @ np.array([0.5, 0.5]) - 0.5
    return np.asarray(cv2.warpAffine(source, np.column_stack([linear, offset]), (size, size), flags=cv2.INTER_LINEAR))


def ask(
    decode: Decode,
    view: View,
    points: Sequence[tuple[float, float]],
    labels: Sequence[int],
    box: Box | None,
    last: NDArray[np.float32] | None,
    frame: tuple[int, int],
) -> NDArray[np.float32]:
    """One answer in one view.

    Args:
        points: Clicks (x, y) in the picture.
        last: The last probability in the picture's frame (H, W).
        frame: (H, W) of the picture.

    Returns:
        Probability (H, W) float32; 0 outside the view.
    """
    import cv2

    matrix = view.matrix
    s = matrix[0, 0]
    moved = [((x - view.x0) * s, (y - view.y0) * s) for x, y in points]
    local_box = (
        None if box is None else tuple(float((v - o) * s) for v, o in zip(box, (view.x0, view.y0) * 2, strict=True))
    )
    local_last = None if last is None else _warp(last, matrix, view.size)
    maps = prompt_maps(view.size, moved, labels, local_box, local_last)  # type: ignore[arg-type]
    logits = decode(view.features, maps[None])[0, 0]
    linear = matrix[:, :2]
    offset = matrix[:, 2] + linear @ np.array([0.5, 0.5]) - 0.5
    back = cv2.warpAffine(
        logits,
        np.column_stack([linear, offset]),
        (frame[1], frame[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderValue=-20.0,
    )
    return np.asarray(1 / (1 + np.exp(-np.clip(back, -20, 20))), np.float32)


class Scene:
    """A picture with its views: the whole frame, and closer ones as they are asked for. Threads may share it.

    Args:
        encode: the encoder.
        image: (H, W, 3) uint8 RGB.
    """

    def __init__(self, encode: Encode, image: Image) -> None:
        self._encode, self.image = encode, image
        self._lock = threading.Lock()
        self._near: dict[tuple[float, float, float], View] = {}
        h, w = image.shape[:2]
        side = float(max(h, w))
        self.whole = look(encode, image, (w - side) / 2, (h - side) / 2, side, SIZE)

    def near(self, box: Box | None) -> View:
        """A view of about `REACH` times the box, or of the whole frame when the box is large or None.

        Windows lie on a grid, so that nearby prompts share one.
        """
        whole = self.whole
        longer = whole.side if box is None else max(box[2] - box[0], box[3] - box[1], 16.0)
        if box is None or REACH * longer > FULL * whole.side:
            key = (whole.x0, whole.y0, whole.side)
        else:
            side = min(whole.side, 1.2 ** math.ceil(math.log(REACH * longer, 1.2)))
            step = side / 16
            x0, y0 = (round(((box[i] + box[i + 2]) / 2 - side / 2) / step) * step for i in (0, 1))
            key = (x0, y0, side)
        with self._lock:
            if key not in self._near:
                while len(self._near) >= KEEP:
                    self._near.pop(next(iter(self._near)))
                self._near[key] = look(self._encode, self.image, *key, NEAR)
            return self._near[key]


def answer(
    decode: Decode, scene: Scene, points: Sequence[tuple[float, float]], labels: Sequence[int], box: Box | None
) -> Floats:
    """Probability of the visible mask, (H, W) float32: first in the whole frame, then as close as the object allows.

    A single click is first answered in the coarse view, where the network sees most of the object around it;
    later clicks correct details, and start in the fine view.

    Args:
        points: clicks (x, y) in the picture.
        labels: 1 on the object, 0 not on it.
        box: half-open (x0, y0, x1, y1) around the visible object, if given.
    """
    frame = (scene.image.shape[0], scene.image.shape[1])
    last, found = None, box
    if found is None:
        first = scene.whole if len(points) < 2 else scene.near(None)
        last = ask(decode, first, points, labels, None, None, frame)
        found = extent(last > 0.5, points, labels)
    for _ in range(2):
        view = scene.whole if found is None else scene.near(found)
        last = ask(decode, view, points, labels, box, last, frame)
        grown = extent(last > 0.5, points, labels)
        if view.side >= scene.whole.side or grown is None or box is not None or view.holds(grown):
            break
        found = grown
    assert last is not None
    return last


def extent(mask: NDArray[np.bool_], points: Sequence[tuple[float, float]], labels: Sequence[int]) -> Box | None:
    """Box around the components under the positive clicks and those clicks themselves; None if there is neither."""
    import cv2

    _, label = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    on = [(int(x), int(y)) for (x, y), one in zip(points, labels, strict=True) if one]
    wanted = {int(label[y, x]) for x, y in on} - {0}
    part = np.isin(label, list(wanted)) if wanted else mask
    for x, y in on:
        part[y, x] = True
    if not part.any():
        return None
    ys, xs = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    return float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)
