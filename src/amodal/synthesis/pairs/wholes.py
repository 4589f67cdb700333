"""Which objects of a photo are whole: candidates by shape, then nearer to the camera than everything along their outline."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...core.config import Count, Share, config
from ...core.image import Image
from ...core.mask import Mask, Size
from ...core.regions import connected

__all__ = ["Rule", "closer_share", "drawing", "is_candidate", "outline_map", "whole_objects"]


@config
class Rule:
    """What counts as a whole object.

    Attributes:
        smallest, largest: share of the picture that its mask covers.
        solid: share of the mask that its largest piece must hold: parts mean that something lies in front.
        closer: share of the outline along which it must be nearer than what is outside.
        tolerance: share of the picture's range of depth that counts as equally near (an object touches the ground).
        reach: pixels on either side of the outline that are compared.
    """

    smallest: Share = 0.01
    largest: Share = 0.5
    solid: Share = 0.97
    closer: Share = 0.9
    tolerance: Share = 0.02
    reach: Count = 5


def is_candidate(mask: Mask, size: Size, rule: Rule | None = None) -> bool:
    """Whether a mask could be a whole object by its shape alone: neither tiny nor huge, in one piece, inside the frame."""
    rule = rule or Rule()
    height, width = size
    share = mask.area / (height * width)
    x0, y0, x1, y1 = mask.box
    if not rule.smallest <= share <= rule.largest or x0 <= 0 or y0 <= 0 or x1 >= width or y1 >= height:
        return False
    return max(part.area for part in connected(mask)) >= rule.solid * mask.area


def outline_map(nearness: NDArray[np.float32], mask: Mask, rule: Rule | None = None) -> NDArray[np.int8]:
    """The outline of an object: 1 where it is nearer than (or as near as) what is outside, -1 where not, 0 elsewhere.

    On each outline pixel the mean nearness inside is compared with the mean outside, both within `rule.reach` pixels.

    Args:
        nearness: (H, W), larger is nearer to the camera, in any unit.
        mask: the object.
        rule: tolerance and reach.
    """
    import cv2

    rule = rule or Rule()
    inside = mask.to_array(nearness.shape[:2]).astype(np.float32)
    values = nearness.astype(np.float32)
    low, high = np.percentile(values, (2, 98))
    window = (2 * rule.reach + 1,) * 2

    def total(of: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.boxFilter(of, -1, window, normalize=False, borderType=cv2.BORDER_CONSTANT))

    def mean(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(total(values * weight) / np.maximum(total(weight), 1e-6), np.float32)

    edge = inside.astype(bool) & (cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0) < 0.5)
    nearer = mean(inside) >= mean(1 - inside) - rule.tolerance * max(float(high - low), 1e-6)
    return np.asarray(np.where(edge, np.where(nearer, 1, -1), 0), np.int8)


def closer_share(nearness: NDArray[np.float32], mask: Mask, rule: Rule | None = None) -> float:
    """Share of the outline along which the object is nearer than its surroundings, in [0, 1]."""
    outline = outline_map(nearness, mask, rule)
    total = np.count_nonzero(outline)
    return float(np.count_nonzero(outline > 0) / total) if total else 0.0


def whole_objects(
    masks: Iterable[Mask], nearness: NDArray[np.float32] | None, size: Size, rule: Rule | None = None
) -> list[Mask]:
    """The masks that are whole objects; without depth, all candidates (the masks are known to be whole)."""
    rule = rule or Rule()
    found = [mask for mask in masks if is_candidate(mask, size, rule)]
    if nearness is None:
        return found
    return [mask for mask in found if closer_share(nearness, mask, rule) >= rule.closer]


def drawing(image: Image, masks: Iterable[Mask], nearness: NDArray[np.float32], rule: Rule | None = None) -> Image:
    """pix2gestalt's figure 4: the candidates' outlines, green where they are nearer than what is outside and red where not, on
    the photo and, to its right, on the nearness that was compared (white is near): (H, 2 W, 3) uint8 RGB."""
    import cv2

    rule = rule or Rule()
    low, high = np.percentile(nearness, (2, 98))
    grey = np.clip((nearness - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
    panels = [image.copy(), np.repeat(grey[..., None], 3, axis=2)]
    thick = np.ones((2 * max(1, min(image.shape[:2]) // 300) + 1,) * 2, np.uint8)
    for mask in masks:
        if is_candidate(mask, image.shape[:2], rule):
            outline = outline_map(nearness, mask, rule)
            for sign, colour in ((1, (0, 190, 60)), (-1, (230, 30, 30))):
                where = cv2.dilate((outline == sign).astype(np.uint8), thick) > 0
                for panel in panels:
                    panel[where] = colour
    return np.hstack(panels)
