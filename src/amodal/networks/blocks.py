"""Building blocks shared by the project's networks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


def conv(i: int, o: int, k: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(i, o, k, stride, k // 2, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3 x 3 convolutions around a short cut."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.a = conv(c, c)
        self.b = nn.Sequential(nn.Conv2d(c, c, 3, 1, 1, bias=False), nn.BatchNorm2d(c))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(self.a(x)))


class Trunk(nn.Module):
    """The levels of a residual U-Net with added skips. H, W are multiples of 2 ** (levels - 1).

    Args:
        widths: Channels of each level, finest first.
        depths: Residual blocks of each level's encoder; the decoder has one.
    """

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.encoder = nn.ModuleList(
            nn.Sequential(*(Residual(c) for _ in range(n))) for c, n in zip(widths, depths, strict=True)
        )
        self.down = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairs)
        self.lateral = nn.ModuleList(conv(b, a, 1) for a, b in pairs)
        self.decoder = nn.ModuleList(Residual(c) for c in widths[:-1])

    def walk(self, f: Tensor, joined: Sequence[Tensor] | None = None) -> Tensor:
        """(B, widths[0], H, W) to the same shape.

        `joined`: further features, added at each level before its encoder, (B, widths[level], H / 2^level, W / 2^level).
        """
        skips = []
        for level, stage in enumerate(self.encoder):
            f = stage(f if joined is None else f + joined[level])
            if level < len(self.down):
                skips.append(f)
                f = self.down[level](f)
        for level in reversed(range(len(self.down))):
            f = F.interpolate(self.lateral[level](f), scale_factor=2.0, mode="nearest") + skips[level]
            f = self.decoder[level](f)
        return f


class UNet(Trunk):
    """The trunk by itself; see `Trunk`."""

    def forward(self, f: Tensor, joined: Sequence[Tensor] | None = None) -> Tensor:
        """As `Trunk.walk`."""
        return self.walk(f, joined)
