"""Folders in the hub's layout (`model_index.json`, a subfolder for each part) to networks; every failing is one clear line."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import WeightsError, reported
from ..weights import catalogue
from ..weights.config import read_config
from ..weights.pretrained import half_variant, load_pretrained
from .backbone import EmptyPrompt

if TYPE_CHECKING:
    import torch

    from .backbone import Backbone, Placement

__all__ = ["Checkpoint"]

FAMILIES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionInpaintPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "StableDiffusionXLInpaintPipeline": "sdxl",
    "FluxFillPipeline": "flux-fill",
}
CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "transformer": ("FluxTransformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection", "T5EncoderModel"),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast"),
}
"""The classes that a model_index.json may name for each part; a scheduler's is any of diffusers'."""
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
T5_LENGTH = 512


class Checkpoint:
    """A diffusion model on disk.

    Args:
        model: an entry of `amodal list weights`, a hub name that was fetched, or a folder.

    Raises:
        UnknownNameError, WeightsError: not there, cut short, or not of a known family.
    """

    def __init__(self, model: str) -> None:
        self.folder = Path(catalogue.locate(model))
        if self.folder.is_file():
            raise WeightsError(
                f"{self.folder} is one file; an inpainter is a folder in diffusers' layout, which from_single_file and save_pretrained "
                "of diffusers' pipelines make of a whole checkpoint (a LoRA has to be fused into one first)"
            )
        index = self.folder / "model_index.json"
        if not index.is_file():
            raise WeightsError(
                f"{self.folder} has no model_index.json, so it is no diffusers model; give the folder that holds "
                "unet/ (or transformer/), vae/ and scheduler/"
            )
        self.index = read_config(index)
        kind = str(self.index.get("_class_name"))
        if kind not in FAMILIES:
            raise WeightsError(
                f"{self.folder} is a {kind}; an inpainter can be made from {', '.join(sorted(FAMILIES))}"
            )
        self.family = FAMILIES[kind]

    @property
    def revision(self) -> str | None:
        """The hub commit, where the folder lies in the hub's cache."""
        return self.folder.name if self.folder.parent.name == "snapshots" else None

    def backbone(self, placement: Placement, *, blank: bool = False, int8: bool = False) -> Backbone:
        """The networks, ready to run. The text encoders are loaded first, asked for the empty prompt, and dropped."""
        import torch

        from .flux import FluxFillBackbone
        from .int8 import quantise
        from .unet import UNetBackbone

        prompt = self.empty_prompt(placement)
        overflows = read_config(self.folder / "vae" / "config.json").get("force_upcast", False)
        upcast = placement.dtype == torch.float16 and overflows
        autoencoder = self.network("vae", torch.float32 if upcast else placement.dtype)
        denoiser = self.network("transformer" if self.family == "flux-fill" else "unet", placement.dtype)
        self.check_channels(denoiser.config, autoencoder.config)
        cls = FluxFillBackbone if self.family == "flux-fill" else UNetBackbone
        scheduler = self.scheduler
        return cls(autoencoder, quantise(denoiser) if int8 else denoiser, scheduler, prompt, placement, blank)

    def check_channels(self, denoiser: Any, autoencoder: Any) -> None:
        """Raise WeightsError if the denoising network takes other channels than amodal gives it."""
        latents, given = autoencoder.latent_channels, denoiser.in_channels
        factor = 2 ** (len(autoencoder.block_out_channels) - 1)
        fits = (latents, 2 * latents + 1) if self.family != "flux-fill" else (8 * latents + 4 * factor**2,)
        if given not in fits:
            what = " or ".join(map(str, fits))
            raise WeightsError(f"{self.folder}: its denoising network takes {given} channels; amodal can give {what}")

    def network(self, part: str, dtype: torch.dtype) -> Any:
        """A network of the folder. Raises WeightsError unless every tensor is there and fits, and belongs to a network of diffusers."""
        cls, folder = self._class(part), self.folder / part
        read_config(folder / "config.json")
        spare = "*" if part.startswith("text") else ""  # transformers' files often hold a second network
        return load_pretrained(cls, folder, spare=spare, torch_dtype=dtype, variant=half_variant(folder, dtype))

    @cached_property
    def scheduler(self) -> Any:
        """The checkpoint's own scheduler."""
        import diffusers

        name = self._named("scheduler")
        cls = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
        if cls is None:
            raise WeightsError(f"{self.folder}: diffusers has no scheduler {name!r}; update diffusers")
        if not hasattr(cls, "order") or not (hasattr(cls, "add_noise") or hasattr(cls, "scale_noise")):
            raise WeightsError(
                f"{self.folder}: its scheduler {name} cannot start from a picture; give a model with another"
            )
        with self._failing("scheduler"):
            return cls.from_pretrained(str(self.folder / "scheduler"))

    def empty_prompt(self, placement: Placement) -> EmptyPrompt:
        """What the family's text encoders say of no words."""
        import torch

        first, pooled = self._encode("", placement)
        if self.family == "sd":
            return EmptyPrompt(first.last_hidden_state).to(placement.dtype)
        second, projected = self._encode("_2", placement)
        if self.family == "flux-fill":
            return EmptyPrompt(second.last_hidden_state, pooled).to(placement.dtype)
        joined = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        return EmptyPrompt(joined, projected).to(placement.dtype)

    def _encode(self, number: str, placement: Placement) -> tuple[Any, Any]:
        """Run a text encoder once on nothing; it is freed on return. Returns its output and its pooled embedding."""
        import torch

        encoder = self.network(f"text_encoder{number}", placement.dtype).to(placement.device).eval()
        words = self.folder / f"tokenizer{number}"
        if not any((words / file).is_file() for file in VOCABULARIES):
            raise WeightsError(f"{words} holds none of {', '.join(VOCABULARIES)}; fetch the model again")
        with self._failing(words.name):
            tokenizer = self._class(words.name).from_pretrained(str(words))
            length = T5_LENGTH if type(encoder).__name__.startswith("T5") else tokenizer.model_max_length
            ids = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
        with self._failing(words.name), torch.inference_mode():
            out = encoder(ids.to(placement.device), output_hidden_states=True)
        return out, out.get("text_embeds", out.get("pooler_output"))

    def _named(self, part: str) -> str:
        entry = self.index.get(part)
        if not (isinstance(entry, list) and len(entry) == 2 and entry[1]):
            raise WeightsError(f"{self.folder}: model_index.json names no {part}; the folder is incomplete")
        return str(entry[1])

    def _class(self, part: str) -> Any:
        import diffusers
        import transformers

        name = self._named(part)
        if name not in CLASSES[part]:
            raise WeightsError(f"{self.folder}: its {part} is a {name}; amodal knows {', '.join(CLASSES[part])}")
        return getattr(diffusers if part in ("unet", "transformer", "vae") else transformers, name)

    def _failing(self, part: str) -> AbstractContextManager[None]:
        """Whatever a library raises on damaged or foreign files becomes one line."""
        return reported(
            WeightsError, f"{self.folder / part} cannot be loaded", "it is damaged or of another architecture"
        )
