"""Key maps between the released checkpoint (latent-diffusion and OpenAI CLIP names) and diffusers and transformers names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "CLIP_PREFIXES",
    "PROJECTION",
    "Source",
    "clip_source",
    "ema_key",
    "unet_source",
    "vae_source",
    "volume_source",
]

PROJECTION = {"weight": "cc_projection.weight", "bias": "cc_projection.bias"}


@dataclass(frozen=True)
class Source:
    """Where a tensor comes from: its `key` in the checkpoint and how to take it.

    Attributes:
        key: the name in the checkpoint's `state_dict`.
        part: (i, n) takes the i-th of n equal parts along axis 0; None takes all.
        transposed: a matrix stored the other way round.
    """

    key: str
    part: tuple[int, int] | None = None
    transposed: bool = False


def ema_key(key: str) -> str:
    """The name of a UNet key's averaged copy: `model_ema.` and the key without `model.` and without dots."""
    return "model_ema." + key.removeprefix("model.").replace(".", "")


RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}


def unet_source(keys: Iterable[str], layers_per_block: int = 2) -> dict[str, Source]:
    """The source of each key of a `UNet2DConditionModel`.

    Args:
        keys: all its keys (whether an up block has attention decides the number of its upsampler).
        layers_per_block: of its configuration.
    """
    names = list(keys)
    with_attention = {m[1] for name in names if (m := re.match(r"up_blocks\.(\d+)\.attentions\.", name))}
    return {
        name: Source("model.diffusion_model." + _unet_name(name, layers_per_block, with_attention)) for name in names
    }


def _unet_name(name: str, layers: int, with_attention: set[str]) -> str:
    stem, _, leaf = name.rpartition(".")
    if stem in UNET_ENDS:
        return f"{UNET_ENDS[stem]}.{leaf}"
    side, *rest = name.split(".")
    if side == "mid_block":
        return f"middle_block.{MIDDLE['.'.join(rest[:2])]}.{_inner(rest[0], rest[2:])}"
    block, kind, index = int(rest[0]), rest[1], int(rest[2])
    if kind == "downsamplers":
        return f"input_blocks.{(layers + 1) * (block + 1)}.0.op.{leaf}"
    if kind == "upsamplers":
        return f"output_blocks.{(layers + 1) * block + layers}.{2 if rest[0] in with_attention else 1}.conv.{leaf}"
    where = "input_blocks" if side == "down_blocks" else "output_blocks"
    place = (layers + 1) * block + index + (1 if side == "down_blocks" else 0)
    return f"{where}.{place}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest[3:])}"


def _inner(kind: str, rest: list[str]) -> str:
    return ".".join([RESNET[rest[0]], *rest[1:]]) if kind == "resnets" else ".".join(rest)


VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def vae_source(keys: Iterable[str], blocks: int = 4) -> dict[str, Source]:
    """The source of each key of an `AutoencoderKL` with `blocks` resolutions."""
    return {name: Source("first_stage_model." + _vae_name(name, blocks)) for name in keys}


def _vae_name(name: str, blocks: int) -> str:
    """Encoder and decoder in latent-diffusion's names; the decoder's blocks count from the fine end there."""
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    for ours, theirs in VAE_ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda m: f"up.{blocks - 1 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample", name)


CLIP_ENDS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding": "conv1",
    "embeddings.position_embedding.weight": "positional_embedding",
    "pre_layrnorm": "ln_pre",
    "post_layernorm": "ln_post",
}
CLIP_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
SPLIT = ("q_proj", "k_proj", "v_proj")


CLIP_PREFIXES = ("cond_stage_model.model.visual.", "clip_image_encoder.model.visual.")
"""Where latent-diffusion's checkpoints keep CLIP's image tower; the second is SyncDreamer's."""


def clip_source(keys: Iterable[str], visual: str = CLIP_PREFIXES[0]) -> dict[str, Source]:
    """The source of each key of a `CLIPVisionModelWithProjection`; OpenAI keeps query, key and value in one matrix."""
    return {name: _clip_name(name, visual) for name in keys}


def _clip_name(name: str, visual: str) -> Source:
    if name == "visual_projection.weight":
        return Source(visual + "proj", transposed=True)
    short = name.removeprefix("vision_model.")
    if short in CLIP_ENDS:
        return Source(visual + CLIP_ENDS[short])
    stem, _, leaf = short.rpartition(".")
    if stem in CLIP_ENDS:
        return Source(f"{visual}{CLIP_ENDS[stem]}.{leaf}")
    _, _, layer, inner = stem.split(".", 3)
    block = f"{visual}transformer.resblocks.{layer}."
    if inner == "self_attn.out_proj":
        return Source(f"{block}attn.out_proj.{leaf}")
    if inner.startswith("self_attn."):
        return Source(f"{block}attn.in_proj_{leaf}", part=(SPLIT.index(inner.removeprefix("self_attn.")), 3))
    return Source(f"{block}{CLIP_LAYER[inner]}.{leaf}")


VOLUME = {"attention.0.": "model.diffusion_model.middle_conditions.", "time_embed.": "time_embed."}


def volume_source(keys: Iterable[str]) -> dict[str, Source]:
    """The source of each key of a `VolumeNetwork` in SyncDreamer's checkpoint: the depth-wise attentions lie in its UNet."""
    return {name: Source(_volume_name(name)) for name in keys}


def _volume_name(name: str) -> str:
    for ours, theirs in VOLUME.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    name = re.sub(r"(spatial_volume_feats\.conv[0-6](?:_\d)?|frustum_volume_feats\.conv\d)\.norm\.", r"\1.bn.", name)
    if name.startswith("attention."):
        _, number, rest = name.split(".", 2)
        return f"model.diffusion_model.output_conditions.{int(number) - 1}.{rest}"
    return f"spatial_volume.{name}"
