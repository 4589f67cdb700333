"""Training: where it starts, what is dropped, that the loss is the paper's, that it falls and that wholes come out."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from amodal.core.errors import WeightsError
from amodal.methods.pix2gestalt.learn import condition_dropout, draw, noise_loss, start_networks, widen
from amodal.synthesis.composites.build import LibraryConfig, open_library
from amodal.synthesis.composites.fixed import without_occluders
from amodal.synthesis.composites.paint import paint
from amodal.synthesis.composites.place import Placer
from amodal.synthesis.composites.views import crop_view
from photo_sets import make_photos
from tiny_pix2gestalt import TINY, save_tiny, tiny_networks

POOL = 400
"""Composites that train; those from 10,000 on do not."""


@cache
def placer() -> Placer:
    with TemporaryDirectory() as folder:
        root = make_photos(Path(folder))
        return Placer(
            open_library(LibraryConfig(f"{root}/photos", f"{root}/backgrounds", invented=8)),
            {"thing": 1.0},
            {"one": 1.0},
        )


@cache
def composite(number: int, side: int) -> tuple[np.ndarray, ...]:
    """Composite `number` of the project's builder about its object: occluded picture, whole object on white, visible mask."""
    layout = placer().draw(np.random.default_rng(number))
    view, size = crop_view(layout.box, 1.6, side), (side, side)
    seen, whole = paint(layout, view, size), paint(without_occluders(layout), view, size)
    amodal = whole.amodal | seen.visible
    return seen.image, np.where(amodal[..., None], whole.image, np.uint8(255)), seen.visible


def composites(numbers: Iterable[int], side: int) -> tuple[np.ndarray, ...]:
    return tuple(np.stack(each) for each in zip(*(composite(number, side) for number in numbers), strict=True))


def test_dropout_by_one_number():
    chance = np.array([0.0, 0.049, 0.05, 0.099, 0.10, 0.149, 0.15, 0.9], np.float32)
    token, channels = condition_dropout(chance)
    assert token.tolist() == [True, True, True, True, False, False, False, False]
    assert channels.tolist() == [False, False, True, True, True, True, False, False]


def sd_folder(folder: Path, encoder: bool) -> Path:
    """A text- or image-conditioned Stable Diffusion in diffusers' layout: 4 channels, no projection."""
    from diffusers import UNet2DConditionModel

    networks = tiny_networks()
    torch.manual_seed(1)
    UNet2DConditionModel(**{**TINY.unet, "in_channels": 4, "cross_attention_dim": 10}).save_pretrained(folder / "unet")
    networks.vae.save_pretrained(folder / "vae")
    networks.image_encoder.save_pretrained(folder / ("image_encoder" if encoder else "../clip"))
    return folder


def rename_attention(folder: Path) -> None:
    """Write an autoencoder as diffusers did before 2023: other names in its attention, weights as 1 x 1 convolutions."""
    from safetensors.torch import load_file, save_file

    (path,) = folder.glob("*.safetensors")
    state = load_file(path)
    for today, before in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        for name in [name for name in state if f".{today}." in name]:
            value = state.pop(name)
            state[name.replace(f".{today}.", f".{before}.")] = value[..., None, None] if value.dim() == 2 else value
    assert sum("proj_attn" in name for name in state) == 4
    save_file({name: value.contiguous() for name, value in state.items()}, path)


def test_start_from_stable_diffusion(tmp_path):
    from diffusers import UNet2DConditionModel

    networks = start_networks(sd_folder(tmp_path / "image", True))
    assert networks.unet.config.in_channels == networks.unet.conv_in.in_channels == 12
    assert (networks.unet.conv_in.weight[:, 4:] == 0).all()
    assert torch.equal(networks.projection.weight, torch.eye(10)) and (networks.projection.bias == 0).all()
    before = UNet2DConditionModel.from_pretrained(tmp_path / "image" / "unet")
    latents, token = torch.randn(1, 4, 8, 8), torch.randn(1, 1, 10)
    with torch.no_grad():
        old = before(latents, 500, encoder_hidden_states=token).sample
        wide = torch.cat([latents, torch.randn(1, 8, 8, 8)], 1)
        assert torch.allclose(networks.unet(wide, 500, encoder_hidden_states=token).sample, old, atol=1e-5)
    with pytest.raises(WeightsError, match="has no image_encoder/"):
        start_networks(sd_folder(tmp_path / "text", False))
    again = start_networks(tmp_path / "text", tmp_path / "clip")
    assert torch.equal(again.image_encoder.visual_projection.weight, networks.image_encoder.visual_projection.weight)
    rename_attention(tmp_path / "image" / "vae")
    old = start_networks(tmp_path / "image").vae.state_dict()
    assert all(torch.equal(value, old[name]) for name, value in networks.vae.state_dict().items())
    trained = start_networks(save_tiny(tmp_path / "p2g"))
    assert trained.projection.out_features == 12
    with pytest.raises(WeightsError, match="takes 5 channels"):
        widen(UNet2DConditionModel(**{**TINY.unet, "in_channels": 5}))


