"""FLUX.1 Fill with random weights: the published size or a tiny one, by diffusers' own pipeline and by ours. For `benchmarks.gpu`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FULL: dict[str, Any] = {
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "axes_dims_rope": (16, 56, 56),
}
TINY: dict[str, Any] = {
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 16,
    "pooled_projection_dim": 16,
    "axes_dims_rope": (4, 6, 6),
}
LATENTS, FACTOR = 16, 8
"""Channels of the latents, and picture pixels a latent pixel."""


@dataclass
class Networks:
    """The parts of FLUX.1 Fill on a device, and the embeddings of a prompt."""

    transformer: Any
    vae: Any
    scheduler: Any
    text: dict[str, Any]
    device: Any
    dtype: Any


def networks(device: Any, tiny: bool) -> Networks:
    """Random weights; 16 bit at full size."""
    import torch
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel

    config, part = (TINY, 4) if tiny else (FULL, 1)
    dtype, before = torch.float32 if tiny else torch.bfloat16, torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)  # no network is made in 32 bit first
    try:
        with torch.device(device):
            transformer = FluxTransformer2DModel(
                in_channels=8 * LATENTS + 4 * FACTOR**2, out_channels=4 * LATENTS, guidance_embeds=True, **config
            )
            vae = AutoencoderKL(
                block_out_channels=tuple(n // part for n in (128, 256, 512, 512)),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=2,
                latent_channels=LATENTS,
                shift_factor=0.1159,
                scaling_factor=0.3611,
                use_quant_conv=False,
                use_post_quant_conv=False,
            )
            text = {
                "prompt": torch.randn(1, 512, config["joint_attention_dim"]),
                "pooled": torch.randn(1, config["pooled_projection_dim"]),
            }
    finally:
        torch.set_default_dtype(before)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0)
    return Networks(transformer.eval(), vae.eval(), scheduler, text, device, dtype)


def plain(parts: Networks, side: int, steps: int) -> None:
    """One picture by diffusers' own pipeline."""
    import diffusers
    import torch

    from benchmarks.diffusion import inputs

    pipeline = diffusers.FluxFillPipeline(
        scheduler=type(parts.scheduler).from_config(parts.scheduler.config),
        vae=parts.vae,
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=parts.transformer,
    )
    pipeline.set_progress_bar_config(disable=True)
    conditions, areas = inputs(1, side)
    pipeline(
        image=(conditions + 1) / 2,
        mask_image=areas,
        prompt_embeds=parts.text["prompt"],
        pooled_prompt_embeds=parts.text["pooled"],
        height=side,
        width=side,
        num_inference_steps=steps,
        generator=torch.Generator().manual_seed(0),
        output_type="pt",
    )


def ours(parts: Networks, side: int, steps: int) -> None:
    """One picture by our loop, with leakage."""
    from amodal.inpainters.backbone import EmptyPrompt, Placement
    from amodal.inpainters.flux import FluxFillBackbone
    from amodal.plugins.protocols import Sampling
    from benchmarks.diffusion import inputs

    placement = Placement(parts.device, parts.dtype)
    backbone = FluxFillBackbone(
        parts.vae,
        parts.transformer,
        parts.scheduler,
        EmptyPrompt(parts.text["prompt"], parts.text["pooled"]),
        placement,
        blank=True,
    )
    backbone.paint(*inputs(1, side), [0], Sampling(steps, (0.3, 0.0), 1.0), lambda: None)
