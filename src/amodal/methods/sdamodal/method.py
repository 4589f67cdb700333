"""The method `sdamodal`: visible mask and Stable Diffusion features of the picture to the amodal mask."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from ...core.crop import Crop
from ...core.image import Image
from ...core.mask import Box
from ...core.options import Options
from ...core.paths import own_path
from ...core.soft_mask import SoftMask
from ...networks.checkpoints import at_trained_size, check_trained, crop_side
from ...plugins.protocols import Context, Method, Prediction, Progress, Request, frame_of
from ...runtime.devices import pick_device
from ...weights.catalogue import cache_folder
from .cache import FeatureCache
from .crops import crop_feature
from .features import DiffusionFeatures, FeatureSettings

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["SDAmodal", "SDAmodalOptions", "load_network"]


class SDAmodalOptions(Options):
    """Options of `sdamodal`; the defaults are the paper's."""

    weights: str = Field(
        "sdamodal", description="the authors' ckpt_SDAmodal.tar or your own: a name of amodal list weights, or a file"
    )
    model: str = Field(
        "sd21",
        description="diffusion model that gives the features: a name of amodal list weights, a hub name, a folder",
    )
    layers: tuple[Annotated[int, Field(ge=0, le=3)], ...] = Field(
        (0, 1, 2, 3),
        description="up-blocks whose features are used; 1 alone is the single layer of table 4, rows B and E",
    )
    final_skip: bool = Field(True, description="the fifth skip connection, at full resolution; table 4, rows D to F")
    timestep: int = Field(181, ge=0, le=999, description="noise level of the features; section 4.2")
    draws: int = Field(8, ge=1, le=64, description="noise draws whose features are averaged")
    image_size: int = Field(
        768,
        ge=64,
        le=2048,
        multiple_of=64,
        description="the picture's side for the features, in pixels; 512 suits SD 1.x",
    )
    input_size: int | None = crop_side(32, "the paper's 512")
    enlarge: float = Field(3.0, ge=1.0, le=20.0, description="area of the crop over that of the visible box")
    margin: float = Field(1.1, ge=1.0, le=5.0, description="least side of the crop over those of the visible box")
    beyond_frame: bool = Field(
        False, description="keep what the network draws outside of the picture; the paper cuts it"
    )
    feature_seed: int = Field(0, ge=0, description="seed of the noise draws")
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="number format of the diffusion model; auto: fp16 on CUDA, else fp32"
    )
    draw_batch: int = Field(4, ge=1, le=64, description="draws that pass the UNet together; fewer take less memory")
    batch: int = Field(4, ge=1, le=64, description="objects that pass the network together; on a CPU always one")
    cache: str | None = Field("", description="folder for the features; empty: amodal's cache folder; none: not kept")
    cache_gb: float = Field(5.0, gt=0, description="the least recently used features are deleted beyond this size")

    @field_validator("layers")
    @classmethod
    def _ascending(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if not layers or list(layers) != sorted(set(layers)):
            raise ValueError("give one or more different up-blocks in ascending order, for example 0,1,2,3")
        return layers


class Features:
    """The features of one picture, computed when the first object asks for them."""

    def __init__(self, source: DiffusionFeatures, image: Image) -> None:
        self._source, self._image = source, image
        self._lock = threading.Lock()
        self._maps: list[Tensor] | None = None

    def maps(self, progress: Progress) -> list[Tensor]:
        """(C, h, w) float32 on the device, one per layer."""
        with self._lock:
            if self._maps is None:
                device = pick_device(self._source.device_name)
                self._maps = [value.to(device).float() for value in self._source(self._image, progress)]
            return self._maps


class SDAmodal(Method):
    """One-stage amodal completion of objects of any class, without being told the occluder."""

    name: ClassVar[str] = "sdamodal"
    summary: ClassVar[str] = "U-Net over the visible mask and Stable Diffusion features; any class, no occluder needed"
    Options: ClassVar[type[Options]] = SDAmodalOptions
    paper: ClassVar[str] = "Zhan et al., Amodal Ground Truth and Completion in the Wild, CVPR 2024, section 4.2"
    license: ClassVar[str] = (
        "code Apache-2.0; the authors' weights: none stated; Stable Diffusion 2.1: CreativeML Open RAIL++-M"
    )
    draws: ClassVar[bool] = False
    memory: ClassVar[str] = (
        "weights of Stable Diffusion 2.1: 2.6 GB in fp16, 5.2 GB in fp32; pictures come on top, fewer with a lower draw_batch"
    )
    extra: ClassVar[str] = "diffusion"
    weights: ClassVar[tuple[str, ...]] = ("sdamodal", "sd21")
    takes_unseen: ClassVar[bool] = True

    def __init__(self, options: Any = None, device: str = "auto") -> None:
        super().__init__(options, device)
        chosen = self.options
        cache = None
        if chosen.cache is not None:
            folder = own_path(chosen.cache) if chosen.cache else cache_folder() / "features"
            cache = FeatureCache(folder, int(chosen.cache_gb * 1e9))
        self.features = DiffusionFeatures(
            chosen.model, feature_settings(chosen), device, cache=cache, batch=chosen.draw_batch
        )
        self.network = load_network(chosen, self.features.channels, device)
        check_trained(chosen, "timestep", "image_size")
        self.options = at_trained_size(chosen, 512)

    def embed(self, image: Image) -> Features:
        """The features of the picture; shared by all its objects, computed when the first one is asked for."""
        return Features(self.features, image)

    def complete(
        self, embedded: Any, image: Image, requests: Sequence[Request], context: Context
    ) -> list[list[Prediction]]:
        maps = embedded.maps(context.progress)
        predictions: list[list[Prediction]] = []
        # On a CPU batches gain nothing, and one by one an object gets the very same numbers whatever its company.
        batch = 1 if maps[0].device.type == "cpu" else self.options.batch
        for start in range(0, len(requests), batch):
            crops = [self.crop(request.place) for request in requests[start : start + batch]]
            visible = [crop.bits(request.visible) for crop, request in zip(crops, requests[start:], strict=False)]
            for crop, values in zip(crops, self.predict(visible, crops, maps, frame_of(image)), strict=True):
                predictions.append([self.paste(crop, values, image)])
            context.progress("object", len(predictions), len(requests))
        return predictions

    def crop(self, box: Box) -> Crop:
        """The square around the box of a visible mask that the network sees."""
        return Crop.around(box, self.options.input_size, enlarge=self.options.enlarge, margin=self.options.margin)

    def predict(self, visible: list[Any], crops: list[Crop], maps: list[Tensor], size: tuple[int, int]) -> Any:
        """Probability of "object" in each crop: (N, S, S) float32."""
        import torch

        device = maps[0].device
        with torch.inference_mode():
            given = torch.from_numpy(np.stack(visible)).to(device).float()[:, None]
            features = [torch.stack([crop_feature(value, size, crop.box) for crop in crops]) for value in maps]
            return self.network(given, features).softmax(dim=1)[:, 1].cpu().numpy()

    def paste(self, crop: Crop, values: Any, image: Image) -> Prediction:
        """A crop's probabilities to a prediction: the more probable class, enlarged and cut at a half."""
        amodal = crop.mask_back((values > 0.5).astype(np.float32))
        soft = crop.soft_back(values)
        if not self.options.beyond_frame:
            size = frame_of(image)
            amodal = amodal.clip(size)
            x0, y0, x1, y1 = soft.box
            box = (max(0, x0), max(0, y0), min(size[1], x1), min(size[0], y1))
            soft = SoftMask(soft.crop(box), box[:2])
        return Prediction(amodal, probability=soft)


def feature_settings(options: SDAmodalOptions) -> FeatureSettings:
    """The part of the options that the features depend on."""
    return FeatureSettings(
        layers=options.layers,
        timestep=options.timestep,
        size=options.image_size,
        draws=options.draws,
        seed=options.feature_seed,
        dtype=options.dtype,
    )


def load_network(options: SDAmodalOptions, channels: Sequence[int], device: str) -> nn.Module:
    """The network with its weights, ready to predict.

    Raises:
        WeightsError: the weights are absent, damaged, or made for other layers or skips.
    """
    from ...networks.checkpoints import facts_of, read_checkpoint
    from ...weights import fit_state
    from .network import SDAmodalNet, aligned_corners, widths_of

    path, tensors = read_checkpoint(options.weights)
    widths: dict[str, Any] = widths_of(tensors)
    corners = aligned_corners(facts_of(path))
    network = SDAmodalNet(channels, options.layers, options.final_skip, align_corners=corners, **widths)
    fit_state(network, tensors, f"{options.weights} for layers={options.layers}, final_skip={options.final_skip}")
    return network.to(pick_device(device)).eval()
