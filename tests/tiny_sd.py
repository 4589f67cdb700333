"""A real Stable Diffusion checkpoint at a tiny size with the four up-blocks that SDAmodal listens to."""

from pathlib import Path

from tiny_diffusion import SCHEDULE, clip_tokenizer, text_encoder, vae

CHANNELS = (32, 16, 16, 8)
"""Of the up-blocks; their sizes are those of the real UNet: 1/4, 1/2, 1 and 1 of the latent."""


def write_tiny_diffusion(folder: Path, seed: int = 0) -> Path:
    """A random VAE, UNet, text encoder, tokenizer and scheduler in diffusers' layout."""
    import torch
    from diffusers import DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(seed)
    parts = {
        "unet": UNet2DConditionModel(
            sample_size=16,
            block_out_channels=tuple(reversed(CHANNELS)),
            layers_per_block=1,
            down_block_types=(*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
            up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        ),
        "vae": vae(),
        "text_encoder": text_encoder("plain"),
        "tokenizer": clip_tokenizer(folder / "tokenizer"),
        "scheduler": DDIMScheduler(**SCHEDULE, prediction_type="v_prediction"),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    return folder
