"""Training of PCNet-M and ASBU on erased visible masks, and of the single-stage network on amodal truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...crop import Crop
from ...data import Sample
from ...data.crops import cut
from ...methods.deocclusion.erasers import erase, place_eraser
from ...methods.deocclusion.losses import class_loss, mask_loss, uncertainty_loss
from ...methods.deocclusion.network import (
    Kind,
    SingleStageNet,
    boundary,
    mask_inputs,
    normalise,
    probabilities,
    single_probabilities,
)
from ...methods.deocclusion.single import rgb_crop
from ...networks.unet import MaskUNet, xavier
from ..recipe import Recipe, RecipeError, section
from .objects import Arrays, CropConfig, Mixture, ObjectBatches, crop_scores, fixed_samples, open_sets

__all__ = ["DataConfig", "ErasedTask", "SingleStageTask", "placed", "sets_of"]


@dataclass(frozen=True)
class DataConfig:
    """What crops are made of.

    Attributes:
        sets: data sets with their shares; see `SetConfig`. PCNet-M and ASBU use their visible masks alone.
        validation: data sets to validate on, with amodal truth.
        validation_limit: objects of each of them.
        size: side of the crops.
        crop: how crops vary; see `CropConfig`.
        front: probability that the eraser lies in front of the object; else behind.
    """

    sets: tuple[dict[str, object], ...] = ()
    validation: tuple[dict[str, object], ...] = ()
    validation_limit: int = 200
    size: int = 256
    crop: dict[str, object] = field(default_factory=dict)
    front: float = 0.8


@dataclass(frozen=True)
class NetworkConfig:
    """Channels of the U-Net's levels, and of the ResNet's (single-stage only)."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 256)
    image_widths: tuple[int, ...] = (64, 128, 256, 512)
    final_skip: bool = True


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss.

    Attributes:
        inside: weight of a pixel under the eraser; others weigh 1.
        kind: ASBU only: "gaussian" or "cross-entropy".
        edge: ASBU only: "none", "mse" or "bce" between the deviation and the occlusion boundary.
        boundary: ASBU only: whether the second input is the boundary, or the eraser itself.
    """

    inside: float = 5.0
    kind: str = "gaussian"
    edge: str = "none"
    boundary: bool = True


def sets_of(sets: tuple[dict[str, object], ...], where: str) -> Mixture:
    """The mixture of a recipe's list; a function of plain values, so that data processes can call it."""
    return Mixture(open_sets(sets, where))


@dataclass(frozen=True)
class Placed:
    """An object's visible mask in its crop, (S, S) bool, another's shape laid somewhere over it, and where the crop is from."""

    target: NDArray[np.bool_]
    eraser: NDArray[np.bool_]
    sample: Sample
    crop: Crop
    flip: bool


