"""The painter's network: a residual U-Net whose answer may copy detail from the known pixels. Needs torch.

The shipped inpainter runs the exported ONNX file and never imports this.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import UNet

__all__ = ["Painter"]

FOLD = 4
"""Pixels per side that the stem folds into channels."""
FINE = 12
"""Channels at full size, where the answer is refined."""
KEYS = 64
"""Channels in which places are compared."""
BLOCK = 8
"""Side of the blocks of pixels that are copied."""


class Copy(nn.Module):
    """Detail for each block of the picture, from the known blocks that look alike (cosine attention; after Yu et al., CVPR 2018).

    Args:
        width: channels of the features, at 1/4 of the picture.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = (nn.Conv2d(width, KEYS, 3, stride=BLOCK // FOLD, padding=1) for _ in range(2))
        self.sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, features: Tensor, detail: Tensor, known: Tensor) -> Tensor:
        """Features (B, C, S/4, S/4), detail (B, 3, S, S) and what is known (B, 1, S, S) of 0 and 1 to copied detail (B, 3, S, S)."""
        query, key = (F.normalize(layer(features).flatten(2), dim=1) for layer in (self.query, self.key))  # (B, K, N)
        lacking = 1 - F.avg_pool2d(known, BLOCK).flatten(2)  # (B, 1, N), the share of a block that is not known
        score = query.transpose(1, 2) @ key * self.sharpness.exp() - 1e3 * lacking  # (B, N, N)
        blocks = F.pixel_unshuffle(detail * known, BLOCK)  # (B, 3 * 64, S/8, S/8)
        taken = blocks.flatten(2) @ score.softmax(-1).transpose(1, 2)  # (B, 3 * 64, N)
        return F.pixel_shuffle(taken.reshape(blocks.shape), BLOCK)


class Painter(nn.Module):
    """A picture whose unknown pixels are filled smoothly, to the same picture with texture there.

    Args:
        widths: channels at 1/4, 1/8, ... of the picture.
        depths: residual blocks at each of these on the way down; one on the way up.
    """

    def __init__(self, widths: tuple[int, ...] = (96, 144, 192, 256), depths: tuple[int, ...] = (1, 2, 2, 2)) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * FOLD**2, widths[0], 3, padding=1)
        self.unet = UNet(widths, depths)
        self.copy = Copy(widths[0])
        self.out = nn.Conv2d(widths[0], FINE * FOLD**2, 3, padding=1)
        last = nn.Conv2d(32, 3, 3, padding=1)
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.zeros_(last.bias)
        self.refine = nn.Sequential(
            nn.Conv2d(FINE + 7, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), last
        )

    def forward(self, picture: Tensor, known: Tensor) -> Tensor:
        """The painted picture; at first the given one.

        Args:
            picture: (B, 3, S, S) in [-1, 1], smooth where it is not known; S is a multiple of 32.
            known: (B, 1, S, S), 1 where the picture is known, else 0.

        Returns:
            (B, 3, S, S), nominally in [-1, 1].
        """
        given = torch.cat([picture, known], 1)
        features = self.unet(self.stem(F.pixel_unshuffle(given, FOLD)))  # (B, widths[0], S/4, S/4)
        smooth = F.interpolate(F.avg_pool2d(picture, BLOCK), scale_factor=float(BLOCK), mode="bilinear")
        copied = self.copy(features, picture - smooth, known)  # (B, 3, S, S)
        drawn = F.pixel_shuffle(self.out(features), FOLD)  # (B, FINE, S, S)
        change: Tensor = self.refine(torch.cat([drawn, given, copied], 1))
        return picture + change
