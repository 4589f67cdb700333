"""SyncDreamer's feature volume (Liu et al. 2023): all noisy views meet in one cube of space, and each view looks into it.

The names of the tensors follow the released checkpoint; `keys.volume_source` holds the few exceptions. World axes are the
checkpoint's: z up, a camera of azimuth a at (cos a, sin a) around the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["VolumeNetwork", "look_into", "pose_numbers"]

FOCAL, DISTANCE, PICTURE = 280.0, 1.5, 256
"""Of the cameras that the model was trained with: pixels, units of the object's longest side, pixels."""
ELEVATION = 30.0
"""Of all views that the model makes, degrees."""


def pose_numbers(elevation: Tensor, azimuth: Tensor, radius: Tensor) -> Tensor:
    """Zero-1-to-3's four numbers (N, 4) of a camera relative to the input's: polar angle, sine and cosine of the azimuth, radius.

    Args:
        elevation: (N,) degrees upwards; the polar angle is counted downwards, hence the sign.
        azimuth: (N,) degrees to the right.
        radius: (N,) difference of the distances, in the training's unit (the object's longest side).
    """
    turn = torch.deg2rad(azimuth)
    return torch.stack([-torch.deg2rad(elevation), turn.sin(), turn.cos(), radius], dim=1)


class Modulated(nn.Module):
    """Normalise, activate and convolve a volume to which the time and, if given, the view are added."""

    def __init__(self, channels: int, out: int, time: int, view: int = 0, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.t_conv = nn.Conv3d(time, channels, 1)
        if view:
            self.v_conv = nn.Conv3d(view, channels, 1)
        self.norm = nn.GroupNorm(8, channels)
        self.conv: nn.Module
        if up:
            self.conv = nn.ConvTranspose3d(channels, out, 3, stride=2, padding=1, output_padding=1)
        else:
            self.conv = nn.Conv3d(channels, out, 3, stride=stride, padding=1)

    def forward(self, x: Tensor, time: Tensor, view: Tensor | None = None) -> Tensor:
        """(B, C, D, H, W), (B, T) and (B, V) to (B, C', D', H', W')."""
        x = x + self.t_conv(time[..., None, None, None])
        if view is not None:
            x = x + self.v_conv(view[..., None, None, None])
        return self.conv(nn.functional.silu(self.norm(x)))  # type: ignore[no-any-return]


class ViewBlock(nn.Module):
    """A residual block over one view's map."""

    def __init__(self, channels: int, time: int, view: int) -> None:
        super().__init__()
        self.time_embed = nn.Conv2d(time, channels, 1)
        self.view_embed = nn.Conv2d(view, channels, 1)
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """(B, C, h, w), (B, T, 1, 1) and (B, V, 1, 1) to (B, C, h, w)."""
        return x + self.conv(x + self.time_embed(time) + self.view_embed(view))  # type: ignore[no-any-return]


class ViewEncoder(nn.Module):
    """A noisy latent (B, 4, h, w) to features (B, 16, h, w)."""

    def __init__(self, latent: int, time: int, view: int, width: int = 16) -> None:
        super().__init__()
        self.init_conv = nn.Conv2d(latent, width, 3, padding=1)
        self.out_conv0, self.out_conv1, self.out_conv2 = (ViewBlock(width, time, view) for _ in range(3))
        self.final_out = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, view: Tensor) -> Tensor:
        """(B, 4, h, w), (B, T) and (B, V) to (B, 16, h, w)."""
        x = self.init_conv(x)
        for block in (self.out_conv0, self.out_conv1, self.out_conv2):
            x = block(x, time[..., None, None], view[..., None, None])
        return self.final_out(x)  # type: ignore[no-any-return]


