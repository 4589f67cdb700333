"""The U-Net blocks of deocclusion, ASBU and SDAmodal, with the module names of the authors' checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["DoubleConv", "Down", "Head", "MaskUNet", "Up", "boundary", "in_turn", "join_at", "reduce_to", "xavier"]


class DoubleConv(nn.Module):
    """Twice 3x3 convolution, batch norm, ReLU: (B, inputs, H, W) to (B, outputs, H, W). Names `conv.{0,1,3,4}`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Stem(nn.Module):
    """The first double convolution. Names `conv.conv.{0,1,3,4}`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Down(nn.Module):
    """Max-pooling by 2, then a double convolution. Names `mpconv.1.conv.{0,1,3,4}`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mpconv = nn.Sequential(nn.MaxPool2d(2), DoubleConv(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mpconv(x)
        return out


class Up(nn.Module):
    """Bilinear doubling (corners aligned), the skip put before it, then a double convolution. Names `conv.conv.{0,1,3,4}`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = DoubleConv(inputs, outputs)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """`x` (B, C, H, W) and `skip` (B, D, 2H, 2W), or None for a level without a skip, to (B, outputs, 2H, 2W)."""
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        out: Tensor = self.conv(x if skip is None else torch.cat([skip, x], dim=1))
        return out


class Head(nn.Module):
    """The 1x1 convolution to the classes. Names `conv.{weight,bias}`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


def reduce_to(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU: what brings image features to the U-Net's width. Names `{0,1}`."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def join_at(site: Tensor, feature: Tensor, align_corners: bool = True) -> Tensor:
    """`feature` (B, C, h, w) resized bilinearly to the size of `site` (B, D, H, W) and put behind it: (B, D + C, H, W).

    The authors of deocclusion and OccAmodal align the corners of the two maps, those of SDAmodal do not.
    """
    feature = F.interpolate(feature, size=site.shape[-2:], mode="bilinear", align_corners=align_corners)
    return torch.cat([site, feature], dim=1)


class MaskUNet(nn.Module):
    """The U-Net over masks of deocclusion and ASBU: five levels, four skips.

    At the published widths and two inputs it has 3,352,002 parameters in 128 tensors.

    Args:
        inputs: channels in: visible mask and eraser; or visible mask and boundary; or the visible mask alone.
        widths: channels of the five levels.
        image: channels of image features joined at the lowest level (0: none), reduced to the last width first.
        outputs: channels out.
        final_skip: False leaves out the skip at full resolution (table 4 of the SDAmodal paper).
    """

    def __init__(
        self,
        inputs: int = 2,
        widths: Sequence[int] = (32, 64, 128, 256, 256),
        image: int = 0,
        outputs: int = 2,
        final_skip: bool = True,
    ) -> None:
        super().__init__()
        a, b, c, d, e = widths
        self.final_skip = final_skip
        self.inc = Stem(inputs, a)
        self.down1, self.down2, self.down3, self.down4 = Down(a, b), Down(b, c), Down(c, d), Down(d, e)
        if image:
            self.reduce_dim = reduce_to(image, e)
        lowest = e + (e if image else 0)
        self.up1, self.up2, self.up3 = Up(lowest + d, c), Up(2 * c, b), Up(2 * b, a)
        self.up4 = Up(2 * a if final_skip else a, a)
        self.outc = Head(a, outputs)

    def forward(self, x: Tensor, image: Tensor | None = None) -> Tensor:
        """`x` (B, inputs, S, S) float, S a multiple of 16, and image features (B, image, s, s), to (B, outputs, S, S)."""
        # Down: (B, widths[k], S / 2^k, S / 2^k).
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        x5 = self.down4(x4)
        if image is not None:
            # Image features join at the lowest level: (B, 2 e, S / 16, S / 16).
            x5 = join_at(x5, self.reduce_dim(image))
        # Up again, each level beside its skip.
        x = self.up2(self.up1(x5, x4), x3)
        x = self.up4(self.up3(x, x2), x1 if self.final_skip else None)
        out: Tensor = self.outc(x)
        return out


def xavier(network: nn.Module, gain: float = 0.02) -> nn.Module:
    """Initialise as deocclusion does: convolutions by Xavier's normal law with a small gain, biases 0, norms 1. In place."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight, gain=gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return network


def boundary(visible: Tensor, eraser: Tensor) -> Tensor:
    """ASBU's occlusion boundary: where both, grown by a 5x5 square, meet. (B, 1, S, S) float of 0 and 1.

    Args:
        visible: (B, 1, S, S) float, above 0 on the visible mask (1, or the category number).
        eraser: (B, 1, S, S) float of 0 and 1.
    """
    # A maximum over 5 x 5 pixels is dilation.
    grown = [F.max_pool2d((mask > 0).float(), 5, stride=1, padding=2) for mask in (visible, eraser)]
    return grown[0] * grown[1]


def in_turn(run: Callable[..., Tensor], *inputs: Tensor) -> NDArray[np.float32]:
    """Run a batch: on a CPU one by one, where batches gain nothing and change the last bits of a crop's numbers."""
    with torch.inference_mode():
        if inputs[0].device.type == "cpu" and len(inputs[0]) > 1:
            made = torch.cat([run(*(part[k : k + 1] for part in inputs)) for k in range(len(inputs[0]))])
        else:
            made = run(*inputs)
        values: NDArray[np.float32] = made.float().cpu().numpy()
    return values
