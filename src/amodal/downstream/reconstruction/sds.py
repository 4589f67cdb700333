"""`sds`: Score Distillation Sampling (Poole et al. 2022): a field whose views a view-conditioned diffusion model believes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.options import Options
from ...geometry.mesh import Mesh
from ...pipeline.seal import digest
from ...plugins.protocols import Progress, no_progress
from ..cutout import square_input
from ..views.protocol import RelativeCamera, studio
from .multiview import FieldLifter, FieldOptions, as_seen

if TYPE_CHECKING:
    import torch

    from ..views.protocol import Denoiser
    from .field import VoxelField

__all__ = ["ScoreDistillation", "distillation", "distillation_gradient"]


class ScoreDistillationOptions(FieldOptions):
    """Options of Score Distillation."""

    views: str = Field("zero123", description="a view-conditioned diffusion model of: amodal list novel-views")
    steps: int = Field(600, ge=1, le=100_000, description="of the optimisation; each evaluates the network once")
    guidance: float = Field(5.0, ge=1, le=100, description="weight of the picture and the camera")
    size: int = Field(64, ge=8, le=512, description="side of the rendered pictures, pixels")
    noise: tuple[float, float] = Field((0.02, 0.98), description="least and largest noise, shares of the schedule")
    elevations: tuple[float, float] = Field((-10.0, 60.0), description="range of the cameras' elevations, degrees")
    distil: float = Field(0.1, ge=0, description="weight of the distillation")
    colour: float = Field(500.0, ge=0, description="weight of the input view's colours")
    silhouette: float = Field(50.0, ge=0, description="weight of the input view's silhouette")
    smooth: float = Field(0.1, ge=0, description="weight of the smoothness of the field")


class ScoreDistillation(FieldLifter):
    """Optimises a field so that its noised renders are denoised to themselves, and its input view is the input."""

    name: ClassVar[str] = "sds"
    summary: ClassVar[str] = "Score Distillation of a view-conditioned diffusion model (zero123) into a textured mesh"
    Options: ClassVar[type[Options]] = ScoreDistillationOptions
    paper: ClassVar[str] = "Poole et al., DreamFusion: Text-to-3D using 2D Diffusion, ICLR 2023"
    memory: ClassVar[str] = "the novel-view model's, and 2 GB; needs a GPU in practice"

    def lift(
        self, rgba: NDArray[np.uint8], seed: int = 0, progress: Progress = no_progress, keep: Path | None = None
    ) -> Mesh:
        import torch

        from .field import VoxelField, visual_hull
        from .optimise import StateFile, optimise

        options = self.options
        denoiser = self.maker.denoiser(rgba, options.guidance)
        picture, mask = square_input(rgba, options.size)
        device = denoiser.device
        target = torch.from_numpy(picture).to(device).float() / 255
        silhouette = torch.from_numpy(mask).to(device)
        front = studio(RelativeCamera(), options.elevation, options.size)
        field = VoxelField(options.cells).to(device)
        field.fill(visual_hull(silhouette[None], [front], options.cells) * ball(options.cells).to(device))

        def loss(step: int, chance: torch.Generator) -> torch.Tensor:
            shown, through = field.picture(front)
            fit = options.colour * ((shown - target) ** 2).mean()
            fit = fit + options.silhouette * ((through - silhouette) ** 2).mean()
            top = (
                options.noise[1] - (options.noise[1] - 0.5) * step / options.steps
            )  # less noise later: first form, then detail
            distil = distillation(field, denoiser, options, (options.noise[0], max(top, options.noise[0])), chance)
            total: torch.Tensor = fit + options.distil * distil + options.smooth * field.roughness()
            return total

        settings = {**self.provenance(), "seed": seed, "input": digest(rgba)}
        state = StateFile(keep, settings) if keep else None
        optimise(field, loss, options.steps, rate=options.rate, seed=seed, state=state, progress=progress)
        return as_seen(field.mesh(), options.elevation, self.name)


def distillation(
    field: VoxelField, denoiser: Denoiser, options: Any, noise: tuple[float, float], chance: torch.Generator
) -> torch.Tensor:
    """A number whose gradient is that of Score Distillation for one random camera and noise level.

    Args:
        field: rendered.
        denoiser: believes.
        options: elevation, elevations and size.
        noise: range of the noise level, shares of the schedule.
        chance: of camera, level and noise.
    """
    import torch
    from torch.nn.functional import interpolate

    turn, lift, level = torch.rand(3, generator=chance).tolist()
    low, high = options.elevations
    camera = RelativeCamera(low + (high - low) * lift - options.elevation, 360 * turn - 180)
    time = round((noise[0] + (noise[1] - noise[0]) * level) * (len(denoiser.levels) - 1))
    shown, _ = field.picture(studio(camera, options.elevation, options.size))
    picture = interpolate(shown.permute(2, 0, 1)[None], (denoiser.size, denoiser.size), mode="bilinear")
    latents = denoiser.encode(picture)
    fresh = torch.randn(latents.shape, generator=chance).to(latents)
    kept = float(denoiser.levels[time])
    with torch.no_grad():
        predicted = denoiser.noise(kept**0.5 * latents + (1 - kept) ** 0.5 * fresh, time, [camera])
    gradient = distillation_gradient(predicted.to(fresh), fresh, kept)
    return (gradient * latents).sum()


def distillation_gradient(predicted: torch.Tensor, noise: torch.Tensor, kept: float) -> torch.Tensor:
    """w(t) (predicted - noise), DreamFusion's equation 3 without the network's Jacobian; w(t) = 1 - kept, the noise's variance."""
    return ((1 - kept) * (predicted - noise)).detach()


def ball(cells: int) -> torch.Tensor:
    """The ball of diameter 1 on a field's grid: (n, n, n) of 0 and 1."""
    import torch

    line = torch.linspace(-0.5, 0.5, cells)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    return ((x**2 + y**2 + z**2) <= 0.25).float()
