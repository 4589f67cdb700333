"""`lifted`: novel views without a diffusion model, as renders of the mesh that a lifter makes of the cut-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.options import Options
from ...geometry.camera import orbit
from ...geometry.render import Renderer
from ...plugins import registry
from ...plugins.protocols import Progress, no_progress
from .protocol import NovelView, RelativeCamera, studio

__all__ = ["Lifted"]


class LiftedOptions(Options):
    """Options of views by lifting."""

    lifter: str = Field("inflate", description="a name of: amodal list lifters")
    size: int = Field(256, ge=16, le=2048, description="side of the pictures, pixels")


class Lifted(NovelView):
    """Lifts the cut-out to a mesh and renders it: quick, works everywhere, and knows as little as its lifter."""

    name: ClassVar[str] = "lifted"
    summary: ClassVar[str] = "renders of the mesh that a lifter makes; without weights, a stand-in"
    Options: ClassVar[type[Options]] = LiftedOptions
    license: ClassVar[str] = "Apache-2.0"
    extra: ClassVar[str] = "scenes"

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.size = self.options.size
        self.lifter: Any = registry.create("lifters", self.options.lifter, None, device)

    def draw(
        self,
        rgba: NDArray[np.uint8],
        cameras: Sequence[RelativeCamera],
        *,
        elevation: float = 0.0,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> NDArray[np.uint8]:
        mesh = self.lifter.lift(rgba, seed, progress)
        renderer = Renderer(mesh.moved(orbit(0, elevation).axes))  # upright
        pictures = []
        for done, camera in enumerate(cameras, 1):
            pictures.append(renderer.paint(studio(camera, elevation, self.size))[0])
            progress("view", done, len(cameras))
        return np.stack(pictures)
