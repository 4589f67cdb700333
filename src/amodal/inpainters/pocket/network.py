"""The pocket inpainter's network: a small pixel-space diffusion U-Net on a space-to-depth stem. Needs torch.

The shipped inpainter runs the exported ONNX file and never imports this.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUTS = 7
"""Noisy RGB, area, condition RGB."""
LEAST = 0.05
"""Smallest sine of a time's angle: below it, the v that leads to a picture grows without bound."""
FINE = 12
"""Channels at full size, where outlines are refined."""


class Block(nn.Module):
    """Residual block whose second half is scaled and shifted by the time embedding."""

    def __init__(self, width: int, time: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.film = nn.Linear(time, 2 * width)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(time)[..., None, None].chunk(2, 1)
        change: Tensor = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return x + change


class Attention(nn.Module):
    """Self-attention over all places of a coarse map."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        batch, width, height, breadth = x.shape
        shape = (batch, 3, self.heads, width // self.heads, height * breadth)
        q, k, v = self.qkv(self.norm(x)).reshape(shape).transpose(-1, -2).unbind(1)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(batch, width, height, breadth)
        change: Tensor = self.out(mixed)
        return x + change


class PocketInpainter(nn.Module):
    """Predicts v (progressive distillation's v = alpha noise - sigma picture) of a noised picture, and where the object is.

    v is mixed from a drawn one, where the object is, and the one that leads back to the condition, everywhere else.

    Args:
        widths: channels at 1/4, 1/8, 1/16 of the picture.
        depths: blocks at each of these, on the way down and again on the way up.
        fold: pixels per side that the stem folds into channels.
    """

    def __init__(
        self, widths: tuple[int, ...] = (128, 192, 288), depths: tuple[int, ...] = (1, 2, 2), fold: int = 4
    ) -> None:
        super().__init__()
        self.fold = fold
        time = 2 * widths[0]
        self.frequencies = 32
        self.time = nn.Sequential(nn.Linear(2 * self.frequencies, time), nn.SiLU(), nn.Linear(time, time), nn.SiLU())
        self.stem = nn.Conv2d(INPUTS * fold**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.encoder = nn.ModuleList(
            nn.ModuleList(Block(w, time) for _ in range(n)) for w, n in zip(widths, depths, strict=True)
        )
        self.decoder = nn.ModuleList(
            nn.ModuleList(Block(w, time) for _ in range(n)) for w, n in zip(widths[:-1], depths[:-1], strict=True)
        )
        self.middle = nn.ModuleList([Attention(widths[-1]), Block(widths[-1], time), Attention(widths[-1])])
        self.norm = nn.GroupNorm(8, widths[0])
        self.out = nn.Conv2d(widths[0], (4 + FINE) * fold**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        last = nn.Conv2d(32, 4, 3, padding=1)
        nn.init.zeros_(last.weight)
        self.refine = nn.Sequential(nn.Conv2d(FINE + INPUTS, 32, 3, padding=1), nn.SiLU(), last)

    def _stage(self, blocks: nn.Module, x: Tensor, embedded: Tensor) -> Tensor:
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            x = block(x, embedded)
        return x

    def forward(self, noisy: Tensor, area: Tensor, condition: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """v and the object's logit from a noisy picture.

        Args:
            noisy: (B, 3, S, S).
            area: (B, 1, S, S) in [0, 1].
            condition: (B, 3, S, S).
            time: (B,) in [0, 1].

        Returns:
            v (B, 3, S, S) and the logit (B, 1, S, S) of each pixel's being object rather than ground.
        """
        steps = torch.arange(self.frequencies, device=time.device, dtype=torch.float32)
        angles = time[:, None] * 1000.0 * torch.exp(-math.log(10_000.0) / self.frequencies * steps)
        embedded = self.time(torch.cat([angles.sin(), angles.cos()], 1))
        given = torch.cat([noisy, area, condition], 1)
        x = self.stem(F.pixel_unshuffle(given, self.fold))
        skips = []
        for level, stage in enumerate(self.encoder):
            x = self._stage(stage, x, embedded)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        x = self.middle[2](self.middle[1](self.middle[0](x), embedded))
        for level in reversed(range(len(self.down))):
            x = F.interpolate(self.up[level](x), scale_factor=2.0, mode="nearest") + skips[level]
            x = self._stage(self.decoder[level], x, embedded)
        made = F.pixel_shuffle(self.out(F.silu(self.norm(x))), self.fold)
        both = made[:, :4] + self.refine(torch.cat([made[:, 4:], given], 1))
        drawn, logit = both[:, :3], both[:, 3:]
        angle = (time * (math.pi / 2))[:, None, None, None]
        kept = (angle.cos() * noisy - condition) / angle.sin().clamp(min=LEAST)
        share = torch.sigmoid(logit)
        return share * drawn + (1 - share) * kept, logit
