"""PCNet-C: fills in the occluded pixels of an object with partial convolutions (Zhan et al., CVPR 2020; Liu et al., ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.crop import Crop
from ...core.image import Image
from ...core.mask import Mask
from ...networks.resnet import MEAN, STD, normalise

__all__ = ["PartialConv", "PartialConvUNet", "complete_content"]

WIDTHS = (64, 128, 256, 512, 512, 512, 512)
KERNELS = (7, 5, 5, 3, 3, 3, 3)


class PartialConv(nn.Module):
    """A convolution over the known pixels only, weighted by how many there are; knows afterwards what it reached.

    The count runs over pixels and channels, as in the authors' checkpoints.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.input_conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        self.mask_conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.input_conv.weight)
        nn.init.ones_(self.mask_conv.weight)
        self.mask_conv.requires_grad_(False)

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """`x` and `known` (B, C, H, W), known 1 or 0, to values and what is known of them, (B, D, h, w) each."""
        raw = F.conv2d(x * known, self.input_conv.weight, None, self.input_conv.stride, self.input_conv.padding)
        # Every output channel of the counting convolution is the same sum of ones.
        weight = self.mask_conv.weight[:1]
        count = F.conv2d(known, weight, None, self.input_conv.stride, self.input_conv.padding)
        reached = (count > 0).to(x.dtype)
        out = raw / count.clamp(min=1)
        if self.input_conv.bias is not None:
            out = out + self.input_conv.bias.view(1, -1, 1, 1)
        return out * reached, reached.expand_as(out)


class PartialBlock(nn.Module):
    """A partial convolution, then perhaps batch norm and an activation. Names `conv.{input_conv,mask_conv}`, `bn`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, norm: bool = True, slope: float | None = 0.0
    ) -> None:
        super().__init__()
        self.conv = PartialConv(inputs, outputs, kernel, stride, bias=slope is None)
        self.bn = nn.BatchNorm2d(outputs) if norm else None
        self.slope = slope

    def forward(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        x, known = self.conv(x, known)
        x = x if self.bn is None else self.bn(x)
        return (x if self.slope is None else F.leaky_relu(x, self.slope)), known


class PartialConvUNet(nn.Module):
    """PCNet-C: erased RGB and visible mask to RGB. 25,782,959 trainable parameters at the published widths.

    Args:
        inputs: channels in: normalised RGB and the object's visible mask.
        widths: channels of the encoder's levels.
    """

    def __init__(self, inputs: int = 4, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        self.depth = len(widths)
        before = [inputs, *widths]
        for level, width in enumerate(widths, 1):
            self.add_module(
                f"enc_{level}", PartialBlock(before[level - 1], width, KERNELS[level - 1], 2, norm=level > 1)
            )
        above = widths[-1]
        for level in range(self.depth, 1, -1):
            skip = before[level - 1]
            self.add_module(f"dec_{level}", PartialBlock(above + skip, skip, slope=0.2))
            above = skip
        self.dec_1 = PartialBlock(above + inputs, 3, norm=False, slope=None)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """`x` (B, inputs, S, S), zero where unknown, and `known` (B, inputs, S, S), to normalised RGB (B, 3, S, S).

        S is a multiple of 2 to the number of levels (128).
        """
        values, masks = [x], [known]
        for level in range(1, self.depth + 1):
            x, known = self.get_submodule(f"enc_{level}")(x, known)
            values.append(x)
            masks.append(known)
        for level in range(self.depth, 0, -1):
            x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), values[level - 1]], dim=1)
            known = torch.cat([F.interpolate(known, scale_factor=2, mode="nearest"), masks[level - 1]], dim=1)
            x, known = self.get_submodule(f"dec_{level}")(x, known)
        return x


def complete_content(
    network: nn.Module, image: Image, visible: Mask, amodal: Mask, crop: Crop, widen: int = 5, category: int = 1
) -> NDArray[np.uint8]:
    """The picture of the whole object in a crop: occluded pixels from PCNet-C, the photograph elsewhere.

    Args:
        network: a `PartialConvUNet`.
        image: (H, W, 3) uint8 RGB.
        visible: what can be seen of the object.
        amodal: the whole object.
        crop: the window, with the network's size.
        widen: side of the square by which the occluded mask is dilated at the network's size, so that no rim of the
            occluder is taken for the object; 5 in the paper's demos.
        category: value of the mask channel on the visible object.

    Returns:
        (side, side, 3) uint8 RGB, whose top-left pixel is the image's pixel `crop.origin`.
    """
    import cv2

    device = next(network.parameters()).device
    window = Crop(crop.origin, crop.side, crop.side).image(image)
    small = cv2.resize(window, (crop.size, crop.size), interpolation=cv2.INTER_CUBIC)
    seen = crop.bits(visible, linear=True)
    hole = crop.bits(amodal, linear=True) & ~seen
    if widen:
        hole = cv2.dilate(hole.astype(np.uint8), np.ones((widen, widen), np.uint8)).astype(bool)
    with torch.inference_mode():
        rgb = normalise(torch.from_numpy(small[None]).to(device))
        known = torch.from_numpy(~hole).to(device).float()[None, None]
        given = torch.from_numpy(seen).to(device).float()[None, None] * category
        made = network(torch.cat([rgb * known, given], dim=1), known.expand(-1, 4, -1, -1))
        painted = (made[0].cpu().permute(1, 2, 0) * torch.tensor(STD) + torch.tensor(MEAN)).numpy() * 255
    filled = np.where(hole[..., None], np.clip(painted, 0, 255), small).astype(np.uint8)
    return crop.image_back(filled)
