"""The method through the pipeline: promises, windows, cut-outs, samples, errors; tiny networks from a real folder."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from amodal import load
from amodal.core.crop import Crop
from amodal.core.errors import Cancelled, OptionError, UnknownNameError, WeightsError
from amodal.core.mask import Mask
from amodal.methods.pix2gestalt.cutout import Matting
from amodal.methods.pix2gestalt.method import Frame, Pix2Gestalt
from amodal.plugins.protocols import Context, Request
from tiny_pix2gestalt import TINY, save_tiny, tiny_networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("p2g") / "model")


@pytest.fixture(scope="module")
def matting(tmp_path_factory) -> Path:
    from transformers import VitDetConfig, VitMatteConfig, VitMatteForImageMatting

    torch.manual_seed(0)
    backbone = VitDetConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_channels=4,
        image_size=64,
        patch_size=16,
        out_features=["stage1"],
    )
    config = VitMatteConfig(
        backbone_config=backbone, hidden_size=16, convstream_hidden_sizes=[4, 8, 8], fusion_hidden_sizes=[8, 8, 8, 8]
    )
    path = tmp_path_factory.mktemp("matting")
    VitMatteForImageMatting(config).save_pretrained(path)
    return path


def make(folder: Path, **options) -> Pix2Gestalt:
    return Pix2Gestalt({"model": str(folder), "steps": 3, **options}, device="cpu")


def test_promises_and_repeatability(folder, photo, disc_visible):
    model = load("pix2gestalt", device="cpu", options={"model": str(folder), "steps": 3})
    result = model(photo, mask=disc_visible, samples=3, seed=4)
    assert len(result.samples) == 3
    assert result.amodal.contains(result.visible)
    seen = result.visible.crop(result.amodal.box)
    x0, y0 = result.amodal.origin
    rows, columns = np.nonzero(seen)
    assert np.array_equal(result.rgba[rows, columns, :3], photo[rows + y0, columns + x0])
    assert np.array_equal(result.rgba[..., 3] == 255, result.amodal.bits)
    again = model(photo, mask=disc_visible, samples=3, seed=4)
    assert again.rgba.tobytes() == result.rgba.tobytes()
    other = model(photo, mask=disc_visible, samples=3, seed=5)
    assert other.samples[0].rgba.tobytes() != result.samples[0].rgba.tobytes()
    scores = [sample.score for sample in result.samples]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)
    assert result.provenance["method"]["options"]["guidance"] == 2.0


@pytest.mark.parametrize("crop", ["frame", "object"])
def test_batch_equals_single_and_samples_are_a_prefix(folder, photo, disc_visible, crop):
    method = make(folder, crop=crop)
    embedded = method.embed(photo)
    requests = [Request(Mask.from_array(disc_visible), 1, 2), Request(Mask.from_box((3, 5, 30, 20)), 2, 1)]
    together = method.complete(embedded, photo, requests, Context())
    for request, predictions in zip(requests, together, strict=True):
        alone = method.complete(embedded, photo, [request], Context())[0]
        assert [g.picture.tobytes() for g in alone] == [g.picture.tobytes() for g in predictions]
    single = method.complete(embedded, photo, [Request(requests[0].visible, 1, 1)], Context())[0][0]
    assert single.picture.tobytes() in [prediction.picture.tobytes() for prediction in together[0]]


def test_all_samples_and_both_halves_are_one_batch(folder, photo, disc_visible):
    method = make(folder, batch=16, solver="unipc")
    rows = []
    hook = method.networks.unet.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    requests = [Request(Mask.from_array(disc_visible), 1, 3), Request(Mask.from_box((3, 5, 30, 20)), 2, 2)]
    together = method.complete(method.embed(photo), photo, requests, Context())
    hook.remove()
    assert rows == [10, 10, 10]  # three steps of five samples, each with and without the condition
    alone = make(folder, solver="unipc")
    singles = alone.complete(alone.embed(photo), photo, requests, Context())
    for one, other in zip(together[0] + together[1], singles[0] + singles[1], strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """With a UNet of one level: one of full depth takes minutes to compile."""
    levels = {
        "block_out_channels": (8,),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "mid_block_type": None,
        "up_block_types": ("CrossAttnUpBlock2D",),
    }
    unet = dataclasses.replace(TINY, unet={**TINY.unet, **levels}).build().unet
    path = tmp_path_factory.mktemp("small")
    dataclasses.replace(tiny_networks(), unet=unet).save_pretrained(path)
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at the import of its compiler
def test_compiled(small, photo, disc_visible, monkeypatch):
    """A compiled network gives the plain answer, and is compiled once for all steps. The C++ that torch would make of the graph is
    left out for its time; the training's test makes it."""
    from torch._dynamo.utils import counters

    torch._dynamo.reset()  # what other tests compiled does not count
    counters.clear()
    quick = functools.partialmethod(torch.nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(torch.nn.Module, "compile", quick)
    requests = [Request(Mask.from_array(disc_visible), 1, 2)]
    plain, compiled = (make(small, batch=2, steps=3, compile=how) for how in (False, True))
    expected = plain.complete(plain.embed(photo), photo, requests, Context())[0]
    got = compiled.complete(compiled.embed(photo), photo, requests, Context())[0]
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]
    for one, other in zip(got, expected, strict=True):
        assert np.abs(one.picture.astype(int) - other.picture).max() <= 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_nothing_to_compile_with(small, photo, disc_visible):
    from torch._inductor import config

    method = make(small, compile=True)
    unreachable = config.patch({"cpp.cxx": ("/nowhere/g++",)})
    with unreachable, pytest.raises(OptionError, match="cannot be compiled here .* compile=false"):
        method.complete(method.embed(photo), photo, [Request(Mask.from_array(disc_visible))], Context())


