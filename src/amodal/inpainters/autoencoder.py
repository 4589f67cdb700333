"""Pictures to latents and back through a diffusers `AutoencoderKL`, one picture at a time so that memory stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Autoencoder"]


class Autoencoder:
    """Scales, shifts and precision of the VAE, hidden.

    Args:
        network: the `AutoencoderKL`, already in the precision it runs in.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        config = network.config
        self.factor = int(2 ** (len(config.block_out_channels) - 1))
        self.channels = int(config.latent_channels)
        self.scale: float | torch.Tensor = float(config.scaling_factor)
        self.shift: float | torch.Tensor = float(getattr(config, "shift_factor", None) or 0.0)
        mean, deviation = (getattr(config, f"latents_{name}", None) for name in ("mean", "std"))
        if mean and deviation:  # of each channel, as Playground 2.5 has them
            import torch

            self.shift, over = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (mean, deviation))
            self.scale = self.scale / over

    def encode(self, pictures: torch.Tensor, generators: list[torch.Generator]) -> torch.Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, C, H / factor, W / factor) float32, each drawn with its own generator."""
        import torch

        out = []
        for picture, generator in zip(pictures, generators, strict=True):
            drawn = self.network.encode(picture[None].to(self.network.dtype)).latent_dist.sample(generator=generator)
            out.append(self._scaled(drawn.float()))
        return torch.cat(out)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """The inverse: (N, 3, H, W) float32, nominally in [-1, 1]."""
        import torch

        raw = self._raw(latents)
        return torch.cat([self.network.decode(one[None].to(self.network.dtype)).sample.float() for one in raw])

    def _scaled(self, latents: torch.Tensor) -> torch.Tensor:
        scale, shift = self._numbers(latents)
        return (latents - shift) * scale  # type: ignore[no-any-return]

    def _raw(self, latents: torch.Tensor) -> torch.Tensor:
        scale, shift = self._numbers(latents)
        return latents / scale + shift  # type: ignore[no-any-return]

    def _numbers(self, latents: torch.Tensor) -> tuple[Any, Any]:
        """Scale and shift where the latents are."""
        import torch

        scale, shift = (
            value.to(latents.device) if isinstance(value, torch.Tensor) else value for value in (self.scale, self.shift)
        )
        return scale, shift
