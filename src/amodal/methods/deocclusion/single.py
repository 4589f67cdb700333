"""The method `deocclusion-single`: one network over visible mask and picture; no occluder, no order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ...core.crop import Crop
from ...core.image import Image
from ...core.options import Options
from ...networks.checkpoints import at_trained_size
from ...plugins.protocols import Context, Method, Prediction, Request
from .method import CROP, clip_prediction, load_weights, mask_value
from .options import SingleStageOptions

__all__ = ["DeocclusionSingle"]


class DeocclusionSingle(Method):
    """U-Net over the visible mask with ResNet-18 features of the picture, trained on amodal truth."""

    name: ClassVar[str] = "deocclusion-single"
    summary: ClassVar[str] = "single-stage deocclusion: U-Net over the mask with ResNet-18 features; no occluder needed"
    license: ClassVar[str] = "Apache-2.0"
    draws: ClassVar[bool] = False
    Options: ClassVar[type[Options]] = SingleStageOptions
    paper: ClassVar[str] = "Zhan et al., Self-Supervised Scene De-occlusion, CVPR 2020 (supervised variant)"
    memory: ClassVar[str] = "15 million parameters; runs on a CPU"
    extra: ClassVar[str] = "diffusion"
    takes_unseen: ClassVar[bool] = True

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.network = load_weights(self.name, self.options.weights, device, final_skip=self.options.final_skip)
        self.options = at_trained_size(self.options, CROP)

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        from .network import single_probabilities

        how = self.options
        predictions: list[list[Prediction]] = []
        for start in range(0, len(requests), how.batch):
            part = requests[start : start + how.batch]
            crops = [
                Crop.around(request.place, how.input_size, enlarge=how.enlarge, margin=how.margin) for request in part
            ]
            given = np.stack(
                [
                    crop.bits(request.visible, linear=True) * mask_value(request, how)
                    for crop, request in zip(crops, part, strict=True)
                ]
            )
            rgb = np.stack([crop.image(image, cubic=True) for crop in crops])
            made = single_probabilities(self.network, given, rgb)
            for crop, values in zip(crops, made, strict=True):
                bits = (values > how.threshold).astype(np.float32)
                prediction = Prediction(crop.mask_back(bits), probability=crop.soft_back(values))
                predictions.append([prediction if how.beyond_frame else clip_prediction(prediction, image)])
            context.progress("object", len(predictions), len(requests))
        return predictions
