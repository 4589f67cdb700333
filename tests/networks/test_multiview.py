"""SyncDreamer's volume at tiny size: key layout, geometry against the cameras, synchronisation, sampling and conversion."""

import numpy as np
import pytest
import torch

from amodal.core.errors import WeightsError
from amodal.networks.latent_diffusion import multiview
from amodal.networks.latent_diffusion.convert import architecture_of, convert_checkpoint, sources
from amodal.networks.latent_diffusion.model import SYNCDREAMER, ZERO123, Networks
from amodal.networks.latent_diffusion.multiview import sample_views
from amodal.networks.latent_diffusion.sampling import Settings
from amodal.networks.latent_diffusion.volume import VolumeNetwork, look_into, pose_numbers, projections
from tiny_pix2gestalt import TINY_SYNC, TINY_ZERO, VOLUME, lightning, original_state, tiny_networks


def test_pose_numbers_are_those_of_zero123():
    """Polar angle downwards in radians, sine and cosine of the azimuth to the right, radius."""
    (row,) = pose_numbers(torch.tensor([30.0]), torch.tensor([90.0]), torch.tensor([0.2])).tolist()
    assert row == pytest.approx([-np.pi / 6, 1, 0, 0.2], abs=1e-6)


def test_names_of_the_released_checkpoint():
    networks = SYNCDREAMER.build("meta")
    plan = sources(networks)["volume"]
    names = {source.key for source in plan.values()}
    assert len(names) == len(plan)
    shapes = {plan[key].key: tuple(value.shape) for key, value in networks.volume.state_dict().items()}
    expected = {
        "time_embed.0.weight": (256, 256),
        "spatial_volume.target_encoder.out_conv1.view_embed.weight": (16, 4, 1, 1),
        "spatial_volume.target_encoder.final_out.2.bias": (16,),
        "spatial_volume.spatial_volume_feats.init_conv.weight": (64, 256, 3, 3, 3),
        "spatial_volume.spatial_volume_feats.conv2_0.bn.weight": (128,),
        "spatial_volume.spatial_volume_feats.conv7.norm.weight": (512,),
        "spatial_volume.spatial_volume_feats.conv9.conv.weight": (128, 64, 3, 3, 3),
        "spatial_volume.frustum_volume_feats.conv1.v_conv.weight": (64, 4, 1, 1, 1),
        "spatial_volume.frustum_volume_feats.up0.t_conv.weight": (512, 256, 1, 1, 1),
        "model.diffusion_model.middle_conditions.depth_attn.to_k.weight": (1024, 512, 1, 1, 1),
        "model.diffusion_model.output_conditions.2.proj_in.0.weight": (256, 1280, 1, 1),
        "model.diffusion_model.output_conditions.5.proj_out.5.weight": (640, 128, 3, 3),
        "model.diffusion_model.output_conditions.8.proj_context.0.weight": (64, 64, 1, 1, 1),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    clip = {source.key for source in sources(networks)["image_encoder"].values()}
    assert "clip_image_encoder.model.visual.proj" in clip
    assert not any(source.key.startswith("model_ema") for source in sources(networks)["unet"].values())
    assert tuple(networks.projection.weight.shape) == (768, 772) and networks.unet.config.in_channels == 8


def test_cameras_look_at_the_middle_from_thirty_degrees():
    table = projections(16, 256).double().numpy()
    for number, matrix in enumerate(table):
        middle = matrix @ [0, 0, 0, 1]
        assert np.allclose(middle[:2] / middle[2], 128) and middle[2] == pytest.approx(1.5)
        above = matrix @ [0, 0, 0.1, 1]
        assert above[1] / above[2] < 128  # z is up in the picture
        turn = 2 * np.pi * number / 16
        nearer = matrix @ [0.1 * np.cos(turn), 0.1 * np.sin(turn), 0, 1]
        assert nearer[2] < 1.5
        right = matrix @ [-0.1 * np.sin(turn), 0.1 * np.cos(turn), 0, 1]
        assert right[0] / right[2] > 128


def test_a_view_looks_into_the_cube_where_it_stands():
    """A cube with one marked cell: the frustum of each view shows it at the pixel and depth of its place."""
    torch.manual_seed(0)
    volume = VolumeNetwork(**{**VOLUME, "size": 17, "depth": 33})
    seen = []
    volume.frustum_volume_feats.forward = lambda x, time, view: seen.append(x) or {}
    cube = torch.zeros(1, 8, 17, 17, 17)
    cube[:, :, 12, 8, 8] = 1  # z = 0.25, x = y = 0
    volume.frustum(cube, torch.zeros(1, 16), torch.zeros(4, 4), [0, 2], 32)
    for looked, matrix in zip(seen[0], projections(4, 32)[[0, 2]], strict=True):
        depth, row, column = np.unravel_index(int(looked[0].argmax()), looked[0].shape)
        place = (matrix.double() @ torch.tensor([0, 0, 0.25, 1.0]).double()).numpy()
        assert abs(place[0] / place[2] - column) <= 1 and abs(place[1] / place[2] - row) <= 1
        reach = 3**0.5 / 2
        assert abs(1.5 - reach + depth / 32 * 2 * reach - place[2]) < 0.08


@pytest.fixture(scope="module")
def networks() -> Networks:
    return tiny_networks(architecture=TINY_SYNC)


def test_hooks_are_gone_afterwards_and_every_place_is_reached(networks):
    reached = []
    handles = [each.register_forward_hook(lambda *_: reached.append(1)) for each in networks.volume.attention]
    widths = {8: 8, 4: 8, 2: 16, 1: 16}
    views = {width: torch.randn(1, dim, width, width, width) for width, dim in widths.items()}
    latents, token = torch.randn(1, 8, 8, 8), torch.randn(1, 1, 12)
    with torch.no_grad():
        plain = networks.unet(latents, 5, encoder_hidden_states=token).sample
        with look_into(networks.unet, networks.volume, views):
            changed = networks.unet(latents, 5, encoder_hidden_states=token).sample
        again = networks.unet(latents, 5, encoder_hidden_states=token).sample
    for handle in handles:
        handle.remove()
    assert len(reached) == 10 and torch.equal(plain, again) and not torch.allclose(plain, changed)


def test_views_are_drawn_together(networks):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    poses = pose_numbers(torch.zeros(4), torch.arange(4) * 90.0, torch.zeros(4))
    done = []
    settings = Settings(steps=2, guidance=2.0, batch=4)
    drawn = sample_views(networks, picture, poses, 3, settings, lambda *args: done.append(args))
    assert drawn.shape == (4, 64, 64, 3) and done[-1] == ("step", 2, 2)
    one = sample_views(networks, picture, poses, 3, Settings(steps=2, guidance=2.0, batch=1))
    assert np.abs(drawn.astype(int) - one).max() <= 1
    assert not np.array_equal(drawn, sample_views(networks, picture, poses, 4, settings))


@pytest.mark.parametrize(
    ("steps", "times"), [(200, (996, 200)), (300, (997, 333)), (600, (999, 999)), (1000, (999, 999))]
)
def test_sampling_starts_where_noise_is(networks, monkeypatch, steps, times):
    """All of 1, 1 + c, ... below 1000 with c = 1000 // steps, from the largest down, also where steps does not divide 1000."""
    seen = []
    monkeypatch.setattr(
        multiview, "views_noise", lambda _, latents, time, *more: seen.append(time) or torch.zeros_like(latents)
    )
    picture, poses = np.full((64, 64, 3), 255, np.uint8), pose_numbers(*(torch.zeros(4) for _ in range(3)))
    sample_views(networks, picture, poses, 0, Settings(steps=steps, batch=4))
    assert (seen[0], len(seen)) == times and seen[-1] == 1


@pytest.mark.parametrize("architecture", [TINY_ZERO, TINY_SYNC], ids=["zero123", "syncdreamer"])
def test_conversion(architecture, tmp_path):
    own = tiny_networks(architecture=architecture)
    state = original_state(own)
    torch.save(lightning(state), tmp_path / "released.ckpt")
    assert architecture_of(state).name == architecture.name
    folder = convert_checkpoint(tmp_path / "released.ckpt", tmp_path / "out", dtype="fp32", architecture=architecture)
    again = Networks.from_pretrained(folder, expected=architecture)
    for name, part in own.parts().items():
        for key, value in part.state_dict().items():
            assert torch.equal(again.parts()[name].state_dict()[key], value), (name, key)
    with pytest.raises(WeightsError, match="takes 8 channels, pix2gestalt's takes 12"):
        Networks.from_pretrained(folder)


def test_the_hubs_layout_of_the_projection(tmp_path):
    """Zero-1-to-3 in diffusers' layout names the folder and the layer otherwise and keeps no sizes."""
    from safetensors.torch import save_file

    own = tiny_networks(architecture=TINY_ZERO)
    own.save_pretrained(tmp_path)
    (tmp_path / "projection").rename(tmp_path / "clip_camera_projection")
    (tmp_path / "clip_camera_projection" / "model.safetensors").unlink()
    weights = {f"proj.{name}": value for name, value in own.projection.state_dict().items()}
    save_file(weights, tmp_path / "clip_camera_projection" / "diffusion_pytorch_model.fp16_ema.safetensors")
    again = Networks.from_pretrained(tmp_path, expected=TINY_ZERO)
    assert torch.equal(again.projection.weight, own.projection.weight)
    assert ZERO123.pose == 4
