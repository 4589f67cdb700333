"""The method of the paper: OccAmodal's two stages with weights that `amodal train` made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.crop import Crop
from ...core.errors import MissingOptionError, WeightsError
from ...core.image import Image
from ...core.mask import Mask
from ...core.options import Options
from ...networks.checkpoints import at_trained_size, crop_side
from ...plugins.protocols import Context, Method, Prediction, Request, frame_of
from ...runtime.devices import pick_device

if TYPE_CHECKING:
    from .network import TwoStageOccAmodal

__all__ = ["OccAmodal", "OccAmodalOptions", "two_stage_probabilities"]


class OccAmodalOptions(Options):
    """Options of OccAmodal as published."""

    weights: str = Field(
        "", description="the network: weights.safetensors of a run, or a checkpoint of the same layout"
    )
    input_size: int | None = crop_side(32, "the paper's 512")
    enlarge: float = Field(3.0, ge=1.0, le=20.0, description="area of the crop over that of the visible box")
    margin: float = Field(1.1, ge=1.0, le=5.0, description="least side of the crop over those of the visible box")
    threshold: float = Field(0.5, gt=0, lt=1, description="on mu, the mean of the amodal predictor")
    batch: int = Field(8, ge=1, le=256, description="crops that pass the network together; on a CPU always one")
    beyond_frame: bool = Field(
        False, description="keep what the network draws outside of the picture; the paper cuts it"
    )


class OccAmodal(Method):
    """Two U-Nets with ResNet-18 features: the occluder is found first, then the mask is completed behind it."""

    name: ClassVar[str] = "occamodal"
    summary: ClassVar[str] = "OccAmodal as published: finds the occluder, then completes the mask; your own weights"
    Options: ClassVar[type[Options]] = OccAmodalOptions
    paper: ClassVar[str] = "Zhan et al., Amodal Ground Truth and Completion in the Wild, CVPR 2024, section 4.1"
    license: ClassVar[str] = "code Apache-2.0; the weights are those of your own run (the authors released none)"
    draws: ClassVar[bool] = False
    memory: ClassVar[str] = "51 million parameters; runs on a CPU"
    extra: ClassVar[str] = "train"
    takes_unseen: ClassVar[bool] = True

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        if not self.options.weights:
            raise MissingOptionError(
                "the method occamodal needs the weights of a run of amodal train, since its authors released none; the one that "
                "ships is embedded",
                "weights=RUN/weights.safetensors",
            )
        from ...networks.checkpoints import read_checkpoint
        from ...weights import fit_state
        from .network import TwoStageOccAmodal, layout_of

        path, tensors = read_checkpoint(self.options.weights)
        layout = layout_of(tensors)
        if not layout:
            raise WeightsError(
                f"{path} does not hold OccAmodal's two stages (amodal.*, occluder.*); was it made for another method?"
            )
        network = TwoStageOccAmodal(**layout)
        fit_state(network, tensors, f"{self.options.weights} for {self.name}")
        self.network = network.to(pick_device(device)).eval()
        self.options = at_trained_size(self.options, 512)

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        how, frame = self.options, Mask.from_box((0, 0, image.shape[1], image.shape[0]))
        predictions: list[list[Prediction]] = []
        for start in range(0, len(requests), how.batch):
            part = requests[start : start + how.batch]
            # 1. Crops at the networks' size S: visible masks (B, S, S), colours (B, S, S, 3), occluders that the user names.
            crops = [Crop.around(each.place, how.input_size, enlarge=how.enlarge, margin=how.margin) for each in part]
            given = np.stack([crop.bits(each.visible) for crop, each in zip(crops, part, strict=True)])
            rgb = np.stack([crop.image(image, cubic=True) for crop in crops])
            named = np.stack(
                [
                    crop.bits(each.occluder) if each.occluder else np.zeros_like(bits)
                    for crop, each, bits in zip(crops, part, given, strict=True)
                ]
            )
            # 2. Both stages: (B, S, S) probabilities each.
            amodal, occluder = two_stage_probabilities(self.network, given, rgb, named)
            for crop, inside, before in zip(crops, amodal, occluder, strict=True):
                # 3. Back to image pixels.
                mask = crop.mask_back((inside > how.threshold).astype(np.float32))
                hides = crop.mask_back((before > 0.5).astype(np.float32)).clip(frame_of(image))
                soft = crop.soft_back(inside)
                predictions.append(
                    [Prediction(mask if how.beyond_frame else mask & frame, probability=soft, occluder=hides or None)]
                )
            context.progress("object", len(predictions), len(requests))
        return predictions


def two_stage_probabilities(
    network: TwoStageOccAmodal, visible: NDArray[np.bool_], images: NDArray[np.uint8], known: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities of amodal mask and occluder, (N, S, S) float32 each, of crops.

    Args:
        network: both stages.
        visible: (N, S, S) bool.
        images: RGB (N, S, S, 3) uint8.
        known: what is known to hide the object, (N, S, S) bool; see `TwoStageOccAmodal.forward`.
    """
    import torch

    from ...networks.resnet import normalise
    from ...networks.unet import in_turn

    device = next(network.parameters()).device
    given, named = (torch.from_numpy(bits).to(device).float()[:, None] for bits in (visible, known))

    def run(mask: torch.Tensor, rgb: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        # The first stage has two classes (none where the occluder is told), the second mean and deviation.
        first, second = network(mask, rgb, told)
        mean = second[:, 0].sigmoid()
        return torch.stack([mean, torch.zeros_like(mean) if first is None else first.softmax(1)[:, 1]], 1)

    made = in_turn(run, given, normalise(torch.from_numpy(images).to(device)), named)
    return made[:, 0], made[:, 1]
