"""The six-level U-Net over masks with features of the picture: both predictors of OccAmodal, and setting D of SDAmodal's table 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from .resnet import ResNet18
from .unet import Down, Head, Stem, Up, join_at, reduce_to, xavier

__all__ = ["PictureUNet", "picture_unet_layout"]


class PictureUNet(nn.Module):
    """A U-Net over masks with five skips; ResNet-18 features of the picture join at its lowest level.

    Args:
        inputs: mask channels.
        widths: channels at full size, 1/2, 1/4, 1/8, 1/16 and 1/32.
        image_widths: channels of the ResNet's layers; layer 4 is reduced by a 1 x 1 convolution.
        reduced: channels of the reduced features.
        final_skip: the fifth skip, at full size.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512),
        image_widths: Sequence[int] = (64, 128, 256, 512),
        reduced: int = 256,
        final_skip: bool = True,
    ) -> None:
        super().__init__()
        a, b, c, d, e, f = widths
        self.final_skip = final_skip
        self.inc = Stem(inputs, a)
        self.down1, self.down2, self.down3 = Down(a, b), Down(b, c), Down(c, d)
        self.down4, self.down5 = Down(d, e), Down(e, f)
        self.reduce_dim = reduce_to(image_widths[3], reduced)
        self.up0, self.up1, self.up2 = Up(f + reduced + e, d), Up(2 * d, c), Up(2 * c, b)
        self.up3, self.up4 = Up(2 * b, a), Up(2 * a if final_skip else a, a)
        self.outc = Head(a, 2)
        xavier(self)  # the convolutions of the masks; the picture's keep their own law, or ImageNet's weights
        self.image_encoder = ResNet18(image_widths)

    def forward(self, masks: Tensor, picture: Tensor) -> Tensor:
        """`masks` (B, inputs, S, S) and the normalised picture (B, 3, S, S), S a multiple of 32, to (B, 2, S, S)."""
        x1 = self.inc(masks)  # (B, a, S, S)
        x2 = self.down1(x1)  # (B, b, S/2, S/2)
        x3 = self.down2(x2)  # (B, c, S/4, S/4)
        x4 = self.down3(x3)  # (B, d, S/8, S/8)
        x5 = self.down4(x4)  # (B, e, S/16, S/16)
        seen = self.reduce_dim(self.image_encoder(picture))  # (B, reduced, S/32, S/32)
        x6 = join_at(self.down5(x5), seen)  # (B, f + reduced, S/32, S/32)
        x = self.up2(self.up1(self.up0(x6, x5), x4), x3)  # (B, b, S/4, S/4)
        x = self.up4(self.up3(x, x2), x1 if self.final_skip else None)  # (B, a, S, S)
        out: Tensor = self.outc(x)
        return out


def picture_unet_layout(tensors: Mapping[str, Tensor], prefix: str = "") -> dict[str, Any]:
    """The arguments of `PictureUNet`, without `inputs`, that a checkpoint was made with; {} if it is of another network."""
    levels = ["inc.conv.conv.0.weight", *(f"down{level}.mpconv.1.conv.0.weight" for level in range(1, 6))]
    layers = [f"image_encoder.layer{number}.0.conv1.weight" for number in range(1, 5)]
    last, reduced = "up4.conv.conv.0.weight", "reduce_dim.0.weight"
    if any(prefix + name not in tensors for name in (*levels, *layers, last, reduced)):
        return {}
    widths = tuple(len(tensors[prefix + name]) for name in levels)
    return {
        "widths": widths,
        "image_widths": tuple(len(tensors[prefix + name]) for name in layers),
        "reduced": len(tensors[prefix + reduced]),
        "final_skip": tensors[prefix + last].shape[1] == 2 * widths[0],
    }
