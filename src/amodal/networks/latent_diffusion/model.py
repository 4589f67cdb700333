"""The networks of picture-conditioned diffusion models as diffusers and transformers classes, with their folder on disk."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import WeightsError, reported
from ...core.files import write_bytes, write_json
from ...weights.config import read_config
from ...weights.tensors import fit_state, load_tensors

if TYPE_CHECKING:
    import torch

__all__ = ["PUBLISHED", "SCHEDULE", "SYNCDREAMER", "ZERO123", "Architecture", "Networks", "load_part"]

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

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Parts of an autoencoder's attention by their names before 2023, and today's."""
PARTS = ("unet", "vae", "image_encoder", "projection")
PROJECTIONS = ("projection", "clip_camera_projection", "cc_projection")
"""Folders in which the projection is found: ours, and those of Zero-1-to-3's two layouts on the hub."""


@dataclass(frozen=True)
class Architecture:
    """The configurations of the UNet, the VAE and the CLIP image encoder; the projection follows from them.

    Attributes:
        name: of the model: "pix2gestalt", "zero123" or "syncdreamer".
        unet: of `diffusers.UNet2DConditionModel`; `in_channels` counts the noisy latent and the latents joined to it.
        vae: of `diffusers.AutoencoderKL`.
        image_encoder: of `transformers.CLIPVisionConfig`.
        pose: how many numbers of the camera are joined to the CLIP embedding before its projection.
        volume: of `VolumeNetwork`; None for models without a feature volume.
    """

    name: str
    unet: Mapping[str, Any] = field(default_factory=dict)
    vae: Mapping[str, Any] = field(default_factory=dict)
    image_encoder: Mapping[str, Any] = field(default_factory=dict)
    pose: int = 0
    volume: Mapping[str, Any] | None = None

    def build(self, device: str = "cpu") -> Networks:
        """The networks with random weights; `device="meta"` gives the shapes alone.

        Raises:
            MissingExtraError: torch, diffusers or transformers is not installed.
        """
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        from .volume import VolumeNetwork

        with torch.device(device):
            encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**self.image_encoder))
            unet = UNet2DConditionModel(**self.unet)
            token = (int(encoder.config.projection_dim) + self.pose, int(unet.config.cross_attention_dim))
            volume = None if self.volume is None else VolumeNetwork(**self.volume)
            return Networks(unet, AutoencoderKL(**self.vae), encoder, torch.nn.Linear(*token), volume, name=self.name)


PUBLISHED = Architecture(
    "pix2gestalt",
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
"""pix2gestalt as released: 859,544,004 + 83,653,863 + 303,966,208 + 590,592 parameters."""
ZERO123 = replace(PUBLISHED, name="zero123", unet={**PUBLISHED.unet, "in_channels": 8}, pose=4)
"""Zero-1-to-3 and XL as released: the noisy latent and the picture's; four pose numbers join the CLIP embedding."""
SYNCDREAMER = replace(ZERO123, name="syncdreamer", volume={})
"""SyncDreamer as released: Zero-1-to-3 with a feature volume over sixteen views."""


@dataclass(frozen=True)
class Networks:
    """The UNet, the VAE, CLIP's image encoder and the projection of its embedding (a linear layer) of the model `name`.

    `volume` is the feature volume over several views that SyncDreamer has (a `VolumeNetwork`), else None.
    """

    unet: Any
    vae: Any
    image_encoder: Any
    projection: Any
    volume: Any = None
    name: str = field(default="pix2gestalt", kw_only=True)

    def parts(self) -> dict[str, torch.nn.Module]:
        """The networks by name, in the order of the folder."""
        own = {name: getattr(self, name) for name in PARTS}
        return own if self.volume is None else {**own, "volume": self.volume}

    def to(self, device: Any = None, dtype: Any = None) -> Networks:
        """All moved; returns itself."""
        where = {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}
        for part in self.parts().values():
            part.to(**where)
        return self

    def eval(self) -> Networks:
        """All for inference, without gradients; returns itself."""
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

        for name in self.parts():
            part: Any = getattr(self, name)
            if hasattr(part, "save_pretrained"):
                part.save_pretrained(Path(folder) / name, safe_serialization=True)
            else:
                weights = {key: value.detach().cpu().contiguous() for key, value in part.state_dict().items()}
                write_bytes(Path(folder) / name / "model.safetensors", save(weights))
        write_side_files(Path(folder), self)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: Any = None, expected: Architecture = PUBLISHED) -> Networks:
        """Load from a folder in diffusers' layout; only safetensors are read.

        Args:
            folder: as `save_pretrained`, `amodal data convert-weights` or the training task write it; or Zero-1-to-3 as it
                lies on the hub in diffusers' layout.
            dtype: a torch dtype; the files' own by default. The VAE is always float32: it is small and quick, and its
                rounding would show in the pictures.
            expected: the model; its name, channels, pose and volume must fit, its sizes are the folder's.

        Raises:
            WeightsError: something is absent, cut short or made for another network.
        """
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPVisionModelWithProjection

        root = Path(folder)
        projection = next((name for name in PROJECTIONS if (root / name).is_dir()), PROJECTIONS[0])
        for name in (*PARTS[:3], projection, *(["volume"] if expected.volume is not None else [])):
            if not (root / name / "config.json").is_file():
                raise WeightsError(
                    f"{root} is not a {expected.name} folder: {name}/config.json is absent; make one with: "
                    "amodal data convert-weights CHECKPOINT.ckpt FOLDER"
                )
        networks = cls(
            load_part(UNet2DConditionModel, root / "unet", dtype),
            load_part(AutoencoderKL, root / "vae", torch.float32),
            load_part(CLIPVisionModelWithProjection, root / "image_encoder", dtype),
            _load_projection(root / projection, dtype),
            None if expected.volume is None else _load_volume(root / "volume", dtype),
            name=expected.name,
        )
        networks.check(str(root), expected)
        return networks.eval()

    def check(self, name: str, expected: Architecture) -> None:
        """Check that the networks fit each other and the model. Raises WeightsError."""
        channels = int(expected.unet["in_channels"])
        if self.unet.config.in_channels != channels:
            raise WeightsError(
                f"the UNet of {name} takes {self.unet.config.in_channels} channels, {expected.name}'s takes {channels}; "
                "was it made for another model?"
            )
        token = (self.image_encoder.config.projection_dim + expected.pose, self.unet.config.cross_attention_dim)
        if (self.projection.in_features, self.projection.out_features) != token:
            raise WeightsError(
                f"the projection of {name} is {self.projection.in_features} -> {self.projection.out_features}, "
                f"image encoder, pose and UNet need {token[0]} -> {token[1]}"
            )


