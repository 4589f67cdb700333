"""`zero123`: Zero-1-to-3 (Liu et al. 2023) and its XL weights draw the object from any camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.options import OnlyWith, Options
from ...plugins.protocols import Progress, no_progress
from ...runtime.devices import Dtype, pick_device, pick_dtype
from ..cutout import square_input
from .protocol import Denoiser, NovelView, RelativeCamera

if TYPE_CHECKING:
    import torch

    from ...networks.latent_diffusion.model import Architecture, Networks
    from ...networks.latent_diffusion.sampling import Condition

__all__ = ["ViewOptions", "Zero123", "load_networks"]


class ViewOptions(Options):
    """What novel-view diffusion models have in common."""

    model: str = Field("zero123-xl", description="fetched weights by name, a checkpoint, or a folder of converted ones")
    guidance: float = Field(3.0, ge=0, le=20, description="weight of the condition")
    steps: int = Field(50, ge=2, le=1000, description="of the solver")
    eta: float = Field(1.0, ge=0, le=1, description="noise of each ddim step")
    crop: bool = Field(
        True, description="scale the object to 200/256 of the square; false: the square picture as it is"
    )
    batch: int = Field(0, ge=0, le=256, description="views per network evaluation; 0: 8 on a GPU, 1 on a CPU")
    dtype: Dtype = Field("auto", description="of UNet and CLIP; auto: bf16 (or fp16) on a GPU, fp32 on a CPU")


class Zero123Options(ViewOptions):
    """Options of Zero-1-to-3; the defaults are those of its demo."""

    only_with: ClassVar[OnlyWith] = {"eta": ("solver", ("ddim",))}
    solver: Literal["ddim", "dpm++", "dpm++sde", "unipc"] = Field(
        "ddim", description="ddim is the paper's; the others give the answer in about 25 steps"
    )


def load_networks(model: str, architecture: Architecture, dtype: Dtype, device: str) -> Networks:
    """Networks by name, folder or checkpoint, on their device. Raises UnknownNameError, WeightsError."""
    import torch

    from ...networks.latent_diffusion.folder import ready_folder
    from ...networks.latent_diffusion.model import Networks

    place = pick_device(device)
    folder = ready_folder(model, architecture)
    networks = Networks.from_pretrained(folder, pick_dtype(dtype, place), architecture).to(place)
    networks.unet.to(memory_format=torch.channels_last)
    return networks


class Zero123(NovelView):
    """A diffusion model of the object in another view, conditioned on the picture and the relative camera."""

    name: ClassVar[str] = "zero123"
    summary: ClassVar[str] = "Zero-1-to-3 (XL) draws the object from any camera; views are independent of each other"
    Options: ClassVar[type[Options]] = Zero123Options
    paper: ClassVar[str] = "Liu et al., Zero-1-to-3: Zero-shot One Image to 3D Object, ICCV 2023"
    license: ClassVar[str] = "Apache-2.0 code; MIT weights"
    memory: ClassVar[str] = "weights: 2.7 GB in bf16, 5 GB in fp32; works on a CPU, slowly"
    extra: ClassVar[str] = "diffusion"
    weights: ClassVar[tuple[str, ...]] = ("zero123-xl", "zero123")

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        from ...networks.latent_diffusion.model import ZERO123

        self.networks = load_networks(self.options.model, ZERO123, self.options.dtype, device)
        self.size = self.networks.size

    def draw(
        self,
        rgba: NDArray[np.uint8],
        cameras: Sequence[RelativeCamera],
        *,
        elevation: float = 0.0,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> NDArray[np.uint8]:
        from ...networks.latent_diffusion.sampling import Settings, sample

        options = self.options
        batch = options.batch or (1 if self.networks.unet.device.type == "cpu" else 8)
        settings = Settings(options.steps, options.eta, options.guidance, options.solver, batch)
        seeds = [(seed, number) for number in range(len(cameras))]
        return sample(self.networks, self.condition(rgba, cameras), seeds, settings, progress)

    def condition(self, rgba: NDArray[np.uint8], cameras: Sequence[RelativeCamera]) -> Condition:
        """What the UNet is told of each view: the token of picture and camera, and the picture's latent."""
        from ...networks.latent_diffusion.sampling import Condition, encode_pictures

        picture, _ = square_input(rgba, self.size, self.options.crop)
        token, latent = encode_pictures(self.networks, picture[None], numbers(cameras))
        return Condition(token, latent.expand(len(cameras), -1, -1, -1))

    def denoiser(self, rgba: NDArray[np.uint8], guidance: float) -> Denoiser:
        return _Denoiser(self, rgba, guidance)


def numbers(cameras: Sequence[RelativeCamera]) -> torch.Tensor:
    """The pose numbers (N, 4) of cameras."""
    import torch

    from ...networks.latent_diffusion.volume import pose_numbers

    table = torch.tensor([[camera.elevation, camera.azimuth, camera.radius] for camera in cameras], dtype=torch.float32)
    return pose_numbers(*table.T)


class _Denoiser(Denoiser):
    """Zero-1-to-3 for Score Distillation: the picture is embedded once, the camera at each step."""

    def __init__(self, model: Zero123, rgba: NDArray[np.uint8], guidance: float) -> None:
        import torch
        from diffusers import DDIMScheduler

        from ...networks.latent_diffusion.model import SCHEDULE
        from ...networks.latent_diffusion.sampling import clip_embedding, latent_mode, to_tensor

        self.networks, self.guidance, self.size = model.networks, guidance, model.size
        self.device = self.networks.unet.device
        self.levels = DDIMScheduler(**SCHEDULE).alphas_cumprod
        picture, _ = square_input(rgba, self.size, model.options.crop)
        with torch.no_grad():
            values = to_tensor(picture[None], self.networks)
            self.embedding, self.latent = clip_embedding(self.networks, values), latent_mode(self.networks, values)

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        posterior = self.networks.vae.encode((pictures * 2 - 1).to(self.networks.vae.dtype)).latent_dist
        return posterior.mode() * self.networks.vae.config.scaling_factor  # type: ignore[no-any-return]

    def noise(self, noisy: torch.Tensor, time: int, cameras: Sequence[RelativeCamera]) -> torch.Tensor:
        import torch

        from ...networks.latent_diffusion.sampling import Condition, guided

        with torch.no_grad():
            pose = numbers(cameras).to(self.embedding)
            joined = torch.cat([self.embedding.expand(len(pose), -1), pose], dim=1)
            token = self.networks.projection(joined.to(self.networks.projection.weight.dtype))[:, None].float()
            condition = Condition(token, self.latent.expand(len(pose), -1, -1, -1))
            return guided(self.networks, noisy.float(), time, condition, self.guidance)
