"""How the pocket segmenter looks at a picture: the whole frame coarsely, then as close as the object allows."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...image import Image
from ...prompt import Prompt
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
REACH = 1.3
"""Side of a closer view over the object's longer side."""
FULL = 0.8
"""Closer views that would be larger than this share of the frame's longer side show the whole frame."""
KEEP = 8
"""Later views that a scene remembers."""
REPLAYED = 8
"""Clicks that are answered one after the other; more are answered together."""
CLOSER = 2
"""Answers in closer views, each with the one before it beside it."""
WIDER = 2
"""More answers in wider views, while the object is cut off by the window."""
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

    def ask(self, decode: Decode, prompt: Prompt, last: Floats | None) -> Floats:
        """One answer: (S, S) float32 logits; `last` is the answer before it in this view, if there is one."""
        points = [self.place(x, y) for x, y in prompt.points]
        box = None if prompt.box is None else (*self.place(*prompt.box[:2]), *self.place(*prompt.box[2:]))
        before = None if last is None else (last > 0).astype(np.float32)
        maps = prompt_maps(self.size, points, prompt.labels, box, before)
        return np.asarray(decode(self.features, maps[None])[0, 0], np.float32)


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


def _warp(source: NDArray[Any], matrix: NDArray[np.float64], size: int, border: float = 0) -> NDArray[Any]:
    import cv2

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
        self._answers: dict[Prompt, Floats] = {}
        h, w = image.shape[:2]
        side = float(max(h, w))
        self.whole, self.fine = (look(encode, image, (w - side) / 2, (h - side) / 2, side, n) for n in (SIZE, NEAR))

    def near(self, box: Box | None) -> View:
        """A view of about `REACH` times the box, or of the whole frame when the box is large or None.

        Windows lie on a grid, so that nearby prompts share one.
        """
        whole = self.whole
        longer = whole.side if box is None else max(box[2] - box[0], box[3] - box[1], 16.0)
        side = 1.2 ** math.ceil(math.log(REACH * longer, 1.2))
        if box is None or REACH * longer > FULL * whole.side or side >= whole.side:
            return self.fine
        step = side / 16
        x0, y0 = (round(((box[i] + box[i + 2]) / 2 - side / 2) / step) * step for i in (0, 1))
        key = (x0, y0, side)
        with self._lock:
            if key not in self._near:
                _make_room(self._near, KEEP)
                self._near[key] = look(self._encode, self.image, *key, NEAR)
            return self._near[key]

    def ask(self, decode: Decode, view: View, prompt: Prompt, last: Floats | None) -> Floats:
        """`View.ask`; in the whole frame the mean of the fine and the coarse view.

        Large objects fill more of the fine view than the network was trained for, and would fall into parts there.
        """
        answer = view.ask(decode, prompt, last)
        if view is not self.fine:
            return answer
        before = None if last is None else carry(last, view, self.whole)
        coarse = carry(self.whole.ask(decode, prompt, before), self.whole, view)
        return np.asarray((answer + coarse) / 2, np.float32)

    def far(self, decode: Decode, prompt: Prompt) -> Floats:
        """The answer in the fine view of the whole frame: the clicks in their order, each with the answer before it.

        Answers are remembered, so that one more click costs one more answer.
        """
        with self._lock:
            known = self._answers.get(prompt)
        if known is None:
            n = min(len(prompt.points) - 1, REPLAYED)
            before = replace(prompt, points=prompt.points[:n], labels=prompt.labels[:n])
            known = self.ask(decode, self.fine, prompt, self.far(decode, before) if n > 0 else None)
            with self._lock:
                _make_room(self._answers, 2 * REPLAYED)
                self._answers[prompt] = known
        return known


def _make_room(remembered: dict[Any, Any], most: int) -> None:
    while len(remembered) >= most:
        remembered.pop(next(iter(remembered)))


def answer(decode: Decode, scene: Scene, prompt: Prompt) -> Floats:
    """Probability of the visible mask, (H, W) float32: first in the whole frame, then as close as the object allows.

    Args:
        decode: the head.
        scene: the open picture.
        prompt: clicks, a box or both.
    """
    view, box = scene.near(prompt.box), prompt.box
    last = scene.far(decode, prompt) if box is None else scene.ask(decode, view, prompt, None)
    for _ in range(CLOSER if box is None else CLOSER - 1):
        nearer = scene.near(box or extent(last, view, prompt))
        last, view = scene.ask(decode, nearer, prompt, carry(last, view, nearer)), nearer
    for _ in range(WIDER if box is None else 0):
        if not view.cuts(last, scene.image.shape[:2]):
            break
        wider = scene.near(view.window)
        last, view = scene.ask(decode, wider, prompt, carry(last, view, wider)), wider
    return to_frame(last, view, (scene.image.shape[0], scene.image.shape[1]))


def extent(logits: Floats, view: View, prompt: Prompt) -> Box | None:
    """Box in the picture around the components under the positive clicks and those clicks; None if there is neither."""
    import cv2

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
    ys, xs = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    left, top, right, bottom = (float(v) / view.scale for v in (xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
    return left + view.x0, top + view.y0, right + view.x0, bottom + view.y0
