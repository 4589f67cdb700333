"""Training of PCNet-M and ASBU on erased visible masks, and of the single-stage network on amodal truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ...core.config import FourWidths, Share, Weight, Width, config, section
from ...core.crop import Crop
from ...data import Sample
from ...methods.deocclusion.erasers import erase, place_eraser
from ...methods.deocclusion.losses import class_loss, mask_loss, uncertainty_loss
from ...methods.deocclusion.network import (
    Kind,
    SingleStageNet,
    mask_inputs,
    probabilities,
    single_probabilities,
)
from ...networks.picture_unet import PictureUNet
from ...networks.resnet import normalise
from ...networks.unet import MaskUNet, boundary, xavier
from ..recipe import Recipe, RecipeError
from .objects import Arrays, Drawn, Mixture, ObjectBatches, ObjectsConfig, ObjectTask

__all__ = ["DataConfig", "ErasedTask", "SingleStageTask", "placed"]


@config
class DataConfig(ObjectsConfig):
    """What crops are made of. PCNet-M and ASBU use the visible masks of `sets` alone.

    Attributes:
        front: probability that the eraser lies in front of the object; else behind.
    """

    front: Share = 0.8


@config
class NetworkConfig:
    """Channels of the U-Net's levels, and of the ResNet's (single-stage only).

    Attributes:
        widths: five levels as in deocclusion and ASBU; six (single-stage only) is setting D of SDAmodal's table 4.
        image_widths: of the ResNet's four layers.
        final_skip: the skip at full resolution.
    """

    widths: Annotated[tuple[Width, ...], Field(min_length=5, max_length=6)] = (32, 64, 128, 256, 256)
    image_widths: FourWidths = (64, 128, 256, 512)
    final_skip: bool = True


@config
class LossConfig:
    """Weights of the loss.

    Attributes:
        inside: weight of a pixel under the eraser; others weigh 1.
        kind: ASBU only.
        edge: ASBU only: the term between the deviation and the occlusion boundary.
        boundary: ASBU only: whether the second input is the boundary, or the eraser itself.
    """

    inside: Weight = 5.0
    kind: Literal["gaussian", "cross-entropy"] = "gaussian"
    edge: Literal["none", "mse", "bce"] = "none"
    boundary: bool = True


@dataclass(frozen=True)
class Placed:
    """An object drawn by chance, its visible mask in its crop, (S, S) bool, and another's shape laid somewhere over it."""

    found: Drawn
    target: NDArray[np.bool_]
    eraser: NDArray[np.bool_]


def placed(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Placed:
    """An object and an eraser, drawn by chance."""
    augmentation = data.crop.augmentation()
    for _ in range(100):
        found = mixture.crop(rng, data.size, augmentation)
        target = found.mask(found.sample.visible)
        if target.any():
            break
    other = mixture.crop(rng, data.size, augmentation, shift=False)
    return Placed(found, target, place_eraser(target, other.mask(other.sample.visible), rng))


def channel(bits: NDArray[np.bool_], sample: Sample) -> NDArray[np.int16]:
    """The mask channel (S, S) int16: the object's category number on it where the data set tells one (KINS), else 1."""
    value = np.int16(sample.category_id or 1)
    made: NDArray[np.int16] = (bits * value).astype(np.int16)
    return made


def erased_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One self-supervised sample (Zhan et al., CVPR 2020, section 3.1): visible mask times category, (S, S) int16, eraser and
    target, (S, S) uint8 each."""
    drawn = placed(data, mixture, rng)
    given, eraser = erase(drawn.target, drawn.eraser, rng, data.front)
    return channel(given, drawn.found.sample), eraser.astype(np.uint8), drawn.target.astype(np.uint8)


def picture_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One supervised sample: visible mask times category, (S, S) int16, amodal mask (S, S) and picture (S, S, 3), uint8."""
    found = mixture.crop(rng, data.size, data.crop.augmentation())
    visible, amodal = (found.mask(mask) for mask in (found.sample.visible, found.sample.amodal))
    return channel(visible, found.sample), amodal.astype(np.uint8), found.picture()


class _CropTask(ObjectTask):
    """What both tasks share: the configuration."""

    data: DataConfig

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")


class ErasedTask(_CropTask):
    """PCNet-M (`task = "deocclusion"`) and ASBU (`task = "asbu"`): see `amodal.training.task.Task`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.asbu = recipe.task == "asbu"
        if len(self.config.widths) != 5:
            raise RecipeError(
                f"network.widths has {len(self.config.widths)} levels; the network of {recipe.task} has five"
            )
        self.threshold = 0.5 if self.asbu else 0.2

    @property
    def facts(self) -> dict[str, str]:
        """Also what the second input of ASBU is."""
        return {**super().facts, **({"boundary": str(self.weights.boundary).lower()} if self.asbu else {})}

    @property
    def kind(self) -> Kind:
        """What the network's second input and its outputs are; see `probabilities`."""
        return ("asbu" if self.weights.boundary else "asbu-eraser") if self.asbu else "pcnet-m"

    def network(self) -> nn.Module:
        return xavier(MaskUNet(2, self.config.widths, final_skip=self.config.final_skip))

    def source(self, seed: int, batch: int) -> ObjectBatches:
        return self.batches(partial(erased_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        given, eraser, target = (part.float() for part in batch)
        output = network(mask_inputs(self.kind, given[:, None], eraser[:, None])).float()
        if not self.asbu:
            return mask_loss(output, target, eraser, self.weights.inside), {}
        how = self.weights
        if how.edge == "none":
            return uncertainty_loss(output, target, eraser, how.kind, inside=how.inside), {}
        edge = boundary(given[:, None], eraser[:, None])[:, 0]
        return uncertainty_loss(output, target, eraser, how.kind, edge, how.edge, how.inside), {}

    def values(self, network: nn.Module, sample: Sample, crop: Crop, device: torch.device) -> NDArray[np.float32]:
        """The eraser is the true occluded region, as with all occluders given."""
        eraser = crop.bits(sample.occluded, linear=True)
        given = channel(crop.bits(sample.visible, linear=True) & ~eraser, sample)
        return np.asarray(probabilities(network, self.kind, given[None], eraser[None])[0])


class SingleStageTask(_CropTask):
    """The single-stage network on amodal truth (`task = "deocclusion-single"`): see `amodal.training.task.Task`."""

    def network(self) -> nn.Module:
        how = self.config
        if len(how.widths) == 6:
            return PictureUNet(1, how.widths, how.image_widths, final_skip=how.final_skip)
        return xavier(SingleStageNet(how.widths, how.image_widths, how.final_skip))

    def source(self, seed: int, batch: int) -> ObjectBatches:
        return self.batches(partial(picture_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        given, amodal, rgb = batch
        output = network(given.float()[:, None], normalise(rgb)).float()
        return class_loss(output, amodal), {}

    def values(self, network: nn.Module, sample: Sample, crop: Crop, device: torch.device) -> NDArray[np.float32]:
        given = channel(crop.bits(sample.visible, linear=True), sample)[None]
        return np.asarray(single_probabilities(network, given, crop.image(sample.image, cubic=True)[None])[0])
