"""Training of SDAmodal on amodal truth, with features that are computed once per picture."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...crop import Crop
from ...data import Dataset, Sample
from ...data.crops import cut
from ...devices import pick_device
from ...methods.deocclusion.losses import class_loss
from ...methods.sdamodal.cache import FeatureCache
from ...methods.sdamodal.crops import crop_feature
from ...methods.sdamodal.features import DiffusionFeatures, FeatureSettings
from ...methods.sdamodal.network import SDAmodalNet
from ...protocols import frame_of
from ...weights import cache_folder
from ..recipe import Recipe, section
from .objects import Arrays, CropConfig, Mixture, ObjectBatches, crop_scores, fixed_samples, open_sets

__all__ = ["SDAmodalTask"]


@dataclass(frozen=True)
class DataConfig:
    """What crops are made of.

    Attributes:
        sets: data sets with their shares (the paper: 0.9 COCO-A, 0.1 MP3D-Amodal); see `SetConfig`.
        validation: data sets to validate on.
        validation_limit: objects of each of them.
        size: side of the mask crops.
        crop: how crops vary; see `CropConfig`.
        features: what the network sees of the picture; see `FeatureConfig`.
    """

    sets: tuple[dict[str, object], ...] = ()
    validation: tuple[dict[str, object], ...] = ()
    validation_limit: int = 200
    size: int = 512
    crop: dict[str, object] = field(default_factory=dict)
    features: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureConfig:
    """The features; see the options of the method `sdamodal`.

    Attributes:
        cache: folder; "" is the method's own. All pictures of the data are computed into it before the first step.
        cache_gb: must hold all of them: 0.027 a picture at the default size.
    """

    model: str = "sd21"
    layers: tuple[int, ...] = (0, 1, 2, 3)
    timestep: int = 181
    image_size: int = 768
    draws: int = 8
    seed: int = 0
    dtype: str = "auto"
    draw_batch: int = 8
    cache: str = ""
    cache_gb: float = 1000.0


@dataclass(frozen=True)
class NetworkConfig:
    """Channels of the six levels, to which features are reduced, and the fifth skip; table 4 of the paper."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 512, 512)
    reduced: int = 256
    final_skip: bool = True


def open_features(config: FeatureConfig, device: str) -> DiffusionFeatures:
    """The feature extractor of a recipe."""
    folder = Path(config.cache).expanduser() if config.cache else cache_folder() / "features"
    settings = FeatureSettings(
        config.layers, config.timestep, config.image_size, config.draws, config.seed, config.dtype
    )
    return DiffusionFeatures(
        config.model, settings, device, FeatureCache(folder, int(config.cache_gb * 1e9)), config.draw_batch
    )


class Source:
    """What a data process needs to make samples: the sets and the (cached) features."""

    def __init__(self, data: DataConfig, features: FeatureConfig) -> None:
        self.data, self.config = data, features
        self.augmentation = section(data.crop, CropConfig, "data.crop").augmentation()
        self._features: DiffusionFeatures | None = None

    def sets(self) -> Mixture:
        """The mixture of the training sets."""
        return Mixture(open_sets(self.data.sets, "data.sets"))

    def make(self, mixture: Mixture, rng: np.random.Generator) -> Arrays:
        """Visible and amodal mask, (S, S) uint8, and each layer's feature crop (C, s, s) float16, all mirrored or none."""
        if self._features is None:
            self._features = open_features(self.config, "cpu")
        sample, crop, flip = mixture.crop(rng, self.data.size, self.augmentation)
        image = sample.image
        crops = [
            crop_feature(value.float(), frame_of(image), crop.box).half().numpy() for value in self._features(image)
        ]
        masks = (cut(sample.visible, crop, flip).astype(np.uint8), cut(sample.amodal, crop, flip).astype(np.uint8))
        return (*masks, *(part[:, :, ::-1].copy() if flip else part for part in crops))


class SDAmodalTask:
    """See `amodal.training.task.Task`."""

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        chosen = section(self.data.features, FeatureConfig, "data.features")
        section(self.data.crop, CropConfig, "data.crop")
        if chosen.dtype == "auto":  # data processes have no GPU: what it means is settled here
            on_gpu = pick_device(recipe.run.device).type == "cuda"
            chosen = replace(chosen, dtype="fp16" if on_gpu else "fp32")
        self.feature_config = chosen
        self.features = open_features(self.feature_config, recipe.run.device)

    def network(self) -> nn.Module:
        how = self.config
        return SDAmodalNet(self.features.channels, self.feature_config.layers, how.final_skip, how.widths, how.reduced)

    @cached_property
    def samples(self) -> list[Sample]:
        """The objects to validate on."""
        return fixed_samples(self.data.validation, self.data.validation_limit)

    def source(self, seed: int, batch: int) -> ObjectBatches:
        """Batches by number. Computes the features of all pictures first, so that data processes only read them."""
        _ = self.samples  # errors of the fixed sets before the first step, not at the first validation
        source = Source(self.data, self.feature_config)
        for one in source.sets().sets:
            self.prepare(one.data)
        return ObjectBatches(source.sets, source.make, seed, batch)

    def prepare(self, data: Dataset) -> None:
        """Compute the features of all pictures of a data set that are not in the cache."""
        for number, scene in enumerate(data.scenes(), 1):
            self.features(scene[0].image)
            if number % 100 == 0:
                print(f"features of {number} pictures of {data.name}", file=sys.stderr, flush=True)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Plain cross-entropy with the amodal mask (section 4.3)."""
        visible, amodal, *features = batch
        output = network(visible.float()[:, None], [value.float() for value in features]).float()
        return class_loss(output, amodal), {}

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        how = section(self.data.crop, CropConfig, "data.crop")
        network.eval()
        rows = []
        for sample in self.samples:
            image = sample.image
            crop = Crop.around(sample.visible.box, self.data.size, enlarge=how.enlarge, margin=how.margin)
            given = torch.from_numpy(crop.bits(sample.visible)).to(device).float()[None, None]
            maps = [value.to(device).float() for value in self.features(image)]
            with torch.inference_mode():
                crops = [crop_feature(value, frame_of(image), crop.box)[None] for value in maps]
                values = network(given, crops).float().softmax(dim=1)[0, 1].cpu().numpy()
            rows.append((crop.mask_back((values > 0.5).astype(np.float32)), sample.visible, sample.amodal))
        return crop_scores(rows), None
