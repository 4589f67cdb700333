"""The method `pix2gestalt`: visible mask in; drawn wholes with their masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ...core.crop import Crop
from ...core.errors import OptionError, reason_of
from ...core.image import Image
from ...core.mask import Mask, Size
from ...core.options import OnlyWith, Options
from ...core.soft_mask import SoftMask
from ...networks.latent_diffusion.sampling import Settings, encode_pictures, join, sample
from ...plugins.protocols import Context, Method, Prediction, Request, frame_of
from ...runtime.devices import Dtype, pick_device, pick_dtype
from .cutout import Matting, white_mask

if TYPE_CHECKING:
    import torch

    from ...networks.latent_diffusion.model import Networks

__all__ = ["Frame", "Pix2Gestalt", "Pix2GestaltOptions"]


class Pix2GestaltOptions(Options):
    """Options of pix2gestalt; the defaults are the authors'; the paper names none of them."""

    only_with: ClassVar[OnlyWith] = {
        "eta": ("solver", ("ddim",)),
        "matting_model": ("cutout", ("matting",)),
        "enlarge": ("crop", ("object",)),
    }
    model: str = Field("pix2gestalt", description="fetched weights by name, or a folder of converted or trained ones")
    guidance: float = Field(
        2.0, ge=0, le=20, description="weight of the condition (the authors': 2; they advise 1 to 2)"
    )
    steps: int = Field(
        200, ge=2, le=1000, description="of the solver (the authors': 200 with ddim; 25 suffice for the others)"
    )
    eta: float = Field(1.0, ge=0, le=1, description="noise of each ddim step (the authors': 1)")
    solver: Literal["ddim", "dpm++", "dpm++sde", "unipc"] = Field(
        "ddim", description="ddim is the authors'; dpm++, dpm++sde and unipc give the answer in about 25 steps"
    )
    cutout: Literal["white", "matting"] = Field(
        "white", description="mask by the white background (the authors' evaluation) or by a matting network"
    )
    threshold: int = Field(250, ge=1, le=254, description="grey values above it are background (the authors': 250)")
    matting_model: str = Field(
        "vitmatte-small", description="fetched ViTMatte weights by name, or a folder, for cutout=matting"
    )
    crop: Literal["frame", "object"] = Field(
        "frame",
        description="frame: the whole photo, squeezed to a square (the authors'); object: a square around the object",
    )
    enlarge: float = Field(
        4.0, ge=1, le=50, description="area of the square to that of the visible box, for crop=object"
    )
    batch: int = Field(
        0, ge=0, le=256, description="pictures per network evaluation; 0: 16 on a GPU, 1 on a CPU (exactly repeatable)"
    )
    dtype: Dtype = Field("auto", description="of UNet and CLIP; auto: bf16 (or fp16) on a GPU, fp32 on a CPU")
    compile: bool = Field(False, description="compile the UNet (slow at the first call, faster afterwards)")


