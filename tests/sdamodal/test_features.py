"""Features from a real (tiny) Stable Diffusion: what they are, that they are computed once, and the cache."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from amodal.core.errors import Cancelled, OptionError, WeightsError  # noqa: E402
from amodal.methods.sdamodal.cache import FeatureCache  # noqa: E402
from amodal.methods.sdamodal.features import DiffusionFeatures, FeatureSettings, square  # noqa: E402
from amodal.plugins.protocols import no_progress  # noqa: E402
from tiny_diffusion import without_tensors  # noqa: E402

TINY = FeatureSettings(size=64, draws=2)


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_shapes_and_rounding(diffusion, noise_image):
    maps = DiffusionFeatures(str(diffusion), TINY, "cpu")(noise_image)
    assert [tuple(value.shape) for value in maps] == [(32, 8, 8), (16, 16, 16), (16, 32, 32), (8, 32, 32)]
    assert all(value.dtype == torch.float16 for value in maps)


def test_against_a_pass_by_hand(diffusion, noise_image):
    """One draw: VAE sample, noise of step 181, the UNet with the empty prompt, the up-blocks' outputs; averaged over two."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    unet = UNet2DConditionModel.from_pretrained(diffusion / "unet").eval()
    vae = AutoencoderKL.from_pretrained(diffusion / "vae").eval()
    tokens = CLIPTokenizer.from_pretrained(diffusion / "tokenizer")(
        "", padding="max_length", return_tensors="pt"
    ).input_ids
    scheduler = DDIMScheduler.from_pretrained(diffusion / "scheduler")
    draws = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        text = CLIPTextModel.from_pretrained(diffusion / "text_encoder").eval()(tokens)[0]
        law = vae.encode(square(noise_image, 64)).latent_dist
        sampled, noise = (torch.randn(2, 4, 32, 32, generator=draws) for _ in range(2))
        alpha = scheduler.alphas_cumprod[181]
        total = 0
        for k in range(2):
            clean = (law.mean[0] + law.std[0] * sampled[k]) * vae.config.scaling_factor
            noisy = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise[k]
            heard = []
            handle = unet.up_blocks[1].register_forward_hook(lambda m, i, output, heard=heard: heard.append(output[0]))
            unet(noisy[None], 181, encoder_hidden_states=text)
            handle.remove()
            total = total + heard[0]
    made = DiffusionFeatures(str(diffusion), FeatureSettings((1,), size=64, draws=2), "cpu")(noise_image)[0]
    assert torch.allclose(made.float(), total / 2, atol=2e-3, rtol=2e-3)


def test_draws_in_one_batch_or_in_several(diffusion, noise_image):
    settings = FeatureSettings(size=64, draws=3)
    one, several = (DiffusionFeatures(str(diffusion), settings, "cpu", batch=n)(noise_image) for n in (3, 1))
    assert all(torch.allclose(a.float(), b.float(), atol=2e-3) for a, b in zip(one, several, strict=True))


def test_seed_and_draws_matter_and_repeat(diffusion, noise_image):
    plain = DiffusionFeatures(str(diffusion), TINY, "cpu")(noise_image)
    assert same(plain, DiffusionFeatures(str(diffusion), TINY, "cpu")(noise_image))
    for other in (FeatureSettings(size=64, draws=2, seed=1), FeatureSettings(size=64, draws=2, timestep=500)):
        assert not same(plain, DiffusionFeatures(str(diffusion), other, "cpu")(noise_image))


def test_the_unet_is_left_after_the_last_wanted_block(diffusion, noise_image, count_passes):
    every = DiffusionFeatures(str(diffusion), TINY, "cpu")(noise_image)
    assert count_passes == {"unet": [2], "up 2": [2]}
    single = DiffusionFeatures(str(diffusion), FeatureSettings((1,), size=64, draws=2), "cpu")(noise_image)
    assert count_passes == {"unet": [2, 2], "up 2": [2]}
    assert torch.equal(single[0], every[1])


def test_cached_pictures_pass_no_network(diffusion, noise_image, count_passes, tmp_path):
    cache = FeatureCache(tmp_path, 10**9)
    fresh = DiffusionFeatures(str(diffusion), TINY, "cpu", cache)(noise_image)
    again = DiffusionFeatures(str(diffusion), TINY, "cpu", cache)
    assert same(again(noise_image), fresh)
    assert count_passes["unet"] == [2]
    assert not again._parts, "the networks were loaded for nothing"
    other = noise_image.copy()
    other[0, 0, 0] ^= 1
    DiffusionFeatures(str(diffusion), TINY, "cpu", cache)(other)
    DiffusionFeatures(str(diffusion), FeatureSettings(size=64, draws=2, seed=9), "cpu", cache)(noise_image)
    assert count_passes["unet"] == [2, 2, 2]
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_pictures_of_equal_bytes_and_other_shape_have_other_keys(diffusion):
    source = DiffusionFeatures(str(diffusion), TINY, "cpu")
    assert source.key(np.zeros((4, 6, 3), np.uint8)) != source.key(np.zeros((6, 4, 3), np.uint8))


