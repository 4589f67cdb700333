"""`sdamodal` from the authors' checkpoint layout to completions: loading, batches, determinism, errors, the command line."""

import json
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import amodal  # noqa: E402
from amodal.cli import run  # noqa: E402
from amodal.core.errors import OptionError, UnknownNameError, WeightsError  # noqa: E402
from amodal.core.image import encode_png  # noqa: E402
from amodal.core.mask import Mask  # noqa: E402
from amodal.core.prompt import Prompt  # noqa: E402

from .conftest import write_checkpoint  # noqa: E402

MASKS = {
    "disc": Mask.from_box((40, 30, 70, 60)),
    "pixel": Mask.from_box((17, 9, 18, 10)),
    "corner": Mask.from_box((0, 0, 25, 40)),
    "all": Mask.from_box((0, 0, 128, 96)),
    "row": Mask.from_box((5, 50, 100, 51)),
}


def test_completes_from_the_authors_checkpoint(photo, options, count_passes):
    scene = amodal.load("sdamodal", options=options, device="cpu").open(photo)
    for mask in MASKS.values():
        result = scene.complete(mask=mask)
        assert result.amodal.contains(mask)
        assert result.amodal.box[0] >= 0 and result.amodal.box[3] <= 96
        assert result.probability.values.max() <= 1
    assert count_passes["unet"] == [2], "the features are computed once for all objects of a picture"
    assert {len(digest) for digest in result.provenance["method"]["weights"].values()} == {64}


def test_a_batch_equals_one_by_one(photo, options):
    options["cache"] = "none"
    prompts = [Prompt.make(mask=mask) for mask in MASKS.values()]
    together = amodal.load("sdamodal", options=options, device="cpu").open(photo).complete_all(prompts)
    for prompt, result in zip(prompts, together, strict=True):
        alone = (
            amodal.load("sdamodal", options={**options, "batch": 1}, device="cpu").open(photo).complete(prompt=prompt)
        )
        assert alone.amodal == result.amodal
        assert alone.rgba.tobytes() == result.rgba.tobytes()


def test_the_mask_is_the_more_probable_class(photo, options):
    """Pasted back by linear resizing of the classes, cut at a half, kept inside the frame; compared with OpenCV by hand."""
    import cv2

    model = amodal.load("sdamodal", options=options, device="cpu")
    visible = Mask.from_box((0, 20, 30, 70))
    features = model.method.embed(photo).maps(lambda *_: None)
    crop = model.method.crop(visible.box)
    assert (crop.origin, crop.side) == ((-18, 11), 67)  # sqrt(30 50 3) = 67.08; (15 - 33.54, 45 - 33.54)
    values = model.method.predict([crop.bits(visible)], [crop], features, (96, 128))[0]
    square = cv2.resize((values > 0.5).astype(np.float32), (67, 67), interpolation=cv2.INTER_LINEAR) > 0.5
    frame = np.zeros((96, 128), bool)
    frame[11:78, 0:49] = square[:, 18:]
    prediction = model.method.paste(crop, values, photo)
    assert np.array_equal(prediction.amodal.to_array((96, 128)), frame)
    wide = amodal.load("sdamodal", options={**options, "beyond_frame": True}, device="cpu").method.paste(
        crop, values, photo
    )
    assert np.array_equal(wide.amodal.crop((-18, 11, 49, 78)), square)


def test_the_picture_matters(photo, options):
    visible = MASKS["disc"]
    results = []
    for image in (photo, np.ascontiguousarray(photo[::-1])):
        scene = amodal.load("sdamodal", options=options, device="cpu").open(image)
        results.append(scene.complete(mask=visible).probability.values)
    assert not np.array_equal(*results)


def test_converted_once_to_safetensors(options, checkpoint, monkeypatch):
    from amodal.networks.checkpoints import converted, read_checkpoint
    from amodal.weights import tensors

    _, fresh = read_checkpoint(str(checkpoint))
    copy = converted(checkpoint)
    assert copy.is_file() and copy.suffix == ".safetensors"
    assert not [name for name in fresh if name.startswith("module.")]

    def never(*_):
        raise AssertionError("the torch file is read a second time")

    monkeypatch.setattr(tensors, "read_torch", never)
    _, again = read_checkpoint(str(checkpoint))
    assert {name: value.shape for name, value in again.items()} == {name: value.shape for name, value in fresh.items()}
    assert all(torch.equal(again[name], fresh[name]) for name in fresh)


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("style", ["torch", "pickle"])
def test_a_hostile_checkpoint_is_refused(options, tmp_path, style):
    path, trace = tmp_path / "ckpt_SDAmodal.tar", tmp_path / "code was run"
    hostile = Hostile(str(trace))
    content = {"step": 1, "state_dict": {"module.outc.conv.weight": hostile}, "optimizer": hostile}
    if style == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(WeightsError, match=str(path)):
        amodal.load("sdamodal", options={**options, "weights": str(path)}, device="cpu")
    assert not trace.exists()


def test_other_layers_than_the_weights(options, tmp_path):
    with pytest.raises(WeightsError, match=r"layers=\(1,\), final_skip=True' do not fit this network"):
        amodal.load("sdamodal", options={**options, "layers": "1"}, device="cpu")
    with pytest.raises(WeightsError, match="final_skip=False"):
        amodal.load("sdamodal", options={**options, "final_skip": False}, device="cpu")
    single = write_checkpoint(tmp_path / "single.tar", layers=(1,), final_skip=False)
    amodal.load(
        "sdamodal", options={**options, "weights": str(single), "layers": "1", "final_skip": "false"}, device="cpu"
    )


def test_other_weights_altogether(options, tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="do not fit this network: of 184 tensors"):
        amodal.load("sdamodal", options={**options, "weights": str(path)}, device="cpu")


def test_bad_options(options):
    for layers in ("3,1", "1,1", "4", ""):
        with pytest.raises(OptionError, match="layers"):
            amodal.load("sdamodal", options={**options, "layers": layers}, device="cpu")
    with pytest.raises(OptionError, match="multiple of 64"):
        amodal.load("sdamodal", options={**options, "image_size": 700}, device="cpu")


def test_missing_weights_tell_what_to_run(options, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="amodal fetch sdamodal"):
        amodal.load("sdamodal", options={**options, "weights": "sdamodal"}, device="cpu")
    with pytest.raises(WeightsError, match="amodal fetch sd21"):
        amodal.load("sdamodal", options={**options, "model": "sd21"}, device="cpu")
    with pytest.raises(UnknownNameError):
        amodal.load("sdamodal", options={**options, "weights": "nowhere.tar"}, device="cpu")


def test_command_line(photo, disc_visible, options, tmp_path, capsys):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "visible.png").write_bytes(encode_png(disc_visible))
    settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    command = ["segment", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "visible.png"), "--method", "sdamodal"]
    assert run([*command, "--device", "cpu", "-o", str(tmp_path / "out"), "--json", *settings]) == 0
    record = json.loads(capsys.readouterr().out)[0]
    assert record["provenance"]["method"]["options"]["timestep"] == 181
    assert (tmp_path / "out" / "photo.amodal.png").is_file()
    assert run([*command, "--set", "layers=7", "-o", str(tmp_path / "out2")]) == 2
    assert "layers" in capsys.readouterr().err
