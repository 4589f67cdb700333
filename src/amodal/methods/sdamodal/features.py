"""Features of a picture from inside a frozen Stable Diffusion UNet: what SDAmodal sees of the image."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import AmodalError, OptionError, WeightsError, reported
from ...core.image import Image
from ...plugins.protocols import Progress, no_progress
from ...runtime.devices import pick_device, pick_dtype
from ...runtime.quiet import quiet
from ...weights.catalogue import locate
from ...weights.config import read_config
from ...weights.digest import content_digest
from ...weights.pretrained import half_variant, load_pretrained
from .cache import FeatureCache

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["DiffusionFeatures", "FeatureSettings"]


@dataclass(frozen=True)
class FeatureSettings:
    """What the features depend on beside picture and checkpoint.

    Attributes:
        layers: indices of the up-blocks whose outputs are taken, ascending.
        timestep: noise level of the input.
        size: side, in pixels, of the square to which the whole picture is resized.
        draws: number of noise draws whose features are averaged.
        seed: of the draws and of the VAE's sampling.
        dtype: "auto" (fp16 on CUDA, else fp32), "fp32", "fp16" or "bf16".
    """

    layers: tuple[int, ...] = (0, 1, 2, 3)
    timestep: int = 181
    size: int = 768
    draws: int = 8
    seed: int = 0
    dtype: str = "auto"


class DiffusionFeatures:
    """Pictures to feature maps: VAE, noise of one timestep, one pass of the UNet with the empty prompt, averaged over draws.

    The networks are loaded when a picture is first computed; pictures that are in the cache need none of them. Maps are
    always rounded to fp16, so that a picture from the cache gives exactly what it gave before. Threads may share it.

    Args:
        model: a name of weights, a hub name or a folder in diffusers' layout (SD 1.x, 2.x and their like).
        settings: see `FeatureSettings`.
        device: "auto", "cpu", "cuda", ...
        cache: where maps are kept, or None.
        batch: draws that pass the UNet together; takes memory, changes nothing but rounding.

    Raises:
        WeightsError: the checkpoint is not on this machine, or is not of this kind.
        OptionError: a layer that the UNet does not have.
    """

    def __init__(
        self,
        model: str,
        settings: FeatureSettings,
        device: str = "auto",
        cache: FeatureCache | None = None,
        batch: int = 4,
    ) -> None:
        self.folder = locate(model)
        self.settings = settings
        self.cache = cache
        self.batch = batch
        self.device_name = device
        self.channels = unet_channels(self.folder)
        if max(settings.layers) >= len(self.channels):
            raise OptionError(f"layers={settings.layers}: the UNet of {self.folder} has {len(self.channels)} up-blocks")
        self._lock = threading.Lock()
        self._parts: dict[str, Any] = {}
        self._print = ""

    def __call__(self, image: Image, progress: Progress = no_progress) -> list[Tensor]:
        """The maps of a picture (H, W, 3) uint8, one (C, h, w) fp16 per layer, on the CPU.

        Raises:
            AmodalError: the maps are not finite in this number format.
            WeightsError: the checkpoint cannot be loaded.
        """
        with self._lock:
            key = self.key(image) if self.cache else ""
            found = self.cache.get(key) if self.cache else None
            if found is not None and len(found) == len(self.settings.layers):
                return found
            maps = self._compute(image, progress)
            if self.cache:
                self.cache.put(key, maps)
            return maps

    def key(self, image: Image) -> str:
        """64 hexadecimal digits that tell picture, checkpoint and settings."""
        self._print = self._print or fingerprint(self.folder)
        digest = hashlib.sha256(np.ascontiguousarray(image).tobytes())
        record = {**asdict(self.settings), "dtype": str(self._dtype()), "shape": image.shape, "model": self._print}
        digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()

    def _dtype(self) -> torch.dtype:
        device = pick_device(self.device_name)
        name: Any = self.settings.dtype
        return pick_dtype("fp16" if name == "auto" and device.type == "cuda" else name, device)

    def _load(self) -> dict[str, Any]:
        if not self._parts:
            self._parts = load_parts(self.folder, pick_device(self.device_name), self._dtype())
        return self._parts

    def _compute(self, image: Image, progress: Progress) -> list[Tensor]:
        import torch

        parts, settings = self._load(), self.settings
        draws = torch.Generator().manual_seed(settings.seed)
        device, dtype = pick_device(self.device_name), self._dtype()
        with torch.inference_mode():
            # 1. The picture's latent distribution: mean and deviation (1, 4, h, w), h = size / 8.
            posterior = parts["vae"].encode(square(image, settings.size).to(device, dtype)).latent_dist
            shape = (settings.draws, *posterior.mean.shape[1:])
            # 2. D draws (D, 4, h, w), from the CPU's generator, so that all devices see the same noise.
            sampled = torch.randn(shape, generator=draws).to(device, dtype)
            noise = torch.randn(shape, generator=draws).to(device, dtype)
            clean = (posterior.mean + posterior.std * sampled) * parts["vae"].config.scaling_factor
            # 3. Noise of one time step of the diffusion, on all draws.
            steps = torch.full((settings.draws,), settings.timestep, device=device)
            noisy = parts["scheduler"].add_noise(clean, noise, steps)
            # 4. Through the UNet, `batch` draws at a time; sums (C, h, w) a layer, float32: fp16 would lose small parts.
            sums: list[Tensor] = []
            for start in range(0, settings.draws, self.batch):
                chosen = slice(start, start + self.batch)
                for number, made in enumerate(self._pass(noisy[chosen], steps[chosen])):
                    if start == 0:
                        sums.append(torch.zeros(made.shape[1:], device=device))
                    sums[number] += made.float().sum(dim=0)
                progress("features", min(start + self.batch, settings.draws), settings.draws)
        # 5. The mean over the draws.
        maps = [(total / settings.draws).half().cpu() for total in sums]
        if not all(bool(torch.isfinite(value).all()) for value in maps):
            raise AmodalError(f"the features of {self.folder} are not finite in {dtype}; use the option dtype=fp32")
        return maps

    def _pass(self, latents: Tensor, steps: Tensor) -> list[Tensor]:
        """The outputs of the wanted up-blocks, (B, C, h, w) each; the UNet is left after the last of them."""
        unet, text = self._parts["unet"], self._parts["text"]
        with listening(unet, self.settings.layers) as heard:
            unet(latents, steps, encoder_hidden_states=text.expand(len(latents), -1, -1))
        return [heard[layer] for layer in self.settings.layers]


class _HeardEnough(Exception):
    """Ends a pass of the UNet once the last wanted block has spoken."""


@contextmanager
def listening(unet: Any, layers: tuple[int, ...]) -> Iterator[dict[int, Tensor]]:
    """Within the block, a pass of `unet` fills the dictionary with its up-blocks' outputs and ends after the last of `layers`."""
    heard: dict[int, Tensor] = {}

    def hook(layer: int) -> Any:
        def keep(module: Any, inputs: Any, output: Tensor) -> None:
            heard[layer] = output
            if layer == max(layers):
                raise _HeardEnough

        return keep

    handles = [unet.up_blocks[layer].register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield heard
    except _HeardEnough:
        pass
    finally:
        for handle in handles:
            handle.remove()


def square(image: Image, side: int) -> Tensor:
    """The whole picture as (1, 3, side, side) float32 in [-1, 1]; its aspect ratio is not kept."""
    import torch
    from PIL import Image as PILImage

    small = np.array(PILImage.fromarray(image).resize((side, side), PILImage.Resampling.BICUBIC))
    return (torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255 - 0.5) * 2


def unet_channels(folder: Path) -> tuple[int, ...]:
    """Channels of the UNet's up-blocks, from its config alone.

    Raises:
        WeightsError: the folder does not hold a UNet in diffusers' layout.
    """
    config = folder / "unet" / "config.json"
    if not config.is_file():
        raise WeightsError(f"{folder} is not a diffusion model in diffusers' layout: it has no unet/config.json")
    blocks = read_config(config).get("block_out_channels")
    if not isinstance(blocks, list) or not all(isinstance(count, int) for count in blocks):
        raise WeightsError(f"{config} does not tell block_out_channels; it is not the config of a UNet2DConditionModel")
    return tuple(reversed(blocks))


def load_parts(folder: Path, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """UNet, VAE, scheduler and the embedding of the empty prompt, from a folder in diffusers' layout; safetensors only.

    Raises:
        WeightsError: a part is missing or made for something else.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    def network(cls: Any, name: str) -> Any:
        variant, spare = half_variant(folder / name, torch.float32), "*" if name == "text_encoder" else ""
        return load_pretrained(cls, folder / name, spare=spare, torch_dtype=dtype, variant=variant).to(device).eval()

    unet, vae = network(UNet2DConditionModel, "unet"), network(AutoencoderKL, "vae")
    encoder = network(CLIPTextModel, "text_encoder")
    with quiet(), reported(WeightsError, f"{folder} cannot be loaded as a Stable Diffusion model"):
        tokenizer = CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True)
        scheduler = DDIMScheduler.from_pretrained(str(folder / "scheduler"), local_files_only=True)
        text = empty_prompt(tokenizer, encoder)
    if text.shape[-1] != unet.config.cross_attention_dim:
        raise WeightsError(
            f"{folder} has a text encoder of width {text.shape[-1]} and a UNet that takes "
            f"{unet.config.cross_attention_dim}; give a Stable Diffusion 1.x or 2.x model"
        )
    return {"unet": unet, "vae": vae, "scheduler": scheduler, "text": text}


def empty_prompt(tokenizer: Any, encoder: Any) -> Tensor:
    """The embedding (1, L, D) of the empty prompt, padded to the tokenizer's length."""
    import torch

    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    tokens = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        states: Tensor = encoder(tokens.input_ids.to(encoder.device))[0]
    return states


def fingerprint(folder: Path) -> str:
    """What tells a checkpoint from another: the content of its networks' files."""
    parts = [folder / part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler")]
    return content_digest(path for part in parts for path in sorted(part.glob("*")) if path.is_file())
