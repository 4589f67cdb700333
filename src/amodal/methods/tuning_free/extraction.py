"""From the generated picture to the amodal mask: a segmenter asked at points of the visible part, GrabCut, or a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.image import Image
from ...core.mask import Bits, Mask
from ...core.prompt import Prompt
from ...core.regions import joined, spread_points
from ...plugins.protocols import Segmenter
from ...segmenters.grabcut import clean, cut

__all__ = ["Generated", "by_grabcut", "by_segmenter", "by_threshold", "spread_points"]

WHOLE_WINDOW = 0.9
"""A proposal that covers more of the window than this is taken only if there is no other: it is the ground, not an object."""
GRABCUT_SIDE = 256


@dataclass(frozen=True)
class Generated:
    """A generated picture and what is known of it.

    Attributes:
        picture: (S, S, 3) uint8 RGB.
        photo: (S, S, 3) uint8 RGB, the same window of the photo.
        background: (S, S, 3) uint8 RGB, the synthetic ground of the condition.
        visible: (S, S) bool.
        plain: the mask is what is read off, as in the paper, not finished; of the segmenter's proposals the best-scored (our reading).
    """

    picture: Image
    photo: Image
    background: Image
    visible: Bits
    plain: bool = False

    def finish(self, bits: Bits) -> Bits:
        """Union with the visible mask; only what is connected with it stays; specks go, holes are filled. Nothing of it if `plain`."""
        if self.plain:
            return bits
        connected = joined(bits | self.visible, self.visible)
        cleaned = clean(Mask.from_array(connected), []).crop((0, 0, bits.shape[1], bits.shape[0]))
        return np.asarray(cleaned | self.visible)

    def distance(self) -> NDArray[np.float32]:
        """How far each pixel's colour is from the ground's, in CIELAB units: (S, S) float32."""
        import cv2

        first, second = (
            cv2.cvtColor(values.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
            for values in (self.picture, self.background)
        )
        return np.asarray(np.linalg.norm(first - second, axis=-1), np.float32)


def by_segmenter(made: Generated, segmenter: Segmenter, points: int) -> tuple[Bits, float]:
    """The segmenter's best mask at points spread over the visible part.

    Best is the highest product of the segmenter's own score and the share of the visible part that the mask covers (SAM's
    proposals are the part, the object and the whole scene; its score alone often prefers the wrong one); a mask of more than nine
    tenths of the window is taken only if there is no other. Best is the segmenter's own score alone if `made.plain`.

    Args:
        made: the generated picture.
        segmenter: any that understands points.
        points: how many.

    Returns:
        (S, S) bool and that product.
    """
    places = spread_points(made.visible, points)
    prompt = Prompt.make(points=places, labels=[1] * len(places))
    best, best_value = made.visible, -1.0
    for proposal in segmenter.segment(segmenter.embed(made.picture), prompt):
        bits = proposal.mask.to_array(made.visible.shape)
        value = 1.0 if proposal.score is None else proposal.score
        if not made.plain:
            value *= float((bits & made.visible).sum() / made.visible.sum()) * (
                0.01 if bits.mean() > WHOLE_WINDOW else 1.0
            )
        if value > best_value:
            best, best_value = bits, value
    return made.finish(best), min(1.0, max(0.0, best_value))


def by_grabcut(made: Generated, difference: float, rounds: int = 4) -> tuple[Bits, None]:
    """GrabCut (OpenCV) without weights: the visible part is sure, what differs from the known ground is likely object.

    The visible part is shown as in the photo, so that the object's colours are learnt from what it really looks like.

    Args:
        made: the generated picture.
        difference: colour distance from the ground, in CIELAB units, above which a pixel is likely object at the start.
        rounds: iterations.
    """
    import cv2

    side = made.picture.shape[0]
    small = min(side, GRABCUT_SIDE)
    visible = cv2.resize(made.visible.astype(np.float32), (small, small), interpolation=cv2.INTER_AREA)
    likely = cv2.resize(made.distance(), (small, small), interpolation=cv2.INTER_AREA) > difference
    shown = np.where(made.visible[..., None], made.photo, made.picture)
    picture = cv2.resize(shown, (small, small), interpolation=cv2.INTER_AREA)
    trimap = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    border = np.ones_like(likely)
    border[1:-1, 1:-1] = False
    trimap[border & ~likely] = cv2.GC_BGD
    trimap[visible > 0.5] = cv2.GC_FGD
    bits = cut(picture, trimap, rounds).astype(np.float32)
    return made.finish(cv2.resize(bits, (side, side), interpolation=cv2.INTER_LINEAR) > 0.5), None


def by_threshold(made: Generated, difference: float) -> tuple[Bits, None]:
    """Every pixel whose colour is farther than `difference` (CIELAB units) from the known ground."""
    return made.finish(made.distance() > difference), None
