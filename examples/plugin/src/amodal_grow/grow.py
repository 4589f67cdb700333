"""`grow`: the visible mask grown by as many pixels as its weights say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from amodal.core.image import Image
from amodal.core.mask import Mask
from amodal.core.options import Options
from amodal.plugins.protocols import Context, Method, Prediction, Request
from amodal.weights.catalogue import locate


class GrowOptions(Options):
    """Options of `grow`: each field becomes a flag, a line of `amodal show`, a field of the web form."""

    weights: str = Field("grow", description="a name of amodal list weights, or a file of your own")
    scale: float = Field(1.0, gt=0, le=10, description="factor on the learned number of pixels")


class Grow(Method):
    """The visible mask, dilated, and filled with its mean colour."""

    name: ClassVar[str] = "grow"
    summary: ClassVar[str] = "the visible mask grown by some pixels"
    license: ClassVar[str] = "MIT"
    weights: ClassVar[tuple[str, ...]] = ("grow",)
    Options: ClassVar[type[Options]] = GrowOptions

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        learned = float(locate(self.options.weights).read_text())
        self.reach = max(1, round(learned * self.options.scale))

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        predictions = []
        for done, request in enumerate(requests, 1):
            reach = self.reach
            bits = np.pad(request.visible.bits, reach).astype(np.uint8)
            kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
            x, y = request.visible.origin
            amodal = Mask.from_array(cv2.dilate(bits, kernel), (x - reach, y - reach))
            mean = image[request.visible.to_array(image.shape[:2])].mean(axis=0)
            picture = np.full((*amodal.bits.shape, 3), mean, np.uint8)
            predictions.append([Prediction(amodal, picture, amodal.origin)])
            context.progress("object", done, len(requests))  # reports progress; raises when the user cancels
        return predictions
