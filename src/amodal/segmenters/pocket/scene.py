"""How the pocket segmenter looks at a picture: the whole frame coarsely, then as close as the object allows."""

from __future__ import annotations

import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np

from ...core.image import Image
from ...core.prompt import Prompt
from .choices import Guess, best, choose, distinct
from .views import Box, Decode, Encode, Floats, Found, View, carry, extent, look, to_frame

__all__ = ["Scene", "answer", "answers", "seek"]

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
ZOOM = 3.0
"""Each look about a single click sees a window this much smaller than the one before, at `SIZE`."""
LARGE = 900.0
"""Longer side of the frame from which on such windows are looked at first: in smaller pictures they find parts of what is meant."""
PARTS = (1.5, 2.25)
"""What else a click may mean is looked for in windows this much smaller than the frame, at `NEAR`. Parts are meant less often than
the whole: these factors divide how likely an answer is."""
LEAST = 200.0
"""Smallest side of a window about a click, in picture pixels."""
CUT_OFF = 0.5
"""Factor on the score of an answer that its window cuts off."""


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
        self._guesses: dict[Prompt, list[Guess]] = {}
        self._answers: dict[Prompt, Found] = {}
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

    def far(self, decode: Decode, prompt: Prompt) -> Found:
        """What the clicks find before anything is seen from near: they are answered in their order, each with the answer before it.

        Answers are remembered, so that one more click costs one more answer.
        """
        with self._lock:
            known = self._answers.get(prompt)
        if known is None:
            known = best(self.guesses(decode, prompt)) if prompt.single_click else self._next(decode, prompt)
            with self._lock:
                _make_room(self._answers, 2 * REPLAYED)
                self._answers[prompt] = known
        return known

    def _next(self, decode: Decode, prompt: Prompt) -> Found:
        """The answer to several clicks: where the one before it was found, unless a click lies elsewhere."""
        n = min(len(prompt.points) - 1, REPLAYED)
        if n <= 0:
            return self.ask(decode, self.fine, prompt, None)[0]
        before = self.far(decode, replace(prompt, points=prompt.points[:n], labels=prompt.labels[:n]))
        view = before.view if before.view.holds(prompt.points) else self.fine
        return self.ask(decode, view, prompt, before)[0]

    def guesses(self, decode: Decode, prompt: Prompt) -> list[Guess]:
        """All answers to a single click: in the whole frame and, in a large picture, in windows about the click, each ZOOM times
        smaller than the last, where small things can be seen. Remembered."""
        with self._lock:
            known = self._guesses.get(prompt)
        if known is None:
            known = self._told(self.ask(decode, self.fine, prompt, None), 1.0)
            side = self.whole.side / ZOOM if self.whole.side >= LARGE else 0.0
            while side >= LEAST:
                known += self._told(self.ask(decode, self._about(prompt.points[0], side, SIZE), prompt, None), 1.0)
                side /= ZOOM
            with self._lock:
                _make_room(self._guesses, KEEP)
                self._guesses[prompt] = known
        return known

    def parts(self, decode: Decode, prompt: Prompt) -> list[Guess]:
        """More answers to a single click, in somewhat smaller windows about it."""
        found: list[Guess] = []
        for smaller in PARTS:
            if (side := self.whole.side / smaller) >= LEAST:
                window = self._about(prompt.points[0], side, NEAR)
                found += self._told(self.ask(decode, window, prompt, None), 1 / smaller)
        return found

    def _told(self, found: list[Found], trust: float) -> list[Guess]:
        """Answers with how likely they are: with the square of the expected IoU; those that a window's edge cuts off count for less."""
        frame = self.image.shape[:2]
        scored = [replace(f, score=f.score * (CUT_OFF if f.view.cuts(f.logits, frame) else 1)) for f in found]
        return [Guess(f, trust * f.score**2) for f in scored]

    def _about(self, point: tuple[float, float], side: float, size: int) -> View:
        """The window of that side about a point, within the frame where it fits, as a view of `size` pixels a side."""
        corner = []
        for place, length in zip(point, (self.image.shape[1], self.image.shape[0]), strict=True):
            room = length - side
            corner.append(room / 2 if room < 0 else min(max(place - side / 2, 0.0), room))
        return look(self._encode, self.image, corner[0], corner[1], side, size)


def _make_room(remembered: dict[Any, Any], most: int) -> None:
    while len(remembered) >= most:
        remembered.pop(next(iter(remembered)))


def answer(decode: Decode, scene: Scene, prompt: Prompt) -> tuple[Floats, float]:
    """As `seek`, the mask as its probability: (H, W) float32."""
    found = seek(decode, scene, prompt)
    return to_frame(found.logits, found.view, (scene.image.shape[0], scene.image.shape[1])), found.score


def seek(decode: Decode, scene: Scene, prompt: Prompt) -> Found:
    """The visible mask in a view, and the IoU that it may have: first in the whole frame, then as close as the object allows.

    Args:
        decode: the head.
        scene: the open picture.
        prompt: clicks, a box or both.
    """
    if prompt.box is not None:
        return _closer(decode, scene, prompt, scene.ask(decode, scene.near(prompt.box), prompt, None)[0])
    return _closer(decode, scene, prompt, scene.far(decode, prompt))


def _closer(decode: Decode, scene: Scene, prompt: Prompt, found: Found) -> Found:
    """A first answer, looked at from near. For a single click the score stays that of the first answer: from near a network is as
    sure of a part as of the whole."""
    box, score = prompt.box, found.score
    # 1. Closer: the window about what was found, with that answer beside the prompt.
    for _ in range(CLOSER if box is None else CLOSER - 1):
        nearer = scene.near(box or extent(found.logits, found.view, prompt))
        found = scene.ask(decode, nearer, prompt, found)[0]
    # 2. Wider again, where the window's edge cuts the object off.
    for _ in range(WIDER if box is None else 0):
        if not found.view.cuts(found.logits, scene.image.shape[:2]):
            break
        found = scene.ask(decode, scene.near(found.view.window), prompt, found)[0]
    return replace(found, score=score) if prompt.single_click else found


def answers(decode: Decode, scene: Scene, prompt: Prompt) -> list[Found]:
    """The answer of `seek`; for a single click also what else it may mean, each seen from near."""
    if not prompt.single_click:
        return [seek(decode, scene, prompt)]
    guesses = scene.guesses(decode, prompt)
    guesses = distinct([*guesses, *scene.parts(decode, prompt)], best(guesses))
    return choose([Guess(_closer(decode, scene, prompt, guess.found), guess.likely) for guess in guesses])
