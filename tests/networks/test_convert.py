"""The released checkpoint's layout to ours: names, shapes, numbers, memory, and files that are not what they should be."""

import math
import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from amodal.core.errors import OutputError, WeightsError
from amodal.networks.latent_diffusion.convert import FILES, convert_checkpoint, sources
from amodal.networks.latent_diffusion.keys import ema_key
from amodal.networks.latent_diffusion.model import PUBLISHED, Networks
from tiny_pix2gestalt import TINY, lightning, original_state, tiny_networks


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("ckpt") / "epoch=000005.ckpt"
    torch.save(lightning(original_state(tiny_networks())), path)
    return path


def test_names_and_counts_of_the_published_model():
    networks = PUBLISHED.build("meta")
    plan = sources(networks, ema=False)
    assert {name: len(part) for name, part in plan.items()} == {
        "unet": 686,
        "vae": 248,
        "image_encoder": 392,
        "projection": 2,
    }
    assert [sum(p.numel() for p in part.parameters()) for part in networks.parts().values()] == [
        859_544_004,
        83_653_863,
        303_966_208,
        590_592,
    ]
    unet = {source.key for source in plan["unet"].values()}
    assert len(unet) == 686 and len({ema_key(key) for key in unet}) == 686  # no two names meet without dots
    assert ema_key("model.diffusion_model.input_blocks.0.0.weight") == "model_ema.diffusion_modelinput_blocks00weight"
    shapes = {
        plan["unet"][key].key.removeprefix("model.diffusion_model."): tuple(value.shape)
        for key, value in networks.unet.state_dict().items()
    }
    expected = {
        "input_blocks.0.0.weight": (320, 12, 3, 3),
        "time_embed.0.weight": (1280, 320),
        "time_embed.2.weight": (1280, 1280),
        "out.2.weight": (4, 320, 3, 3),
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, 768),
        "input_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight": (8 * 320, 320),
        "output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.8.2.conv.weight": (640, 640, 3, 3),
        "input_blocks.3.0.op.weight": (320, 320, 3, 3),
    }
    assert {key: shapes.get(key) for key in expected} == expected


