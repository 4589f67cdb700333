"""The pocket segmenter's network in torch: an encoder that sees the picture once, a light head that answers each prompt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import UNet, conv

FOLD = 4
"""Space-to-depth factor of both stems: the finest features lie at a quarter of the view."""


class PocketEncoder(nn.Module):
    """(B, 4, S, S) RGB in [-1, 1] and frame mask, to features (B, C, S/4, S/4). S is a multiple of 32."""

    inputs = 4

    def __init__(self, widths: tuple[int, ...] = (48, 80, 128, 176), depths: tuple[int, ...] = (1, 1, 2, 1)) -> None:
        super().__init__()
        self.stem = conv(self.inputs * FOLD**2, widths[0], 1)
        self.body = UNet(widths, depths)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(self.stem(F.pixel_unshuffle(x, FOLD)))
        return out


class PocketHead(nn.Module):
    """Features and prompt maps to the logit of the visible mask.

    The prompt maps are (B, 4, S, S): discs at positive clicks, discs at negative clicks, the box, the last mask. Two more
    channels say how much each place looks like the clicked ones: the cosine between its feature and the mean feature
    under the discs.
    """

    inputs = 4

    def __init__(self, features: int = 48, widths: tuple[int, ...] = (32, 64, 96, 128), look: int = 24) -> None:
        super().__init__()
        self.look = nn.Conv2d(features, look, 1)
        self.stem = conv(features + self.inputs * FOLD**2 + 2, widths[0], 1)
        self.body = UNet(widths, (1,) * len(widths))
        self.last = nn.Sequential(conv(widths[0], widths[0]), nn.Conv2d(widths[0], FOLD**2, 1))

    def forward(self, features: Tensor, prompts: Tensor) -> Tensor:
        """To logits (B, 1, S, S)."""
        looks = self.look(features).flatten(2)
        looks = looks / (looks.square().sum(1, keepdim=True) + 1e-4).sqrt()
        discs = F.avg_pool2d(prompts[:, :2], FOLD).flatten(2)
        clicked = (discs / (discs.sum(2, keepdim=True) + 1e-4)) @ looks.transpose(1, 2)
        alike = (clicked @ looks).unflatten(2, features.shape[2:])
        f = self.stem(torch.cat([features, F.pixel_unshuffle(prompts, FOLD), alike], 1))
        return F.pixel_shuffle(self.last(self.body(f)), FOLD)


class PocketNetwork(nn.Module):
    """Encoder and head together, for training."""

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 80, 128, 176),
        depths: tuple[int, ...] = (1, 1, 2, 1),
        head: tuple[int, ...] = (32, 64, 96, 128),
    ) -> None:
        super().__init__()
        self.encoder = PocketEncoder(widths, depths)
        self.head = PocketHead(widths[0], head)

    def forward(self, x: Tensor, prompts: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(x), prompts)
        return out


__all__ = ["FOLD", "PocketEncoder", "PocketHead", "PocketNetwork"]
