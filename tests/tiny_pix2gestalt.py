"""pix2gestalt at tiny size: real classes, random weights, and a checkpoint of them in the original layout."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from amodal.networks.latent_diffusion.convert import sources
from amodal.networks.latent_diffusion.model import PUBLISHED, Architecture, Networks

TINY = Architecture(
    "pix2gestalt",
    unet={
        **PUBLISHED.unet,
        "sample_size": 8,
        "block_out_channels": (8, 8, 16, 16),
        "cross_attention_dim": 12,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
    vae={**PUBLISHED.vae, "block_out_channels": (4, 4, 8, 8), "norm_num_groups": 4, "sample_size": 64},
    image_encoder={
        **PUBLISHED.image_encoder,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 28,
        "projection_dim": 10,
    },
)
"""64 x 64 pixels, latents of 8 x 8."""
TINY_ZERO = replace(TINY, name="zero123", unet={**TINY.unet, "in_channels": 8}, pose=4)
VOLUME = {
    "views": 4,
    "dims": (8, 8, 16, 16),
    "channels": TINY.unet["block_out_channels"],
    "time": 16,
    "size": 8,
    "depth": 8,
}
TINY_SYNC = replace(TINY_ZERO, name="syncdreamer", volume=VOLUME)
"""The novel-view models' sisters of it."""


def tiny_networks(seed: int = 0, architecture: Architecture = TINY) -> Networks:
    """Random, but with every tensor away from the values it starts with (norms of 1, biases of 0)."""
    torch.manual_seed(seed)
    networks = architecture.build()
    for part in networks.parts().values():
        for value in part.parameters():
            value.data += torch.randn_like(value) * 0.05
    return networks.eval()


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """A folder that the method loads."""
    tiny_networks(seed).save_pretrained(folder)
    return folder


def original_state(networks: Networks) -> OrderedDict[str, torch.Tensor]:
    """The tensors under the names of the released checkpoint: plain and averaged UNet, VAE, CLIP with left-overs, schedule.

    The plain UNet differs from the averaged one, so that a test sees which was taken.
    """
    out: OrderedDict[str, torch.Tensor] = OrderedDict()
    plan = sources(networks, ema=True)
    plain = sources(networks, ema=False)
    parts: dict[tuple[str, int], dict[int, torch.Tensor]] = {}
    for name, module in networks.parts().items():
        for key, value in module.state_dict().items():
            source, tensor = plan[name][key], value.detach()
            if name == "unet" and networks.volume is None:
                out[plain[name][key].key] = tensor + 1
            if source.part:
                parts.setdefault((source.key, source.part[1]), {})[source.part[0]] = tensor
                continue
            if source.transposed:
                tensor = tensor.T.contiguous()
            if name == "vae" and ".attn_1." in source.key and key.endswith("weight") and tensor.ndim == 2:
                tensor = tensor[..., None, None]
            out[source.key] = tensor
    for (key, count), pieces in parts.items():
        out[key] = torch.cat([pieces[i] for i in range(count)])
    out["model_ema.decay"] = torch.tensor(0.9999)
    out["model_ema.num_updates"] = torch.tensor(3200)
    out["betas"] = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    out["cond_stage_model.model.logit_scale"] = torch.tensor(4.6)
    out["cond_stage_model.model.token_embedding.weight"] = torch.zeros(5, 3)
    return out


def lightning(state: Any) -> dict[str, Any]:
    """What PyTorch Lightning saves around the tensors."""
    optimizer = {"state": {0: {"step": 3200, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    return {"epoch": 5, "global_step": 3200, "state_dict": state, "optimizer_states": [optimizer], "lr_schedulers": []}