def test_a_damaged_cache_file_is_made_anew(diffusion, noise_image, tmp_path):
    source = DiffusionFeatures(str(diffusion), TINY, "cpu", FeatureCache(tmp_path, 10**9))
    fresh = source(noise_image)
    path = source.cache.path(source.key(noise_image))
    path.write_bytes(path.read_bytes()[:100])
    assert same(source(noise_image), fresh)
    assert same(source.cache.get(source.key(noise_image)), fresh)


def test_a_cache_that_cannot_be_written_warns_and_goes_on(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file" / "features", 10**9)
    with pytest.warns(UserWarning, match="features are not kept"):
        cache.put("a" * 64, [torch.zeros(2)])
    assert cache.get("a" * 64) is None


def test_the_least_recently_used_go_first(tmp_path):
    cache = FeatureCache(tmp_path, 10**9)
    for number, key in enumerate("abc"):
        cache.put(key, [torch.zeros(1000, dtype=torch.float16)])
        os.utime(cache.path(key), (number, number))
    size = cache.path("a").stat().st_size
    assert cache.get("a") is not None  # now the youngest
    cache.limit = 2 * size
    cache.put("d", [torch.zeros(1000, dtype=torch.float16)])
    assert sorted(path.stem for path in tmp_path.glob("*.safetensors")) == ["a", "d"]
    cache.limit = 1
    cache.put("e", [torch.zeros(1000, dtype=torch.float16)])
    assert [path.stem for path in tmp_path.glob("*.safetensors")] == ["e"], "the newest always stays"


def test_cancelled_between_batches(diffusion, noise_image, count_passes, tmp_path):
    def stop(what, done, total):
        raise Cancelled(f"{what} {done}/{total}")

    settings = FeatureSettings(size=64, draws=4)
    source = DiffusionFeatures(str(diffusion), settings, "cpu", FeatureCache(tmp_path, 10**9), batch=1)
    with pytest.raises(Cancelled, match="features 1/4"):
        source(noise_image, stop)
    assert count_passes["unet"] == [1]
    assert not list(tmp_path.glob("*"))
    assert len(source(noise_image, no_progress)) == 4


def test_errors(diffusion, tmp_path, noise_image):
    with pytest.raises(WeightsError, match=r"not a diffusion model in diffusers' layout: it has no unet/config\.json"):
        DiffusionFeatures(str(tmp_path), TINY, "cpu")
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"sample_size": 64}')
    with pytest.raises(WeightsError, match="does not tell block_out_channels"):
        DiffusionFeatures(str(tmp_path), TINY, "cpu")
    (tmp_path / "unet" / "config.json").write_text('{"block_out_channels": [8, 16]}')
    with pytest.raises(OptionError, match="has 2 up-blocks"):
        DiffusionFeatures(str(tmp_path), TINY, "cpu")
    (tmp_path / "unet" / "config.json").write_bytes((diffusion / "unet" / "config.json").read_bytes())
    with pytest.raises(WeightsError, match="unet holds no .safetensors file"):
        DiffusionFeatures(str(tmp_path), TINY, "cpu")(noise_image)


@pytest.mark.parametrize(("part", "name"), [("unet", "conv_in.bias"), ("text_encoder", "layers.0.self_attn.q_proj")])
def test_missing_tensors_are_not_made_up(diffusion, tmp_path, noise_image, part, name):
    folder = without_tensors(diffusion, tmp_path / "copy", name, part)
    with pytest.raises(WeightsError, match=rf"{part} do not fit its config.json .* missing \(.*{name}"):
        DiffusionFeatures(str(folder), TINY, "cpu")(noise_image)


def test_a_checkpoint_that_differs_in_the_middle_of_a_file_has_features_of_its_own(diffusion, noise_image, tmp_path):
    """As after fine-tuning the attention alone: name, size, head and tail of the file stay."""
    other = Path(shutil.copytree(diffusion, tmp_path / "other"))
    file = next((other / "unet").glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    file.write_bytes(content)
    cache = FeatureCache(tmp_path / "features", 10**9)
    first = DiffusionFeatures(str(diffusion), TINY, "cpu", cache)(noise_image)
    second = DiffusionFeatures(str(other), TINY, "cpu", cache)(noise_image)
    assert not same(first, second) and same(second, DiffusionFeatures(str(other), TINY, "cpu")(noise_image))
