"""What PCNet-C is trained against beside the pixels: features of another network, and a discriminator (training only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ...networks.resnet import MEAN, STD

__all__ = ["Critic", "adversarial_terms", "feature_terms", "unit_range"]

Features = Callable[[Tensor], Sequence[Tensor]]
SCALES = 3
"""Scales of features that count: 1/4, 1/8 and 1/16 of the picture (Liu et al. take VGG-16's first three poolings)."""


class Critic(nn.Module):
    """A discriminator of patches: five spectrally normalised 4 x 4 convolutions (three of stride 2).

    Args:
        width: channels after the first one; doubled twice, then eightfold. The paper does not print it.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        plan = (
            (4, width, 2),
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
            (4 * width, 8 * width, 1),
            (8 * width, 1, 1),
        )
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, stride, 1)) for a, b, stride in plan)

    def forward(self, picture: Tensor, mask: Tensor) -> Tensor:
        """A normalised picture (B, 3, S, S) and the object's mask (B, 1, S, S) to logits of "real" (B, 1, s, s); S from 32 on."""
        x = torch.cat([picture, mask], 1)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), 0.2)
        out: Tensor = self.layers[-1](x)
        return out


def adversarial_terms(critic: Critic, made: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The non-saturating loss of whoever made a picture, and the critic's own; neither moves the other's weights.

    Args:
        critic: the discriminator; its weights learn from the second value alone.
        made: what was made, (B, 3, S, S); learns from the first value alone.
        target: the true picture, (B, 3, S, S).
        mask: the object, (B, 1, S, S).
    """
    critic.requires_grad_(False)
    fooled = F.softplus(-critic(made, mask)).mean()
    critic.requires_grad_(True)
    told = F.softplus(-critic(target, mask)).mean() + F.softplus(critic(made.detach(), mask)).mean()
    return fooled, told / 2


def unit_range(picture: Tensor) -> Tensor:
    """A picture normalised with ImageNet's mean and deviation, (B, 3, S, S), as RGB in [-1, 1] (a little beyond, as it is made)."""
    mean, deviation = (torch.tensor(each, device=picture.device).view(1, 3, 1, 1) for each in (MEAN, STD))
    return (picture * deviation + mean) * 2 - 1


def feature_terms(features: Features, made: Tensor, whole: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The perceptual and the style term (Liu et al., ECCV 2018, equations 3 to 5): mean absolute differences of features, and of
    their Gram matrices divided by channels and places, summed over scales and over the two pictures.

    Args:
        features: a frozen network, RGB (B, 3, S, S) in [-1, 1] to maps (B, C, s, s) from fine to coarse.
        made: what was made, normalised, (B, 3, S, S).
        whole: the same with the true pixels where they are known.
        target: the true picture.
    """
    truth = [each.detach() for each in features(unit_range(target))[:SCALES]]
    perceptual, style = made.new_zeros(()), made.new_zeros(())
    for picture in (made, whole):
        for found, wanted in zip(features(unit_range(picture))[:SCALES], truth, strict=True):
            perceptual = perceptual + (found - wanted).abs().mean()
            style = style + (_gram(found) - _gram(wanted)).abs().mean()
    return perceptual, style


def _gram(maps: Tensor) -> Tensor:
    """(B, C, h, w) to (B, C, C): products of channels over all places, divided by their count."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])
