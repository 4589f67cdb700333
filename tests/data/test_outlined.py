"""`amodal data build photos`: photographs without masks to a photo library of their salient objects."""

import json

import cv2
import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import DataError, OutputError, WeightsError
from amodal.core.image import read, read_mask
from amodal.synthesis.composites.build import LibraryConfig, open_library
from amodal.synthesis.composites.outlined import SIDE, build_photos, outline
from photo_sets import make_photos

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Four pictures of a blue ellipse each, with their masks beside them."""
    return make_photos(tmp_path_factory.mktemp("set")) / "photos"


def write_network(path, weights=(0.0, 0.0, 30.0), side=SIDE):
    """A saliency network for which blue things are salient."""
    kernel = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1, 3, 1, 1], weights)
    shapes = [onnx.helper.make_tensor_value_info(n, 1, [1, c, side, side]) for n, c in (("in", 3), ("out", 1))]
    middle = onnx.helper.make_tensor("b", onnx.TensorProto.FLOAT, [1], [-30.0])
    nodes = [
        onnx.helper.make_node("Conv", ["in", "w", "b"], ["logit"]),
        onnx.helper.make_node("Sigmoid", ["logit"], ["out"]),
    ]
    graph = onnx.helper.make_graph(nodes, "blue", shapes[:1], shapes[1:], [kernel, middle])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return write_network(tmp_path_factory.mktemp("network") / "blue.onnx")


def test_objects_are_outlined(photos, network, tmp_path):
    folder = photos / "things" / "images"
    assert build_photos(folder, tmp_path / "made", network) == (4, 0, 0)
    for row in json.loads((tmp_path / "made" / "index.json").read_text()):
        assert (row["split"], row["components"], row["touches_border"]) == ("train", 1, False)
        found = read_mask(tmp_path / "made" / row["set"] / "masks" / f"{row['name']}.png")
        assert found.iou(read_mask(photos / "things" / "masks" / f"{row['name']}.png")) > 0.9
        copy = tmp_path / "made" / row["set"] / "images" / f"{row['name']}.jpg"
        assert np.array_equal(read(copy), read(folder / copy.name))
    (tmp_path / "made" / "outlined" / "images" / "0.jpg").rename(tmp_path / "made" / "outlined" / "images" / "0.JPG")
    both = open_library(LibraryConfig(photos=(str(photos), str(tmp_path / "made")), invented=0))
    assert [len(both.wholes["thing"]), len(both.photos)] == [8, 8]


def test_what_does_not_count_is_told(photos, network, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    picture = read(photos / "things" / "images" / "0.jpg")
    cv2.imwrite(str(folder / "two.png"), np.hstack([picture, picture])[..., ::-1])
    soft = np.full((90, 200, 3), 255, np.uint8)
    soft[..., 0] = np.linspace(155, 167, 200)  # blue about the threshold
    cv2.imwrite(str(folder / "soft.png"), soft)
    cv2.imwrite(str(folder / "small.png"), np.pad(picture[20:60, 30:70], [(300, 300)] * 2 + [(0, 0)])[..., ::-1])
    (folder / "torn.jpg").write_bytes((photos / "things" / "images" / "1.jpg").read_bytes()[:500])
    assert build_photos(folder, tmp_path / "made", network) == (0, 3, 1)
    assert json.loads((tmp_path / "made" / "index.json").read_text()) == []
    # Masks of what does not count are kept: another bar asks no network again.
    assert build_photos(folder, tmp_path / "made", network, sure=0.0, share=(0.0, 1.0)) == (2, 1, 1)


def test_a_stopped_build_goes_on(photos, network, tmp_path):
    folder, asked = photos / "things" / "images", []

    def stop(_, number, __):
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_photos(folder, tmp_path / "a", network, progress=stop)
    build_photos(folder, tmp_path / "a", network, progress=lambda _, number, __: asked.append(number))
    build_photos(folder, tmp_path / "b", network)
    assert asked == [3, 4]
    assert (tmp_path / "a" / "index.json").read_bytes() == (tmp_path / "b" / "index.json").read_bytes()
    other = write_network(tmp_path / "green.onnx", (0.0, 30.0, 0.0))
    with pytest.raises(OutputError, match="other settings"):
        build_photos(folder, tmp_path / "a", other)


def test_wrong_input(photos, network, tmp_path, capsys):
    with pytest.raises(DataError, match="no pictures"):
        build_photos(tmp_path, tmp_path / "made", network)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "a.png"):
        cv2.imwrite(str(folder / name), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError, match="2 pictures of the name a"):
        build_photos(folder, tmp_path / "made", network)
    with pytest.raises(WeightsError, match="no saliency network"):
        build_photos(photos / "things" / "images", tmp_path / "made", write_network(tmp_path / "wide.onnx", side=64))
    command = ["data", "build", "photos", str(photos / "things" / "images"), "-o", str(tmp_path / "cli"), "--saliency"]
    assert run([*command, str(tmp_path / "none.onnx")]) != 0
    assert "none.onnx" in capsys.readouterr().err
    assert run([*command, str(network), "--sure", "0.5"]) == 0


def test_specks_and_pinholes():
    saliency = np.zeros((60, 60), np.float32)
    saliency[10:50, 10:50] = 1.0
    saliency[30, 30] = 0.2
    saliency[55:57, 55:57] = 0.9
    mask, pieces, sureness = outline(saliency)
    assert pieces == 1 and mask[30, 30] and not mask[55, 55] and mask.sum() == 1600 and sureness > 0.99
    assert outline(np.zeros((8, 8), np.float32))[1] == 0