def placed(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Placed:
    """An object and an eraser, drawn by chance."""
    augmentation = section(data.crop, CropConfig, "data.crop").augmentation()
    for _ in range(100):
        sample, crop, flip = mixture.crop(rng, data.size, augmentation)
        target = cut(sample.visible, crop, flip)
        if target.any():
            break
    other, window, mirrored = mixture.crop(rng, data.size, augmentation, shift=False)
    return Placed(target, place_eraser(target, cut(other.visible, window, mirrored), rng), sample, crop, flip)


def erased_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One self-supervised sample: visible mask, eraser and target, (S, S) uint8 each (facts of Zhan et al., CVPR 2020)."""
    found = placed(data, mixture, rng)
    given, eraser = erase(found.target, found.eraser, rng, data.front)
    return given.astype(np.uint8), eraser.astype(np.uint8), found.target.astype(np.uint8)


def picture_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One supervised sample: visible and amodal mask, (S, S) uint8, and the picture (S, S, 3) uint8."""
    augmentation = section(data.crop, CropConfig, "data.crop").augmentation()
    sample, crop, flip = mixture.crop(rng, data.size, augmentation)
    rgb = rgb_crop(crop, sample.image)
    masks = (cut(sample.visible, crop, flip).astype(np.uint8), cut(sample.amodal, crop, flip).astype(np.uint8))
    return (*masks, rgb[:, ::-1].copy() if flip else rgb)


class _CropTask:
    """What both tasks share: configuration, batches, and validation on whole objects."""

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        for name, value, known in (
            ("kind", self.weights.kind, ("gaussian", "cross-entropy")),
            ("edge", self.weights.edge, ("none", "mse", "bce")),
        ):
            if value not in known:
                raise RecipeError(f"loss.{name} must be one of {', '.join(known)}, got {value!r}")
        section(self.data.crop, CropConfig, "data.crop")

    @cached_property
    def samples(self) -> list[Sample]:
        """The objects to validate on."""
        return fixed_samples(self.data.validation, self.data.validation_limit)

    def crop(self, sample: Sample) -> Crop:
        """The crop of a sample without chance."""
        how = section(self.data.crop, CropConfig, "data.crop")
        return Crop.around(sample.visible.box, self.data.size, enlarge=how.enlarge, margin=how.margin)


class ErasedTask(_CropTask):
    """PCNet-M (`task = "deocclusion"`) and ASBU (`task = "asbu"`): see `amodal.training.task.Task`."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.asbu = recipe.task == "asbu"

    @property
    def kind(self) -> Kind:
        """What the network's second input and its outputs are; see `probabilities`."""
        return ("asbu" if self.weights.boundary else "asbu-eraser") if self.asbu else "pcnet-m"

    def network(self) -> nn.Module:
        return xavier(MaskUNet(2, self.config.widths, final_skip=self.config.final_skip))

    def source(self, seed: int, batch: int) -> ObjectBatches:
        sets = partial(sets_of, self.data.sets, "data.sets")
        sets()  # errors of the data before the first step, not in a data process
        _ = self.samples  # likewise those of the fixed sets, not at the first validation
        return ObjectBatches(sets, partial(erased_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        given, eraser, target = (part.float() for part in batch)
        output = network(mask_inputs(self.kind, given[:, None], eraser[:, None])).float()
        if not self.asbu:
            return mask_loss(output, target, eraser, self.weights.inside), {}
        edge = None if self.weights.edge == "none" else boundary(given[:, None], eraser[:, None])[:, 0]
        kind: Any = self.weights.kind  # both are checked in the constructor
        edge_kind: Any = self.weights.edge
        return uncertainty_loss(output, target, eraser, kind, edge, edge_kind, self.weights.inside), {}

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Completion of real objects; the eraser is the true occluded region, as with all occluders given."""
        network.eval()
        rows = []
        for sample in self.samples:
            crop = self.crop(sample)
            given, eraser = crop.bits(sample.visible)[None], crop.bits(sample.occluded)[None]
            values = probabilities(network, self.kind, given, eraser)[0]
            made = crop.mask_back((values > (0.5 if self.asbu else 0.2)).astype(np.float32))
            rows.append((made, sample.visible, sample.amodal))
        return crop_scores(rows), None


class SingleStageTask(_CropTask):
    """The single-stage network on amodal truth (`task = "deocclusion-single"`): see `amodal.training.task.Task`."""

    def network(self) -> nn.Module:
        return SingleStageNet(self.config.widths, self.config.image_widths, self.config.final_skip)

    def source(self, seed: int, batch: int) -> ObjectBatches:
        sets = partial(sets_of, self.data.sets, "data.sets")
        sets()  # errors of the data before the first step, not in a data process
        _ = self.samples  # likewise those of the fixed sets, not at the first validation
        return ObjectBatches(sets, partial(picture_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        given, amodal, rgb = batch
        output = network(given.float()[:, None], normalise(rgb)).float()
        return class_loss(output, amodal), {}

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        network.eval()
        rows = []
        for sample in self.samples:
            crop = self.crop(sample)
            given, rgb = crop.bits(sample.visible)[None], rgb_crop(crop, sample.image)[None]
            values = single_probabilities(network, given, rgb)[0]
            rows.append((crop.mask_back((values > 0.5).astype(np.float32)), sample.visible, sample.amodal))
        return crop_scores(rows), None
