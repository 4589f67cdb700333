"""Every reader on a fixture in the official layout, with the traps of that data set in it."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amodal
from amodal.core.errors import DataError, MaskError, OptionError, UsageError
from amodal.data import annotations
from amodal.data.annotations import decode, from_polygon
from amodal.data.plain_pickle import read_pickle
from amodal.pipeline.order import order_of_samples
from official_layouts import (
    FRONT,
    REAR,
    SIZE,
    make_bsdsa,
    make_cocoa,
    make_cocoa_cls,
    make_d2sa,
    make_fishbowl,
    make_kins,
    make_mp3d,
    make_occluded_coco,
    make_pix2gestalt,
    make_sailvos,
    polygon,
)
from reference import coco_mask

MAKERS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "cocoa": (make_cocoa, ["1/1", "1/2", "1/3", "2/1"]),
    "bsdsa": (make_bsdsa, ["3.0/1", "3.0/2", "3.0/3", "4.0/1"]),
    "cocoa-cls": (make_cocoa_cls, ["11", "12"]),
    "kins": (make_kins, ["11", "12"]),
    "d2sa": (make_d2sa, ["11", "12"]),
    "fishbowl": (make_fishbowl, ["7/1/2", "8/0/1", "8/1/1", "8/1/2"]),
    "mp3d-amodal": (make_mp3d, ["0/1", "1/1"]),
    "pix2gestalt": (make_pix2gestalt, ["17", "5"]),
}


@pytest.mark.parametrize("name", MAKERS)
def test_reader(name: str, tmp_path: Path) -> None:
    make, ids = MAKERS[name]
    make(tmp_path)
    data = amodal.dataset(name, tmp_path)
    assert data.ids() == ids
    assert data.missing() == []
    samples = {sample.id: sample for sample in data}
    assert list(samples) == ids
    front, rear = polygon(FRONT), polygon(REAR)
    assert {(s.visible == rear - front) for s in samples.values() if s.amodal == rear} == {True}
    assert {(s.visible == front) for s in samples.values() if s.amodal == front} <= {True}
    for sample in samples.values():
        assert sample.image.shape == (*SIZE, 3)
        assert sample.amodal.contains(sample.visible)
    assert sum(len(scene) for scene in data.scenes()) == len(data)


@pytest.mark.parametrize("name", [*MAKERS, "occluded-coco", "sailvos"])
def test_absent_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read|there is no|holds no") as caught:
        amodal.dataset(name, tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "pix2gestalt"])
def test_truncated_files_are_named(name: str, tmp_path: Path) -> None:
    MAKERS[name][0](tmp_path)
    (file,) = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".pkl")]
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match="cut short") as caught:
        amodal.dataset(name, tmp_path)
    assert file.name in str(caught.value)


def test_cocoa_joins_by_id_and_knows_the_order(tmp_path: Path) -> None:
    make_cocoa(tmp_path)
    data = amodal.dataset("cocoa", tmp_path)
    assert [data[0].picture.parent.name, data[3].picture.parent.name] == ["train2014", "val2014"]  # type: ignore[union-attr]
    assert data[1].occluders == ("1/1",)
    assert (data[2].stuff, data[2].visible == data[2].amodal) == (True, True)
    assert order_of_samples(next(data.scenes())).tolist() == [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]
    assert amodal.dataset("cocoa", tmp_path, options={"things": True}).ids() == ["1/1", "1/2", "2/1"]
    with pytest.raises(UsageError, match="cocoa has no split 'valid'; did you mean 'val'"):
        amodal.dataset("cocoa", tmp_path, "valid")


@pytest.mark.parametrize(("name", "bad"), [("cocoa", 2), ("mp3d-amodal", 2), ("bsdsa", 0)])
def test_annotations_at_another_place_than_their_image_are_noted(name: str, bad: int, tmp_path: Path) -> None:
    """Published readers join by place; ours by id, whatever the order, and says once for a file where both differ."""
    MAKERS[name][0](tmp_path)
    data = amodal.dataset(name, tmp_path)
    assert [f": {bad} of 2 annotations do not stand at the place of their image" in text for text in data.notes] == [
        True
    ] * bool(bad)
    (file,) = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".pkl")]
    content = json.loads(file.read_text()) if file.suffix == ".json" else pickle.loads(file.read_bytes())  # noqa: S301  written above
    content["images"].sort(key=lambda image: int(image["id"]))
    del content["images"][2:]
    count = len(content["annotations"])
    if name == "bsdsa":
        content["images"] = [{**content["images"][0], "id": 4}, {**content["images"][0], "id": 3}]
    file.write_bytes(json.dumps(content).encode() if file.suffix == ".json" else pickle.dumps(content, 2))
    again = amodal.dataset(name, tmp_path)
    assert again.ids() == data.ids()
    if name == "bsdsa":  # the second of three stands beside its image
        assert [f"{file.name}: 2 of {count} annotations" in text for text in again.notes] == [True]
    else:
        assert again.notes == []


def test_bsdsa_annotators(tmp_path: Path) -> None:
    make_bsdsa(tmp_path)
    everyone = amodal.dataset("bsdsa", tmp_path, options={"annotator": "all"})
    assert everyone.ids() == ["3.0/1", "3.0/2", "3.0/3", "3.1/1", "3.1/2", "4.0/1"]
    drawn = {
        tuple(amodal.dataset("bsdsa", tmp_path, options={"annotator": "random", "seed": seed}).ids())
        for seed in range(12)
    }
    assert drawn == {("3.0/1", "3.0/2", "3.0/3", "4.0/1"), ("3.1/1", "3.1/2", "4.0/1")}
    with pytest.raises(OptionError, match="annotator"):
        amodal.dataset("bsdsa", tmp_path, options={"annotator": "second"})


def test_kins_versions_are_told_apart(tmp_path: Path) -> None:
    make_kins(tmp_path, old=True)
    with pytest.raises(DataError, match="the option version=old"):
        amodal.dataset("kins", tmp_path)
    data = amodal.dataset("kins", tmp_path, options={"version": "old"})
    assert [sample.category for sample in data] == ["car", None]
    assert data[0].picture == tmp_path / "testing" / "image_2" / "000002.png"


def test_kins_fully_hidden(tmp_path: Path) -> None:
    make_kins(tmp_path)
    file = tmp_path / "annotations" / "update_test_2020.json"
    content = json.loads(file.read_text())
    content["annotations"][1]["i_segm"] = []
    file.write_text(json.dumps(content))
    data = amodal.dataset("kins", tmp_path)
    assert data[1].occlusion_rate == 1.0
    report = amodal.evaluate(amodal.load("hull"), data)
    assert report.content["failed"] == [
        {"id": "12", "error": "no pixel of it is visible, so that nothing can prompt it"}
    ]


def test_fishbowl_stride_and_frames(tmp_path: Path) -> None:
    make_fishbowl(tmp_path)
    assert amodal.dataset("fishbowl", tmp_path, options={"stride": 2}).ids() == ["8/0/1"]
    (tmp_path / "test_data" / "test_frames" / "8" / "frame_0001.png").unlink()
    assert [path.name for path in amodal.dataset("fishbowl", tmp_path).missing()] == ["frame 1"]


def test_sailvos(tmp_path: Path) -> None:
    make_sailvos(tmp_path)
    data = amodal.dataset("sailvos", tmp_path)
    assert [sample.id for sample in data] == [f"tonya_mcs_1/{t}/{n}" for t in ("000000", "000001") for n in (1, 2)]
    assert [sample.category for sample in data][:2] == ["player", "car"]
    assert data[1].visible == polygon(REAR) - polygon(FRONT)
    assert len(list(amodal.dataset("sailvos", tmp_path, options={"unseen": True}))) == 6
    assert [path.name for path in data.missing()] == ["000001.bmp"]
    (tmp_path / "tonya_mcs_1" / "visible" / "000001.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match=r"tonya_mcs_1/000001/1: .*000001\.npy"):
        list(amodal.dataset("sailvos", tmp_path))


def test_pix2gestalt_reports_missing_parts(tmp_path: Path) -> None:
    make_pix2gestalt(tmp_path)
    assert Path(amodal.dataset("pix2gestalt", tmp_path)[0].extra["whole"]).name == "17_whole.png"
    (tmp_path / "pix2gestalt_occlusions_release" / "whole_mask" / "5_whole_mask.png").unlink()
    with pytest.raises(DataError, match="5: it has no file in whole_mask/"):
        amodal.dataset("pix2gestalt", tmp_path)


def test_occluded_coco_is_not_scored(tmp_path: Path) -> None:
    make_occluded_coco(tmp_path)
    data = amodal.dataset("occluded-coco", tmp_path)
    assert [(sample.category, sample.image_id) for sample in data] == [("cup", "000000000009")] * 2
    with pytest.raises(UsageError, match="has no amodal truth"):
        amodal.evaluate(amodal.load("visible"), data)


def test_cocoa_demo(development_data: Path) -> None:
    """The five real images: the reference values of the issue."""
    data = amodal.dataset("cocoa", development_data / "cocoa_demo", "demo")
    assert len(data) == 48
    for scene in data.scenes():
        for sample in scene:
            front = [other.amodal for other in scene if (other.order or 0) < (sample.order or 0)]
            assert sample.visible == sample.amodal - amodal.core.mask.union(front)
    report = amodal.evaluate(amodal.load("visible"), data)
    assert report["iou_pooled"] == pytest.approx(0.8027, abs=5e-5)
    assert report["iou"] == pytest.approx(0.8576, abs=5e-5)


@given(st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_polygons_equal_pycocotools(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = tuple(int(n) for n in rng.integers(1, 60, 2))
    points = rng.uniform(-20, 80, 2 * rng.integers(3, 12))
    if seed % 3 == 0:
        points = np.rint(points)
    if seed % 5 == 0:
        points = np.repeat(points.reshape(-1, 2), 2, axis=0).ravel()
    expected = coco_mask.decode(coco_mask.frPyObjects([points.tolist()], *size))[..., 0].astype(bool)
    assert np.array_equal(from_polygon(points, size).to_array(size), expected)
    with pytest.MonkeyPatch.context() as patch:  # without the package
        patch.setattr(annotations, "_pycocotools", lambda: None)
        assert np.array_equal(from_polygon(points, size).to_array(size), expected)


@pytest.mark.parametrize(
    ("segmentation", "text"),
    [
        ([1, 2, 3, 4], "at least three points, this one has 2"),
        ([1, 2, 3, 4, 5], "even count"),
        ([[1, 2, 3, float("nan"), 5, 6]], "NaN or infinity"),
        ([1, 2, 3, 1e9, 5, 6], "coordinate of 1e"),
        ([], "a polygon or an RLE"),
        (["a", "b", "c", "d", "e", "f"], "flat list of numbers"),
        ({"size": [40, 60]}, "an RLE is"),
        ({"size": [4, 4], "counts": [16]}, "is of 4 x 4 pixels, the image 60 x 40"),
        ({"size": [40, 60], "counts": [2**63 - 1, 2**63 - 1]}, "a run that is negative or too long"),
        ({"size": [40, 60], "counts": "0" * 9 + "P"}, "ends within a number|end within a number"),
    ],
)
def test_bad_masks(segmentation: Any, text: str) -> None:
    with pytest.raises(MaskError, match=text):
        decode(segmentation, SIZE)


def test_bad_regions_are_named_and_skipped(tmp_path: Path) -> None:
    make_cocoa(tmp_path)
    file = tmp_path / "annotations" / "COCO_amodal_val2014.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["regions"][1]["visible_mask"] = {"size": [4, 4], "counts": [16]}
    content["annotations"][0]["depth_constraint"] = "1-2,9-1"
    content["annotations"][0]["regions"][2] = {"name": "no mask"}
    content["annotations"].append({"id": 3, "image_id": 99, "regions": []})
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"COCO_amodal_val2014\.json: 1: depth_constraint holds '9-1'"):
        amodal.dataset("cocoa", tmp_path)
    data = amodal.dataset("cocoa", tmp_path, skip_bad=True)
    assert [sample.id for sample in data] == ["1/1", "2/1"]
    texts = [str(problem) for problem in data.problems]
    assert len(texts) == 4
    assert any("1/2: the RLE is of 4 x 4 pixels" in text for text in texts)
    assert any("1/3: the annotation is malformed: the field 'segmentation' is absent" in text for text in texts)
    assert any("its image 99 is not in the list" in text for text in texts)


@pytest.mark.parametrize("absent", [True, False])
def test_mp3d_regions_without_a_visible_mask_are_left_out(absent: bool, tmp_path: Path) -> None:
    """In COCO-A such a region is unoccluded; here every region has a visible mask, so that nothing is known of it."""
    make_mp3d(tmp_path)
    (file,) = tmp_path.glob("*.pkl")
    content = pickle.loads(file.read_bytes())  # noqa: S301  written above
    whole = {**content["annotations"][0]["regions"][0], "visible_mask": None}
    if absent:
        del whole["visible_mask"]
    content["annotations"][0]["regions"] = [whole, content["annotations"][0]["regions"][0]]
    file.write_bytes(pickle.dumps(content, 2))
    data = amodal.dataset("mp3d-amodal", tmp_path, skip_bad=True)
    assert data.ids() == ["0/2", "1/1"]
    (problem,) = data.problems
    assert (problem.id, "has no visible_mask" in problem.text, "left out" in problem.text) == ("0/1", True, True)
    with pytest.raises(DataError, match=r"0/1: the region has no visible_mask"):
        amodal.dataset("mp3d-amodal", tmp_path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


class Caller:
    def __reduce__(self) -> tuple[Any, ...]:
        return (eval, ("__import__('os').getcwd()",))


def test_malicious_pickles_do_nothing(tmp_path: Path) -> None:
    make_mp3d(tmp_path)
    file = tmp_path / "MP3D_seleted_eval_10.29.pkl"
    target = tmp_path / "executed"
    for payload in (Bomb(target), Caller(), np.array([Caller()], dtype=object), [np.dtype("O")]):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            file.write_bytes(pickle.dumps({"images": [], "annotations": payload}, protocol))
            with pytest.raises(DataError, match="refused") as caught:
                amodal.dataset("mp3d-amodal", tmp_path)
            assert file.name in str(caught.value)
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_come_back(tmp_path: Path, protocol: int) -> None:
    content = {
        "a": [1, 2.5, None, True, "ä", b"\x00\xff", (1, 2), {3}],
        "n": np.float32(1.5),
        "i": np.int64(-3),
        "array": np.arange(6.0).reshape(2, 3),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol))
    got = read_pickle(tmp_path / "x.pkl")
    assert got["a"] == content["a"]
    assert (got["n"], got["i"]) == (1.5, -3)
    assert np.array_equal(got["array"], content["array"])


def test_a_photo_turned_by_exif_is_told_by_the_check(tmp_path):
    """Masks that were drawn on the stored pixels do not fit the upright photo; the check knows it from the header alone."""
    from PIL import Image as PILImage

    from amodal.data.check import check

    make_d2sa(tmp_path)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(file.read_text().replace('"categories": [', '"categories": [{"id": 1, "name": "box"}, '))
    data = amodal.dataset("d2sa", tmp_path, skip_bad=True)
    assert check(data) == []
    sample = next(iter(data))
    with PILImage.open(sample.picture) as picture:
        exif = picture.getexif()
        turned = picture.convert("RGB")
    for orientation, told in (
        (6, "as it is stored, its EXIF orientation turns it"),
        (3, "and its size stays: look whether"),
    ):
        exif[274] = orientation
        turned.save(sample.picture, exif=exif)
        (found,) = check(amodal.dataset("d2sa", tmp_path, skip_bad=True))
        assert told in str(found.text) and found.serious == (orientation == 6)


def test_an_entry_that_is_no_record_is_listed_and_the_rest_is_read(tmp_path: Path) -> None:
    make_d2sa(tmp_path)
    (file,) = tmp_path.rglob("*.json")
    content = json.loads(file.read_text())
    content["annotations"] = [None, *({**row, "image_id": float(row["image_id"])} for row in content["annotations"])]
    content["images"].append(7)
    file.write_text(json.dumps(content))
    data = amodal.dataset("d2sa", tmp_path, skip_bad=True)
    assert [sample.id for sample in data] == ["11", "12"]
    assert {problem.id for problem in data.problems} == {
        "entry 0 of annotations",
        f"entry {len(content['images']) - 1} of images",
    }
    with pytest.raises(DataError, match="entry 1 of images.*not a record with an id"):
        amodal.dataset("d2sa", tmp_path).ids()


def test_ids_with_a_point_are_whole_numbers_and_sizes_are_in_pixels(tmp_path: Path) -> None:
    """As pandas writes them."""
    make_d2sa(tmp_path)
    path = next(tmp_path.rglob("*.json"))
    content = json.loads(path.read_text())
    wanted = [(sample.id, sample.coco) for sample in amodal.dataset("d2sa", tmp_path)]
    for record in [*content["images"], *content["annotations"]]:
        record.update({key: float(record[key]) for key in ("id", "image_id") if key in record})
    path.write_text(json.dumps(content))
    assert [(sample.id, sample.coco) for sample in amodal.dataset("d2sa", tmp_path)] == wanted
    content["images"][0]["height"] += 0.5
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"its image is \d+ x \d+\.5 by the file"):
        list(amodal.dataset("d2sa", tmp_path))
