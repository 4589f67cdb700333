"""Pictures and prompts to what the SAM networks take, and their masks back: our own, since transformers' processors of
SAM 2 and 3 ask for torchvision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.image import Image
from ..core.mask import Size
from ..weights.config import read_config

if TYPE_CHECKING:
    import torch

__all__ = ["IMAGENET", "Preprocess"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of SAM and SAM 2, of pixels in [0, 1]."""
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""The same of SAM 3."""


@dataclass(frozen=True)
class Preprocess:
    """How one network sees a picture.

    Attributes:
        side: the network's square input, in pixels (1024; SAM 3: 1008).
        keep_aspect: SAM scales the longer side to `side` and pads at the right and the bottom; SAM 2 and 3 stretch to the square.
        mean: per channel, of pixels in [0, 1].
        std: per channel.
    """

    side: int
    keep_aspect: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, kind: str, side: int, folder: Path | None = None) -> Preprocess:
        """The documented preprocessing of a kind ("sam", "sam2", "sam3"), with the mean and std that the folder states."""
        mean, std = HALF if kind == "sam3" else IMAGENET
        made = cls(side, kind == "sam", mean, std)
        stated = _stated(folder) if folder else {}
        if len(stated.get("image_mean") or ()) == 3 and len(stated.get("image_std") or ()) == 3:
            made = replace(made, mean=tuple(stated["image_mean"]), std=tuple(stated["image_std"]))
        return made

    def shown(self, size: Size) -> Size:
        """The (h, w) at which a picture of `size` (H, W) is shown to the network, without the padding."""
        if not self.keep_aspect:
            return (self.side, self.side)
        scale = self.side / max(size)
        return (max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5)))

    def pixels(self, image: Image) -> NDArray[np.float32]:
        """The picture (H, W, 3) uint8 RGB as (1, 3, side, side) float32: scaled (bilinear, antialiased), normalised, padded with 0."""
        from PIL import Image as PilImage

        height, width = self.shown((image.shape[0], image.shape[1]))
        small = PilImage.fromarray(np.ascontiguousarray(image)).resize((width, height), PilImage.Resampling.BILINEAR)
        values = (np.asarray(small, np.float32) / 255 - np.asarray(self.mean, np.float32)) / np.asarray(
            self.std, np.float32
        )
        out = np.zeros((1, 3, self.side, self.side), np.float32)
        out[0, :, :height, :width] = values.transpose(2, 0, 1)
        return out

    def places(self, points: Any, size: Size) -> NDArray[np.float32]:
        """Points (..., 2) in pixels of a picture of `size`, by our convention (pixel j covers [j, j+1)), in the network's own.

        The networks count pixel centres as whole numbers and add one half themselves; here it is taken off beforehand.
        """
        height, width = self.shown(size)
        scale = np.array([width / size[1], height / size[0]])
        return np.asarray(np.asarray(points, np.float64) * scale - 0.5, np.float32)

    def seen(self, logits: torch.Tensor, size: Size) -> torch.Tensor:
        """The part of low-resolution masks (N, M, h, w) that shows the picture, without the padding."""
        height, width = self.shown(size)
        rows = max(1, round(logits.shape[-2] * height / self.side))
        columns = max(1, round(logits.shape[-1] * width / self.side))
        return logits[..., :rows, :columns]

    def full(self, logits: torch.Tensor, size: Size) -> torch.Tensor:
        """Low-resolution masks (N, M, h, w) at the picture's size: (N, M, H, W), bilinear as in the original programs."""
        from torch.nn.functional import interpolate

        if self.keep_aspect:
            height, width = self.shown(size)
            logits = interpolate(logits, (self.side, self.side), mode="bilinear", align_corners=False)
            logits = logits[..., :height, :width]
        return interpolate(logits, size, mode="bilinear", align_corners=False)


def _stated(folder: Path) -> dict[str, Any]:
    """What the folder's own files say of the preprocessing; empty if nothing."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if path.is_file():
            content = read_config(path)
            inner = content.get("image_processor", content)
            return inner if isinstance(inner, dict) else {}
    return {}
