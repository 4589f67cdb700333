"""The diffusers inpainters as plug-ins: loading, promises, options, and what they say when something is wrong."""

import json
import shutil

import numpy as np
import pytest

from amodal.core.errors import AmodalError, Cancelled, OptionError, WeightsError
from amodal.inpainters.diffusers import SD15, Diffusers, FluxFill
from amodal.inpainters.schedulers import SchedulerSteps, make_scheduler
from amodal.plugins.protocols import Sampling
from amodal.plugins.registry import create_inpainter

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIDE = 32
SAMPLING = Sampling(3, (0.3, 0.0), 0.99)


def inputs(count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    conditions = rng.normal(0, 0.5, (count, SIDE, SIDE, 3)).astype(np.float32)
    return conditions, rng.uniform(size=(count, SIDE, SIDE)).astype(np.float32)


def make(folder, cls=Diffusers, **options):
    return cls({"model": str(folder), "size": SIDE, **options}, device="cpu")


@pytest.mark.parametrize("family", ["sd15", "sd2", "text", "sdxl", "flux-fill"])
def test_same_seed_same_bytes_and_batch_equals_single(tiny, family):
    inpainter = make(tiny(family))
    conditions, areas = inputs()
    all_three = inpainter.paint(conditions, areas, [5, 6, 7], SAMPLING)
    assert all_three.shape == (3, SIDE, SIDE, 3)
    assert all_three.dtype == np.float32
    assert np.abs(all_three).max() <= 1
    assert all_three.std() > 0.05
    alone = inpainter.paint(conditions[1:2], areas[1:2], [6], SAMPLING)
    assert alone.tobytes() == all_three[1:2].tobytes()
    other = inpainter.paint(conditions[1:2], areas[1:2], [8], SAMPLING)
    assert np.abs(other - alone).max() > 0.01
    together = make(tiny(family), batch=3).paint(conditions, areas, [5, 6, 7], SAMPLING)
    np.testing.assert_allclose(together, all_three, atol=1e-4)


@pytest.mark.parametrize("family", ["sd15", "sdxl", "flux-fill"])
def test_with_weight_one_the_condition_comes_back_whatever_the_network_says(tiny, family):
    conditions, areas = inputs(1)
    inpainter = make(tiny(family))
    known = inpainter.paint(conditions, areas, [5], Sampling(3, (1.0, 1.0)))
    autoencoder = inpainter.backbone.autoencoder
    with torch.inference_mode():
        picture = torch.from_numpy(conditions).permute(0, 3, 1, 2)
        again = autoencoder.decode(autoencoder.encode(picture, [torch.Generator().manual_seed(5)])).clamp(-1, 1)
    np.testing.assert_allclose(known, again.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    assert np.abs(inpainter.paint(conditions, areas, [5], Sampling(3, (0.3, 0.0))) - known).max() > 0.1


def test_a_network_with_nine_channels_sees_the_whole_condition_unless_blanked(tiny):
    conditions, _ = inputs(1)
    area = np.ones((1, SIDE, SIDE), np.float32)
    other = conditions[::-1, ::-1] * 0.5
    plain = Sampling(2, (0.0, 0.0))
    sees, blind = make(tiny("sd15")), make(tiny("sd15"), blank=True)
    assert np.abs(sees.paint(conditions, area, [1], plain) - sees.paint(other, area, [1], plain)).max() > 1e-3
    np.testing.assert_array_equal(blind.paint(conditions, area, [1], plain), blind.paint(other, area, [1], plain))


def test_cancel_within_a_step_and_progress(tiny):
    conditions, areas = inputs(2)
    seen = []

    def progress(what, done, total):
        seen.append((what, done, total))
        if done == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        make(tiny("sd15")).paint(conditions, areas, [1, 2], Sampling(5), progress)
    assert seen == [("step", 0, 10), ("step", 1, 10), ("step", 2, 10)]


@pytest.mark.parametrize("name", ["HeunDiscreteScheduler", "EulerDiscreteScheduler"])
def test_a_strength_never_tears_a_step_of_the_second_order_apart(name):
    """Such schedulers, a checkpoint's own, evaluate twice a step; half of ten steps are its last five, from the fifth noise level."""
    import diffusers

    own = getattr(diffusers, name)(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    steps = SchedulerSteps(make_scheduler(own, "default"), 10, 0.5, [torch.Generator()], torch.device("cpu"))
    known, noise = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    level = diffusers.EulerDiscreteScheduler.from_config(own.config)
    level.set_timesteps(10)
    assert steps.start(known, noise).flatten()[0] == pytest.approx(float(level.sigmas[5]))
    assert steps.steps == 5 * own.order - (own.order - 1)


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm", "dpm++", "euler", "euler-a", "unipc", "pndm"])
def test_schedulers_by_name_are_seeded_per_picture(tiny, scheduler):
    conditions, areas = inputs(2)
    sampling = Sampling(4, (0.3, 0.0), 0.9, scheduler)
    inpainter = make(tiny("sd15"))
    both = inpainter.paint(conditions, areas, [3, 4], sampling)
    assert np.isfinite(both).all()
    together = make(tiny("sd15"), batch=2).paint(conditions, areas, [3, 4], sampling)
    np.testing.assert_allclose(together, both, atol=1e-3)


def test_schedulers_by_name_work_on_latents_whatever_the_checkpoints_own_leaves_out():
    """Euler's settings, as of a converted single file, do not speak of clipping; DDIM would clip the latents to [-1, 1]."""
    import diffusers

    own = diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    latent = torch.full((1, 4, 2, 2), 5.0)
    for name in ("ddim", "ddpm"):
        steps = SchedulerSteps(make_scheduler(own, name), 4, 1.0, [torch.Generator()], "cpu")
        clean = steps.scheduler.step(torch.zeros_like(latent), steps.times[-1], latent).pred_original_sample
        assert clean.min() > 4.9
    assert SchedulerSteps(make_scheduler(own, "pndm"), 2, 1.0, [torch.Generator()], "cpu").steps == 3
    with pytest.raises(OptionError, match="LCMScheduler cannot make 60 steps .*; take another number"):
        SchedulerSteps(diffusers.LCMScheduler(), 60, 1.0, [torch.Generator()], "cpu")


def test_inpainters_without_schedulers_know_no_other():
    for name in ("pocket", "painter", "classical"):
        with pytest.raises(OptionError, match=f"{name} has no scheduler 'eular'; leave scheduler=default"):
            create_inpainter(name).paint(*inputs(1), [1], Sampling(2, scheduler="eular"))


def test_latents_with_a_mean_and_deviation_a_channel():
    """Playground 2.5's autoencoder: z = (raw - mean) scale / deviation."""
    from amodal.inpainters.autoencoder import Autoencoder
    from tiny_diffusion import vae

    torch.manual_seed(0)
    mean, deviation = [-1.6, 1.1, 3.2, -0.5], [8.4, 5.9, 2.5, 6.8]
    network = vae(latents_mean=mean, latents_std=deviation, scaling_factor=0.5)
    made = Autoencoder(network)
    picture = torch.rand(1, 3, 16, 16) * 2 - 1
    raw = network.encode(picture).latent_dist.sample(generator=torch.Generator().manual_seed(1))
    over = [torch.tensor(values)[None, :, None, None] for values in (mean, deviation)]
    latents = made.encode(picture, [torch.Generator().manual_seed(1)])
    torch.testing.assert_close(latents, (raw - over[0]) * 0.5 / over[1])
    torch.testing.assert_close(made.decode(latents), network.decode(raw).sample)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_half_precision_is_near_full(tiny, dtype):
    conditions, areas = inputs(1)
    full = make(tiny("sdxl")).paint(conditions, areas, [3], SAMPLING)
    half = make(tiny("sdxl"), dtype=dtype).paint(conditions, areas, [3], SAMPLING)
    assert np.abs(half - full).mean() < 0.02


def test_sdxl_keeps_its_autoencoder_in_full_precision_where_fp16_overflows(tiny):
    assert make(tiny("sdxl"), dtype="fp16").backbone.autoencoder.network.dtype == torch.float32
    assert make(tiny("sdxl"), dtype="bf16").backbone.autoencoder.network.dtype == torch.bfloat16


def test_flux_fill_with_8_bit_weights_is_half_the_size_and_near(tiny):
    conditions, areas = inputs(1)
    full, small = make(tiny("flux-fill"), FluxFill, int8=False), make(tiny("flux-fill"), FluxFill)

    def weights(made) -> int:
        state = made.backbone.network.state_dict()
        return sum(v.nbytes for k, v in state.items() if k.endswith("weight") and v.ndim == 2)

    assert weights(small) * 4 == weights(full)  # tiny models are kept in 32 bits
    difference = small.paint(conditions, areas, [3], SAMPLING) - full.paint(conditions, areas, [3], SAMPLING)
    assert 0 < np.abs(difference).mean() < 0.02


def test_quantised_rows_are_off_by_half_a_step_at_most():
    from amodal.inpainters.int8 import quantise

    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 8)
    weight, bias = linear.weight.detach().clone(), linear.bias
    rows = weight.abs().amax(dim=1)
    eight = quantise(torch.nn.Sequential(linear))[0]
    off = (eight(torch.eye(64)) - bias).T - weight
    assert (off.abs() <= rows[:, None] / 254 + 1e-7).all()
    assert eight.weight.dtype == torch.int8


def test_text_encoders_are_dropped(tiny):
    import gc

    from transformers import CLIPTextModel, T5EncoderModel

    def alive() -> int:
        gc.collect()
        return sum(type(thing) in (CLIPTextModel, T5EncoderModel) for thing in gc.get_objects())

    before = alive()
    made = make(tiny("flux-fill"))
    assert made.backbone.prompt.embedding.shape[1] == 512
    assert alive() == before


def test_a_gpu_that_is_too_small_is_told_what_helps(tiny):
    inpainter = make(tiny("sd15"))

    def full(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    inpainter.backbone.network.forward = full
    with pytest.raises(AmodalError, match=r"out of memory; set inpainter.batch=1.*offload=model"):
        inpainter.paint(*inputs(1), [1], SAMPLING)


def test_names_folders_and_native_size(tiny):
    by_folder = create_inpainter(str(tiny("sd15")), device="cpu")
    assert (by_folder.name, by_folder.size) == ("diffusers", 32)
    by_name = create_inpainter("sd15", {"model": str(tiny("sd15"))}, device="cpu")
    assert isinstance(by_name, SD15)
    assert by_name.provenance()["options"]["model"] == str(tiny("sd15"))
    assert create_inpainter("flux-fill", {"model": str(tiny("flux-fill")), "size": 50}, device="cpu").size == 48
    for side, size in (([16, 24], 48), (None, 128)):
        by_folder.backbone.network.register_to_config(sample_size=side)
        assert by_folder.backbone.native_size == size


@pytest.mark.parametrize(("family", "variant"), [("sdxl", "fp16"), ("flux-fill", "fp16"), ("sd15", "bf16")])
def test_files_of_a_variant_are_found(tiny, tmp_path, family, variant):
    folder = copy(tiny(family), tmp_path)
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(f".{variant}.safetensors"))
    conditions, areas = inputs(1)
    same = make(folder).paint(conditions, areas, [3], SAMPLING)
    assert same.tobytes() == make(tiny(family)).paint(conditions, areas, [3], SAMPLING).tobytes()


def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "model")


def without_shard(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()


def cut_short(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def other_width(folder):
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "block_out_channels": [8, 32]}))