def test_agrees_with_diffusers_own_converters(checkpoint, tmp_path):
    """diffusers reads the same names for its single-file loading; its answer is the reference."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    folder = convert_checkpoint(checkpoint, tmp_path / "out", dtype="fp32", architecture=TINY)
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    networks = TINY.build("meta")
    averaged = {source.key: state[ema_key(source.key)] for source in sources(networks, ema=False)["unet"].values()}
    for name, reference in {
        "unet": convert_ldm_unet_checkpoint(averaged, dict(networks.unet.config)),
        "vae": convert_ldm_vae_checkpoint(dict(state), dict(networks.vae.config)),
    }.items():
        ours = load_file(folder / name / FILES[name])
        assert set(ours) == set(reference)
        for key, value in reference.items():
            assert torch.equal(ours[key], value.reshape(ours[key].shape)), key


def test_clip_computes_what_the_original_network_computes(checkpoint, tmp_path):
    """OpenAI's vision transformer written out with torch's own attention, on the original tensors."""
    folder = convert_checkpoint(checkpoint, tmp_path / "out", dtype="fp32", architecture=TINY)
    networks = Networks.from_pretrained(folder)
    prefix = "cond_stage_model.model.visual."
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    w = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    pixels = torch.randn(2, 3, 28, 28)
    norm = torch.nn.functional.layer_norm
    x = torch.nn.functional.conv2d(pixels, w["conv1.weight"], stride=14).flatten(2).transpose(1, 2)
    x = torch.cat([w["class_embedding"].expand(2, 1, -1), x], dim=1) + w["positional_embedding"]
    x = norm(x, (16,), w["ln_pre.weight"], w["ln_pre.bias"])
    for i in range(2):
        b = {k.removeprefix(f"transformer.resblocks.{i}."): v for k, v in w.items() if f"resblocks.{i}." in k}
        attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        attention.load_state_dict({k.removeprefix("attn."): v for k, v in b.items() if k.startswith("attn.")})
        y = norm(x, (16,), b["ln_1.weight"], b["ln_1.bias"])
        x = x + attention(y, y, y, need_weights=False)[0]
        y = norm(x, (16,), b["ln_2.weight"], b["ln_2.bias"]) @ b["mlp.c_fc.weight"].T + b["mlp.c_fc.bias"]
        x = x + (y * torch.sigmoid(1.702 * y)) @ b["mlp.c_proj.weight"].T + b["mlp.c_proj.bias"]
    expected = norm(x[:, 0], (16,), w["ln_post.weight"], w["ln_post.bias"]) @ w["proj"]
    got = networks.image_encoder(pixel_values=pixels).image_embeds
    assert torch.allclose(got, expected.detach(), atol=1e-5)


def test_takes_averaged_weights_unless_told(checkpoint, tmp_path):
    original = tiny_networks().unet.state_dict()["conv_in.weight"]
    averaged = Networks.from_pretrained(convert_checkpoint(checkpoint, tmp_path / "a", dtype="fp32", architecture=TINY))
    assert torch.equal(averaged.unet.conv_in.weight, original)
    last = convert_checkpoint(checkpoint, tmp_path / "b", dtype="fp32", ema=False, architecture=TINY)
    assert torch.equal(Networks.from_pretrained(last).unet.conv_in.weight, original + 1)


def test_folder_is_diffusers_layout(checkpoint, tmp_path):
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    ticks = []
    folder = convert_checkpoint(checkpoint, tmp_path / "out", architecture=TINY, progress=lambda *t: ticks.append(t))
    assert UNet2DConditionModel.from_pretrained(folder, subfolder="unet").config.in_channels == 12
    assert AutoencoderKL.from_pretrained(folder, subfolder="vae").config.scaling_factor == 0.18215
    assert DDIMScheduler.from_pretrained(folder, subfolder="scheduler").config.set_alpha_to_one is False
    networks = Networks.from_pretrained(folder)
    assert networks.unet.dtype == torch.float16 and networks.projection.weight.dtype == torch.float16
    assert networks.size == 64
    assert ticks[-1][1] == ticks[-1][2] == len(ticks)
    assert networks.vae.dtype == torch.float32
    networks.save_pretrained(tmp_path / "again")
    for name in networks.parts().keys() - {"vae"}:
        first, second = (load_file(each / name / FILES[name]) for each in (folder, tmp_path / "again"))
        assert set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def broken(tmp_path: Path, change) -> Path:
    state = original_state(tiny_networks())
    change(state)
    torch.save(lightning(state), tmp_path / "broken.ckpt")
    return tmp_path / "broken.ckpt"


class Hostile:
    def __reduce__(self):
        return (os.system, ("touch hostile-was-here",))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: s.pop("cc_projection.bias"), r"1 of 2 tensors of its projection are missing \(cc_projection.bias"),
        (
            lambda s: [s.pop(k) for k in list(s) if "model_ema" in k],
            "averaged weights are absent; take the others, not averaged",
        ),
        (lambda s: s.update({"cc_projection.weight": torch.zeros(3, 3)}), r"cc_projection.weight gives \(3, 3\)"),
        (lambda s: [s.pop(k) for k in list(s) if k != "betas"], "is not a checkpoint of pix2gestalt"),
        (lambda s: s["cc_projection.bias"].fill_(1e6), "holds values that fp16 cannot hold"),
    ],
)
def test_foreign_checkpoints(tmp_path, change, text):
    path = broken(tmp_path, change)
    with pytest.raises(WeightsError, match=text):
        convert_checkpoint(path, tmp_path / "out", architecture=TINY)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.ckpt"]  # nothing half-written


def test_truncated_and_hostile_files(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(checkpoint.read_bytes()[:20_000])
    with pytest.raises(WeightsError, match="cut short"):
        convert_checkpoint(cut, tmp_path / "out", architecture=TINY)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "callbacks": Hostile()}, tmp_path / "hostile.ckpt")
    with pytest.raises(WeightsError):
        convert_checkpoint(tmp_path / "hostile.ckpt", tmp_path / "out", architecture=TINY)
    assert not (tmp_path / "hostile-was-here").exists()
    with pytest.raises(WeightsError, match="does not exist"):
        convert_checkpoint(tmp_path / "absent.ckpt", tmp_path / "out", architecture=TINY)


def test_refuses_to_replace(checkpoint, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        convert_checkpoint(checkpoint, tmp_path / "out", architecture=TINY)


def test_a_network_in_shards(checkpoint, tmp_path):
    """As `save_pretrained(..., max_shard_size=...)` writes large networks."""
    folder = convert_checkpoint(checkpoint, tmp_path / "out", architecture=TINY)
    whole = Networks.from_pretrained(folder)
    (folder / "unet" / FILES["unet"]).unlink()
    whole.unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    shards = sorted((folder / "unet").glob("*-of-*.safetensors"))
    assert len(shards) > 1
    for key, value in Networks.from_pretrained(folder).unet.state_dict().items():
        assert torch.equal(value, whole.unet.state_dict()[key]), key
    shards[0].unlink()
    with pytest.raises(WeightsError, match=rf"unet holds {len(shards) - 1} of {len(shards)} shards"):
        Networks.from_pretrained(folder)


def test_folders_that_are_not_whole(checkpoint, tmp_path):
    folder = convert_checkpoint(checkpoint, tmp_path / "out", architecture=TINY)
    with pytest.raises(WeightsError, match=r"unet/config.json is absent"):
        Networks.from_pretrained(tmp_path)
    file = folder / "vae" / FILES["vae"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match="its header says"):
        Networks.from_pretrained(folder)
    file.write_bytes(whole)
    config = folder / "unet" / "config.json"
    config.write_text(config.read_text().replace('"in_channels": 12', '"in_channels": 4'))
    with pytest.raises(WeightsError):
        Networks.from_pretrained(folder)


def anonymous_memory() -> int:
    """Bytes that this process holds and no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory through /proc")
