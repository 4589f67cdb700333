"""The mask networks of deocclusion and ASBU, and running them on crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...networks.resnet import ResNet18, normalise
from ...networks.unet import MaskUNet, boundary, in_turn

__all__ = [
    "Kind",
    "SingleStageNet",
    "asbu_parts",
    "mask_inputs",
    "probabilities",
    "single_probabilities",
    "widths_of",
]

Kind = Literal["pcnet-m", "asbu", "asbu-eraser"]
"""What the second input is: the eraser (PCNet-M; ASBU's `use_default`), or the boundary between it and the visible mask (ASBU)."""


class SingleStageNet(MaskUNet):
    """Visible mask and picture to two classes; a ResNet-18 sees the picture, its features join the lowest level.

    Args:
        widths: channels of the U-Net's five levels.
        image_widths: channels of the ResNet's four layers.
        final_skip: see `MaskUNet`.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256, 256),
        image_widths: Sequence[int] = (64, 128, 256, 512),
        final_skip: bool = True,
    ) -> None:
        super().__init__(1, widths, image=image_widths[3], final_skip=final_skip)
        self.image_encoder = ResNet18(image_widths)

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        """`x` (B, 1, S, S) and the normalised picture (B, 3, S, S) to (B, 2, S, S)."""
        return super().forward(x, self.image_encoder(image))


def mask_inputs(kind: Kind, visible: Tensor, eraser: Tensor) -> Tensor:
    """The network's two input channels (B, 2, S, S) from visible mask and eraser, (B, 1, S, S) float each."""
    return torch.cat([visible, boundary(visible, eraser) if kind == "asbu" else eraser], dim=1)


def asbu_parts(output: Tensor) -> tuple[Tensor, Tensor]:
    """ASBU's two outputs (B, 2, S, S) as mean and deviation, (B, S, S) each: mu = sigmoid, sigma = softplus + 1e-6."""
    return torch.sigmoid(output[:, 0]), F.softplus(output[:, 1]) + 1e-6


def probabilities(
    network: nn.Module, kind: Kind, visible: NDArray[Any], eraser: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Amodal probability of crops: visible masks (N, S, S), bool or with the category number on the object, and erasers
    (N, S, S) bool to (N, S, S) float32."""
    device = next(network.parameters()).device
    given, hides = (torch.from_numpy(bits).to(device).float()[:, None] for bits in (visible, eraser))

    def run(x: Tensor) -> Tensor:
        output = network(x)
        made: Tensor = output.softmax(dim=1)[:, 1] if kind == "pcnet-m" else asbu_parts(output)[0]
        return made

    return in_turn(run, mask_inputs(kind, given, hides))


def single_probabilities(network: nn.Module, visible: NDArray[Any], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Amodal probability of crops by a `SingleStageNet`: masks (N, S, S), bool or with the category number on the object,
    and RGB (N, S, S, 3) uint8 to (N, S, S) float32."""
    device = next(network.parameters()).device
    given = torch.from_numpy(visible).to(device).float()[:, None]

    def run(x: Tensor, rgb: Tensor) -> Tensor:
        made: Tensor = network(x, rgb).softmax(dim=1)[:, 1]
        return made

    return in_turn(run, given, normalise(torch.from_numpy(images).to(device)))


def widths_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The widths that a checkpoint was made for, as arguments of the networks; {} if it is of another kind."""
    names = ["inc.conv.conv.0.weight", *(f"down{level}.mpconv.1.conv.0.weight" for level in range(1, 5))]
    if any(name not in tensors for name in names):
        return {}
    found: dict[str, Any] = {"widths": tuple(len(tensors[name]) for name in names)}
    layers = [f"image_encoder.layer{number}.0.conv1.weight" for number in range(1, 5)]
    if all(name in tensors for name in layers):
        found["image_widths"] = tuple(len(tensors[name]) for name in layers)
    return found
