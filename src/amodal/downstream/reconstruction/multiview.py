"""`multiview`: a field fitted to views of the object, as SyncDreamer's views become a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.errors import DataError
from ...core.options import Options
from ...geometry.camera import Camera, orbit
from ...geometry.mesh import Mesh
from ...pipeline.seal import digest
from ...plugins.protocols import Progress, no_progress
from ..cutout import white_background
from ..views.protocol import create_novel_view, studio
from .lifters import Lifter

if TYPE_CHECKING:
    from .field import VoxelField
    from .optimise import StateFile

__all__ = ["FieldLifter", "FieldOptions", "Multiview", "fit_views"]


class FieldOptions(Options):
    """What the lifters that fit a field have in common."""

    model: str = Field("", description="weights of the novel-view model; empty: its own default")
    elevation: float = Field(0.0, ge=-89, le=89, description="of the photo's camera above the object, degrees")
    cells: int = Field(64, ge=8, le=256, description="corners of the field along each side")
    steps: int = Field(400, ge=1, le=100_000, description="of the optimisation")
    rate: float = Field(0.3, gt=0, le=10, description="of learning")
    smooth: float = Field(1e-2, ge=0, description="weight of the smoothness of the field")


class MultiviewOptions(FieldOptions):
    """Options of the multi-view lifter."""

    views: str = Field("syncdreamer", description="a name of: amodal list novel-views")
    count: int = Field(16, ge=2, le=360, description="views")
    agree: float = Field(0.9, gt=0, le=1, description="share of the views in which a cell must be inside, at the start")
    rays: int = Field(4096, ge=64, description="per step")


class FieldLifter(Lifter):
    """What the lifters that fit a field have in common: the novel-view model that they ask, in `maker`."""

    license: ClassVar[str] = "Apache-2.0 code; the novel-view model has its own"
    extra: ClassVar[str] = "diffusion,scenes"

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        chosen = {"model": self.options.model} if self.options.model else None
        self.maker = create_novel_view(self.options.views, chosen, device)


class Multiview(FieldLifter):
    """Draws the object from all around with a novel-view model, and fits a field of density and colour to the views.

    The field starts as the visual hull; colours and silhouettes of all views then shape it (Mildenhall et al. 2020, on a grid).
    """

    name: ClassVar[str] = "multiview"
    summary: ClassVar[str] = (
        "a field fitted to the views of a novel-view model (syncdreamer, zero123, ...), then a textured mesh"
    )
    Options: ClassVar[type[Options]] = MultiviewOptions
    paper: ClassVar[str] = "Liu et al., SyncDreamer, ICLR 2024 (which fits NeuS to its views)"
    memory: ClassVar[str] = "the novel-view model's, and 0.1 GB"

    def lift(
        self, rgba: NDArray[np.uint8], seed: int = 0, progress: Progress = no_progress, keep: Path | None = None
    ) -> Mesh:
        import torch

        from .optimise import StateFile

        options = self.options
        # 1. The views (N, S, S, 3) uint8 on white, drawn once: a fit that goes on finds them in its state.
        cameras = self.maker.cameras(options.count, options.elevation)
        settings = {**self.provenance(), "seed": seed, "input": digest(rgba)}
        state = StateFile(keep, settings) if keep else None

        def draw() -> torch.Tensor:
            drawn = self.maker.draw(rgba, cameras, elevation=options.elevation, seed=seed, progress=progress)
            return torch.from_numpy(drawn)

        pictures = (state.remember("views", draw) if state else draw()).numpy()
        # 2. Where they show the object (N, S, S), and their cameras in the upright object's axes.
        masks = np.stack([~white_background(picture) for picture in pictures])
        views = [studio(camera, options.elevation, self.maker.size) for camera in cameras]
        field = fit_views(
            pictures, masks, views, options, seed=seed, device=self.device, state=state, progress=progress
        )
        return as_seen(field.mesh(), options.elevation, self.name)


def fit_views(
    pictures: NDArray[np.uint8],
    masks: NDArray[np.bool_],
    cameras: Sequence[Camera],
    options: MultiviewOptions,
    *,
    seed: int = 0,
    device: str = "auto",
    state: StateFile | None = None,
    progress: Progress = no_progress,
) -> VoxelField:
    """Fit a field to given views.

    Args:
        pictures: (N, S, S, 3) uint8 RGB on white.
        masks: (N, S, S) bool: where the object is.
        cameras: of the pictures, in the upright object's axes; the object fits into the cube of side 1 around the origin.
        options: how; `count`, `elevation` and `views` are of no interest here.
        seed: of the rays.
        device: "auto", "cpu", "cuda", ...
        state: keeps the state of the fit.
        progress: called once per step.

    Raises:
        DataError: the views are empty, or no place in space is inside enough of the masks.
    """
    import torch

    from ...runtime.devices import pick_device
    from .field import VoxelField, rays, visual_hull
    from .optimise import optimise

    place = pick_device(device)
    seen = torch.from_numpy(np.asarray(masks)).to(place).float()
    # 1. The start: full in the visual hull, in the mean colour of what is seen.
    field = VoxelField(options.cells).to(place)
    inside = visual_hull(seen, cameras, options.cells) >= options.agree - 1e-6
    if not inside.any():
        raise DataError("the views have no common object: no place in space is inside enough of their masks")
    field.fill(inside, torch.from_numpy(pictures[masks].mean(axis=0) / 255))
    # 2. All pixels of all views as rays (N S S, 3) with their colours (N S S, 3) and opacities (N S S,).
    origins, directions = (torch.cat(part) for part in zip(*(rays(each, place) for each in cameras), strict=True))
    colours = torch.from_numpy(np.ascontiguousarray(pictures)).to(place).reshape(-1, 3).float() / 255
    opacity = seen.reshape(-1)

    def loss(step: int, chance: torch.Generator) -> torch.Tensor:
        # 3. Some rays a step: colour and opacity as drawn, neighbouring cells alike.
        rows = torch.randint(len(opacity), (options.rays,), generator=chance).to(place)
        shown, through = field.render(origins[rows], directions[rows])
        fit = ((shown - colours[rows]) ** 2).mean() + ((through - opacity[rows]) ** 2).mean()
        smooth: torch.Tensor = options.smooth * field.roughness()
        return fit + smooth

    optimise(field, loss, options.steps, rate=options.rate, seed=seed, state=state, progress=progress)
    return field


def as_seen(mesh: Mesh, elevation: float, lifter: str) -> Mesh:
    """An upright mesh in the axes of the input's camera, as lifters return it, with its notes."""
    return replace(mesh.moved(orbit(0, elevation).axes.T), notes={"lifter": lifter}).normalised()
