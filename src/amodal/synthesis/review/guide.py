"""The guide of the review page: what good masks are and four kinds of bad ones, as pictures of our own making.

After the user guide in the appendix of Zhan et al. (figures 12 to 15): "yes" only where both masks are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from ...core.mask import Mask
from ...data.sample import Sample

__all__ = ["Example", "guide"]

SIZE = (240, 320)
"""(H, W) of the example's picture."""
Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """One example: an object with its two masks, whether they are good, and why."""

    sample: Sample
    good: bool
    text: str


@cache
def guide() -> tuple[Example, ...]:
    """The examples in the order they are shown: a good one, then the four kinds of bad ones."""
    picture, amodal, seen = drawing()
    rng = np.random.default_rng(0)
    speckle = cv2.GaussianBlur(rng.random(SIZE).astype(np.float32), (0, 0), 4)
    rim = cv2.dilate(amodal.astype(np.uint8), np.ones((25, 25))) > cv2.erode(amodal.astype(np.uint8), np.ones((13, 13)))
    frayed = np.where(rim, speckle > np.median(speckle), amodal)
    lacking, spilling, cut = seen.copy(), seen.copy(), amodal.copy()
    lacking[:118] = False
    spilling[150:197, 84:239] = True
    cut[178:] = seen[178:]
    told = (
        (
            seen,
            amodal,
            True,
            "Good: the visible mask is the visible part and nothing else; the amodal mask is the whole object.",
        ),
        (lacking, amodal, False, "Bad: the visible mask lacks a visible part (the back of the chair)."),
        (spilling, amodal, False, "Bad: the visible mask covers something else (the table in front)."),
        (seen, cut, False, "Bad: the amodal mask is not the whole object (the hidden legs are missing)."),
        (seen, frayed | seen, False, "Bad: the amodal mask is noisy: it frays, or has holes and crumbs."),
    )
    found = []
    for number, (visible, amodal, good, text) in enumerate(told):
        masks = Mask.from_array(visible), Mask.from_array(amodal)
        found.append(Example(Sample(f"example {number}", "guide", picture, SIZE, *masks, "chair"), good, text))
    return tuple(found)


def drawing() -> tuple[NDArray[np.uint8], Bits, Bits]:
    """A chair behind a table: the picture (H, W, 3), the whole chair and its visible part (H, W)."""
    picture = np.empty((*SIZE, 3), np.uint8)
    picture[:165] = np.linspace(215, 190, 165)[:, None, None] + np.array([5, 0, -12])
    picture[165:] = np.linspace(120, 150, 75)[:, None, None] + np.array([10, 0, -15])
    chair = np.zeros(SIZE, np.uint8)
    for x0, y0, x1, y1 in (
        (118, 45, 128, 222),
        (192, 45, 202, 222),
        (112, 128, 208, 142),
        (138, 142, 146, 205),
        (174, 142, 182, 205),
    ):
        cv2.rectangle(chair, (x0, y0), (x1, y1), 255, -1)
    for y in (52, 74, 96):
        cv2.rectangle(chair, (118, y), (202, y + 12), 255, -1)
    table = np.zeros(SIZE, np.uint8)
    cv2.rectangle(table, (60, 150), (262, 164), 255, -1)
    for x in (66, 244):
        cv2.rectangle(table, (x, 164), (x + 12, 236), 255, -1)
    cv2.rectangle(table, (84, 164), (238, 196), 255, -1)
    amodal, front = chair > 0, table > 0
    picture[amodal] = (58, 84, 132)
    picture[:142][amodal[:142]] = (66, 96, 150)
    picture[front] = (172, 128, 82)
    picture[150:164][front[150:164]] = (196, 150, 100)
    return picture, amodal, amodal & ~front
