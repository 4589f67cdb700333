"""`classical`: inpainting without weights; colours diffuse inwards from the known pixels (OpenCV's Telea, or membrane)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..core.options import Options
from ..core.scaling import to_bytes, to_unit
from ..plugins.protocols import Inpainter, Progress, Sampling, no_progress

__all__ = ["Classical"]


class ClassicalOptions(Options):
    """Options of the classical inpainter."""

    kind: Literal["membrane", "telea", "navier-stokes"] = Field(
        "membrane",
        description="membrane: smooth colours; telea, navier-stokes: OpenCV's, sharper but streaky in wide areas",
    )
    radius: int = Field(5, ge=1, le=64, description="neighbourhood of telea and navier-stokes, in pixels")


class Classical(Inpainter):
    """Paints smooth colours, not texture; deterministic, so the seed does not matter."""

    name: ClassVar[str] = "classical"
    summary: ClassVar[str] = "colours diffused from the known pixels; no weights, no texture"
    license: ClassVar[str] = "Apache-2.0"
    Options: ClassVar[type[Options]] = ClassicalOptions
    size = 256

    def paint(
        self,
        conditions: NDArray[np.float32],
        areas: NDArray[np.float32],
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        self.one_schedule(sampling)
        return fill_each(conditions, areas, membrane if self.options.kind == "membrane" else self._opencv, progress)

    def _opencv(self, picture: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        import cv2

        how = cv2.INPAINT_TELEA if self.options.kind == "telea" else cv2.INPAINT_NS
        rgb = to_bytes(picture)
        filled = cv2.inpaint(rgb, hole.astype(np.uint8), self.options.radius, how)
        return to_unit(np.asarray(filled))


def fill_each(
    conditions: NDArray[np.float32],
    areas: NDArray[np.float32],
    fill: Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]],
    progress: Progress,
) -> NDArray[np.float32]:
    """Pictures (N, H, W, 3) in [-1, 1] whose areas (N, H, W) `fill` makes of the picture and its hole (H, W), one after the other.

    What is known stays as it is; a picture of which nothing or all is known is left alone.
    """
    out = np.clip(conditions, -1, 1).astype(np.float32)
    for index, area in enumerate(areas):
        hole = area > 0.5
        if hole.any() and not hole.all():
            out[index][hole] = fill(out[index], hole)[hole]
        progress("step", index + 1, len(areas))
    return out


def membrane(picture: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the hole by pull-push: average the known pixels down a pyramid, then fill each level from the coarser one.

    Args:
        picture: (H, W, 3) float32.
        hole: (H, W) bool; True where the picture is not known.
    """
    import cv2

    known = (~hole).astype(np.float32)
    levels = [(picture * known[..., None], known)]
    while min(levels[-1][1].shape) > 1 and levels[-1][1].min() == 0:
        colour, weight = levels[-1]
        half = (max(1, weight.shape[1] // 2), max(1, weight.shape[0] // 2))
        levels.append(
            (
                cv2.resize(colour, half, interpolation=cv2.INTER_AREA),
                cv2.resize(weight, half, interpolation=cv2.INTER_AREA),
            )
        )
    colour, weight = levels[-1]
    filled = colour / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels[:-1]):
        coarse = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        trust = np.minimum(weight, 1)[..., None]
        filled = colour / np.maximum(weight, 1e-6)[..., None] * trust + coarse * (1 - trust)
    return np.asarray(filled, np.float32)
