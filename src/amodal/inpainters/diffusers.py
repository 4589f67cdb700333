"""`sd15`, `sd2`, `sdxl`, `flux-fill`, and `diffusers` for any other checkpoint: inpainting with diffusion models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..core.errors import AmodalError, OptionError
from ..core.options import Options
from ..plugins.protocols import Inpainter, Progress, Sampling, no_progress
from ..runtime.devices import Dtype, pick_device, pick_dtype
from .backbone import Offload, Placement

__all__ = ["SD2", "SD15", "SDXL", "Diffusers", "FluxFill"]

GPU_BATCH = 8


class DiffusersOptions(Options):
    """Options of a diffusion inpainter."""

    model: str = Field("", description="weights: a name of `amodal list weights`, a fetched hub name, or a folder")
    dtype: Dtype = Field("auto", description="precision; auto is bf16 or fp16 on a GPU, fp32 on a CPU")
    offload: Offload = Field(
        "none",
        description="for small GPUs: model moves each network in only while it works, layers each layer (slow, smallest)",
    )
    int8: bool = Field(False, description="keep the denoising network's linear weights in 8 bits: half the memory")
    batch: int = Field(
        0,
        ge=0,
        le=64,
        description=f"pictures per network call; 0 is {GPU_BATCH} on a GPU and 1 on a CPU (a batch then equals its singles)",
    )
    size: int = Field(
        0,
        ge=0,
        le=4096,
        description="side of the pictures, in pixels, rounded to what the network takes; 0 is its native size",
    )
    blank: bool = Field(
        False,
        description="blank the area in the picture that the network sees in its extra channels, as diffusers does; "
        "otherwise it sees the whole condition picture (tuning-free paper); not for networks of 4 channels, which have none",
    )


class SD15Options(DiffusersOptions):
    """Options of Stable Diffusion 1.5 inpainting."""

    model: str = Field("sd15", description=DiffusersOptions.model_fields["model"].description)


class SD2Options(DiffusersOptions):
    """Options of Stable Diffusion 2 inpainting."""

    model: str = Field("sd2", description=DiffusersOptions.model_fields["model"].description)


class SDXLOptions(DiffusersOptions):
    """Options of SDXL inpainting."""

    model: str = Field("sdxl", description=DiffusersOptions.model_fields["model"].description)


class FluxFillOptions(DiffusersOptions):
    """Options of FLUX.1 Fill."""

    model: str = Field("flux-fill", description=DiffusersOptions.model_fields["model"].description)
    int8: bool = Field(True, description=DiffusersOptions.model_fields["int8"].description)
    guidance: float = Field(30.0, ge=0, le=100, description="the distilled guidance, an input of the network")


class Diffusers(Inpainter):
    """A diffusion model from a folder in the hub's layout. No text: the empty prompt, one network evaluation a step."""

    name: ClassVar[str] = "diffusers"
    summary: ClassVar[str] = "any Stable Diffusion 1.5, 2, XL or FLUX.1 Fill checkpoint: a folder or a fetched hub name"
    Options: ClassVar[type[Options]] = DiffusersOptions
    license: ClassVar[str] = "that of the weights"
    default_sampling = Sampling(strength=0.99)  # exactly 1 makes artefacts with SDXL inpainting
    memory: ClassVar[str] = "that of the network; see sd15, sd2, sdxl, flux-fill"
    extra: ClassVar[str] = "diffusion"

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        from .checkpoints import Checkpoint

        chosen = self.options
        if not chosen.model:
            raise OptionError(
                "the inpainter 'diffusers' needs weights: name a folder or hub repository as the inpainter, or as its option model"
            )
        place = pick_device(device)
        checkpoint = Checkpoint(chosen.model)
        self.revision = checkpoint.revision
        placement = Placement(place, pick_dtype(chosen.dtype, place), chosen.offload)
        with _memory_told(place):
            self.backbone = checkpoint.backbone(placement, blank=chosen.blank, int8=chosen.int8)
        if chosen.blank and not self.backbone.sees_picture:
            raise OptionError(
                f"blank=true changes nothing: the network of {chosen.model} takes 4 channels and sees no picture beside; leave it out"
            )
        if hasattr(chosen, "guidance"):
            self.backbone.guidance = chosen.guidance  # type: ignore[attr-defined]
        self.size = self.backbone.check_size(chosen.size or self.backbone.native_size)

    def provenance(self) -> dict[str, Any]:
        return {**super().provenance(), "revision": self.revision}

    def paint(
        self,
        conditions: NDArray[np.float32],
        areas: NDArray[np.float32],
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress = no_progress,
    ) -> NDArray[np.float32]:
        import torch

        pictures = torch.from_numpy(np.ascontiguousarray(np.moveaxis(conditions, -1, 1), np.float32))
        soft = torch.from_numpy(np.ascontiguousarray(areas, np.float32))[:, None]
        at_once = self.options.batch or (1 if self.backbone.placement.device.type == "cpu" else GPU_BATCH)
        bar = StepCounter(progress, len(seeds), at_once, sampling)
        with _memory_told(self.backbone.placement.device):
            parts = [
                self.backbone.paint(
                    pictures[first : first + at_once],
                    soft[first : first + at_once],
                    seeds[first : first + at_once],
                    sampling,
                    bar.advance,
                )
                for first in range(0, len(seeds), at_once)
            ]
        return np.ascontiguousarray(np.moveaxis(torch.cat(parts).numpy(), 1, -1))


