"""`painter`: the embedded feed-forward inpainter; colours and texture for occluded pixels with ONNX Runtime, without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.options import Options
from ...networks.onnx_session import open_session
from ...plugins.protocols import Inpainter, Progress, Sampling, no_progress
from ...weights.catalogue import embedded
from ..classical import fill_each, membrane

__all__ = ["Painter"]


class PainterOptions(Options):
    """Options of the painter."""

    weights: str | None = Field(None, description="an ONNX file of your own in place of the embedded one")


class Painter(Inpainter):
    """Fills what is unknown smoothly, then lets a network add what the known pixels tell; deterministic, the seed does not matter."""

    name: ClassVar[str] = "painter"
    summary: ClassVar[str] = "colours and texture from the object's own visible pixels in one pass; no GPU, no download"
    license: ClassVar[str] = "Apache-2.0"
    Options: ClassVar[type[Options]] = PainterOptions
    memory: ClassVar[str] = "about 300 MB"
    smooth: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("painter",)
    size = 192

    def warm_up(self) -> None:
        self._session()

    def paint(
        self,
        conditions: NDArray[np.float32],
        areas: NDArray[np.float32],
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        self.one_schedule(sampling)
        return fill_each(conditions, areas, self._fill, progress)

    def _fill(self, picture: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The painted picture; one at a time, so that it is the same bytes whatever else is in the batch."""
        smooth = np.where(hole[..., None], membrane(picture, hole), picture)
        planes = np.ascontiguousarray(smooth.transpose(2, 0, 1)[None])  # (1, 3, S, S)
        known = (~hole).astype(np.float32)[None, None]  # (1, 1, S, S)
        painted = self._session().run(None, {"picture": planes, "known": known})[0][0].transpose(1, 2, 0)
        return np.asarray(np.clip(painted, -1, 1), np.float32)

    def _session(self) -> Any:
        return open_session(self.options.weights or str(embedded("painter")))
