"""The pocket segmenter's network in torch: an encoder that sees the picture once, a light head that answers each prompt."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import UNet, conv
from ...networks.lite import Join

__all__ = ["FOLD", "MASKS", "PocketEncoder", "PocketHead", "PocketNetwork"]

FOLD = 4
"""Space-to-depth factor of both stems: the finest features lie at a quarter of the view."""
MASKS = 4
"""Answers to a prompt: the first is meant for several clicks and boxes, the other three are what one click may mean."""


class PocketEncoder(nn.Module):
    """(B, 4, S, S) RGB in [-1, 1] and frame mask, to features (B, C, S/4, S/4). S is a multiple of 32.

    The features of the shared image encoder (`Lite0`) join at each of its levels.
    """

    inputs = 4

    def __init__(self, widths: tuple[int, ...] = (48, 80, 128, 176), depths: tuple[int, ...] = (1, 1, 2, 1)) -> None:
        super().__init__()
        self.join = Join(widths)
        self.stem = conv(self.inputs * FOLD**2, widths[0], 1)
        self.body = UNet(widths, depths)

    def forward(self, x: Tensor, *seen: Tensor) -> Tensor:
        """`seen`: what `Lite0` sees in the view, at 1/4, 1/8, 1/16 and 1/32."""
        out: Tensor = self.body(self.stem(F.pixel_unshuffle(x, FOLD)), self.join(seen))
        return out


class PocketHead(nn.Module):
    """Features and prompt maps to logits of the visible mask, and how good each may be.

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
        self.last = nn.Sequential(conv(widths[0], widths[0]), nn.Conv2d(widths[0], MASKS * FOLD**2, 1))
        self.judge = nn.Sequential(nn.Linear(3 * widths[0] + 2, 96), nn.ReLU(), nn.Linear(96, MASKS))

    def forward(self, features: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """To logits of the masks (B, MASKS, S, S) and of their expected IoUs (B, MASKS)."""
        looks = self.look(features).flatten(2)
        looks = looks / (looks.square().sum(1, keepdim=True) + 1e-4).sqrt()
        discs = F.avg_pool2d(prompts[:, :2], FOLD).flatten(2)
        clicked = (discs / (discs.sum(2, keepdim=True) + 1e-4)) @ looks.transpose(1, 2)
        alike = (clicked @ looks).unflatten(2, features.shape[2:])
        f = self.last[0](self.body(self.stem(torch.cat([features, F.pixel_unshuffle(prompts, FOLD), alike], 1))))
        logits = F.pixel_shuffle(self.last[1](f), FOLD)
        return logits, self._scores(f, logits.detach())

    def _scores(self, f: Tensor, logits: Tensor) -> Tensor:
        """From the mean features inside each mask, at its rim and everywhere, from its size and its doubt.

        Args:
            f: last features (B, C, N places).
            logits: (B, MASKS, S, S).

        Returns:
            logits of the expected IoUs (B, MASKS).
        """
        p = torch.sigmoid(F.avg_pool2d(logits, FOLD)).flatten(2)  # (B, MASKS, N)
        flat = f.flatten(2).transpose(1, 2)  # (B, N, C)
        doubt = p * (1 - p)
        size, unsure = p.mean(2), doubt.mean(2)
        inside = (p @ flat) / (p.sum(2, keepdim=True) + 1)
        rim = (doubt @ flat) / (doubt.sum(2, keepdim=True) + 0.1)
        whole = flat.mean(1, keepdim=True).expand_as(inside)
        facts = torch.stack([(size + 1e-4).log(), (unsure / (size + 1e-3)).clamp(max=2)], 2)
        every: Tensor = self.judge(torch.cat([inside, rim, whole, facts], 2))  # (B, MASKS, judges)
        return torch.stack([every[:, i, i] for i in range(MASKS)], 1)  # each mask by its own judge


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

    def forward(self, x: Tensor, seen: tuple[Tensor, ...], prompts: Tensor) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor] = self.head(self.encoder(x, *seen), prompts)
        return out
