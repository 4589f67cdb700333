"""The network that is shipped: a compact relative of OccAmodal that finds occluder and mask in one pass.

This file needs torch; the shipped method runs the exported ONNX file and never imports it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.blocks import Trunk, conv
from ...networks.lite import Join


class EmbeddedNetwork(Trunk):
    """Joint occluder and amodal predictor on a space-to-depth stem.

    The crop is folded by `stem` (pixel unshuffle), so that the finest convolutions run at 1/stem of its size; the folded
    pixels join again before the output, which is unfolded to full size, so outlines keep their exact place. The features of the
    shared image encoder (`Lite0`) join at each level.

    Args:
        widths: Channels at 1/4, 1/8, ... of the crop, at most four levels.
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
        super().__init__(widths, depths)
        self.fold = stem
        folded = self.inputs * stem**2
        self.join = Join(widths)
        self.stem = conv(folded, widths[0], 1)
        self.head = conv(widths[0] + folded, head)
        self.out = nn.Conv2d(head, self.outputs * stem**2, 1)

    @property
    def multiple(self) -> int:
        """The crop's side must be a multiple of this."""
        return int(self.fold * 2 ** len(self.down))

    def forward(self, x: Tensor, *seen: Tensor) -> Tensor:
        """(B, 5, S, S), and what `Lite0` sees in the crop at 1/4 to 1/32, to logits (B, 2, S, S): amodal, occluder."""
        folded = F.pixel_unshuffle(x, self.fold)
        f = self.walk(self.stem(folded), self.join(seen))
        return F.pixel_shuffle(self.out(self.head(torch.cat([f, folded], 1))), self.fold)