def test_full_size_checkpoint_in_little_memory(tmp_path):
    """All shapes of the released file. Its tensors are views of one random storage, so that the file is small; what is
    read, checked and written (2.5 GB) is as large as life."""
    networks = PUBLISHED.build("meta")
    base = torch.from_numpy(np.random.default_rng(0).standard_normal(40_000_000, dtype=np.float32))
    random = np.random.default_rng(1)

    def view(shape: tuple[int, ...]) -> torch.Tensor:
        size = math.prod(shape)
        start = int(random.integers(0, base.numel() - size))
        return base[start : start + size].view(shape)

    state: OrderedDict[str, torch.Tensor] = OrderedDict()
    for ema in (False, True):
        plan = sources(networks, ema)
        for name, module in networks.parts().items():
            for key, value in module.state_dict().items():
                source = plan[name][key]
                shape = tuple(value.shape)
                if source.part:
                    shape = (shape[0] * source.part[1], *shape[1:])
                if source.transposed:
                    shape = shape[::-1]
                if name == "vae" and ".attn_1." in source.key and len(shape) == 2:
                    shape = (*shape, 1, 1)
                state.setdefault(source.key, view(shape))
    path = tmp_path / "full.ckpt"
    torch.save(lightning(state), path)
    before = anonymous_memory()
    peak = [0]

    def watch(*_: object) -> None:
        peak[0] = max(peak[0], anonymous_memory() - before)

    folder = convert_checkpoint(path, tmp_path / "out", progress=watch)
    assert peak[0] < 400e6, f"{peak[0] / 1e6:.0f} MB"
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    assert 2.49e9 < size < 2.50e9
    from safetensors import safe_open

    plan = sources(networks)
    for name in networks.parts():
        with safe_open(folder / name / FILES[name], "pt") as opened:
            for key in list(opened.keys())[::7]:
                source = plan[name][key]
                expected = state[source.key]
                if source.part:
                    expected = expected.chunk(source.part[1])[source.part[0]]
                expected = (expected.T if source.transposed else expected).half()
                got = opened.get_tensor(key)
                assert torch.equal(got, expected.reshape(got.shape)), key
