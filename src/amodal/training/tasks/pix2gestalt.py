"""Training of pix2gestalt: a Stable Diffusion that learns to draw whole objects from pairs."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Count, config, section
from ...core.errors import DataError, WeightsError
from ...core.image import Image, read
from ...core.paths import own_path
from ...data.pairs import Pairs
from ...data.sample import Sample
from ...methods.pix2gestalt.cutout import white_mask
from ...methods.pix2gestalt.learn import draw, noise_loss, start_networks
from ...networks.latent_diffusion.model import Networks
from ...networks.latent_diffusion.sampling import Settings, encode, sample
from ...weights.catalogue import locate
from ..recipe import Recipe, RecipeError

__all__ = ["Pix2GestaltTask"]


@config
class NetworkConfig:
    """Where the weights start.

    Attributes:
        start: fetched weights by name or a folder: an image-conditioned Stable Diffusion, any SD 1.x, or a pix2gestalt model.
        image_encoder: CLIP's image encoder, where `start` has none (text-conditioned SD).
        checkpointing: recompute activations in the backward pass: more time, far less memory.
    """

    start: str = ""
    image_encoder: str = ""
    checkpointing: bool = True


@config
class DataConfig:
    """Pairs in the release layout.

    Attributes:
        pairs: their folder; its last hundredth validates.
        validate: how many pairs to complete at a validation.
        steps: of the few-step solver there.
    """

    pairs: str = ""
    validate: Count = 16
    steps: Count = 20


@config
class LossConfig:
    """The loss has no settings: the mean squared error of the noise; conditions are dropped as the authors' code does."""


class Learner(nn.Module):
    """What learns: the UNet and the projection. VAE and image encoder stay as they are."""

    def __init__(self, unet: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.unet, self.projection = unet, projection


class PairBatches:
    """Batches of pairs by number: (occlusion, whole, visible), each pair once in a random order an epoch."""

    def __init__(self, root: Path, side: int, seed: int, batch: int) -> None:
        self.root, self.side, self.seed, self.count = root, side, seed, batch
        self._data: Pairs | None = None

    def __getitem__(self, number: int) -> tuple[NDArray[Any], ...]:
        if self._data is None:
            self._data = open_pairs(self.root, "train")
        places = [self._place(number * self.count + k) for k in range(self.count)]
        rows = [load_pair(self._data[place], self.side) for place in places]
        return tuple(np.stack(column) for column in zip(*rows, strict=True))

    def _place(self, position: int) -> int:
        assert self._data is not None
        epoch, rest = divmod(position, len(self._data))
        return int(np.random.default_rng([self.seed, epoch]).permutation(len(self._data))[rest])


def open_pairs(root: Path, split: str) -> Pairs:
    """The pairs of a part. Raises DataError if there are none or the wholes' pictures are absent."""
    if not (root / "whole").is_dir() and not (root / "pix2gestalt_occlusions_release" / "whole").is_dir():
        raise DataError(f"{root} has no folder whole/: training needs the pictures of the whole objects")
    return Pairs(root, split)


def load_pair(item: Sample, side: int) -> tuple[Image, Image, NDArray[np.bool_]]:
    """Input, target and visible mask, squeezed to (side, side) as in sampling. Raises DataError: they are not of one size."""
    import cv2

    target = read(item.extra["whole"])
    if target.shape[:2] != item.size:
        raise DataError(
            f"{item.extra['whole']} is {target.shape[1]} x {target.shape[0]} pixels, the masks are {item.size[1]} x {item.size[0]}"
        )
    pictures = [item.image, target, item.visible.to_array(item.size).astype(np.uint8) * 255]
    occlusion, whole, visible = (cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA) for x in pictures)
    return occlusion, whole, visible > 127


