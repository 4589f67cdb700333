"""Training of PCNet-C: the pixels of an object, erased by another object's shape, are to be made again."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.config import Weight, Width, Widths, config, section
from ...methods.deocclusion.content import WIDTHS, PartialConvUNet
from ...methods.deocclusion.critic import Critic, adversarial_terms, feature_terms
from ...methods.deocclusion.losses import content_loss
from ...networks.lite import Frozen
from ...networks.resnet import STD, normalise
from ..recipe import Recipe, RecipeError
from .deocclusion import DataConfig, channel, placed
from .objects import Arrays, Mixture, ObjectBatches, mixture_of

__all__ = ["ContentTask"]


@config
class NetworkConfig:
    """Channels of the encoder's levels (crops are a multiple of 2 to their number), and of the discriminator's first layer."""

    widths: Widths = WIDTHS
    critic: Width = 64


@config
class LossConfig:
    """Weights of the loss; see `content_loss`, `feature_terms` and `adversarial_terms`. A term of weight 0 costs nothing."""

    valid: Weight = 1.0
    hole: Weight = 6.0
    smooth: Weight = 0.1
    perceptual: Weight = 0.1
    style: Weight = 250.0
    adversarial: Weight = 0.1


def content_sample(data: DataConfig, mixture: Mixture, rng: np.random.Generator) -> Arrays:
    """One sample: what is left of the visible mask, times the category (see `channel`), (S, S) int16; what was erased of it,
    (S, S) uint8; and the picture (S, S, 3) uint8."""
    drawn = placed(data, mixture, rng)
    hole = drawn.target & drawn.eraser
    return channel(drawn.target & ~hole, drawn.found.sample), hole.astype(np.uint8), drawn.found.picture()


class ContentTask:
    """PCNet-C (`task = "deocclusion-content"`): see `amodal.training.task.Task`. The discriminator is its network's `critic`."""

    rates: ClassVar[dict[str, float]] = {"critic.": 0.1}

    def __init__(self, recipe: Recipe) -> None:
        self.data = section(recipe.data, DataConfig, "data")
        self.config = section(recipe.network, NetworkConfig, "network")
        self.weights = section(recipe.loss, LossConfig, "loss")
        self._validation: list[tuple[Tensor, ...]] | None = None
        self.features = Frozen()
        least = 2 ** len(self.config.widths)
        if self.data.size % least:
            raise RecipeError(
                f"data.size is {self.data.size}; with {len(self.config.widths)} levels it is a multiple of {least}"
            )
        if self.data.size % 32 and (self.weights.perceptual or self.weights.style or self.weights.adversarial):
            raise RecipeError(
                f"data.size is {self.data.size}; with the perceptual, style and adversarial terms it is a multiple of 32"
            )

    def network(self) -> nn.Module:
        network = PartialConvUNet(widths=self.config.widths)
        if self.weights.adversarial:
            network.critic = Critic(self.config.critic)
        return network

    def source(self, seed: int, batch: int) -> ObjectBatches:
        sets = partial(mixture_of, self.data.sets, "data.sets")
        sets()  # errors of the data before the first step, not in a data process
        if self.data.validation:
            mixture_of(self.data.validation, "data.validation")
        return ObjectBatches(sets, partial(content_sample, self.data), seed, batch)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], number: int) -> tuple[Tensor, dict[str, Tensor]]:
        made, target, known = self.run(network, batch)
        how = self.weights
        total, parts = content_loss(made, target, known, how.valid, how.hole, how.smooth)
        whole = known * target + (1 - known) * made  # (B, 3, S, S)
        if how.perceptual or how.style:
            parts["perceptual"], parts["style"] = feature_terms(self.features.followed, made, whole, target)
            total = total + how.perceptual * parts["perceptual"] + how.style * parts["style"]
        if how.adversarial:
            critic = network.get_submodule("critic")
            assert isinstance(critic, Critic)
            mask = ((batch[0] > 0) | (batch[1] > 0)).float()[:, None]  # the object, erased or not
            parts["fooled"], parts["critic"] = adversarial_terms(critic, whole, target, mask)
            total = total + how.adversarial * parts["fooled"] + parts["critic"]
        return total, parts

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
            source = ObjectBatches(
                partial(mixture_of, sets, "data.validation"), partial(content_sample, self.data), 0, 1
            )
            self._validation = [tuple(map(torch.from_numpy, source[k])) for k in range(self.data.validation_limit)]
        scale = 255 * torch.tensor(STD, device=device).view(1, 3, 1, 1)
        total, pixels = 0.0, 0.0
        with torch.inference_mode():
            for batch in self._validation:
                made, target, known = self.run(network, tuple(part.to(device) for part in batch))
                total += float(((made - target).abs() * (1 - known) * scale).mean(dim=1).sum())
                pixels += float((1 - known).sum())
        return {"hole_error": total / max(pixels, 1.0)}, None
