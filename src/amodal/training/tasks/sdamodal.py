"""Training of SDAmodal on amodal truth, with features that are computed once per picture."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Batch, Natural, Positive, SixWidths, Width, config, section
from ...core.crop import Crop
from ...core.paths import own_path
from ...data import Dataset, Sample
from ...methods.deocclusion.losses import class_loss
from ...methods.sdamodal.cache import FeatureCache
from ...methods.sdamodal.crops import crop_feature
from ...methods.sdamodal.features import DiffusionFeatures, FeatureSettings
from ...methods.sdamodal.network import SDAmodalNet
from ...networks.unet import xavier
from ...plugins.protocols import frame_of
from ...runtime.devices import Dtype, pick_device
from ...weights.catalogue import cache_folder
from ..recipe import Recipe
from .objects import Arrays, Mixture, ObjectBatches, ObjectsConfig, ObjectTask, Side

__all__ = ["SDAmodalTask"]


@config
class FeatureConfig:
    """The features; see the options of the method `sdamodal`.

    Attributes:
        cache: folder; "" is the method's own. All pictures of the data are computed into it before the first step.
        cache_gb: must hold all of them: 0.027 a picture at the default size.
    """

    model: str = "sd21"
    layers: tuple[Natural, ...] = (0, 1, 2, 3)
    timestep: Natural = 181
    image_size: Side = 768
    draws: Batch = 8
    seed: Natural = 0
    dtype: Dtype = "auto"
    draw_batch: Batch = 8
    cache: str = ""
    cache_gb: Positive = 1000.0


@config
class DataConfig(ObjectsConfig):
    """What crops are made of. The paper's sets: 0.9 COCO-A, 0.1 MP3D-Amodal.

    Attributes:
        features: what the network sees of the picture; see `FeatureConfig`.
    """

    size: Side = 512
    features: FeatureConfig = FeatureConfig()


@config
class NetworkConfig:
    """Channels of the six levels, to which features are reduced, and the fifth skip; table 4 of the paper."""

    widths: SixWidths = (32, 64, 128, 256, 512, 512)
    reduced: Width = 256
    final_skip: bool = True


def open_features(config: FeatureConfig, device: str) -> DiffusionFeatures:
    """The feature extractor of a recipe."""
    folder = own_path(config.cache) if config.cache else cache_folder() / "features"
    settings = FeatureSettings(
        config.layers, config.timestep, config.image_size, config.draws, config.seed, config.dtype
    )
    return DiffusionFeatures(
        config.model, settings, device, FeatureCache(folder, int(config.cache_gb * 1e9)), config.draw_batch
    )


class Maker:
    """What a data process needs to make samples: the (cached) features."""

    def __init__(self, data: DataConfig, features: FeatureConfig) -> None:
        self.data, self.config = data, features
        self.augmentation = data.crop.augmentation()
        self._features: DiffusionFeatures | None = None

    def __call__(self, mixture: Mixture, rng: np.random.Generator) -> Arrays:
        """Visible and amodal mask, (S, S) uint8, and each layer's feature crop (C, s, s) float16, all mirrored or none."""
        if self._features is None:
            self._features = open_features(self.config, "cpu")
        found = mixture.crop(rng, self.data.size, self.augmentation)
        image = found.sample.image
        crops = [
            crop_feature(value.float(), frame_of(image), found.crop.box).half().numpy()
            for value in self._features(image)
        ]
        masks = [found.mask(mask).astype(np.uint8) for mask in (found.sample.visible, found.sample.amodal)]
        return (*masks, *(part[:, :, ::-1].copy() if found.flip else part for part in crops))


class SDAmodalTask(ObjectTask):
    """See `amodal.training.task.Task`."""

    data: DataConfig

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        chosen = self.data.features
        if chosen.dtype == "auto":  # data processes have no GPU: what it means is settled here
            on_gpu = pick_device(recipe.run.device).type == "cuda"
            chosen = replace(chosen, dtype="fp16" if on_gpu else "fp32")
        self.feature_config = chosen
        self.features = open_features(self.feature_config, recipe.run.device)

    @property
    def facts(self) -> dict[str, str]:
        """Also how features join, see `methods.sdamodal.network.aligned_corners`, and how they are made."""
        made = {name: str(getattr(self.feature_config, name)) for name in ("timestep", "image_size")}
        return {**super().facts, **made, "align_corners": "false"}

    def network(self) -> nn.Module:
        how = self.config
        layers = self.feature_config.layers
        return xavier(SDAmodalNet(self.features.channels, layers, how.final_skip, how.widths, how.reduced))

    def source(self, seed: int, batch: int) -> ObjectBatches:
        """Batches by number. Computes the features of all pictures first, so that data processes only read them."""
        made = self.batches(Maker(self.data, self.feature_config), seed, batch)
        for one in made.sets().sets:
            self.prepare(one.data)
        return made

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

    def values(self, network: nn.Module, sample: Sample, crop: Crop, device: torch.device) -> NDArray[np.float32]:
        image = sample.image
        given = torch.from_numpy(crop.bits(sample.visible)).to(device).float()[None, None]
        maps = [value.to(device).float() for value in self.features(image)]
        with torch.inference_mode():
            crops = [crop_feature(value, frame_of(image), crop.box)[None] for value in maps]
            found: NDArray[np.float32] = network(given, crops).float().softmax(dim=1)[0, 1].cpu().numpy()
        return found
