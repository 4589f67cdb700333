"""FLUX.1 Fill: a transformer over packed latents, trained by flow matching, with the mask and the seen picture as channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .backbone import Backbone
from .schedulers import SchedulerSteps

if TYPE_CHECKING:
    import torch

__all__ = ["FluxFillBackbone"]


class FluxFillBackbone(Backbone):
    """A `FluxTransformer2DModel` with the Fill channels: [latents, latents of the seen picture, mask], all packed 2 x 2.

    The model is distilled: `guidance` is an input of the network, not a second evaluation.
    """

    flow = True
    guidance = 30.0

    @property
    def native_size(self) -> int:
        return 128 * self.autoencoder.factor

    def pack(self, latents: Any, like: Any = None) -> Any:
        """(N, C, H, W) to (N, H/2 W/2, 4 C): each 2 x 2 block of latents is one token."""
        if latents is None:
            return None
        if like is not None:
            latents = latents.expand(-1, like.shape[1], -1, -1)
        count, channels, height, width = latents.shape
        blocks = latents.reshape(count, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
        return blocks.reshape(count, (height // 2) * (width // 2), channels * 4)

    def unpack(self, latents: torch.Tensor, shape: Any) -> torch.Tensor:
        count, channels, height, width = shape
        blocks = latents.reshape(count, height // 2, width // 2, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
        return blocks.reshape(count, channels, height, width)

    def timing(self, scheduler: Any, steps: int, size: int) -> dict[str, Any]:
        """Noise levels from 1 to 1/steps, shifted towards more noise for larger pictures where the scheduler says so."""
        import numpy as np

        sigmas = np.linspace(1.0, 1 / steps, steps)
        config = scheduler.config
        if not config.use_dynamic_shifting:
            return {"sigmas": sigmas}
        tokens = (size // self.autoencoder.factor // 2) ** 2
        slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
        return {"sigmas": sigmas, "mu": tokens * slope + config.base_shift - slope * config.base_image_seq_len}

    @property
    def sees_picture(self) -> bool:
        return True

    def seen(
        self, shown: torch.Tensor, areas: torch.Tensor, known: Any, generators: list[torch.Generator]
    ) -> torch.Tensor:
        """Packed latents of the seen picture and the packed mask, every pixel of a latent pixel's block a channel."""
        import torch

        if known is None:
            known = self.autoencoder.encode(shown, generators)
        factor = self.autoencoder.factor
        count, _, height, width = areas.shape
        mask = (areas >= 0.5).float().reshape(count, height // factor, factor, width // factor, factor)
        mask = mask.permute(0, 2, 4, 1, 3).reshape(count, factor**2, height // factor, width // factor)
        return torch.cat([self.pack(known), self.pack(mask)], dim=-1).to(self.placement.dtype)

    def predictor(
        self, schedule: SchedulerSteps, seen: torch.Tensor | None, shape: Sequence[int]
    ) -> Callable[[Any, int], Any]:
        import torch

        count, dtype, device = shape[0], self.placement.dtype, self.placement.device
        pooled = self.prompt.pooled
        assert pooled is not None  # FLUX has two text encoders
        rows, columns = (side // self.autoencoder.factor // 2 for side in shape[-2:])
        places = torch.zeros(rows, columns, 3)
        places[..., 1] += torch.arange(rows)[:, None]
        places[..., 2] += torch.arange(columns)[None, :]
        prompt = self.prompt.embedding.expand(count, -1, -1)
        constant = {
            "pooled_projections": pooled.expand(count, -1),
            "encoder_hidden_states": prompt,
            "txt_ids": torch.zeros(prompt.shape[1], 3, device=device, dtype=dtype),
            "img_ids": places.reshape(-1, 3).to(device, dtype),
            "guidance": torch.full([count], self.guidance, device=device)
            if self.network.config.guidance_embeds
            else None,
        }

        def predict(latent: torch.Tensor, index: int) -> torch.Tensor:
            time = schedule.times[index].expand(count).to(dtype)
            given = torch.cat([latent.to(dtype), seen], dim=-1) if seen is not None else latent.to(dtype)
            out = self.network(hidden_states=given, timestep=time / 1000, return_dict=False, **constant)[0]
            return out.float()  # type: ignore[no-any-return]

        return predict