class SpaceNet(nn.Module):
    """A 3-D UNet with added skips over the cube of space."""

    def __init__(self, channels: int, time: int, dims: Sequence[int]) -> None:
        super().__init__()
        d0, d1, d2, d3 = dims
        self.init_conv = nn.Conv3d(channels, d0, 3, padding=1)
        self.conv0 = Modulated(d0, d0, time)
        self.conv1 = Modulated(d0, d1, time, stride=2)
        self.conv2_0, self.conv2_1 = (Modulated(d1, d1, time) for _ in range(2))
        self.conv3 = Modulated(d1, d2, time, stride=2)
        self.conv4_0, self.conv4_1 = (Modulated(d2, d2, time) for _ in range(2))
        self.conv5 = Modulated(d2, d3, time, stride=2)
        self.conv6_0, self.conv6_1 = (Modulated(d3, d3, time) for _ in range(2))
        self.conv7 = Modulated(d3, d2, time, up=True)
        self.conv8 = Modulated(d2, d1, time, up=True)
        self.conv9 = Modulated(d1, d0, time, up=True)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """(B, views * 16, V, V, V) to (B, d0, V, V, V)."""
        fine = self.conv0(self.init_conv(x), time)
        middle = self.conv2_1(self.conv2_0(self.conv1(fine, time), time), time)
        coarse = self.conv4_1(self.conv4_0(self.conv3(middle, time), time), time)
        x = self.conv6_1(self.conv6_0(self.conv5(coarse, time), time), time)
        x = coarse + self.conv7(x, time)
        x = middle + self.conv8(x, time)
        return fine + self.conv9(x, time)  # type: ignore[no-any-return]


class FrustumNet(nn.Module):
    """A 3-D UNet over the cube as one view sees it, with its four resolutions as the answer."""

    def __init__(self, time: int, view: int, dims: Sequence[int]) -> None:
        super().__init__()
        d0, d1, d2, d3 = dims
        self.conv0 = nn.Conv3d(d0, d0, 3, padding=1)
        self.conv1, self.conv2 = Modulated(d0, d1, time, view, 2), Modulated(d1, d1, time, view)
        self.conv3, self.conv4 = Modulated(d1, d2, time, view, 2), Modulated(d2, d2, time, view)
        self.conv5, self.conv6 = Modulated(d2, d3, time, view, 2), Modulated(d3, d3, time, view)
        self.up0 = Modulated(d3, d2, time, view, up=True)
        self.up1 = Modulated(d2, d1, time, view, up=True)
        self.up2 = Modulated(d1, d0, time, view, up=True)

    def forward(self, x: Tensor, time: Tensor, view: Tensor) -> dict[int, Tensor]:
        """(B, d0, D, h, w) to volumes by their width: w: (B, d0, D, h, w), w / 2: (B, d1, D / 2, ...), ..."""
        x0 = self.conv0(x)
        x1 = self.conv2(self.conv1(x0, time, view), time, view)
        x2 = self.conv4(self.conv3(x1, time, view), time, view)
        x3 = self.conv6(self.conv5(x2, time, view), time, view)
        x2 = self.up0(x3, time, view) + x2
        x1 = self.up1(x2, time, view) + x1
        x0 = self.up2(x1, time, view) + x0
        return {each.shape[-1]: each for each in (x0, x1, x2, x3)}


