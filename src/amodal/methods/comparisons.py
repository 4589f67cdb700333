"""The two baselines that the tuning-free and pix2gestalt papers compare with: `sam` (a segmenter's mask) and `inpaint`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..core.crop import Crop
from ..core.errors import PromptError
from ..core.image import Image
from ..core.mask import Mask
from ..core.options import Options
from ..core.prompt import Prompt
from ..core.regions import joined, spread_points
from ..core.scaling import to_bytes
from ..plugins.protocols import Context, Method, Prediction, Request, Sampling

__all__ = ["Inpaint", "SegmentAgain"]

GREY = np.array([0.114, 0.587, 0.299], np.float32)
"""pix2gestalt's evaluation: OpenCV's BGR weights, put on RGB."""


class SegmentAgainOptions(Options):
    """Options of `sam`."""

    prompt: Literal["points", "box", "both"] = Field("points", description="what of the visible mask is the prompt")
    points: int = Field(9, ge=1, le=100, description="how many points, spread uniformly over the visible mask")


class SegmentAgain(Method):
    """The segmenter's best mask for a prompt made from the visible mask, taken as the whole object.

    The row "SAM" of the papers' tables; what it may win over `visible` is what the segmenter adds by itself.
    """

    name: ClassVar[str] = "sam"
    summary: ClassVar[str] = "the segmenter's own mask at points of the visible one; the papers' SAM baseline"
    paper: ClassVar[str] = (
        "baseline of pix2gestalt (CVPR 2024), table 1, and of arXiv 2503.18947; use it with the segmenter sam"
    )
    license: ClassVar[str] = "Apache-2.0; the segmenter has its own"
    draws: ClassVar[bool] = False
    Options: ClassVar[type[Options]] = SegmentAgainOptions

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        segmenter = context.segmenter
        if segmenter is None:
            raise PromptError("method 'sam' needs a segmenter; load one with segmenter='sam'")
        seen = segmenter.embed(image)
        predictions = []
        for done, request in enumerate(requests, 1):
            proposals = [p for p in segmenter.segment(seen, self.prompt(request.visible)) if p.mask]
            best = proposals[0] if proposals else None
            predictions.append(
                [Prediction(best.mask, score=best.score) if best else Prediction(request.visible, score=0.0)]
            )
            context.progress("object", done, len(requests))
        return predictions

    def prompt(self, visible: Mask) -> Prompt:
        """The prompt made from a visible mask."""
        x, y = visible.origin
        places = [(px + x, py + y) for px, py in spread_points(visible.bits, self.options.points)]
        kind = self.options.prompt
        return Prompt.make(points=None if kind == "box" else places, box=None if kind == "points" else visible.box)


class InpaintOptions(Options):
    """Options of `inpaint`."""

    context: float = Field(2.0, ge=1, le=8, description="side of the window, in longer sides of the visible mask's box")
    background: Literal["white", "grey", "mean"] = Field(
        "white", description="what replaces everything but the visible object; mean: of the object's colours"
    )
    threshold: float = Field(
        5.0, gt=0, le=255, description="a pixel is object if its grey value is at least so far from the background's"
    )
    connected: bool = Field(False, description="keep only what touches the visible object")
    steps: int = Field(30, ge=1, le=1000, description="network evaluations per picture")
    strength: float = Field(0.99, gt=0, le=1, description="noise level to start from; 1.0 spoils SDXL")
    scheduler: str = Field("default", description="a scheduler that the inpainter knows")


class Inpaint(Method):
    """Everything but the visible object erased to a plain background, inpainted plainly, thresholded to a mask.

    The row "SDXL inpainting" of the papers' tables: plain inpainting (`Sampling.leak` None) of all that is not the visible object.
    With white and threshold 5 the mask is pix2gestalt's own: grey value at most 250.
    """

    name: ClassVar[str] = "inpaint"
    summary: ClassVar[str] = "everything but the object erased and inpainted plainly; the papers' inpainting baseline"
    paper: ClassVar[str] = (
        "baseline of pix2gestalt (CVPR 2024), table 1, and of arXiv 2503.18947; use it with the inpainter sdxl"
    )
    license: ClassVar[str] = "Apache-2.0; the inpainter has its own"
    Options: ClassVar[type[Options]] = InpaintOptions
    needs_inpainter: ClassVar[bool] = True

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        inpainter, options = context.inpainter, self.options
        if inpainter is None:
            raise PromptError("method 'inpaint' needs an inpainter; load one with inpainter='sdxl'")
        windows = [self.window(request.visible, inpainter.size) for request in requests]
        erased = [self.erase(image, request.visible, crop) for request, crop in zip(requests, windows, strict=True)]
        tasks = [(index, number) for index, request in enumerate(requests) for number in range(request.samples)]
        painted = inpainter.paint(
            np.stack([erased[index][0] for index, _ in tasks]),
            np.stack([erased[index][1] for index, _ in tasks]),
            [(requests[index].seed * 1_000_003 + number) % 2**63 for index, number in tasks],
            Sampling(options.steps, None, options.strength, options.scheduler),
            context.progress,
        )
        predictions: list[list[Prediction]] = [[] for _ in requests]
        for (index, _), picture in zip(tasks, painted, strict=True):
            predictions[index].append(
                self.prediction(to_bytes(picture), erased[index][2], requests[index].visible, windows[index])
            )
        return predictions

    def window(self, visible: Mask, size: int) -> Crop:
        """The square about the visible mask's box; it may pass the frame, since whole objects do."""
        x0, y0, x1, y1 = visible.box
        side = max(8, round(self.options.context * max(x1 - x0, y1 - y0)))
        return Crop(((x0 + x1 - side) // 2, (y0 + y1 - side) // 2), side, size)

    def erase(
        self, image: Image, visible: Mask, crop: Crop
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The condition picture (S, S, 3) in [-1, 1], the area (S, S) to make, and the background's colour (3,) in [0, 255]."""
        picture = crop.image(image, "edge").astype(np.float32)
        seen = crop.mask(visible)
        known = seen > 0.5 if (seen > 0.5).any() else seen > 0
        plain = {"white": 255.0, "grey": 128.0}.get(self.options.background)
        colour = np.full(3, plain, np.float32) if plain is not None else picture[known].mean(axis=0)
        condition = np.where(known[..., None], picture, colour) / 127.5 - 1
        return condition.astype(np.float32), (~known).astype(np.float32), colour

    def prediction(self, rgb: Image, colour: NDArray[np.float32], visible: Mask, crop: Crop) -> Prediction:
        """The mask of what differs from the background, with the picture."""
        import cv2

        grey = cv2.cvtColor(rgb, cv2.COLOR_BGR2GRAY).astype(np.float32)  # whole numbers, as in pix2gestalt's evaluation
        bits = np.abs(grey - np.rint(colour @ GREY)) >= self.options.threshold
        mask = crop.mask_back(bits.astype(np.float32))
        if self.options.connected:
            mask = touching(mask | visible, visible)
        return Prediction(mask, crop.image_back(rgb), crop.origin)


def touching(mask: Mask, visible: Mask) -> Mask:
    """The connected parts of a mask that share a pixel with `visible`."""
    return Mask.from_array(joined(mask.bits, visible.crop(mask.box)), mask.origin)
