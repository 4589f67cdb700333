"""The method `deocclusion-single`: one network over visible mask and picture; no occluder, no order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ...crop import Crop
from ...image import Image
from ...options import Options
from ...protocols import Context, Guess, Job, Method
from .method import clip_guess, load_weights
from .options import SingleStageOptions

__all__ = ["DeocclusionSingle", "rgb_crop"]


def rgb_crop(crop: Crop, image: Image) -> Image:
    """The picture in a crop's window, (size, size, 3) uint8: zero beyond the frame, resized bicubically as in deocclusion."""
    import cv2

    window = Crop(crop.origin, crop.side, crop.side).image(image)
    return np.asarray(cv2.resize(window, (crop.size, crop.size), interpolation=cv2.INTER_CUBIC))


class DeocclusionSingle(Method):
    """U-Net over the visible mask with ResNet-18 features of the picture, trained on amodal truth."""

    name: ClassVar[str] = "deocclusion-single"
    summary: ClassVar[str] = "single-stage deocclusion: U-Net over the mask with ResNet-18 features; no occluder needed"
    Options: ClassVar[type[Options]] = SingleStageOptions
    paper: ClassVar[str] = "Zhan et al., Self-Supervised Scene De-occlusion, CVPR 2020 (supervised variant)"
    memory: ClassVar[str] = "15 million parameters; runs on a CPU"
    extra: ClassVar[str] = "diffusion"

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.network, self.digest = load_weights(
            self.name, self.options.weights, device, final_skip=self.options.final_skip
        )

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "weights_sha256": self.digest}

    def complete(self, embedded: Any, image: Image, jobs: Sequence[Job], context: Context) -> list[list[Guess]]:
        from .network import single_probabilities

        how = self.options
        guesses: list[list[Guess]] = []
        for start in range(0, len(jobs), how.batch):
            masks = [job.visible for job in jobs[start : start + how.batch]]
            crops = [Crop.around(mask.box, how.input_size, enlarge=how.enlarge, margin=how.margin) for mask in masks]
            given = np.stack([crop.bits(mask) for crop, mask in zip(crops, masks, strict=True)])
            rgb = np.stack([rgb_crop(crop, image) for crop in crops])
            made = single_probabilities(self.network, given, rgb)
            for crop, values in zip(crops, made, strict=True):
                bits = (values > how.threshold).astype(np.float32)
                guess = Guess(crop.mask_back(bits), probability=crop.soft_back(values))
                guesses.append([guess if how.beyond_frame else clip_guess(guess, image)])
            context.tick("object", len(guesses), len(jobs))
        return guesses