def test_loss_written_out():
    """The noisy latent from the schedule's closed form, zeros before the projection, zeros for the channels."""
    networks = tiny_networks()
    occlusion, whole, visible = composites(range(4), 64)
    chance = draw(4, 8, (3, 1))
    object.__setattr__(chance, "chance", np.array([0.01, 0.07, 0.12, 0.5], np.float32))
    got = noise_loss(networks, occlusion, whole, visible, chance)

    def chw(pictures):
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1

    from amodal.networks.latent_diffusion.sampling import clip_pixels

    with torch.no_grad():
        x, marked = chw(occlusion), torch.where(torch.from_numpy(visible), 1.0, -1.0)[:, None].expand(-1, 3, -1, -1)
        embedding = networks.image_encoder(pixel_values=clip_pixels(x, 28)).image_embeds
        embedding[:2] = 0
        channels = torch.cat([networks.vae.encode(v).latent_dist.mode() for v in (x, marked)], 1)
        channels[1:3] = 0
        target = networks.vae.encode(chw(whole)).latent_dist
        clean = (target.mean + torch.exp(0.5 * target.logvar) * chance.latent_noise) * 0.18215
        a = torch.from_numpy(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)).float()[chance.times]
        a = a[:, None, None, None]
        noisy = a.sqrt() * clean + (1 - a).sqrt() * chance.noise
        token = embedding @ networks.projection.weight.T + networks.projection.bias
        predicted = networks.unet(
            torch.cat([noisy, channels], 1), chance.times, encoder_hidden_states=token[:, None]
        ).sample
    assert got.item() == pytest.approx(((predicted - chance.noise) ** 2).mean().item(), rel=1e-4)


def test_chance_depends_on_the_seed_alone():
    one, two, other = draw(3, 4, (1, 2)), draw(3, 4, (1, 2)), draw(3, 4, (1, 3))
    assert torch.equal(one.noise, two.noise) and torch.equal(one.times, two.times)
    assert np.array_equal(one.chance, two.chance) and not torch.equal(one.noise, other.noise)
    assert not torch.equal(one.noise, one.latent_noise)


def small_networks():
    """Networks that can learn 16 x 16 composites in half a minute: a VAE trained on them first, the rest random."""
    from amodal.networks.latent_diffusion.model import Architecture

    torch.manual_seed(0)
    networks = Architecture(
        "pix2gestalt",
        {
            "sample_size": 8,
            "in_channels": 12,
            "out_channels": 4,
            "block_out_channels": (24, 48),
            "layers_per_block": 1,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 10,
            "attention_head_dim": 2,
            "norm_num_groups": 8,
        },
        {
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        TINY.image_encoder,
    ).build()
    vae = networks.vae
    optimizer = torch.optim.AdamW(vae.parameters(), 3e-3)
    for step in range(120):
        occlusion, whole, visible = composites([(step * 4 + k) % POOL for k in range(4)], 16)
        grey = np.repeat(visible[..., None].astype(np.uint8) * 255, 3, axis=3)
        x = torch.from_numpy(np.concatenate([occlusion, whole, grey])).permute(0, 3, 1, 2).float() / 127.5 - 1
        posterior = vae.encode(x).latent_dist
        loss = (vae.decode(posterior.sample()).sample - x).abs().mean() + 1e-4 * posterior.kl().mean() / 64
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        spread = vae.encode(x[4:8]).latent_dist.mean.std()
    vae.register_to_config(scaling_factor=1 / float(spread))
    vae.requires_grad_(False)
    return networks.eval()


def quality(networks, steps: int = 12) -> tuple[float, float]:
    """Mean IoU of the drawn masks and mean absolute error of the pictures (0 to 1), on pairs that did not train."""
    from amodal.methods.pix2gestalt.cutout import white_mask
    from amodal.networks.latent_diffusion.sampling import Settings, encode, sample

    occlusion, whole, visible = composites(range(10_000, 10_008), 16)
    settings = Settings(steps=steps, solver="dpm++", guidance=1.5)
    drawn = sample(networks, encode(networks, occlusion, visible), [(0, k) for k in range(8)], settings)
    masks = [(white_mask(a, 235), white_mask(b, 235)) for a, b in zip(drawn, whole, strict=True)]
    ious = [(a & b).sum() / (a | b).sum() for a, b in masks]
    return float(np.mean(ious)), float(np.abs(drawn.astype(float) - whole).mean() / 255)


@pytest.mark.slow
def test_learns_to_complete():
    networks = small_networks()
    noise_iou, noise_error = quality(networks)
    learning = [*networks.unet.parameters(), *networks.projection.parameters()]
    for value in learning:
        value.requires_grad_(True)
    optimizer = torch.optim.AdamW(learning, 3e-3)
    losses, random = [], np.random.default_rng(0)
    for step in range(160):
        loss = noise_loss(networks, *composites(random.integers(0, POOL, 16).tolist(), 16), draw(16, 8, (0, step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    first, last = np.mean(losses[:20]), np.mean(losses[-50:])
    assert last < 0.5 * first, (first, last)
    iou, error = quality(networks)
    assert error < 0.5 * noise_error, (error, noise_error)
    assert iou > 1.3 * noise_iou, (iou, noise_iou)
