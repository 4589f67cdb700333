"""From condition pictures to drawn wholes: CLIP and VAE conditions, guidance, and the solvers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...plugins.protocols import Progress, no_progress
from .model import SCHEDULE, Networks

if TYPE_CHECKING:
    import torch

__all__ = ["Condition", "Settings", "clip_pixels", "ddim_timesteps", "encode", "guided", "sample"]

Solver = Literal["ddim", "dpm++", "dpm++sde", "unipc"]
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Settings:
    """How to sample.

    Attributes:
        steps: of the solver; the authors' DDIM makes one network evaluation less (it leaves out the noisiest time).
        eta: noise of each DDIM step: 1 as the authors', 0 deterministic. Other solvers ignore it.
        guidance: weight of the condition; 1 switches guidance off.
        solver: "ddim" is the authors'; "dpm++", "unipc" (deterministic) and "dpm++sde" (stochastic) need about 25 steps.
        batch: pictures per network evaluation (each twice with guidance); fewer take less memory.
    """

    steps: int = 200
    eta: float = 1.0
    guidance: float = 2.0
    solver: Solver = "ddim"
    batch: int = 16


@dataclass(frozen=True)
class Condition:
    """What the UNet is told: `token` (N, 1, C), the projected CLIP embedding, and `concat` (N, c, h, w), the joined latents."""

    token: torch.Tensor
    concat: torch.Tensor

    def take(self, rows: Sequence[int]) -> Condition:
        """The conditions of some rows, repeated where named twice."""
        index = list(rows)
        return Condition(self.token[index], self.concat[index])


def to_tensor(pictures: NDArray[np.uint8], networks: Networks) -> torch.Tensor:
    """(N, S, S, 3) uint8 to (N, 3, S, S) float32 in [-1, 1] on the networks' device."""
    import torch

    device = next(networks.vae.parameters()).device
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).to(device)
    return tensor.permute(0, 3, 1, 2).float() / 255 * 2 - 1