class DepthAttention(nn.Module):
    """Every pixel attends to the depths of its own ray."""

    def __init__(self, inner: int, context: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Conv2d(inner, inner, 1, bias=False)
        self.to_k = nn.Conv3d(context, inner, 1, bias=False)
        self.to_v = nn.Conv3d(context, inner, 1, bias=False)
        self.to_out = nn.Conv2d(inner, inner, 1, bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, C, h, w) and (B, c, D, h, w) to (B, C, h, w)."""
        query = self.to_q(x).unflatten(1, (self.heads, -1))  # (B, heads, c, h, w)
        key, value = (layer(context).unflatten(1, (self.heads, -1)) for layer in (self.to_k, self.to_v))
        scale = query.shape[2] ** -0.5
        weights = (torch.einsum("bnchw,bncdhw->bndhw", query, key) * scale).softmax(dim=2)
        return self.to_out(torch.einsum("bndhw,bncdhw->bnchw", weights, value).flatten(1, 2))  # type: ignore[no-any-return]


class DepthTransformer(nn.Module):
    """Depth-wise attention around a UNet's map; a volume of zeros leaves the map as projections alone make it."""

    def __init__(self, channels: int, context: int, heads: int = 4) -> None:
        super().__init__()
        inner = heads * (context // 2)
        self.proj_in = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.GroupNorm(8, inner), nn.SiLU())
        self.proj_context = nn.Sequential(
            nn.Conv3d(context, context, 1, bias=False), nn.GroupNorm(8, context), nn.ReLU()
        )
        self.depth_attn = DepthAttention(inner, context, heads)
        self.proj_out = nn.Sequential(
            nn.GroupNorm(8, inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.GroupNorm(8, inner),
            nn.ReLU(),
            nn.Conv2d(inner, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, channels, h, w) and (B, context, D, h, w) to (B, channels, h, w)."""
        return x + self.proj_out(self.depth_attn(self.proj_in(x), self.proj_context(context)))  # type: ignore[no-any-return]


class VolumeNetwork(nn.Module):
    """All of SyncDreamer that Zero-1-to-3 does not have.

    Args:
        views: made together.
        dims: channels of the volumes at their four resolutions.
        channels: of the UNet's blocks (`block_out_channels`).
        time: length of the time's embedding.
        size: cells along the cube's side.
        depth: cells along a view's rays.
        latent: channels of a latent.
    """

    def __init__(
        self,
        views: int = 16,
        dims: Sequence[int] = (64, 128, 256, 512),
        channels: Sequence[int] = (320, 640, 1280, 1280),
        time: int = 256,
        size: int = 32,
        depth: int = 48,
        latent: int = 4,
    ) -> None:
        super().__init__()
        self.config = {
            "views": views,
            "dims": list(dims),
            "channels": list(channels),
            "time": time,
            "size": size,
            "depth": depth,
            "latent": latent,
        }
        self.views, self.time, self.size, self.depth = views, time, size, depth
        self.time_embed = nn.Sequential(nn.Linear(time, time), nn.SiLU(), nn.Linear(time, time))
        self.target_encoder = ViewEncoder(latent, time, 4)
        self.spatial_volume_feats = SpaceNet(16 * views, time, dims)
        self.frustum_volume_feats = FrustumNet(time, 4, dims)
        (d0, d1, d2, d3), (c0, c1, c2, c3) = dims, channels
        places = [(c3, d3), (c2, d2), (c2, d2), (c2, d1), (c1, d1), (c1, d1), (c1, d0), (c0, d0), (c0, d0), (c0, d0)]
        self.attention = nn.ModuleList(DepthTransformer(*place) for place in places)

    def embed_time(self, time: Tensor) -> Tensor:
        """Diffusion times (B,) to (B, T)."""
        from diffusers.models.embeddings import get_timestep_embedding

        waves = get_timestep_embedding(time, self.time, flip_sin_to_cos=True, downscale_freq_shift=0)
        return self.time_embed(waves.to(self.time_embed[0].weight.dtype))  # type: ignore[no-any-return]

    def space(self, latents: Tensor, time: Tensor, poses: Tensor) -> Tensor:
        """The cube of space from all noisy views of one object.

        Args:
            latents: (views, 4, h, w).
            time: (1, T) embedded.
            poses: (views, 4) as `pose_numbers` gives them.

        Returns:
            (1, d0, V, V, V), axes z, y, x.
        """
        line = torch.linspace(-0.5, 0.5, self.size, device=latents.device)
        z, y, x = torch.meshgrid(line, line, line, indexing="ij")
        points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)  # (V^3, 3)
        seen = self.target_encoder(latents, time.expand(self.views, -1), poses)  # (views, 16, h, w)
        width = seen.shape[-1]
        found = []
        for features, projection in zip(seen, projections(self.views, width, latents.device), strict=True):
            ends = points @ projection[:, :3].T + projection[:, 3]
            pixels = ends[:, :2] / ends[:, 2:].clamp(min=1e-4)
            place = (pixels / ((width - 1) / 2) - 1).view(1, 1, -1, 2).to(features)
            unprojected = nn.functional.grid_sample(features[None], place, padding_mode="zeros", align_corners=True)
            found.append(unprojected.view(1, -1, self.size, self.size, self.size))
        return self.spatial_volume_feats(torch.cat(found, dim=1), time)  # type: ignore[no-any-return]

    def frustum(self, space: Tensor, time: Tensor, poses: Tensor, rows: Sequence[int], width: int) -> dict[int, Tensor]:
        """The cube as some views see it, by width: {w: (rows, d0, D, w, w), w / 2: ...}.

        Args:
            space: (1, d0, V, V, V).
            time: (1, T) embedded.
            poses: (views, 4).
            rows: which views.
            width: of the latents.
        """
        device, reach = space.device, 3**0.5 / 2  # half the diagonal of the unit cube
        depths = torch.linspace(DISTANCE - reach, DISTANCE + reach, self.depth, device=device)
        line = torch.arange(width, device=device, dtype=torch.float32)
        d, v, u = torch.meshgrid(depths, line, line, indexing="ij")
        ends = torch.stack([u * d, v * d, d], dim=-1)  # (D, w, w, 3)
        places = []
        for projection in projections(self.views, width, device)[list(rows)]:
            points = (ends - projection[:, 3]) @ torch.linalg.inv(projection[:, :3]).T
            places.append(points / 0.5)
        grid = torch.stack(places).to(space)
        cubes = space.expand(len(rows), -1, -1, -1, -1)
        looked = nn.functional.grid_sample(cubes, grid, padding_mode="zeros", align_corners=True)
        return self.frustum_volume_feats(looked, time.expand(len(rows), -1), poses[list(rows)])  # type: ignore[no-any-return]


def projections(views: int, width: int, device: Any = None) -> Tensor:
    """(views, 3, 4): world to pixels of maps of `width`, for cameras at azimuth 360 k / views and the model's elevation."""
    lift = np.radians(ELEVATION)
    out = []
    for turn in np.arange(views) / views * 2 * np.pi:
        back = np.array([np.cos(turn) * np.cos(lift), np.sin(turn) * np.cos(lift), np.sin(lift)])
        right = np.array([-np.sin(turn), np.cos(turn), 0.0])
        down = np.cross(-back, right)
        rotation = np.stack([right, down, -back])
        focal, middle = FOCAL * width / PICTURE, width / 2
        inner = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])
        out.append(inner @ np.concatenate([rotation, (rotation @ (-back * DISTANCE))[:, None]], axis=1))
    return torch.tensor(np.stack(out), dtype=torch.float32, device=device)


@contextmanager
def look_into(unet: Any, volume: VolumeNetwork, views: Mapping[int, Tensor]) -> Iterator[None]:
    """Within the context, a `UNet2DConditionModel` attends to volumes (by the width of its maps) behind its middle block and
    behind every block and upsampler of its upper half but the coarsest."""
    places = [unet.mid_block]
    for block in unet.up_blocks[1:]:
        last = [block.upsamplers[0]] if block.upsamplers else [block.attentions[-1]]
        places += [*block.attentions[:-1], *last]

    def hook(attention: nn.Module) -> Any:
        def change(module: nn.Module, given: Any, answer: Any) -> Any:
            if isinstance(answer, Tensor):
                return attention(answer, views[answer.shape[-1]])
            return (attention(answer[0], views[answer[0].shape[-1]]), *answer[1:])

        return change

    handles = [
        place.register_forward_hook(hook(attention)) for place, attention in zip(places, volume.attention, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