def test_object_window_follows_the_object(folder):
    image = np.full((200, 300, 3), 40, np.uint8)
    image[20:50, 10:40] = (200, 30, 30)
    method = make(folder, crop="object")
    prediction = method.complete(None, image, [Request(Mask.from_box((10, 20, 40, 50)))], Context())[0][0]
    assert prediction.picture.shape == (60, 60, 3)  # twice the side: four times the area
    assert prediction.picture_origin == (-5, 5)
    assert isinstance(method._window(image, Request(Mask.from_box((10, 20, 40, 50)))), Crop)


def test_frame_squeezes_and_comes_back():
    rows, columns = np.indices((120, 200))
    disc = ((rows - 60) / 40) ** 2 + ((columns - 90) / 60) ** 2 < 1
    window = Frame((120, 200), 64)
    coverage = window.mask(Mask.from_array(disc))
    assert coverage.shape == (64, 64) and abs(coverage.mean() - disc.mean()) < 0.005
    back = window.soft_back(coverage).threshold(0.5)
    assert back.iou(Mask.from_array(disc)) > 0.97
    picture = np.zeros((120, 200, 3), np.uint8)
    picture[disc] = 255
    small = window.image(picture)
    assert small.shape == (64, 64, 3) and window.image_back(small).shape == (120, 200, 3)


def test_thin_objects_still_mark_the_mask(folder, photo):
    wide = np.repeat(np.repeat(photo, 3, axis=0), 3, axis=1)
    result = load("pix2gestalt", device="cpu", options={"model": str(folder), "steps": 2})(
        wide, mask=Mask.from_box((5, 50, 300, 51))
    )
    assert result.amodal.contains(result.visible)


def test_matting(folder, matting, photo, disc_visible):
    white = np.full((2, 70, 90, 3), 255, np.uint8)
    white[0, 15:55, 20:70] = 90
    cutter = Matting(matting, band=4)
    alpha = cutter.alpha(white)
    assert alpha.shape == (2, 70, 90) and alpha.dtype == np.float32
    assert (alpha[0, 25:45, 30:60] == 1).all() and (alpha[0, :8] == 0).all() and (alpha[1] == 0).all()
    border = alpha[0][cutter.trimap(white[0]) == 0.5]
    assert border.size and 0 < border.mean() < 1 and border.std() > 0
    method = make(folder, cutout="matting", matting_model=str(matting))
    prediction = method.complete(method.embed(photo), photo, [Request(Mask.from_array(disc_visible))], Context())[0][0]
    assert prediction.probability is not None and prediction.amodal


def test_cancels_within_a_step(folder, photo, disc_visible):
    calls = []

    def progress(*call):
        calls.append(call)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        load("pix2gestalt", device="cpu", options={"model": str(folder)})(photo, mask=disc_visible, progress=progress)
    assert calls == [("step", 1, 199)]


def test_errors(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="amodal fetch pix2gestalt"):
        load("pix2gestalt")
    with pytest.raises(UnknownNameError):
        load("pix2gestalt", options={"model": "nonsense"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match="is not a pix2gestalt folder"):
        load("pix2gestalt", options={"model": str(tmp_path / "empty")})
    with pytest.raises(OptionError, match="solver"):
        load("pix2gestalt", options={"model": str(folder), "solver": "euler"})
    with pytest.raises(WeightsError, match="cutout=white"):
        make(folder, cutout="matting", matting_model=str(tmp_path / "empty"))