def clip_pixels(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """CLIP's input as pix2gestalt makes it: bicubic with aligned corners and no antialiasing, then CLIP's mean and deviation.

    Args:
        pictures: (N, 3, S, S) in [-1, 1].
        size: side of CLIP's input (224).
    """
    import torch

    resized = torch.nn.functional.interpolate(pictures, (size, size), mode="bicubic", align_corners=True)
    mean = torch.tensor(CLIP_MEAN, device=pictures.device).view(1, 3, 1, 1)
    deviation = torch.tensor(CLIP_STD, device=pictures.device).view(1, 3, 1, 1)
    return ((resized + 1) / 2 - mean) / deviation


def clip_embedding(networks: Networks, pictures: torch.Tensor) -> torch.Tensor:
    """CLIP's image embedding, after its projection and not normalised: (N, C), in float32."""
    pixels = clip_pixels(pictures, int(networks.image_encoder.config.image_size))
    return networks.image_encoder(pixel_values=pixels.to(networks.image_encoder.dtype)).image_embeds.float()  # type: ignore[no-any-return]


def latent_mode(networks: Networks, pictures: torch.Tensor) -> torch.Tensor:
    """The mode of the VAE's posterior, not multiplied by its scale: (N, 4, S/8, S/8) float32."""
    return networks.vae.encode(pictures.to(networks.vae.dtype)).latent_dist.mode().float()  # type: ignore[no-any-return]


def encode(networks: Networks, pictures: NDArray[np.uint8], masks: NDArray[np.bool_]) -> Condition:
    """The conditions of pictures (N, S, S, 3) uint8 and visible masks (N, S, S) bool; S is the networks' size."""
    token, latent = encode_pictures(networks, pictures)
    return join(networks, token, latent, masks)


def encode_pictures(
    networks: Networks, pictures: NDArray[np.uint8], pose: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What depends on the pictures alone: the projected tokens (N, 1, C) and the latents (N, 4, h, w).

    Args:
        networks: with the projection.
        pictures: (N, S, S, 3) uint8.
        pose: (N, P) float32, or (V, P) with one picture: numbers of the camera that join the embedding before its projection.
    """
    import torch

    with torch.inference_mode():
        values = to_tensor(pictures, networks)
        embedding = clip_embedding(networks, values)
        if pose is not None:
            embedding = torch.cat([embedding.expand(len(pose), -1), pose.to(embedding)], dim=1)
        token = networks.projection(embedding.to(networks.projection.weight.dtype))
        return token[:, None].float(), latent_mode(networks, values)


def join(networks: Networks, token: torch.Tensor, latent: torch.Tensor, masks: NDArray[np.bool_]) -> Condition:
    """The conditions of N masks with the N (or the one) encoded pictures they belong to."""
    import torch

    with torch.inference_mode():
        grey = np.repeat((masks.astype(np.uint8) * 255)[..., None], 3, axis=3)
        marked = latent_mode(networks, to_tensor(grey, networks))
        count = marked.shape[0]
        return Condition(token.expand(count, -1, -1), torch.cat([latent.expand(count, -1, -1, -1), marked], dim=1))


def ddim_timesteps(steps: int, train: int = 1000) -> list[int]:
    """The times at which the authors' sampler evaluates the network: `1, 1+c, 1+2c, ...` with c = train // steps, downwards,
    without the largest: 199 times from 991 for 200 steps."""
    return list(range(1, train + 1, train // steps))[-2::-1] or [1]


def make_scheduler(settings: Settings) -> Any:
    """The diffusers scheduler of a solver with its times set."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

    schedule = {key: SCHEDULE[key] for key in ("beta_start", "beta_end", "beta_schedule", "num_train_timesteps")}
    if settings.solver == "ddim":
        import torch

        scheduler = DDIMScheduler(**SCHEDULE)
        scheduler.set_timesteps(settings.steps)
        scheduler.timesteps = torch.tensor(ddim_timesteps(settings.steps))
        return scheduler
    if settings.solver == "unipc":
        scheduler = UniPCMultistepScheduler(**schedule, timestep_spacing="linspace")
    else:
        kind = "sde-dpmsolver++" if settings.solver == "dpm++sde" else "dpmsolver++"
        scheduler = DPMSolverMultistepScheduler(**schedule, algorithm_type=kind, timestep_spacing="linspace")
    scheduler.set_timesteps(settings.steps)
    return scheduler


def guided(networks: Networks, latents: torch.Tensor, time: Any, condition: Condition, guidance: float) -> torch.Tensor:
    """The predicted noise (N, 4, h, w): eps_u + g (eps_c - eps_u), both halves in one evaluation.

    Unconditional means zeros for the projected token and for the joined channels. A guidance of 1 evaluates one half.
    """
    import torch

    kind = networks.unet.dtype
    full = torch.cat([latents, condition.concat], dim=1)
    token = condition.token
    if guidance != 1:
        empty = torch.cat([latents, torch.zeros_like(condition.concat)], dim=1)
        full = torch.cat([empty, full])
        token = torch.cat([torch.zeros_like(token), token])
    moment = torch.as_tensor(time, device=full.device)  # a number would be compiled anew at every step
    noise = networks.unet(full.to(kind), moment, encoder_hidden_states=token.to(kind)).sample.float()
    if guidance == 1:
        return noise  # type: ignore[no-any-return]
    free, bound = noise.chunk(2)
    return free + guidance * (bound - free)  # type: ignore[no-any-return]


def generators(seeds: Sequence[tuple[int, int]]) -> list[torch.Generator]:
    """One generator per (seed, sample), on the CPU so that every device draws the same noise."""
    import torch

    out = []
    for seed, number in seeds:
        state = np.random.SeedSequence([seed & 0xFFFFFFFFFFFFFFFF, number]).generate_state(2, np.uint32)
        out.append(torch.Generator("cpu").manual_seed((int(state[0]) << 31) ^ int(state[1])))
    return out


def sample(
    networks: Networks,
    condition: Condition,
    seeds: Sequence[tuple[int, int]],
    settings: Settings,
    progress: Progress = no_progress,
) -> NDArray[np.uint8]:
    """Draw one whole object on white per condition.

    Args:
        networks: with the averaged weights.
        condition: N rows.
        seeds: (seed, number of the sample) per row; the row depends on them and its condition alone.
        settings: solver, steps, guidance.
        progress: called once per network evaluation.

    Returns:
        (N, S, S, 3) uint8 RGB.
    """
    import torch

    starts = range(0, len(seeds), settings.batch)
    pictures = []
    with torch.inference_mode():
        for number, start in enumerate(starts):
            rows = range(start, min(start + settings.batch, len(seeds)))

            def count(what: str, done: int, total: int, number: int = number) -> None:
                progress(what, number * total + done, len(starts) * total)

            latents = denoise(networks, condition.take(rows), [seeds[i] for i in rows], settings, count)
            pictures.append(decode(networks, latents))
    return np.concatenate(pictures)


def denoise(
    networks: Networks,
    condition: Condition,
    seeds: Sequence[tuple[int, int]],
    settings: Settings,
    progress: Progress = no_progress,
) -> torch.Tensor:
    """Latents (N, 4, h, w) from noise, as one batch."""
    import torch

    streams = generators(seeds)
    shape = (int(networks.vae.config.latent_channels), *condition.concat.shape[2:])

    def noise() -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=stream) for stream in streams]).to(condition.concat.device)

    scheduler = make_scheduler(settings)
    latents = noise() * float(scheduler.init_noise_sigma)
    times = scheduler.timesteps.tolist()
    for done, time in enumerate(times, 1):
        step: dict[str, Any] = {}
        if settings.solver == "ddim":
            step = {"eta": settings.eta, "variance_noise": noise() if settings.eta > 0 else None}
        elif settings.solver == "dpm++sde":
            step = {"variance_noise": noise()}
        predicted = guided(networks, latents, time, condition, settings.guidance)
        latents = scheduler.step(predicted, time, latents, **step).prev_sample
        progress("step", done, len(times))
    return latents


def decode(networks: Networks, latents: torch.Tensor, at_once: int = 4) -> NDArray[np.uint8]:
    """Latents to (N, S, S, 3) uint8 RGB; a few at once, because the VAE's maps are the largest of all."""
    import torch

    scaled = (latents / networks.vae.config.scaling_factor).to(networks.vae.dtype)
    values = torch.cat([networks.vae.decode(part).sample.float() for part in scaled.split(at_once)])
    pixels = (((values + 1) / 2).clamp(0, 1) * 255).to(torch.uint8)
    return np.asarray(pixels.permute(0, 2, 3, 1).cpu().numpy())