@contextmanager
def _memory_told(device: Any) -> Iterator[None]:
    """A GPU that is too small is told what would help."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise AmodalError(
            f"{device} is out of memory; set inpainter.batch=1, inpainter.dtype=fp16, inpainter.int8=true or "
            "inpainter.offload=model (then layers), or take a smaller inpainter (sd15)"
        ) from error


class StepCounter:
    """Counts network evaluations over all batches of a call and reports them as one bar."""

    def __init__(self, progress: Progress, pictures: int, at_once: int, sampling: Sampling) -> None:
        from .leak import steps_run

        self.progress, self.done = progress, 0
        self.total = -(-pictures // at_once) * steps_run(sampling.steps, sampling.strength)
        progress("step", 0, self.total)

    def advance(self) -> None:
        """One network evaluation is done."""
        self.done += 1
        self.progress("step", min(self.done, self.total), self.total)


class SD15(Diffusers):
    """Stable Diffusion 1.5 inpainting, 512 x 512."""

    name: ClassVar[str] = "sd15"
    summary: ClassVar[str] = "Stable Diffusion 1.5 inpainting, 512 x 512"
    paper: ClassVar[str] = "Rombach et al.: High-Resolution Image Synthesis with Latent Diffusion Models, CVPR 2022"
    Options: ClassVar[type[Options]] = SD15Options
    license: ClassVar[str] = "weights: CreativeML Open RAIL-M"
    memory: ClassVar[str] = "weights: 1.9 GB on the GPU in 16 bits; pictures come on top"
    weights: ClassVar[tuple[str, ...]] = ("sd15",)


class SD2(Diffusers):
    """Stable Diffusion 2 inpainting, 512 x 512."""

    name: ClassVar[str] = "sd2"
    summary: ClassVar[str] = "Stable Diffusion 2 inpainting, 512 x 512"
    paper: ClassVar[str] = SD15.paper
    Options: ClassVar[type[Options]] = SD2Options
    license: ClassVar[str] = "weights: CreativeML Open RAIL++-M"
    memory: ClassVar[str] = "weights: 1.9 GB on the GPU in 16 bits; pictures come on top"
    weights: ClassVar[tuple[str, ...]] = ("sd2",)


class SDXL(Diffusers):
    """SDXL inpainting 0.1, 1024 x 1024: the paper's best backbone."""

    name: ClassVar[str] = "sdxl"
    summary: ClassVar[str] = "SDXL inpainting, 1024 x 1024; the tuning-free paper's best backbone"
    paper: ClassVar[str] = "Podell et al.: SDXL, ICLR 2024"
    Options: ClassVar[type[Options]] = SDXLOptions
    license: ClassVar[str] = "weights: CreativeML Open RAIL++-M"
    memory: ClassVar[str] = "weights: 5.3 GB on the GPU in 16 bits; pictures come on top"
    weights: ClassVar[tuple[str, ...]] = ("sdxl",)


class FluxFill(Diffusers):
    """FLUX.1 Fill [dev], 1024 x 1024, by default with 8-bit weights as in the paper."""

    name: ClassVar[str] = "flux-fill"
    summary: ClassVar[str] = "FLUX.1 Fill, 1024 x 1024, with 8-bit weights"
    paper: ClassVar[str] = "Black Forest Labs: FLUX.1 Fill [dev], 2024"
    Options: ClassVar[type[Options]] = FluxFillOptions
    license: ClassVar[str] = "weights: FLUX.1 [dev] Non-Commercial License"
    memory: ClassVar[str] = "weights: 12 GB on the GPU in 8 bits, 24 GB in 16; pictures come on top"
    weights: ClassVar[tuple[str, ...]] = ("flux-fill",)
