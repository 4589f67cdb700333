"""Training of OccAmodal as published: both stages on amodal truth with occlusion relations, with artificial occlusion."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import FourWidths, Share, SixWidths, Weight, Width, config, section
from ...core.crop import Crop
from ...core.mask import Mask, union
from ...data import Dataset, Sample
from ...methods.deocclusion.erasers import place_eraser
from ...methods.deocclusion.losses import uncertainty_loss
from ...methods.occamodal.method import two_stage_probabilities
from ...methods.occamodal.network import TwoStageOccAmodal
from ...networks.resnet import normalise
from ...weights import load_tensors, locate
from ..recipe import Recipe, RecipeError
from .objects import Arrays, Mixture, ObjectBatches, ObjectsConfig, ObjectTask, Side

__all__ = ["OccAmodalTask", "known_occluder"]


@config
class DataConfig(ObjectsConfig):
    """What crops are made of. The paper's sets (table 6 B): 0.9 COCO-A, 0.1 MP3D-Amodal.

    Attributes:
        erased: share of the samples of which another object's shape hides a part, as in deocclusion (appendix; the share is not
            published).
    """

    size: Side = 512
    erased: Share = 0.5


@config
class NetworkConfig:
    """Channels of the U-Nets and ResNets, and what table 3 leaves out; see `TwoStageOccAmodal`.

    Attributes:
        image_weights: ResNet-18 weights with torchvision's names to start the picture's encoders from; "" starts from scratch.
    """

    widths: SixWidths = (32, 64, 128, 256, 512, 512)
    image_widths: FourWidths = (64, 128, 256, 512)
    reduced: Width = 256
    final_skip: bool = True
    find_occluder: bool = True
    image_weights: str = ""


@config
class LossConfig:
    """Weights of the loss.

    Attributes:
        occluder: of stage 1, plain cross-entropy; that of stage 2 is 1.
        inside: of a pixel under the artificial occluder in stage 2; others weigh 1.
    """

    occluder: Weight = 1.0
    inside: Weight = 5.0


def known_occluder(sample: Sample, data: Dataset) -> Mask | None:
    """The union of the visible masks of everything that hides an object, empty if nothing does; None if that is not annotated."""
    if sample.occluder is not None:
        return sample.occluder
    if sample.occluders:
        return union(other.visible for other in data.by_ids(sample.occluders).values())
    # An order without relations says that nothing is in front; no order at all (MP3D-Amodal) says nothing.
    return Mask.from_array(np.zeros((1, 1), bool)) if sample.order is not None and not sample.occluded else None


def two_stage_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One sample: visible mask as given, amodal mask, true occluder and artificial one, (S, S) uint8 each; 1 where the true
    occluder is known, () uint8; and the picture (S, S, 3) uint8. All mirrored or none."""
    augmentation = data.crop.augmentation()
    found = mixture.crop(rng, data.size, augmentation)
    visible, amodal = (found.mask(mask) for mask in (found.sample.visible, found.sample.amodal))
    occluder = known_occluder(found.sample, found.data)
    hides = found.mask(occluder) if occluder else np.zeros_like(visible)
    erased = np.zeros_like(visible)
    if rng.random() < data.erased and visible.any():
        other = mixture.crop(rng, data.size, augmentation, shift=False)
        erased = place_eraser(visible, other.mask(other.sample.visible), rng)
    planes = [plane.astype(np.uint8) for plane in (visible & ~erased, amodal, hides, erased)]
    return (*planes, np.asarray(occluder is not None, np.uint8), found.picture())


class OccAmodalTask(ObjectTask):
    """OccAmodal (`task = "occamodal"`): see `amodal.training.task.Task`."""

    data: DataConfig

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        if self.data.size % 32:
            raise RecipeError(f"data.size is {self.data.size}; with five levels it is a multiple of 32")

    def network(self) -> nn.Module:
        how = self.config
        made = TwoStageOccAmodal(how.widths, how.image_widths, how.reduced, how.final_skip, how.find_occluder)
        if how.image_weights:
            tensors = load_tensors(locate(how.image_weights))
            for stage in (made.occluder, made.amodal):
                if stage is not None:  # ImageNet's classifier (fc.*) has no place here
                    known = stage.image_encoder.state_dict()
                    stage.image_encoder.load_state_dict({name: tensors[name] for name in known})
        return made

    def source(self, seed: int, batch: int) -> ObjectBatches:
        return self.batches(partial(two_stage_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Stage 1: cross-entropy with the true occluder, over the samples that have one. Stage 2: ASBU's uncertainty weighted
        segmentation loss with the amodal mask (section 4.3)."""
        visible, amodal, hides, erased, known, rgb = batch
        eraser = erased.float()
        first, second = network(visible.float()[:, None], normalise(rgb), eraser[:, None])
        total = uncertainty_loss(second.float(), amodal, eraser, inside=self.weights.inside)
        parts = {"amodal": total.detach()}
        if first is not None:
            each = F.cross_entropy(first.float(), hides.long(), reduction="none").mean((1, 2))  # (B,)
            stage = (each * known).sum() / known.sum().clamp(min=1)
            total, parts["occluder"] = total + self.weights.occluder * stage, stage.detach()
        return total, parts

    def values(self, network: nn.Module, sample: Sample, crop: Crop, device: torch.device) -> NDArray[np.float32]:
        """No occluder is given."""
        assert isinstance(network, TwoStageOccAmodal)
        given, rgb = crop.bits(sample.visible)[None], crop.image(sample.image, cubic=True)
        values, _ = two_stage_probabilities(network, given, rgb[None], np.zeros_like(given))
        return np.asarray(values[0])
