"""Training of PCNet-C: the pixels of an object, erased by another object's shape, are to be made again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...methods.deocclusion.content import WIDTHS, PartialConvUNet
from ...methods.deocclusion.losses import content_loss
from ...methods.deocclusion.network import normalise
from ...methods.deocclusion.single import rgb_crop
from ...networks.resnet import STD
from ..recipe import Recipe, RecipeError, section
from .deocclusion import DataConfig, placed, sets_of
from .objects import Arrays, Mixture, ObjectBatches

__all__ = ["ContentTask"]


@dataclass(frozen=True)
class NetworkConfig:
    """Channels of the encoder's levels; crops are a multiple of 2 to their number."""

    widths: tuple[int, ...] = WIDTHS


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss; see `content_loss`. The paper's perceptual, style and adversarial terms are not here."""

    valid: float = 1.0
    hole: float = 6.0
    smooth: float = 0.1


def content_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One sample: what is left of the visible mask, what was erased of it, (S, S) uint8, and the picture (S, S, 3) uint8."""
    found = placed(data, mixture, rng)
    rgb = rgb_crop(found.crop, found.sample.image)
    hole = found.target & found.eraser
    left = found.target & ~hole
    return left.astype(np.uint8), hole.astype(np.uint8), rgb[:, ::-1].copy() if found.flip else rgb


class ContentTask:
    """PCNet-C (`task = "deocclusion-content"`): see `amodal.training.task.Task`."""

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self._validation: list[tuple[Tensor, ...]] | None = None
        least = 2 ** len(self.config.widths)
        if self.data.size % least:
            raise RecipeError(
                f"data.size is {self.data.size}; with {len(self.config.widths)} levels it is a multiple of {least}"
            )

    def network(self) -> nn.Module:
        return PartialConvUNet(widths=self.config.widths)

    def source(self, seed: int, batch: int) -> ObjectBatches:
        sets = partial(sets_of, self.data.sets, "data.sets")
        sets()  # errors of the data before the first step, not in a data process
        if self.data.validation:
            sets_of(self.data.validation, "data.validation")
        return ObjectBatches(sets, partial(content_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        made, target, known = self.run(network, batch)
        return content_loss(made, target, known, self.weights.valid, self.weights.hole, self.weights.smooth)

    def run(self, network: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """What the network makes, the normalised picture, (B, 3, S, S) each, and what it was told, (B, 1, S, S) of 0 and 1."""
        left, hole, rgb = batch
        target, known = normalise(rgb), 1 - hole.float()[:, None]
        given = torch.cat([target * known, left.float()[:, None]], dim=1)
        return network(given, known.expand(-1, 4, -1, -1)).float(), target, known

    def validate(self, network: nn.Module, device: torch.device) -> tuple[dict[str, float], NDArray[np.uint8] | None]:
        """Mean difference to the erased pixels, in grey levels of 255, over fixed erasures of the validation sets."""
        network.eval()
        if self._validation is None:
            sets = self.data.validation or self.data.sets
            source = ObjectBatches(partial(sets_of, sets, "data.validation"), partial(content_sample, self.data), 0, 1)
            self._validation = [tuple(map(torch.from_numpy, source[k])) for k in range(self.data.validation_limit)]
        scale = 255 * torch.tensor(STD, device=device).view(1, 3, 1, 1)
        total, pixels = 0.0, 0.0
        with torch.inference_mode():
            for batch in self._validation:
                made, target, known = self.run(network, tuple(part.to(device) for part in batch))
                total += float(((made - target).abs() * (1 - known) * scale).mean(dim=1).sum())
                pixels += float((1 - known).sum())
        return {"hole_error": total / max(pixels, 1.0)}, None
