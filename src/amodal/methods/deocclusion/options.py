"""Options of the deocclusion family."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ...core.options import OnlyWith, Options
from ...networks.checkpoints import crop_side

__all__ = ["AsbuOptions", "CropOptions", "DeocclusionOptions", "SingleStageOptions"]


class CropOptions(Options):
    """What all of the family share."""

    weights: str = Field(
        "", description="the network: a file of the authors' release or your own (.pth.tar, .safetensors)"
    )
    input_size: int | None = crop_side(16, "the authors' 256")
    enlarge: float = Field(3.0, ge=1.0, le=20.0, description="area of the crop over that of the visible box")
    margin: float = Field(
        1.1,
        ge=1.0,
        le=5.0,
        description="least side of the crop over those of the visible box; 1.5 in the authors' demos",
    )
    batch: int = Field(8, ge=1, le=256, description="crops that pass the network together; on a CPU always one")
    category: int | None = Field(
        None,
        ge=1,
        le=32767,
        description="value of the mask channel on every object, whatever the data tell (1: weights of COCO-A on KINS); none: "
        "each object's own category number where its data tell it (KINS), else 1 (COCO-A)",
    )
    beyond_frame: bool = Field(
        False, description="keep what the network draws outside of the picture; the paper cuts it"
    )


class DeocclusionOptions(CropOptions):
    """Options of `deocclusion` (PCNet-M, two stages: order, then completion)."""

    only_with: ClassVar[OnlyWith] = {
        "threshold": ("completion", ("network",)),
        "order_threshold": ("order", ("network",)),
    }
    scene: str = Field(
        "",
        description="visible masks of the picture's other objects: a folder of mask pictures, a label picture, or JSON",
    )
    order: Literal["network", "area", "larger", "y-axis", "hull"] = Field(
        "network",
        description="how it is found which of them lie in front; area: the smaller ones (the rule for COCO-A), larger: the larger "
        "ones (for KINS)",
    )
    completion: Literal["network", "hull"] = Field(
        "network",
        description="what completes under them; hull: the visible mask's convex hull as far as they cover it, the paper's baseline "
        "convexR",
    )
    eraser: Literal["ancestors", "neighbours"] = Field(
        "ancestors",
        description="what may hide the object: all in front of it, through others too; or all that touch it",
    )
    threshold: float = Field(0.2, gt=0, lt=1, description="on the probability, for completion")
    order_threshold: float = Field(0.1, gt=0, lt=1, description="on the probability, for the order")
    widen: int = Field(
        0,
        ge=0,
        le=50,
        description="pixels by which masks grow for the order; 3 to 5 bridge gaps between predicted masks",
    )
    content_weights: str = Field("", description="PCNet-C, which paints the occluded pixels; empty: the inpainter does")


class AsbuOptions(DeocclusionOptions):
    """Options of `asbu`: as `deocclusion`, with ASBU's thresholds and input."""

    threshold: float = Field(0.5, gt=0, lt=1, description="on mu, for completion; 0.3 for KINS")
    order_threshold: float = Field(0.5, gt=0, lt=1, description="on mu, for the order; 0.4 for KINS")
    boundary: bool = Field(
        True,
        description="the second input is the occlusion boundary; False: the eraser itself (the code's use_default)",
    )


class SingleStageOptions(CropOptions):
    """Options of `deocclusion-single`."""

    threshold: float = Field(0.5, gt=0, lt=1, description="on the probability")
    final_skip: bool = Field(True, description="the skip connection at full resolution")