def one_tensor_less(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_out.weight"]
    save_file(tensors, path)


def one_tensor_more(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(path), "conv_in.lora_up.weight": torch.ones(1)}, path)


def other_scheduler(folder):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "scheduler": ["diffusers", "IPNDMScheduler"]}))


def other_channels(folder):
    shutil.copytree(folder / "unet", folder / "old")
    from diffusers import UNet2DConditionModel

    config = {**UNet2DConditionModel.load_config(folder / "unet"), "in_channels": 8}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")


def other_class(folder):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "unet": ["diffusers", "UNet3DConditionModel"]}))


def other_pipeline(folder):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_class_name": "StableVideoDiffusionPipeline"}))


def no_index(folder):
    (folder / "model_index.json").unlink()


def no_vae(folder):
    shutil.rmtree(folder / "vae")


def no_scheduler(folder):
    (folder / "scheduler" / "scheduler_config.json").unlink()


def no_tokenizer(folder):
    shutil.rmtree(folder / "tokenizer")
    (folder / "tokenizer").mkdir()


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (without_shard, "unet holds no .safetensors file"),
        (cut_short, "diffusion_pytorch_model.safetensors has .* bytes, its header says"),
        (other_width, "unet cannot be loaded .*expected shape"),
        (one_tensor_less, r"do not fit its config.json \(UNet2DConditionModel\): 1 missing \(conv_out.weight"),
        (one_tensor_more, r"do not fit its config.json \(UNet2DConditionModel\): 1 left over \(conv_in.lora_up"),
        (other_scheduler, "its scheduler IPNDMScheduler cannot start from a picture"),
        (other_channels, "takes 8 channels; amodal can give 4 or 9"),
        (other_class, "its unet is a UNet3DConditionModel; amodal knows UNet2DConditionModel"),
        (other_pipeline, "is a StableVideoDiffusionPipeline; an inpainter can be made from"),
        (no_index, "no model_index.json, so it is no diffusers model"),
        (no_vae, "vae"),
        (no_scheduler, "scheduler cannot be loaded"),
        (no_tokenizer, "tokenizer holds none of tokenizer.json"),
    ],
)
def test_bad_folders_get_one_clear_line(tiny, tmp_path, damage, text):
    folder = copy(tiny("sd15"), tmp_path)
    damage(folder)
    with pytest.raises(WeightsError, match=text) as caught:
        create_inpainter(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def test_what_is_asked_wrongly_is_told(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="not on this machine; run: amodal fetch sdxl"):
        create_inpainter("sdxl")
    with pytest.raises(WeightsError, match="amodal fetch somebody/model"):
        create_inpainter("somebody/model")
    with pytest.raises(
        WeightsError, match=r"unet.safetensors is one file; an inpainter is a folder .* from_single_file"
    ):
        (tmp_path / "unet.safetensors").touch()
        create_inpainter(str(tmp_path / "unet.safetensors"))
    with pytest.raises(OptionError, match="needs weights"):
        create_inpainter("diffusers")
    conditions, areas = inputs(1)
    with pytest.raises(OptionError, match="no scheduler named 'eular'; did you mean 'euler'"):
        make(tiny("sd15")).paint(conditions, areas, [1], Sampling(2, scheduler="eular"))
    with pytest.raises(OptionError, match="blank=true changes nothing: the network of .* takes 4 channels"):
        make(tiny("text"), blank=True)
    with pytest.raises(OptionError, match="does not fit a flow-matching network"):
        make(tiny("flux-fill")).paint(conditions, areas, [1], Sampling(2, scheduler="ddim"))
    with pytest.raises(AmodalError, match="device 'cuda:99' is not here"):
        Diffusers({"model": str(tiny("sd15"))}, device="cuda:99")
