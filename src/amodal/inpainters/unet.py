"""Stable Diffusion 1.5, 2 and XL: a UNet with 4 channels (text to image) or 9 (inpainting)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .backbone import Backbone
from .schedulers import SchedulerSteps

if TYPE_CHECKING:
    import torch

__all__ = ["UNetBackbone"]

LATENTS = 64
"""Side of the latents of networks that do not tell theirs."""


class UNetBackbone(Backbone):
    """A `UNet2DConditionModel`. Nine channels are [latent 4, mask 1, latent of the seen picture 4], as in diffusers."""

    @property
    def native_size(self) -> int:
        side = self.network.config.sample_size  # a number, or height and width
        return int(max(side) if isinstance(side, list | tuple) else side or LATENTS) * self.autoencoder.factor

    @property
    def sees_picture(self) -> bool:
        return bool(self.network.config.in_channels != self.autoencoder.channels)

    def seen(
        self, shown: torch.Tensor, areas: torch.Tensor, known: Any, generators: list[torch.Generator]
    ) -> torch.Tensor | None:
        import torch

        if not self.sees_picture:
            return None
        if known is None:
            known = self.autoencoder.encode(shown, generators)
        mask = self.latent_area(areas)  # binary unless the area has a soft edge
        return torch.cat([mask, known], dim=1).to(self.placement.dtype)

    def predictor(
        self, schedule: SchedulerSteps, seen: torch.Tensor | None, shape: Sequence[int]
    ) -> Callable[[Any, int], Any]:
        import torch

        count, dtype = shape[0], self.placement.dtype
        prompt = self.prompt.embedding.expand(count, -1, -1)
        more: dict[str, Any] = {}
        if self.prompt.pooled is not None:
            height, width = shape[-2:]
            sizes = torch.tensor([[height, width, 0, 0, height, width]], device=self.placement.device, dtype=dtype)
            more = {"text_embeds": self.prompt.pooled.expand(count, -1), "time_ids": sizes.expand(count, -1)}

        def predict(latent: torch.Tensor, index: int) -> torch.Tensor:
            given = schedule.scaled(latent, index).to(dtype)
            if seen is not None:
                given = torch.cat([given, seen], dim=1)
            out = self.network(
                given,
                schedule.times[index],
                encoder_hidden_states=prompt,
                added_cond_kwargs=more or None,
                return_dict=False,
            )[0]
            return out.float()  # type: ignore[no-any-return]

        return predict
