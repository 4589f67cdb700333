"""How the pocket segmenter looks at a picture: the whole frame once, then, for small objects, a closer view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .prompts import prompt_maps

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(1, 4, S, S) RGB in [-1, 1] and frame mask, to features."""
Decode = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""Features and (1, 4, S, S) prompt maps to logits (1, 1, S, S)."""
Box = tuple[float, float, float, float]

SIZE = 256
"""Side of the view of the whole frame."""
NEAR = 192
"""Side of a closer view."""


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


def look(encode: Encode, image: NDArray[np.uint8], x0: float, y0: float, side: float, size: int) -> View:
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


def whole(encode: Encode, image: NDArray[np.uint8]) -> View:
    """The view of the whole frame."""
    h, w = image.shape[:2]
    side = float(max(h, w))
    return look(encode, image, (w - side) / 2, (h - side) / 2, side, SIZE)


def _warp(source: NDArray[Any], matrix: NDArray[np.float64], size: int) -> NDArray[Any]:
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


@dataclass(frozen=True)
class State:
    """What one prompt leaves behind for the next on the same object: the last answer and the closer view."""

    last: NDArray[np.float32]
    near: View | None


def answer(
    encode: Encode,
    decode: Decode,
    image: NDArray[np.uint8],
    points: Sequence[tuple[float, float]],
    labels: Sequence[int],
    box: Box | None,
    state: State | None,
    frame_view: View | None = None,
) -> tuple[NDArray[np.float32], State]:
    """Probability of the visible mask, first in the whole frame, then in a closer view if the object is small.

    Returns:
        (H, W) float32, and the state for the next prompt on this object.
    """
    frame = image.shape[:2]
    near = state.near if state else None
    last = state.last if state else None
    if near is None:
        view = frame_view or whole(encode, image)
        found = box if box is not None and not points else None
        probability = None
        if found is None:
            probability = ask(decode, view, points, labels, box, last, frame)
            found = extent(probability > 0.5, points, labels)
            last = probability
        if found is None or max(found[2] - found[0], found[3] - found[1]) > 0.5 * view.side:
            if probability is None:
                probability = ask(decode, view, points, labels, box, last, frame)
            return probability, State(probability, None)
        side = min(view.side, 1.7 * max(found[2] - found[0], found[3] - found[1], 24.0))
        near = look(encode, image, (found[0] + found[2] - side) / 2, (found[1] + found[3] - side) / 2, side, NEAR)
    probability = ask(decode, near, points, labels, box, last, frame)
    grown = extent(probability > 0.5, points, labels)
    if grown is not None and not near.holds(grown) and near.side < 0.9 * max(frame):
        # The object is larger than the closer view: look again from further away next time.
        return probability, State(probability, None)
    return probability, State(probability, near)


def extent(mask: NDArray[np.bool_], points: Sequence[tuple[float, float]], labels: Sequence[int]) -> Box | None:
    """Box around the components under the positive clicks and those clicks themselves; None if there is neither."""
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
