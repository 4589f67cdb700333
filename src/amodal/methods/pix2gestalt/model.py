"""The four networks of pix2gestalt as diffusers and transformers classes, with their folder on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import WeightsError
from ...files import read_json, write_bytes, write_json
from ...tensors import fit_state, load_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["PUBLISHED", "SCHEDULE", "Architecture", "Networks", "load_part"]

SCHEDULE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "prediction_type": "epsilon",
}
"""The noise schedule of Stable Diffusion 1.x, as a `DDIMScheduler` configuration."""

PARTS = ("unet", "vae", "image_encoder", "projection")


@dataclass(frozen=True)
class Architecture:
    """The configurations of the UNet, the VAE and the CLIP image encoder; the projection follows from them.

    Attributes:
        unet: of `diffusers.UNet2DConditionModel`; `in_channels` is three times the latent's (noisy, picture, mask).
        vae: of `diffusers.AutoencoderKL`.
        image_encoder: of `transformers.CLIPVisionConfig`.
    """

    unet: Mapping[str, Any] = field(default_factory=dict)
    vae: Mapping[str, Any] = field(default_factory=dict)
    image_encoder: Mapping[str, Any] = field(default_factory=dict)

    def build(self, device: str = "cpu") -> Networks:
        """The networks with random weights; `device="meta"` gives the shapes alone.

        Raises:
            MissingExtraError: torch, diffusers or transformers is not installed.
        """
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        with torch.device(device):
            encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**self.image_encoder))
            unet = UNet2DConditionModel(**self.unet)
            token = (int(encoder.config.projection_dim), int(unet.config.cross_attention_dim))
            return Networks(unet, AutoencoderKL(**self.vae), encoder, torch.nn.Linear(*token))


PUBLISHED = Architecture(
    unet={
        "sample_size": 32,
        "in_channels": 12,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280, 1280),
        "layers_per_block": 2,
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    vae={
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    },
    image_encoder={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 224,
        "projection_dim": 768,
        "hidden_act": "quick_gelu",
    },
)
"""The released model: 859,544,004 + 83,653,863 + 303,966,208 + 590,592 parameters."""


@dataclass(frozen=True)
class Networks:
    """The UNet (12 input channels), the VAE, CLIP's image encoder and the projection of its embedding (a linear layer)."""

    unet: Any
    vae: Any
    image_encoder: Any
    projection: Any

    def parts(self) -> dict[str, torch.nn.Module]:
        """The networks by name, in the order of the folder."""
        return {name: getattr(self, name) for name in PARTS}

    def to(self, device: Any = None, dtype: Any = None) -> Networks:
        """All four moved; returns itself."""
        where = {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
        for part in self.parts().values():
            part.to(**where)
        return self

    def eval(self) -> Networks:
        """All four for inference, without gradients; returns itself."""
        for part in self.parts().values():
            part.eval().requires_grad_(False)
        return self

    @property
    def size(self) -> int:
        """Side of the pictures, in pixels (256)."""
        return int(self.unet.config.sample_size) * self.factor

    @property
    def factor(self) -> int:
        """Pixels per latent (8)."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder that `from_pretrained` reads: `unet/`, `vae/`, `image_encoder/`, `projection/`, `scheduler/`."""
        from safetensors.torch import save

        for name in ("unet", "vae", "image_encoder"):
            getattr(self, name).save_pretrained(Path(folder) / name, safe_serialization=True)
        weights = {key: value.detach().cpu().contiguous() for key, value in self.projection.state_dict().items()}
        write_bytes(Path(folder) / "projection" / "model.safetensors", save(weights))
        write_side_files(Path(folder), self)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: Any = None) -> Networks:
        """Load from a folder in diffusers' layout; only safetensors are read.

        Args:
            folder: as `save_pretrained`, `amodal data convert-weights` or the training task write it.
            dtype: a torch dtype; the files' own by default. The VAE is always float32: it is small and quick, and its
                rounding would show in the pictures.

        Raises:
            WeightsError: something is absent, cut short or made for another network.
        """
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPVisionModelWithProjection

        root = Path(folder)
        for name in PARTS:
            if not (root / name / "config.json").is_file():
                raise WeightsError(
                    f"{root} is not a pix2gestalt folder: {name}/config.json is absent; make one with: "
                    "amodal data convert-weights CHECKPOINT.ckpt FOLDER"
                )
        networks = cls(
            load_part(UNet2DConditionModel, root / "unet", dtype),
            load_part(AutoencoderKL, root / "vae", torch.float32),
            load_part(CLIPVisionModelWithProjection, root / "image_encoder", dtype),
            _load_projection(root / "projection", dtype),
        )
        networks.check(str(root))
        return networks.eval()

    def check(self, name: str) -> None:
        """Check that the networks fit each other. Raises WeightsError."""
        latent = int(self.vae.config.latent_channels)
        if self.unet.config.in_channels != 3 * latent:
            raise WeightsError(
                f"the UNet of {name} takes {self.unet.config.in_channels} channels, pix2gestalt's takes {3 * latent} "
                "(noisy latent, picture, mask); was it made for another model?"
            )
        token = (self.image_encoder.config.projection_dim, self.unet.config.cross_attention_dim)
        if (self.projection.in_features, self.projection.out_features) != token:
            raise WeightsError(
                f"the projection of {name} is {self.projection.in_features} -> {self.projection.out_features}, "
                f"image encoder and UNet need {token[0]} -> {token[1]}"
            )


def write_side_files(folder: Path, networks: Networks) -> None:
    """Write the small files of the layout: `model_index.json`, the scheduler's and the projection's configuration."""
    import diffusers

    index = {
        "_class_name": "Pix2Gestalt",
        "_diffusers_version": diffusers.__version__,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "projection": ["torch", "Linear"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    sizes = {"in_features": networks.projection.in_features, "out_features": networks.projection.out_features}
    write_json(folder / "projection" / "config.json", sizes)
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler", **SCHEDULE})
    write_json(folder / "model_index.json", index)


def load_part(cls: Any, folder: Path, dtype: Any = None) -> Any:
    """A diffusers or transformers network from its folder: `config.json` and one safetensors file.

    Args:
        cls: its class.
        folder: of the network.
        dtype: a torch dtype; the file's own by default.

    Raises:
        WeightsError: absent, cut short, or of another network.
    """
    import torch

    read_json(folder / "config.json", WeightsError)
    with torch.device("meta"):
        if hasattr(cls, "load_config"):
            network = cls.from_config(cls.load_config(folder))
        else:
            network = cls(cls.config_class.from_pretrained(folder))
    return _filled(network, folder, dtype)


def _filled(network: Any, folder: Path, dtype: Any) -> Any:
    import torch

    state = load_tensors(weights_file(folder))
    if dtype is not None:
        state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    fit_state(network, state, str(folder), ignore=("*.position_ids",))
    for name, value in list(network.named_buffers()):  # made on the meta device and kept in no file
        if value.is_meta:
            owner = network.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(value.numel()).view(value.shape), False)
    return network


def weights_file(folder: Path) -> Path:
    """The safetensors file of a network's folder; the full-precision one if there are several. Raises WeightsError."""
    files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    if not files:
        raise WeightsError(f"{folder} holds no .safetensors file; convert or fetch the weights again")
    return files[0]


def _load_projection(folder: Path, dtype: Any) -> Any:
    import torch

    config = read_json(folder / "config.json", WeightsError)
    try:
        sizes = int(config["in_features"]), int(config["out_features"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{folder / 'config.json'} lacks in_features and out_features") from error
    return _filled(torch.nn.Linear(*sizes, device="meta"), folder, dtype)
