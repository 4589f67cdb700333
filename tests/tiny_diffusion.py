"""Real diffusers pipelines from tiny configurations, saved in the hub's layout; the weights are random."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

VOCABULARY = ["<|startoftext|>", "<|endoftext|>", "a</w>", "c</w>", "t</w>", "a", "c", "t", "ca", "!"]


def without_tensors(folder: Path, copy: Path, name: str, part: str = "") -> Path:
    """A copy of a folder of networks in which the tensors of one file are missing whose names contain `name`."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, copy)
    file = next((copy / part).glob("*.safetensors"))
    tensors = load_file(file)
    kept = {key: value.clone() for key, value in tensors.items() if name not in key}
    assert len(kept) < len(tensors)
    save_file(kept, file, metadata={"format": "pt"})
    return copy


def clip_tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that knows a handful of letters."""
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)


def t5_tokenizer(folder: Path) -> Any:
    """A T5 tokenizer over single letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import T5TokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((letter, -2.0) for letter in "▁abcdet")]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return T5TokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), extra_ids=0, model_max_length=16)


def text_encoder(kind: str, width: int = 16) -> Any:
    """A CLIP text model, with or without projection, of two layers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=8,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if kind == "projected" else CLIPTextModel)(config).eval()


def vae(channels: int = 4, **more: Any) -> Any:
    """An AutoencoderKL of two levels: one latent pixel for 2 x 2 pixels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        **more,
    ).eval()


def unet(in_channels: int, context: int, **more: Any) -> Any:
    """A UNet2DConditionModel of two levels at 16 x 16 latents."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=context,
        norm_num_groups=4,
        **more,
    ).eval()


SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def stable_diffusion(folder: Path, in_channels: int = 9, prediction: str = "epsilon") -> Any:
    """SD 1.5 (9 channels), SD 2 (`attention_head_dim` per level, linear projections) or a text-to-image one (4)."""
    from diffusers import DDIMScheduler, StableDiffusionInpaintPipeline, StableDiffusionPipeline

    second = {"use_linear_projection": True, "attention_head_dim": (2, 4)} if prediction == "v_prediction" else {}
    parts = {
        "vae": vae(),
        "text_encoder": text_encoder("plain"),
        "tokenizer": clip_tokenizer(folder / "tokenizer"),
        "unet": unet(in_channels, 16, **(second or {"attention_head_dim": 2})),
        "scheduler": DDIMScheduler(
            **SCHEDULE, clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type=prediction
        ),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return (StableDiffusionPipeline if in_channels == 4 else StableDiffusionInpaintPipeline)(**parts)


def stable_diffusion_xl(folder: Path) -> Any:
    """SDXL inpainting: two text encoders, sizes as extra conditions, an upcast VAE."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLInpaintPipeline

    return StableDiffusionXLInpaintPipeline(
        vae=vae(force_upcast=True),
        text_encoder=text_encoder("plain"),
        text_encoder_2=text_encoder("projected"),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        tokenizer_2=clip_tokenizer(folder / "tokenizer_2"),
        unet=unet(
            9,
            32,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 16,
        ),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, steps_offset=1, timestep_spacing="leading"),
    )


def flux_fill(folder: Path) -> Any:
    """FLUX.1 Fill: a transformer over packed latents, its own mask channels, T5 and CLIP, a VAE with a shift."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxFillPipeline, FluxTransformer2DModel
    from transformers import T5Config, T5EncoderModel

    latents = 4
    return FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae(latents, shift_factor=0.1, scaling_factor=0.36, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=text_encoder("plain"),
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=10, d_model=16, d_kv=4, d_ff=32, num_layers=1, num_heads=2)
        ).eval(),
        tokenizer_2=t5_tokenizer(folder / "tokenizer_2"),
        transformer=FluxTransformer2DModel(
            in_channels=8 * latents + 4 * 2**2,
            out_channels=4 * latents,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 6, 6),
            guidance_embeds=True,
        ).eval(),
    )


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "sd15": stable_diffusion,
    "sd2": lambda folder: stable_diffusion(folder, prediction="v_prediction"),
    "text": lambda folder: stable_diffusion(folder, in_channels=4),
    "sdxl": stable_diffusion_xl,
    "flux-fill": flux_fill,
}


def build(family: str, folder: Path) -> Path:
    """Save the tiny pipeline of a family (`FAMILIES`) under `folder` and return the folder to load."""
    torch.manual_seed(sum(map(ord, family)))
    pipeline = FAMILIES[family](folder / "parts")
    pipeline.save_pretrained(folder / "model")
    return folder / "model"
