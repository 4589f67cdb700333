"""The convolutional part of ResNet-18, with torchvision's module names (its ImageNet weights fit).

Written out because timm, which has it too, imports torchvision, and torchvision is not to be needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MEAN", "STD", "ResNet18", "normalise"]

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet's RGB in [0, 1]: what the network expects to be subtracted and divided by."""


class Block(nn.Module):
    """Two 3x3 convolutions beside an identity (He et al. 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.downsample is None:
            return F.relu(out + x)
        # A 1 x 1 convolution of every other pixel. oneDNN's own with a stride writes beyond its memory on processors without
        # AVX-512 where less than 8 channels come in, so pixels are picked first.
        return F.relu(out + self.downsample(x[:, :, :: self.stride, :: self.stride]))


class ResNet18(nn.Module):
    """RGB (B, 3, H, W), normalised by `MEAN` and `STD`, to features (B, widths[3], H/32, W/32)."""

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for number, width in enumerate(widths, 1):
            layer = nn.Sequential(Block(before, width, 1 if number == 1 else 2), Block(width, width, 1))
            self.add_module(f"layer{number}", layer)
            before = width

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x


def normalise(images: Tensor) -> Tensor:
    """RGB (N, S, S, 3) uint8 to (N, 3, S, S) float32 on its device, by ImageNet's mean and deviation."""
    scaled = images.permute(0, 3, 1, 2).float() / 255
    mean, deviation = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (scaled - mean) / deviation
