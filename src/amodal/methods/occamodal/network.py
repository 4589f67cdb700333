"""OccAmodal's networks: the paper's two stages on ResNet-18 features, and the compact joint variant that is shipped.

This file needs torch; the shipped method runs the exported ONNX file and never imports it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import Residual, conv


class CompactOccAmodal(nn.Module):
    """Joint occluder and amodal predictor on a space-to-depth stem.

    The crop is folded by `stem` (pixel unshuffle), so that the finest convolutions run at 1/stem of its size; the folded
    pixels join again before the output, which is unfolded to full size, so outlines keep their exact place.

    Args:
        widths: Channels at 1/4, 1/8, 1/16, ... of the crop.
        depths: Residual blocks at each of these.
        head: Channels of the last hidden layer.
        stem: Folding factor.
    """

    inputs = 5
    """RGB in [-1, 1], visible mask, frame mask (both 0 or 1)."""
    outputs = 2
    """Logits of the amodal mask and of the occluder."""

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 192, 288),
        depths: tuple[int, ...] = (1, 1, 2, 2),
        head: int = 96,
        stem: int = 4,
    ) -> None:
        super().__init__()
        self.fold = stem
        folded = self.inputs * stem**2
        pairs = list(pairwise(widths))
        self.stem = conv(folded, widths[0], 1)
        self.encoder = nn.ModuleList(
            nn.Sequential(*(Residual(c) for _ in range(n))) for c, n in zip(widths, depths, strict=True)
        )
        self.down = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairs)
        self.lateral = nn.ModuleList(conv(b, a, 1) for a, b in pairs)
        self.decoder = nn.ModuleList(Residual(c) for c in widths[:-1])
        self.head = conv(widths[0] + folded, head)
        self.out = nn.Conv2d(head, self.outputs * stem**2, 1)

    @property
    def multiple(self) -> int:
        """The crop's side must be a multiple of this."""
        return int(self.fold * 2 ** len(self.down))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 5, S, S) to logits (B, 2, S, S): amodal, occluder."""
        folded = F.pixel_unshuffle(x, self.fold)
        f = self.stem(folded)
        skips = []
        for level, stage in enumerate(self.encoder):
            f = stage(f)
            if level < len(self.down):
                skips.append(f)
                f = self.down[level](f)
        for level in reversed(range(len(self.down))):
            f = F.interpolate(self.lateral[level](f), scale_factor=2.0, mode="nearest") + skips[level]
            f = self.decoder[level](f)
        return F.pixel_shuffle(self.out(self.head(torch.cat([f, folded], 1))), self.fold)