CLASS_NAMES = {"pix2gestalt": "Pix2Gestalt", "zero123": "Zero123Pipeline", "syncdreamer": "SyncDreamer"}


def write_side_files(folder: Path, networks: Networks) -> None:
    """Write the small files of the layout: `model_index.json` and the configurations that no library writes."""
    import diffusers

    index = {
        "_class_name": CLASS_NAMES[networks.name],
        "_diffusers_version": diffusers.__version__,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "projection": ["torch", "Linear"],
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    sizes = {"in_features": networks.projection.in_features, "out_features": networks.projection.out_features}
    write_json(folder / "projection" / "config.json", sizes)
    if networks.volume is not None:
        index["volume"] = ["amodal", "VolumeNetwork"]
        write_json(folder / "volume" / "config.json", networks.volume.config)
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler", **SCHEDULE})
    write_json(folder / "model_index.json", index)


def load_part(cls: Any, folder: Path, dtype: Any = None) -> Any:
    """A diffusers or transformers network from its folder: `config.json` and one safetensors file, or its shards.

    Args:
        cls: its class.
        folder: of the network.
        dtype: a torch dtype; the file's own by default.

    Raises:
        WeightsError: absent, cut short, or of another network.
    """
    import torch

    read_config(folder / "config.json")
    with (
        torch.device("meta"),
        reported(WeightsError, f"{folder / 'config.json'} is not the configuration of a network"),
    ):
        if hasattr(cls, "load_config"):
            network = cls.from_config(cls.load_config(folder))
        else:
            network = cls(cls.config_class.from_pretrained(folder))
    return _filled(network, folder, dtype)


def _filled(network: Any, folder: Path, dtype: Any) -> Any:
    return _fitted(network, folder_tensors(folder), folder, dtype)


def _fitted(network: Any, state: Mapping[str, torch.Tensor], folder: Path, dtype: Any) -> Any:
    import torch

    state = dict(map(_renamed, state.items()))
    if dtype is not None:
        state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    fit_state(network, state, str(folder), ignore=("*.position_ids",))
    for name, value in list(network.named_buffers()):  # made on the meta device and kept in no file
        if value.is_meta:
            owner = network.get_submodule(name.rpartition(".")[0])
            owner.register_buffer(name.rpartition(".")[2], torch.arange(value.numel()).view(value.shape), False)
    return network


def _renamed(item: tuple[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
    """A tensor by the name it has today: until 2023 diffusers named an autoencoder's attention otherwise, as in the Stable Diffusion
    1.x on the hub, and some of its weights were 1 x 1 convolutions."""
    name, value = item
    owner, _, kind = name.rpartition(".")
    block, _, part = owner.rpartition(".")
    if part not in OLD_ATTENTION or ".attentions." not in f".{block}":
        return name, value
    return f"{block}.{OLD_ATTENTION[part]}.{kind}", value[:, :, 0, 0] if value.dim() == 4 else value


def folder_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of a network's folder: of its safetensors file, the full-precision one if there are several, or of its shards.

    Raises:
        WeightsError: there are none, or not all shards.
    """
    files = sorted(folder.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    if not files:
        raise WeightsError(f"{folder} holds no .safetensors file; convert or fetch the weights again")
    shard = re.fullmatch(r"(.+)-\d+(-of-0*([1-9]\d*)\.safetensors)", files[0].name)
    if shard is None:
        return load_tensors(files[0])
    shards = [file for file in files if file.name.startswith(f"{shard[1]}-") and file.name.endswith(shard[2])]
    if len(shards) != int(shard[3]):
        raise WeightsError(f"{folder} holds {len(shards)} of {shard[3]} shards; convert or fetch the weights again")
    return {name: value for file in shards for name, value in load_tensors(file).items()}


def _load_projection(folder: Path, dtype: Any) -> Any:
    """A linear layer; the hub's layouts name it `proj` or `projection` and keep its sizes in the tensors alone."""
    import torch

    state = {name.rpartition(".")[2]: value for name, value in folder_tensors(folder).items()}
    if set(state) != {"weight", "bias"} or state["weight"].ndim != 2:
        raise WeightsError(f"{folder} holds {', '.join(state)}, not the weight and the bias of one linear layer")
    rows, columns = state["weight"].shape
    return _fitted(torch.nn.Linear(columns, rows, device="meta"), state, folder, dtype)


def _load_volume(folder: Path, dtype: Any) -> Any:
    import torch

    from .volume import VolumeNetwork

    file = folder / "config.json"
    with torch.device("meta"), reported(WeightsError, f"{file} is not the configuration of a feature volume"):
        network = VolumeNetwork(**read_config(file))
    return _filled(network, folder, dtype)
