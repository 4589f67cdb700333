"""Windows on a picture that the pocket segmenter looks through, and its answers in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.image import Image
from ...core.mask import Mask, union
from ...core.prompt import Prompt
from ...core.scaling import Levels, in_frame, to_unit
from ...core.soft_mask import SoftMask
from ..grabcut import clean
from .prompts import prompt_maps

Encode = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""(1, 4, S, S) RGB in [-1, 1] and frame mask, to features."""
Decode = Callable[[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Features and (1, 4, S, S) prompt maps to logits (1, M, S, S) of M answers and the IoU that each may have (1, M), in [0, 1].
The first answer is for several clicks and boxes; all of them are what one click may mean."""
Box = tuple[float, float, float, float]

CUT = 0.05
"""Share of a window's edge on the object from which on it counts as cut off."""
NOTHING = -20.0
"""Logit of what lies outside a view."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """A square window of the picture and its features."""

    x0: float
    y0: float
    side: float
    size: int
    features: Floats

    @property
    def scale(self) -> float:
        """View pixels a picture pixel."""
        return self.size / self.side

    @property
    def matrix(self) -> NDArray[np.float64]:
        """2 x 3 map from picture to view coordinates, pixel edges at integers."""
        s = self.scale
        return np.array([[s, 0, -self.x0 * s], [0, s, -self.y0 * s]])

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture lies in the view."""
        return (x - self.x0) * self.scale, (y - self.y0) * self.scale

    @property
    def window(self) -> Box:
        """The window in the picture."""
        return self.x0, self.y0, self.x0 + self.side, self.y0 + self.side

    def cuts(self, logits: Floats, frame: tuple[int, ...]) -> bool:
        """Whether an edge of the window that lies inside the (H, W) frame cuts the object off."""
        on = logits > 0
        x0, y0, x1, y1 = self.window
        inside = (x0 > 0, y0 > 0, x1 < frame[1], y1 < frame[0])
        edges = (on[:, 0], on[0], on[:, -1], on[-1])
        return any(there and edge.mean() > CUT for there, edge in zip(inside, edges, strict=True))

    def holds(self, points: Sequence[tuple[float, float]]) -> bool:
        """Whether all points of the picture lie well inside the window."""
        places = np.array([self.place(x, y) for x, y in points])
        return bool(((places > 0.05 * self.size) & (places < 0.95 * self.size)).all())

    def ask(self, decode: Decode, prompt: Prompt, last: Floats | None) -> tuple[Floats, Floats]:
        """(M, S, S) logits and (M,) scores; `last` is the answer before it in this view, if there is one."""
        # Prompt and last answer in the view's pixels, as maps (4, S, S) that the head reads beside the features.
        points = [self.place(x, y) for x, y in prompt.points]
        box = None if prompt.box is None else (*self.place(*prompt.box[:2]), *self.place(*prompt.box[2:]))
        before = None if last is None else (last > 0).astype(np.float32)
        maps = prompt_maps(self.size, points, prompt.labels, box, before)
        logits, scores = decode(self.features, maps[None])
        return np.asarray(logits[0], np.float32), np.asarray(scores[0], np.float32)


@dataclass(frozen=True)
class Found:
    """An answer: (S, S) float32 logits in a view, and the IoU that it may have."""

    logits: Floats
    view: View
    score: float


def look(encode: Encode, image: Image, x0: float, y0: float, side: float, size: int) -> View:
    """Encode one square window of the picture; beyond the frame there is nothing."""
    # 1. The window (S, S, 3); inside (S, S) says which pixel centres lie in the frame.
    rgb = to_unit(Levels.of(image).cut(x0, y0, side, size))
    inside = in_frame((x0, y0), (side, side), (size, size), image.shape)
    # 2. (1, 4, S, S): colour in [-1, 1], zero beyond the frame, and the frame itself.
    planes = np.empty((1, 4, size, size), np.float32)
    planes[0, :3] = rgb.transpose(2, 0, 1) * inside
    planes[0, 3] = inside
    return View(x0, y0, side, size, encode(planes))


def _warp(source: NDArray[Any], matrix: NDArray[np.float64], size: int, border: float = 0) -> NDArray[Any]:
    import cv2

    # Areas are averaged by powers of two first: bilinear sampling of a much smaller copy would skip pixels.
    shrink = 1
    while matrix[0, 0] * shrink < 0.6 and min(source.shape[:2]) >= 2 * shrink:
        shrink *= 2
    if shrink > 1:
        h, w = source.shape[0] // shrink, source.shape[1] // shrink
        source = cv2.resize(source[: h * shrink, : w * shrink], (w, h), interpolation=cv2.INTER_AREA)
    centred = _centred(np.column_stack([matrix[:, :2] * shrink, matrix[:, 2]]))
    return np.asarray(cv2.warpAffine(source, centred, (size, size), flags=cv2.INTER_LINEAR, borderValue=border))


def _centred(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The map with pixel centres at integers, as OpenCV has them."""
    return np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5])


def carry(logits: Floats, source: View, target: View) -> Floats:
    """An answer in one view, as another view sees it; both (S, S) float32 logits."""
    if source is target:
        return logits
    # (2, 3) map from the source view's pixels to the target's.
    matrix = np.column_stack([np.eye(2) * (target.scale / source.scale), target.place(source.x0, source.y0)])
    return np.asarray(_warp(logits, matrix, target.size, NOTHING), np.float32)


def to_frame(logits: Floats, view: View, frame: tuple[int, int]) -> Floats:
    """Probability (H, W) float32 in the picture's frame of an answer in a view; about 0 outside the view."""
    import cv2

    back = cv2.warpAffine(
        logits,
        _centred(view.matrix),
        (frame[1], frame[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderValue=NOTHING,
    )
    return np.asarray(1 / (1 + np.exp(-np.clip(back, NOTHING, -NOTHING))), np.float32)


def decide(logits: Floats, view: View, frame: tuple[int, int], on: list[tuple[int, int]], threshold: float) -> Mask:
    """The visible mask of an answer. Specks, holes and clicks are decided in the view; only the
    result is brought to the picture's resolution, within its box.

    Args:
        logits: (S, S) of the view.
        view: where they lie.
        frame: (H, W) of the picture.
        on: pixels (x, y) that are on the object.
        threshold: probability above which a pixel belongs to the object.
    """
    # 1. The view as a canvas over whole pixels of the picture: (S, S) logits on side x side pixels.
    level = math.log(threshold / (1 - threshold))
    left, top = round(view.x0), round(view.y0)
    side = round(view.x0 + view.side) - left
    soft = SoftMask(logits, (left, top), (side, side))
    # Nothing beyond the frame is visible.
    centres = (np.arange(view.size) + 0.5) * side / view.size
    inside = ((centres + top < frame[0]) & (centres + top > 0))[:, None] & (
        (centres + left < frame[1]) & (centres + left > 0)
    )
    # 2. The mask (S, S): above the threshold, and at clicks in any case.
    found = (logits > level) & inside
    clicks = [(int((x + 0.5 - left) / side * view.size), int((y + 0.5 - top) / side * view.size)) for x, y in on]
    clicks = [(x, y) for x, y in clicks if 0 <= x < view.size and 0 <= y < view.size]
    for x, y in clicks:
        found[y, x] = True
    if not found.any():
        found = inside & (logits >= logits.max(where=inside, initial=NOTHING))
    # 3. Without specks and holes.
    kept = clean(Mask.from_array(found), clicks).to_array((view.size, view.size))
    # Dropped specks fall below the level, filled holes and clicks rise above it; then the canvas is sampled once.
    values = np.where(kept, np.maximum(logits, level + 0.1), np.minimum(logits, level))
    values = np.where(kept | ~inside | (logits <= level), values, level - 0.1)
    mask = SoftMask(values.astype(np.float32), soft.origin, soft.size).threshold(level).clip(frame)
    if not mask and not on:  # finer than the picture: the pixel where the likeliest canvas pixel lies
        row, column = np.unravel_index(int(np.where(inside, logits, NOTHING - 1).argmax()), logits.shape)
        on = [(int(left + (column + 0.5) * side / view.size), int(top + (row + 0.5) * side / view.size))]
    dots = [Mask.from_box((x, y, x + 1, y + 1)) for x, y in on]
    return union([mask, *(dot for dot in dots if not mask.contains(dot))])


def extent(logits: Floats, view: View, prompt: Prompt) -> Box | None:
    """Box in the picture around the components under the positive clicks and those clicks; None if there is neither."""
    import cv2

    # label (S, S): the number of each component; on: the clicks' pixels in the view.
    mask = logits > 0
    _, label = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    clicks = [view.place(x, y) for (x, y), one in zip(prompt.points, prompt.labels, strict=True) if one]
    on = np.clip(np.array(clicks).astype(int), 0, view.size - 1).tolist()
    wanted = {int(label[y, x]) for x, y in on} - {0}
    part = np.isin(label, list(wanted)) if wanted else mask
    for x, y in on:
        part[y, x] = True
    if not part.any():
        return None
    left, top, right, bottom = (v / view.scale for v in Mask.from_array(part).box)
    return left + view.x0, top + view.y0, right + view.x0, bottom + view.y0
