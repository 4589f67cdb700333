"""`grabcut`: clicks, boxes and scribbles to the visible mask with OpenCV's GrabCut; no weights."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..core.errors import PromptError
from ..core.image import Image
from ..core.mask import Mask
from ..core.options import Options
from ..core.prompt import Prompt
from ..plugins.protocols import Proposal, Segmenter

__all__ = ["GrabCut", "clean"]


class GrabCutOptions(Options):
    """Options of GrabCut."""

    side: int = Field(320, ge=64, le=2048, description="longer side at which the cut is computed, in pixels")
    rounds: int = Field(4, ge=1, le=20, description="iterations of model fitting and cutting")
    reach: float = Field(
        0.35, gt=0, le=2, description="without a box: how far from the clicks to look, in longer sides"
    )


class GrabCut(Segmenter):
    """Colour models of object and background, cut at the cheapest outline. Needs a box or clicks; knows no words."""

    name: ClassVar[str] = "grabcut"
    summary: ClassVar[str] = "OpenCV's GrabCut from clicks or a box; no weights"
    license: ClassVar[str] = "Apache-2.0"
    paper: ClassVar[str] = "Rother, Kolmogorov, Blake: GrabCut, SIGGRAPH 2004"
    Options: ClassVar[type[Options]] = GrabCutOptions

    def embed(self, image: Image) -> Any:
        """The image scaled to the working size, and the scale."""
        import cv2

        scale = min(1.0, self.options.side / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        return small, image.shape[:2]

    def segment(self, embedded: Any, prompt: Prompt) -> list[Proposal]:
        import cv2

        if prompt.text is not None:
            raise PromptError("grabcut does not understand words; give a point or a box, or use the segmenter sam3")
        small, (height, width) = embedded
        if min(small.shape[:2]) < 3:
            return [Proposal(Mask.from_array(np.ones((height, width), bool)))]
        trimap = self._trimap(prompt, small.shape[:2], small.shape[1] / width, small.shape[0] / height)
        bits = cut(small, trimap, self.options.rounds)
        full = cv2.resize(bits.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
        positive = [(int(x), int(y)) for (x, y), label in zip(prompt.points, prompt.labels, strict=True) if label]
        for x, y in positive:
            full[y, x] = True
        return [Proposal(clean(Mask.from_array(full), positive))]

    def _trimap(self, prompt: Prompt, size: tuple[int, int], sx: float, sy: float) -> NDArray[np.uint8]:
        """GrabCut's start: sure and probable object and background, at the working size (h, w)."""
        import cv2

        height, width = size
        trimap = np.full(size, cv2.GC_BGD, np.uint8)
        radius = max(2, round(0.015 * max(size)))
        positive = [(x * sx, y * sy) for (x, y), label in zip(prompt.points, prompt.labels, strict=True) if label]
        if prompt.box is not None:
            x0, y0, x1, y1 = (v * s for v, s in zip(prompt.box, (sx, sy, sx, sy), strict=True))
            trimap[max(0, int(y0)) : int(np.ceil(y1)), max(0, int(x0)) : int(np.ceil(x1))] = cv2.GC_PR_FGD
        else:
            reach = self.options.reach * max(size)
            rows, columns = np.indices(size)
            distance = np.min([np.hypot(columns - x, rows - y) for x, y in positive], axis=0)
            trimap[distance < reach] = cv2.GC_PR_BGD
            trimap[distance < reach / 2.5] = cv2.GC_PR_FGD
        for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
            place = (min(width - 1, int(x * sx)), min(height - 1, int(y * sy)))
            cv2.circle(trimap, place, radius, cv2.GC_FGD if label else cv2.GC_BGD, -1)
        return trimap


def cut(picture: Image, trimap: NDArray[np.uint8], rounds: int) -> NDArray[np.bool_]:
    """OpenCV's GrabCut from a trimap (GC_* values, changed in place); all of one kind is returned as it is.

    Args:
        picture: (h, w, 3) uint8.
        trimap: (h, w) uint8.
        rounds: iterations.

    Returns:
        (h, w) bool.
    """
    import cv2

    fore = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    if fore.any() and not fore.all():
        cv2.setRNGSeed(0)  # its k-means starts from OpenCV's random numbers: same prompt, same mask
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(picture, trimap, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
        found = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
        return np.asarray(found if found.any() else fore)
    return np.asarray(fore)


def clean(mask: Mask, keep: list[tuple[int, int]], *, speck: float = 0.05, hole: float = 0.02) -> Mask:
    """Drop specks and fill holes.

    Args:
        mask: what to clean.
        keep: points (x, y) whose component always stays.
        speck: components below this share of the largest one are dropped.
        hole: holes below this share of the mask's area are filled.
    """
    import cv2

    if not mask:
        return mask
    bits = np.pad(mask.bits, 1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bits.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    stay = areas >= speck * areas.max()
    for x, y in keep:
        column, row = x - mask.origin[0] + 1, y - mask.origin[1] + 1
        if 0 <= row < bits.shape[0] and 0 <= column < bits.shape[1]:
            stay[labels[row, column]] = True
    stay[0] = False
    bits = stay[labels] if count > 1 else bits
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~bits).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] < hole * bits.sum()
    small[[0, labels[0, 0]]] = False  # neither the mask itself nor the outside
    bits = bits | small[labels]
    return Mask.from_array(bits[1:-1, 1:-1], mask.origin)
