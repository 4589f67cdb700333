"""OccAmodal as the paper describes it: an occluder predictor, then an amodal predictor on the boundary between the masks.

The authors released no weights and no code for it; widths follow their single-stage network (Zhan et al., section 4.1 and the
appendix). The compact joint network in `network.py` is what this project trains and ships; this one is there for comparison
and for a GPU: about 47 M parameters at 512 x 512.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.resnet import ResNet18
from ...networks.unet import Down, Head, Stem, Up, join_at, reduce_to

__all__ = ["Predictor", "TwoStageOccAmodal", "boundary"]


class Predictor(nn.Module):
    """A U-Net over masks with five skips; ResNet-18 features of the picture join at its lowest level.

    Args:
        inputs: mask channels: 1 for the occluder (visible mask), 2 for the amodal mask (visible mask and boundary).
        widths: channels at full size, 1/2, 1/4, 1/8, 1/16 and 1/32.
        image_widths: channels of the ResNet's layers; layer 4 is reduced to 256 by a 1 x 1 convolution.
        reduced: channels of the reduced features.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512),
        image_widths: Sequence[int] = (64, 128, 256, 512),
        reduced: int = 256,
    ) -> None:
        super().__init__()
        a, b, c, d, e, f = widths
        self.inc = Stem(inputs, a)
        self.down1, self.down2, self.down3 = Down(a, b), Down(b, c), Down(c, d)
        self.down4, self.down5 = Down(d, e), Down(e, f)
        self.image_encoder = ResNet18(image_widths)
        self.reduce_dim = reduce_to(image_widths[3], reduced)
        self.up0, self.up1, self.up2 = Up(f + reduced + e, d), Up(2 * d, c), Up(2 * c, b)
        self.up3, self.up4 = Up(2 * b, a), Up(2 * a, a)
        self.outc = Head(a, 2)

    def forward(self, masks: Tensor, picture: Tensor) -> Tensor:
        """`masks` (B, inputs, S, S) and the normalised picture (B, 3, S, S), S a multiple of 32, to (B, 2, S, S) logits."""
        x1 = self.inc(masks)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x5 = self.down4(x4)
        x6 = join_at(self.down5(x5), self.reduce_dim(self.image_encoder(picture)))
        x = self.up2(self.up1(self.up0(x6, x5), x4), x3)
        out: Tensor = self.outc(self.up4(self.up3(x, x2), x1))
        return out


def boundary(visible: Tensor, occluder: Tensor, reach: int = 5) -> Tensor:
    """Where the dilated visible mask and the dilated occluder meet, (B, 1, S, S) (ASBU's boundary: max-pooling by 5)."""
    return F.max_pool2d(visible, reach, 1, reach // 2) * F.max_pool2d(occluder, reach, 1, reach // 2)


class TwoStageOccAmodal(nn.Module):
    """Stage 1 finds the occluder, stage 2 completes the mask from the visible mask and the boundary.

    It takes and answers what the compact network does: (B, 5, S, S) RGB in [-1, 1], visible mask and frame mask, to
    (B, 2, S, S) logits of amodal mask and occluder. S is a multiple of 32.
    """

    inputs = 5
    outputs = 2

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512),
        image_widths: Sequence[int] = (64, 128, 256, 512),
        reduced: int = 256,
    ) -> None:
        super().__init__()
        self.occluder = Predictor(1, widths, image_widths, reduced)
        self.amodal = Predictor(2, widths, image_widths, reduced)

    def forward(self, x: Tensor) -> Tensor:
        picture, visible = x[:, :3], x[:, 3:4]
        first = self.occluder(visible, picture)
        odds = first[:, 1:] - first[:, :1]
        # The mask that stage 2 sees is detached: each stage has its own loss, as in the paper.
        edge = boundary(visible, torch.sigmoid(odds).detach())
        second = self.amodal(torch.cat([visible, edge], 1), picture)
        return torch.cat([second[:, 1:] - second[:, :1], odds], 1)
