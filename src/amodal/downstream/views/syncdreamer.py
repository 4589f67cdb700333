"""`syncdreamer`: SyncDreamer (Liu et al. 2023) draws sixteen views of the object that agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.errors import UsageError
from ...core.options import Options
from ...plugins.protocols import Progress, no_progress
from ..cutout import square_input
from .protocol import NovelView, RelativeCamera, orbit_cameras
from .zero123 import ViewOptions, load_networks

__all__ = ["SyncDreamer"]


class SyncDreamerOptions(ViewOptions):
    """Options of SyncDreamer; the defaults are those of its released program."""

    model: str = Field(
        "syncdreamer", description="fetched weights by name, a checkpoint, or a folder of converted ones"
    )
    guidance: float = Field(2.0, ge=0, le=20, description="weight of the condition")
    steps: int = Field(200, ge=2, le=1000, description="of ddim")


class SyncDreamer(NovelView):
    """All views are denoised together; at each step a feature volume of the object lets each see the others."""

    name: ClassVar[str] = "syncdreamer"
    summary: ClassVar[str] = "SyncDreamer draws sixteen views at elevation 30 degrees that agree with each other"
    Options: ClassVar[type[Options]] = SyncDreamerOptions
    paper: ClassVar[str] = (
        "Liu et al., SyncDreamer: Generating Multiview-consistent Images from a Single-view Image, ICLR 2024"
    )
    license: ClassVar[str] = "Apache-2.0 code; MIT weights"
    memory: ClassVar[str] = "weights: 3.2 GB in bf16, 6 GB in fp32; needs a GPU in practice"
    extra: ClassVar[str] = "diffusion"
    weights: ClassVar[tuple[str, ...]] = ("syncdreamer",)

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        from ...networks.latent_diffusion.model import SYNCDREAMER

        self.networks = load_networks(self.options.model, SYNCDREAMER, self.options.dtype, device)
        self.size = self.networks.size

    def cameras(self, count: int, elevation: float = 0.0) -> list[RelativeCamera]:
        from ...networks.latent_diffusion.volume import ELEVATION

        views = self.networks.volume.views
        if count != views:
            raise UsageError(f"{self.name} makes {views} views, not {count}; ask for {views}, or choose zero123")
        return orbit_cameras(count, ELEVATION - elevation)

    def draw(
        self,
        rgba: NDArray[np.uint8],
        cameras: Sequence[RelativeCamera],
        *,
        elevation: float = 0.0,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> NDArray[np.uint8]:
        from ...networks.latent_diffusion.multiview import sample_views
        from ...networks.latent_diffusion.sampling import Settings
        from .zero123 import numbers

        own = self.cameras(self.networks.volume.views, elevation)
        wanted = [place(camera, own) for camera in cameras]
        if None in wanted:
            odd = cameras[wanted.index(None)]
            raise UsageError(
                f"{self.name} draws only its own {len(own)} views, {360 / len(own):g} degrees apart and "
                f"{own[0].elevation:g} degrees above the input's camera; not {odd}"
            )
        options = self.options
        batch = options.batch or (1 if self.networks.unet.device.type == "cpu" else 8)
        settings = Settings(options.steps, options.eta, options.guidance, "ddim", batch)
        picture, _ = square_input(rgba, self.size, options.crop)
        drawn = sample_views(self.networks, picture, numbers(own), seed, settings, progress)
        return drawn[[number for number in wanted if number is not None]]


def place(camera: RelativeCamera, own: Sequence[RelativeCamera]) -> int | None:
    """Which of a model's own cameras this is."""
    for number, other in enumerate(own):
        turn = (camera.azimuth - other.azimuth + 180) % 360 - 180
        if max(abs(turn), abs(camera.elevation - other.elevation), abs(camera.radius - other.radius)) < 1e-3:
            return number
    return None
