"""How the pocket segmenter looks at a picture: the whole frame coarsely, then as close as the object allows."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
ZOOM = 3.0
"""Each look about a single click sees a window this much smaller than the one before, at `SIZE`."""
LEAST = 200.0
"""Smallest side of such a window, in picture pixels."""
LARGE = 900.0
"""Longer side of the frame from which on such windows are looked at: in smaller pictures they find parts of what is meant."""
SAME = 0.8
"""Answers whose boxes overlap more than this (IoU) are the same."""
CUT_OFF = 0.5
"""Factor on the score of an answer that its window cuts off."""
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
        self._answers: dict[Prompt, list[Found]] = {}
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

    def ask(self, decode: Decode, view: View, prompt: Prompt, last: Found | None) -> list[Found]:
        """All answers in a view, with the answer before it beside the prompt; in the whole frame the mean of fine and coarse.

        Large objects fill more of the fine view than the network was trained for, and would fall into parts there.
        """
        # logits (M, S, S), scores (M,): M answers of one view.
        logits, scores = view.ask(decode, prompt, None if last is None else carry(last.logits, last.view, view))
        if view is self.fine:
            whole = self.whole
            coarse, others = whole.ask(decode, prompt, None if last is None else carry(last.logits, last.view, whole))
            logits = np.stack([(a + carry(b, whole, view)) / 2 for a, b in zip(logits, coarse, strict=True)])
            scores = np.asarray((scores + others) / 2, np.float32)
        return [Found(a, view, float(s)) for a, s in zip(logits, scores, strict=True)]

    def far(self, decode: Decode, prompt: Prompt) -> list[Found]:
        """What the clicks find before anything is seen from near, best first: they are answered in their order, each with the
        answer before it. One click has several answers, several clicks have one.

        Answers are remembered, so that one more click costs one more answer.
        """
        with self._lock:
            known = self._answers.get(prompt)
        if known is None:
            known = self._looks(decode, prompt) if prompt.single_click else [self._next(decode, prompt)]
            with self._lock:
                _make_room(self._answers, 2 * REPLAYED)
                self._answers[prompt] = known
        return known

    def _next(self, decode: Decode, prompt: Prompt) -> Found:
        """The answer to several clicks: where the one before it was found, unless a click lies elsewhere."""
        n = min(len(prompt.points) - 1, REPLAYED)
        if n <= 0:
            return self.ask(decode, self.fine, prompt, None)[0]
        before = self.far(decode, replace(prompt, points=prompt.points[:n], labels=prompt.labels[:n]))[0]
        view = before.view if before.view.holds(prompt.points) else self.fine
        return self.ask(decode, view, prompt, before)[0]

    def _looks(self, decode: Decode, prompt: Prompt) -> list[Found]:
        """The different answers to one click, best first: in the whole frame, and in windows about the click, where small
        things can be seen."""
        # 1. The whole frame, then windows about the click, each ZOOM times smaller than the last.
        x, y = prompt.points[0]
        found = self.ask(decode, self.fine, prompt, None)
        side = self.whole.side / ZOOM if self.whole.side >= LARGE else 0.0
        while side >= LEAST:
            window = look(self._encode, self.image, x - side / 2, y - side / 2, side, SIZE)
            found += self.ask(decode, window, prompt, None)
            side /= ZOOM
        # 2. Answers that a window's edge cuts off count for less.
        frame = self.image.shape[:2]
        found = [replace(f, score=f.score * (CUT_OFF if f.view.cuts(f.logits, frame) else 1)) for f in found]
        # 3. The best first; what is nearly the box of a better one is the same answer.
        kept: list[Found] = []
        boxes: list[Box] = []
        for one in sorted(found, key=lambda f: -f.score):
            box = extent(one.logits, one.view, prompt)
            if box is not None and all(_overlap(box, other) < SAME for other in boxes):
                kept.append(one)
                boxes.append(box)
        return kept


def _overlap(a: Box, b: Box) -> float:
    """IoU of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _make_room(remembered: dict[Any, Any], most: int) -> None:
    while len(remembered) >= most:
        remembered.pop(next(iter(remembered)))


def answer(decode: Decode, scene: Scene, prompt: Prompt, choice: int = 0) -> tuple[Floats, float]:
    """As `seek`, the mask as its probability: (H, W) float32."""
    found, score = seek(decode, scene, prompt, choice)
    return to_frame(found.logits, found.view, (scene.image.shape[0], scene.image.shape[1])), score


def seek(decode: Decode, scene: Scene, prompt: Prompt, choice: int = 0) -> tuple[Found, float]:
    """The visible mask in a view, and the IoU that it may have: first in the whole frame, then as close as the object allows.

    Args:
        decode: the head.
        scene: the open picture.
        prompt: clicks, a box or both.
        choice: which of the answers of `Scene.far`; 0 is the best.
    """
    # 1. A first answer.
    box = prompt.box
    found = scene.far(decode, prompt)[choice] if box is None else scene.ask(decode, scene.near(box), prompt, None)[0]
    score = found.score
    # 2. Closer: the window about what was found, with that answer beside the prompt.
    for _ in range(CLOSER if box is None else CLOSER - 1):
        nearer = scene.near(box or extent(found.logits, found.view, prompt))
        found = scene.ask(decode, nearer, prompt, found)[0]
    # 3. Wider again, where the window's edge cuts the object off.
    for _ in range(WIDER if box is None else 0):
        if not found.view.cuts(found.logits, scene.image.shape[:2]):
            break
        found = scene.ask(decode, scene.near(found.view.window), prompt, found)[0]
    return found, score if prompt.single_click else found.score


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