@dataclass(frozen=True)
class Frame:
    """The whole picture of size (H, W), squeezed to `size` x `size`: the authors' window. Same verbs as `Crop`."""

    shape: Size
    size: int
    origin: tuple[int, int] = (0, 0)

    def image(self, image: Image, fill: Any = 0) -> Image:
        """(size, size, 3) uint8; `fill` is not needed."""
        import cv2

        return np.asarray(cv2.resize(image, (self.size, self.size), interpolation=cv2.INTER_AREA))

    def mask(self, mask: Mask) -> NDArray[np.float32]:
        """Coverage (size, size) float32 in [0, 1]."""
        import cv2

        values = mask.to_array(self.shape).astype(np.float32)
        return np.asarray(cv2.resize(values, (self.size, self.size), interpolation=cv2.INTER_AREA))

    def image_back(self, picture: Image) -> Image:
        """(H, W, 3) uint8, by Lanczos as the original."""
        import cv2

        return np.asarray(cv2.resize(picture, self.shape[::-1], interpolation=cv2.INTER_LANCZOS4))

    def soft_back(self, values: NDArray[np.float32]) -> SoftMask:
        """A map (size, size) at the picture's size (bilinear)."""
        import cv2

        full = cv2.resize(values.astype(np.float32), self.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return SoftMask(np.clip(full, 0, 1))


class Pix2Gestalt(Method):
    """Draws each whole object on white with a latent diffusion model and takes mask and colours from the drawing."""

    name: ClassVar[str] = "pix2gestalt"
    summary: ClassVar[str] = "a diffusion model trained on 837,000 pairs draws the whole object; masks and colours"
    Options: ClassVar[type[Options]] = Pix2GestaltOptions
    paper: ClassVar[str] = "Ozguroglu et al., pix2gestalt: Amodal Segmentation by Synthesizing Wholes, CVPR 2024"
    license: ClassVar[str] = (
        "Apache-2.0 code; the released weights have no license text, their repository is CC BY-NC 4.0"
    )
    memory: ClassVar[str] = (
        "weights: 2.7 GB in bf16, 5 GB in fp32; the pictures of a batch come on top; works on a CPU, slowly"
    )
    extra: ClassVar[str] = "diffusion"
    weights: ClassVar[tuple[str, ...]] = ("pix2gestalt",)

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        self.networks = self._load()
        self.matting = None
        if self.options.cutout == "matting":
            self.matting = Matting(self.options.matting_model, self.networks.unet.device)

    def _load(self) -> Networks:
        import torch

        from ...networks.latent_diffusion.folder import ready_folder
        from ...networks.latent_diffusion.model import Networks

        device = pick_device(self.device)
        networks = Networks.from_pretrained(ready_folder(self.options.model), pick_dtype(self.options.dtype, device))
        networks.to(device)
        networks.unet.to(memory_format=torch.channels_last)  # convolutions are quicker so
        if self.options.compile:
            networks.unet.compile()
        return networks

    def embed(self, image: Image) -> Any:
        """Token and latent of the squeezed photo (with crop=object they depend on the object)."""
        if self.options.crop == "object":
            return None
        window = Frame(frame_of(image), self.networks.size)
        return encode_pictures(self.networks, window.image(image)[None])

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        windows = [self._window(image, request) for request in requests]
        rows = [(index, number) for index, request in enumerate(requests) for number in range(request.samples)]
        condition = self._condition(embedded, image, windows, requests).take([index for index, _ in rows])
        seeds = [(requests[index].seed, number) for index, number in rows]
        drawn = self._draw(condition, seeds, context)
        soft = self._masks(drawn)
        answers: list[list[Prediction]] = [[] for _ in requests]
        for (index, _), picture, values in zip(rows, drawn, soft, strict=True):
            answers[index].append(self._prediction(windows[index], requests[index], picture, values))
        return [sorted(predictions, key=lambda prediction: -(prediction.score or 0)) for predictions in answers]

    def _window(self, image: Image, request: Request) -> Frame | Crop:
        if self.options.crop == "object":
            return Crop.around(request.visible.box, self.networks.size, enlarge=self.options.enlarge, margin=1.5)
        return Frame(frame_of(image), self.networks.size)

    def _condition(
        self, embedded: Any, image: Image, windows: Sequence[Frame | Crop], requests: Sequence[Request]
    ) -> Any:
        """One row per request; one request after the other on a CPU, so that no object changes the others' rounding."""
        import torch

        from ...networks.latent_diffusion.sampling import Condition

        rows = []
        for window, request in zip(windows, requests, strict=True):
            coverage = window.mask(request.visible)
            bits = coverage > 0.5
            if not bits.any():  # thinner than half a pixel at the network's size
                bits = coverage > 0
            parts: tuple[torch.Tensor, torch.Tensor] = embedded
            if embedded is None:
                parts = encode_pictures(self.networks, window.image(image, "edge")[None])
            rows.append(join(self.networks, *parts, bits[None]))
        return Condition(torch.cat([row.token for row in rows]), torch.cat([row.concat for row in rows]))

    def _draw(self, condition: Any, seeds: Sequence[tuple[int, int]], context: Context) -> NDArray[np.uint8]:
        if not self.options.compile:
            return sample(self.networks, condition, seeds, self._settings(), context.progress)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return sample(self.networks, condition, seeds, self._settings(), context.progress)
        except TorchDynamoException as error:
            raise OptionError(
                f"the UNet cannot be compiled here ({reason_of(error)}); use the option compile=false"
            ) from error

    def _settings(self) -> Settings:
        options = self.options
        batch = options.batch or (1 if self.networks.unet.device.type == "cpu" else 16)
        return Settings(options.steps, options.eta, options.guidance, options.solver, batch)

    def _masks(self, drawn: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        if self.matting is not None:
            return [self.matting.alpha(picture[None], self.options.threshold)[0] for picture in drawn]
        return [white_mask(picture, self.options.threshold).astype(np.float32) for picture in drawn]

    def _prediction(
        self, window: Frame | Crop, request: Request, picture: Image, values: NDArray[np.float32]
    ) -> Prediction:
        soft = window.soft_back(values)
        amodal = soft.threshold(0.5)
        score = amodal.overlap(request.visible) / request.visible.area  # a whole that forgets what can be seen is wrong
        probability = soft if self.matting is not None else None
        return Prediction(amodal, window.image_back(picture), window.origin, probability, score=score)
