"""The inpainting area M: where the network may change the picture (and, by equation 7, where the condition leaks in)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.mask import Bits, Mask
from ...core.regions import convex_hull

__all__ = ["Area", "inpainting_area"]

Area = Literal["hull", "box", "dilated-hull", "mask"]


def inpainting_area(visible: Bits, kind: Area, *, dilate: float = 0.1, soft_edge: float = 0.0) -> NDArray[np.float32]:
    """M from the visible mask alone; it contains the visible mask.

    Args:
        visible: (S, S) bool, not empty.
        kind: "hull": the smallest convex polygon over all contours together, so that a split object is bridged (the paper's);
            "box": the bounding box; "dilated-hull": the hull, wider; "mask": the visible mask itself.
        dilate: how much wider "dilated-hull" is, as a share of the longer side of the visible mask's box.
        soft_edge: width over which M falls from 1 to 0 outside of the shape, as a share of the window's side.

    Returns:
        (S, S) float32 in [0, 1].
    """
    import cv2

    mask = Mask.from_array(visible)
    x0, y0, x1, y1 = mask.box
    frame = (0, 0, visible.shape[1], visible.shape[0])
    if kind == "mask":
        bits = visible
    elif kind == "box":
        bits = Mask.from_box(mask.box).crop(frame)
    else:
        bits = convex_hull(mask).crop(frame)
    reach = dilate * max(x1 - x0, y1 - y0) if kind == "dilated-hull" else 0.0
    ramp = soft_edge * visible.shape[0]
    if reach == ramp == 0:
        return bits.astype(np.float32)
    distance = cv2.distanceTransform((~bits).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) - reach
    if ramp == 0:
        return np.asarray(distance <= 0, np.float32)
    return np.asarray(np.clip(1 - distance / ramp, 0, 1), np.float32)
