"""On a GPU: seconds and peak memory per object for SD 1.5, SD 2 and SDXL at full size, next to diffusers' own pipelines.

The networks have random weights (speed does not depend on them) and bf16 arithmetic; both sides run the same networks, the
same scheduler and the same number of steps in one process, in turns.
"""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Skip, side_by_side

STEPS = 20
SIDES = {"sd15": 512, "sd2": 512, "sdxl": 1024}
REHEARSED = 64
"""Side of a rehearsal's pictures."""
PIPELINES = {
    "sd15": "StableDiffusionInpaintPipeline",
    "sd2": "StableDiffusionInpaintPipeline",
    "sdxl": "StableDiffusionXLInpaintPipeline",
}
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SD2 = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
SD15 = {
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
UNETS: dict[str, dict[str, Any]] = {
    "sd15": {"sample_size": 64, **SD15},
    "sd2": {"sample_size": 64, **SD15, **SD2},
    "sdxl": SDXL,
}


def run() -> dict[str, object]:
    """Per network: parameters, seconds a picture alone and in a batch of 8, peak memory, and the plain pipeline's."""
    try:
        import torch
    except ImportError as error:
        raise Skip('torch is not installed; pip install "amodal[diffusion]"') from error
    if not torch.cuda.is_available():
        raise Skip("no CUDA GPU here; full-size networks take minutes a picture on a CPU")
    device = torch.device("cuda")
    results: dict[str, object] = {"gpu": torch.cuda.get_device_name(device), "dtype": "bf16", "steps": STEPS}
    for family in UNETS:
        results[family] = compare(family, device, torch.bfloat16)
        torch.cuda.empty_cache()
    return results


def compare(
    family: str, device: Any, dtype: Any, *, shrink: int = 1, steps: int = STEPS, times: int = 5
) -> dict[str, object]:
    """One network: ours with leakage against diffusers' pipeline without guidance (one evaluation a step, as ours) and with."""
    import torch

    from amodal.plugins.protocols import Sampling

    side = SIDES[family] if shrink == 1 else REHEARSED
    backbone = network_of(family, device, dtype, shrink=shrink)
    plain = pipeline_of(family, backbone)
    sampling = Sampling(steps, (0.3, 0.0), 1.0)

    def ours(count: int) -> None:
        backbone.paint(*inputs(count, side), list(range(count)), sampling, lambda: None)
        _finish(device)

    def theirs(count: int, guidance: float = 1.0) -> None:
        conditions, areas = inputs(count, side)
        prompt = {"prompt_embeds": backbone.prompt.embedding.expand(count, -1, -1)}
        if backbone.prompt.pooled is not None:
            prompt["pooled_prompt_embeds"] = backbone.prompt.pooled.expand(count, -1)
        if guidance > 1:
            prompt |= {f"negative_{name}": value for name, value in prompt.items()}
        plain(
            **prompt,
            image=(conditions + 1) / 2,
            mask_image=areas,
            height=side,
            width=side,
            num_inference_steps=steps,
            strength=1.0,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in range(count)],
            output_type="pt",
        )
        _finish(device)

    return {
        "side": side,
        "parameters": sum(p.numel() for p in backbone.network.parameters()),
        "one_ours_over_plain": side_by_side(lambda: ours(1), lambda: theirs(1), times),
        "one_ours_over_plain_with_guidance": side_by_side(lambda: ours(1), lambda: theirs(1, 7.5), times),
        "eight_at_once_over_eight_calls": side_by_side(lambda: ours(8), lambda: [ours(1) for _ in range(8)], times),
        "peak_bytes_ours_1": peak(device, lambda: ours(1)),
        "peak_bytes_ours_8": peak(device, lambda: ours(8)),
        "peak_bytes_plain_1": peak(device, lambda: theirs(1)),
        "peak_bytes_plain_with_guidance_1": peak(device, lambda: theirs(1, 7.5)),
    }


def network_of(family: str, device: Any, dtype: Any, *, shrink: int = 1) -> Any:
    """The backbone of a family with random weights; the empty prompt's embeddings are random too.

    Args:
        family: "sd15", "sd2" or "sdxl".
        device: where it runs.
        dtype: its precision.
        shrink: what all widths are divided by, 4 or 8 for machines without a GPU; then the outermost and the innermost level
            alone are there, of one layer each.
    """
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    from amodal.inpainters.backbone import EmptyPrompt, Placement
    from amodal.inpainters.unet import UNetBackbone

    torch.manual_seed(0)
    with torch.device(device):
        config = UNETS[family] if shrink == 1 else rehearsed(UNETS[family], shrink)
        unet = UNet2DConditionModel(in_channels=9, norm_num_groups=32 // shrink, **config)
        vae = AutoencoderKL(
            block_out_channels=tuple(n // shrink for n in (128, 256, 512, 512)),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2 if shrink == 1 else 1,
            norm_num_groups=min(32, 128 // shrink),
            latent_channels=4,
        )
        words = torch.randn(1, 77, UNETS[family]["cross_attention_dim"], dtype=dtype)
        prompt = EmptyPrompt(words, torch.randn(1, 1280, dtype=dtype) if family == "sdxl" else None)
    for network in (unet, vae):
        torch.nn.Module.to(network, dtype)  # diffusers' own `to` warns about parts that are not there
    scheduler = DDIMScheduler(**SCHEDULE, clip_sample=False, set_alpha_to_one=False)
    return UNetBackbone(vae, unet, scheduler, prompt, Placement(device, dtype), blank=False)


def rehearsed(config: dict[str, Any], shrink: int) -> dict[str, Any]:
    """A U-Net's configuration for a rehearsal: the first and the last level, a layer each, narrower by `shrink`."""
    ends = {name: (value[0], value[-1]) if isinstance(value, tuple) else value for name, value in config.items()}
    ends["block_out_channels"] = tuple(n // shrink for n in ends["block_out_channels"])
    return {**ends, "layers_per_block": 1, "transformer_layers_per_block": 1}


def pipeline_of(family: str, backbone: Any) -> Any:
    """diffusers' own pipeline around the same networks."""
    import diffusers

    more = {"text_encoder_2": None, "tokenizer_2": None} if family == "sdxl" else {}
    more |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False} if not more else {}
    pipeline = getattr(diffusers, PIPELINES[family])(
        vae=backbone.autoencoder.network,
        unet=backbone.network,
        scheduler=type(backbone.own_scheduler).from_config(backbone.own_scheduler.config),
        text_encoder=None,
        tokenizer=None,
        **more,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def inputs(count: int, side: int) -> tuple[Any, Any]:
    """Random conditions (N, 3, side, side) in [-1, 1] and a square area (N, 1, side, side)."""
    import torch

    generator = torch.Generator().manual_seed(0)
    areas = torch.zeros(count, 1, side, side)
    areas[:, :, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 1
    return torch.rand(count, 3, side, side, generator=generator) * 2 - 1, areas


def peak(device: Any, work: Any) -> int | None:
    """The most GPU memory that torch held during `work()`, in bytes; None on a CPU."""
    import torch

    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    work()
    return int(torch.cuda.max_memory_allocated(device))


def _finish(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
