"""The honest baselines without weights: `visible` (nothing is occluded) and `hull` (the convex hull of the visible mask)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..image import Image
from ..mask import Mask
from ..protocols import Context, Guess, Job, Method

__all__ = ["Hull", "Visible", "convex_hull"]


def convex_hull(mask: Mask) -> Mask:
    """The smallest convex polygon over all contours of the mask together, rasterised; contains the mask."""
    import cv2

    contours, _ = cv2.findContours(mask.bits.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = cv2.convexHull(np.concatenate(contours))
    canvas = np.zeros(mask.bits.shape, np.uint8)
    cv2.fillConvexPoly(canvas, points, 1)
    return Mask.from_array(canvas.astype(bool) | mask.bits, mask.origin)


class Visible(Method):
    """The visible mask as it is."""

    name: ClassVar[str] = "visible"
    summary: ClassVar[str] = "the visible mask taken as the whole object; the lower baseline"

    def complete(self, embedded: Any, image: Image, jobs: Sequence[Job], context: Context) -> list[list[Guess]]:
        return [[Guess(job.visible)] for job in jobs]


class Hull(Method):
    """The convex hull over all parts of the visible mask."""

    name: ClassVar[str] = "hull"
    summary: ClassVar[str] = "the convex hull of the visible mask; the geometric baseline"

    def complete(self, embedded: Any, image: Image, jobs: Sequence[Job], context: Context) -> list[list[Guess]]:
        guesses = []
        for done, job in enumerate(jobs, 1):
            guesses.append([Guess(convex_hull(job.visible))])
            context.tick("object", done, len(jobs))
        return guesses
