"""OccAmodal as published: an occluder predictor, then an amodal predictor on the boundary between the two masks.

Zhan et al., Amodal Ground Truth and Completion in the Wild, section 4.1, figure 5 and the appendix. The authors released neither
code nor weights of it; the U-Net is that of their released single-stage network. About 51 million parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...networks.picture_unet import PictureUNet, picture_unet_layout
from ...networks.unet import boundary

__all__ = ["TwoStageOccAmodal", "layout_of"]


class TwoStageOccAmodal(nn.Module):
    """Stage 1 finds the occluder F, stage 2 completes the visible mask M from M and the boundary between M and F.

    Args:
        widths, image_widths, reduced, final_skip: of both predictors, see `PictureUNet`.
        find_occluder: False leaves stage 1 out: ASBU with its picture branch, which must be told the occluder.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256, 512, 512),
        image_widths: Sequence[int] = (64, 128, 256, 512),
        reduced: int = 256,
        final_skip: bool = True,
        find_occluder: bool = True,
    ) -> None:
        super().__init__()
        self.occluder = PictureUNet(1, widths, image_widths, reduced, final_skip) if find_occluder else None
        self.amodal = PictureUNet(2, widths, image_widths, reduced, final_skip)

    def forward(self, visible: Tensor, picture: Tensor, known: Tensor | None = None) -> tuple[Tensor | None, Tensor]:
        """Both stages.

        Args:
            visible: the visible mask M, (B, 1, S, S) float of 0 and 1; S is a multiple of 32.
            picture: normalised RGB, (B, 3, S, S).
            known: what is known to hide the object, (B, 1, S, S) float of 0 and 1, joined with what stage 1 finds: an occluder
                that the user names, or in training an artificial one that the picture does not show.

        Returns:
            stage 1: logits (B, 2, S, S) of "no occluder", "occluder" (None without stage 1); stage 2: (B, 2, S, S), ASBU's mean
            (before the sigmoid) and deviation (before the softplus). Stage 2 sees the binary occluder, p > 0.5, through which
            no gradient reaches stage 1.
        """
        first = None if self.occluder is None else self.occluder(visible, picture)
        hides = torch.zeros_like(visible) if first is None else (first[:, 1:] > first[:, :1]).to(visible.dtype)
        if known is not None:
            hides = torch.maximum(hides, known)
        return first, self.amodal(torch.cat([visible, boundary(visible, hides)], 1), picture)


def layout_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of `TwoStageOccAmodal` that a checkpoint was made with; {} if it is of another network."""
    found = picture_unet_layout(tensors, "amodal.")
    return {**found, "find_occluder": any(name.startswith("occluder.") for name in tensors)} if found else {}