class Pix2GestaltTask:
    """See `amodal.training.task.Task`."""

    rates: ClassVar[dict[str, float]] = {"projection.": 10.0}
    """The projection learns ten times as fast as the rest."""
    plain: ClassVar[tuple[str, ...]] = ("projection.",)
    """The published checkpoint has an average of the UNet alone."""

    def __init__(self, recipe: Recipe) -> None:
        self.config = section(recipe.network, NetworkConfig, "network")
        self.data = section(recipe.data, DataConfig, "data")
        section(recipe.loss, LossConfig, "loss")
        if not self.config.start or not self.data.pairs:
            raise RecipeError(
                "pix2gestalt needs network.start (a Stable Diffusion folder) and data.pairs (training pairs)"
            )
        self.seed = recipe.run.seed

    @cached_property
    def networks(self) -> Networks:
        """All four, as they start; VAE and image encoder stay so."""
        encoder = locate(self.config.image_encoder) if self.config.image_encoder else None
        networks = start_networks(locate(self.config.start), encoder)
        for frozen in (networks.vae, networks.image_encoder):
            frozen.eval().requires_grad_(False)
        return networks

    def network(self) -> nn.Module:
        if self.config.checkpointing:
            self.networks.unet.enable_gradient_checkpointing()
        learner = Learner(self.networks.unet, self.networks.projection)
        return learner.requires_grad_(True)

    def source(self, seed: int, batch: int) -> PairBatches:
        root = own_path(self.data.pairs)
        open_pairs(root, "train")  # errors of the data before the first step, not in a data process
        if not len(open_pairs(root, "val")):
            raise DataError(f"{root} holds one pair; training needs a second one, to validate on")
        return PairBatches(root, self.networks.size, seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective of the paper's section 3.2; noise, times and dropout depend on the seed and the number of the batch."""
        occlusion, whole, visible = batch
        self._move(occlusion.device)
        chance = draw(len(occlusion), self.networks.size // self.networks.factor, (self.seed, number))
        pictures, wholes, masks = (x.cpu().numpy() for x in (occlusion, whole, visible))
        loss = noise_loss(self.networks, pictures, wholes, masks, chance, network.unet, network.projection)
        return loss, {"mse": loss.detach()}

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """The loss, the IoU of the drawn masks and the error of the drawn colours on pairs that do not train."""
        self._move(device)
        data = open_pairs(own_path(self.data.pairs), "val")
        rows = [load_pair(data[k], self.networks.size) for k in range(min(len(data), self.data.validate))]
        occlusion, whole, visible = (np.stack(column) for column in zip(*rows, strict=True))
        trained = Networks(network.unet, self.networks.vae, self.networks.image_encoder, network.projection)
        with torch.no_grad():
            chance = draw(len(rows), self.networks.size // self.networks.factor, (self.seed, 2**31))
            loss = float(noise_loss(trained, occlusion, whole, visible, chance))
        settings = Settings(steps=self.data.steps, solver="dpm++", batch=8)
        seeds = [(self.seed, k) for k in range(len(rows))]
        drawn = sample(trained, encode(trained, occlusion, visible), seeds, settings)
        ious, errors = [], []
        for picture, truth in zip(drawn, whole, strict=True):
            found, real = white_mask(picture), white_mask(truth)
            ious.append((found & real).sum() / max(1, (found | real).sum()))
            errors.append(np.abs(picture.astype(float) - truth).mean() / 255)
        sheet = np.concatenate([np.concatenate(list(part[:8]), axis=1) for part in (occlusion, whole, drawn)])
        return {"mse": loss, "iou": float(np.mean(ious)), "error": float(np.mean(errors))}, sheet

    def export(self, network: nn.Module, folder: Path) -> list[Path]:
        """The folder that the method loads (`--set model=FOLDER`), in half precision. Raises WeightsError: which cannot hold it."""
        parts: list[Any] = [network.unet, self.networks.vae, self.networks.image_encoder, network.projection]
        halves = [copy.deepcopy(part).half() for part in parts]
        for name, value in (pair for half in halves for pair in half.state_dict().items()):
            if not torch.isfinite(value).all():
                raise WeightsError(f"{name} holds values that half precision cannot hold; train it with a lower rate")
        Networks(*halves).save_pretrained(folder)
        return sorted(folder.rglob("*.safetensors"))

    def _move(self, device: torch.device) -> None:
        for part in (self.networks.vae, self.networks.image_encoder):
            part.to(device)
