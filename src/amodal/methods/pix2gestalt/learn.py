"""What training pix2gestalt is: where the weights start, which conditions are dropped, and the loss."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import WeightsError
from ...networks.latent_diffusion.model import PUBLISHED, SCHEDULE, Networks, load_part
from ...networks.latent_diffusion.sampling import clip_embedding, latent_mode, to_tensor

if TYPE_CHECKING:
    import torch

__all__ = ["Draw", "condition_dropout", "draw", "noise_loss", "start_networks", "widen"]

DROP = 0.05
"""Each of the three kinds of dropped conditions: CLIP alone, both, the eight channels alone."""


def start_networks(folder: str | Path, image_encoder: str | Path | None = None) -> Networks:
    """The networks to start from.

    Args:
        folder: of a pix2gestalt model (training goes on), or of an image-conditioned or text-conditioned Stable Diffusion 1.x
            in diffusers' layout: its first layer is widened by zeros and the projection starts as the identity.
        image_encoder: folder of a CLIP image encoder with projection, where `folder` has no `image_encoder/`.

    Raises:
        WeightsError: something is absent or does not fit.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPVisionModelWithProjection

    root = Path(folder)
    if (root / "projection").is_dir():
        return Networks.from_pretrained(root, torch.float32)
    encoder = root / "image_encoder" if image_encoder is None else Path(image_encoder)
    if not (encoder / "config.json").is_file():
        raise WeightsError(
            f"{root} has no image_encoder/; name CLIP's image encoder (ViT-L/14 for SD 1.x) with network.image_encoder"
        )
    unet = widen(load_part(UNet2DConditionModel, root / "unet", torch.float32))
    vae = load_part(AutoencoderKL, root / "vae", torch.float32)
    clip = load_part(CLIPVisionModelWithProjection, encoder, torch.float32)
    sizes = int(clip.config.projection_dim), int(unet.config.cross_attention_dim)
    projection = torch.nn.Linear(*sizes)
    torch.nn.init.eye_(projection.weight)
    torch.nn.init.zeros_(projection.bias)
    networks = Networks(unet, vae, clip, projection)
    networks.check(str(root), PUBLISHED)
    return networks


def widen(unet: Any, times: int = 3) -> Any:
    """Give a UNet's first layer `times` as many input channels; the new ones weigh nothing, so its answer stays the same."""
    import torch

    old = unet.conv_in
    channels = int(unet.config.out_channels) * times
    if old.in_channels == channels:
        return unet
    if old.in_channels != unet.config.out_channels:
        raise WeightsError(f"the UNet to start from takes {old.in_channels} channels; a plain one takes 4")
    # The weight is (out, in, k, k): the old channels come first, the new ones are 0.
    new = torch.nn.Conv2d(channels, old.out_channels, old.kernel_size, padding=old.padding)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
    new.bias = old.bias
    unet.conv_in = new
    unet.register_to_config(in_channels=channels)
    return unet


def condition_dropout(chance: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows lose the CLIP embedding and which the eight channels, by one uniform number each.

    Below 0.05 the embedding; from 0.05 to 0.10 both; from 0.10 to 0.15 the channels.
    """
    return chance < 2 * DROP, (chance >= DROP) & (chance < 3 * DROP)


@dataclass(frozen=True)
class Draw:
    """The chance of one batch: the VAE's and the diffusion's noise (N, 4, h, w), times (N,), and `chance` (N,) for dropout."""

    latent_noise: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    chance: NDArray[np.float32]


def draw(count: int, side: int, seed: tuple[int, ...], channels: int = 4, times: int = 1000) -> Draw:
    """The chance of a batch of `count` with latents of `side` x `side`; depends on `seed` alone, on every device."""
    import torch

    # One stream on the CPU for all of it: every device draws the same.
    state = np.random.SeedSequence([part & 0xFFFFFFFF for part in seed])
    stream = torch.Generator("cpu").manual_seed(int(state.generate_state(1, np.uint64)[0] >> 1))
    shape = (count, channels, side, side)
    chance = np.random.default_rng(state).random(count, np.float32)
    return Draw(
        torch.randn(shape, generator=stream),
        torch.randn(shape, generator=stream),
        torch.randint(times, (count,), generator=stream),
        chance,
    )


def noise_loss(
    networks: Networks,
    occlusion: NDArray[np.uint8],
    whole: NDArray[np.uint8],
    visible: NDArray[np.bool_],
    chance: Draw,
    unet: Any = None,
    projection: Any = None,
) -> torch.Tensor:
    """The mean squared error of the predicted noise, the objective of the paper's section 3.2.

    The target is a sample of the VAE's posterior of `whole`, scaled; the conditions are unscaled modes. A dropped embedding is
    zero before the projection; dropped channels are zero.

    Args:
        networks: VAE and image encoder (frozen), and UNet and projection unless given.
        occlusion: (N, S, S, 3) uint8: the input pictures.
        whole: (N, S, S, 3) uint8: the whole objects on white.
        visible: (N, S, S) bool.
        chance: noise, times and dropout.
        unet: the UNet that learns, where it is another object than the networks' (averaged weights, wrapped modules).
        projection: the projection that learns.
    """
    import torch
    from diffusers import DDPMScheduler

    unet, projection = unet or networks.unet, projection or networks.projection
    device = next(networks.vae.parameters()).device
    without_token, without_channels = (torch.from_numpy(rows).to(device) for rows in condition_dropout(chance.chance))
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        # 1. The conditions: embedding (N, C), and eight channels (N, 8, h, w), the latents of picture and mask. Some are
        # dropped.
        pictures = to_tensor(occlusion, networks)
        embedding = clip_embedding(networks, pictures) * ~without_token[:, None]
        grey = np.repeat((visible.astype(np.uint8) * 255)[..., None], 3, axis=3)
        channels = torch.cat([latent_mode(networks, pictures), latent_mode(networks, to_tensor(grey, networks))], dim=1)
        channels = channels * ~without_channels[:, None, None, None]
        # 2. The target: latents (N, 4, h, w) of the whole object, noised at times (N,).
        posterior = networks.vae.encode(to_tensor(whole, networks)).latent_dist
        clean = posterior.mean + posterior.std * chance.latent_noise.to(device)
        noise, times = chance.noise.to(device), chance.times.to(device)
        keys = ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")
        scheduler = DDPMScheduler(**{key: SCHEDULE[key] for key in keys})
        noisy = scheduler.add_noise(clean * networks.vae.config.scaling_factor, noise, times)
    # 3. The prediction; gradients flow through UNet and projection alone.
    token = projection(embedding)[:, None]
    predicted = unet(torch.cat([noisy, channels], dim=1), times, encoder_hidden_states=token).sample
    return torch.nn.functional.mse_loss(predicted.float(), noise)
