"""`NovelView`: the protocol of models that draw an object from other cameras, and the cameras themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UsageError
from ...geometry.camera import Camera, orbit
from ...plugins import registry
from ...plugins.protocols import Plugin, Progress, no_progress

if TYPE_CHECKING:
    import torch

__all__ = ["Denoiser", "NovelView", "RelativeCamera", "create_novel_view", "orbit_cameras", "studio"]

DISTANCE, ANGLE = 1.5, float(2 * np.degrees(np.arctan(16 / 35)))
"""The camera that Zero-1-to-3 and SyncDreamer were trained with: a lens of 35 mm on a sensor of 32 mm, 1.5 longest sides away."""


@dataclass(frozen=True)
class RelativeCamera:
    """A camera around the object, told from the camera of the input picture; both look at the object's middle, upright.

    Attributes:
        elevation: how much higher, degrees.
        azimuth: how far to the right around the object (counter-clockwise seen from above), degrees.
        radius: how much farther away, in the object's longest side.
    """

    elevation: float = 0.0
    azimuth: float = 0.0
    radius: float = 0.0

    def to_dict(self) -> dict[str, float]:
        """JSON-ready."""
        return asdict(self)


class Denoiser(ABC):
    """What Score Distillation needs of a view-conditioned diffusion model of one object."""

    size: int
    """Side of the pictures, in pixels."""
    device: torch.device
    """Where its networks are."""
    levels: torch.Tensor
    """(T,) cumulative products of the noise schedule: x_t = sqrt(levels[t]) x + sqrt(1 - levels[t]) noise."""

    @abstractmethod
    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, size, size) in [0, 1] to the model's latents (N, c, h, w), differentiable."""

    @abstractmethod
    def noise(self, noisy: torch.Tensor, time: int, cameras: Sequence[RelativeCamera]) -> torch.Tensor:
        """The predicted noise, like `noisy` (N, c, h, w), for views from `cameras`; guidance included, no gradient."""


class NovelView(Plugin):
    """The cut-out of a whole object and relative cameras to pictures."""

    size: int = 256
    """Side of the pictures, in pixels."""

    @abstractmethod
    def draw(
        self,
        rgba: NDArray[np.uint8],
        cameras: Sequence[RelativeCamera],
        *,
        elevation: float = 0.0,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> NDArray[np.uint8]:
        """Draw the object.

        Args:
            rgba: (h, w, 4) uint8, straight alpha, as `Completion.rgba`.
            cameras: where to look from.
            elevation: of the input's camera above the object's horizon, degrees; models that do not need it ignore it.
            seed: same seed, same pictures.
            progress: called once per network evaluation.

        Returns:
            (N, size, size, 3) uint8 RGB on white.

        Raises:
            DataError: there is no object in the picture.
            UsageError: the model cannot look from one of the cameras.
        """

    def cameras(self, count: int, elevation: float = 0.0) -> list[RelativeCamera]:
        """`count` cameras around the object that this model can look from, the first at azimuth 0.

        Raises:
            UsageError: this model has a fixed number of views.
        """
        return orbit_cameras(count)

    def denoiser(self, rgba: NDArray[np.uint8], guidance: float) -> Denoiser:
        """The model as Score Distillation uses it. Raises UsageError if it is no view-conditioned diffusion model."""
        raise UsageError(
            f"{self.name} is no view-conditioned diffusion model; Score Distillation needs one, such as zero123"
        )


def studio(camera: RelativeCamera, elevation: float = 0.0, size: int = 256) -> Camera:
    """The camera in the upright object's axes (y up), for an input camera `elevation` degrees above the horizon.

    The object's longest side is 1; the input's camera has azimuth 0, the distance 1.5 and the angle of view 49.1 degrees.
    """
    height = min(max(elevation + camera.elevation, -89.9), 89.9)
    return orbit(camera.azimuth, height, distance=DISTANCE + camera.radius, fov=ANGLE, size=size)


def orbit_cameras(count: int, elevation: float = 0.0) -> list[RelativeCamera]:
    """`count` cameras around the object, the first at azimuth 0, all `elevation` degrees above the input's."""
    return [RelativeCamera(elevation, 360 * number / count) for number in range(count)]


def create_novel_view(name: str, options: Mapping[str, Any] | None = None, device: str = "auto") -> NovelView:
    """A novel-view model by name, as `amodal list novel-views` shows them.

    Raises:
        UnknownNameError, OptionError, WeightsError, MissingExtraError.
    """
    made = registry.create("novel-views", name, options, device)
    assert isinstance(made, NovelView)
    return made
