"""`amodal order`: masks from JSON files of every layout, and objects that the segmenter finds by itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.cli import run
from amodal.core.errors import MaskError
from amodal.core.image import encode_png, read_mask
from amodal.core.mask import Mask
from amodal.data.convert import to_cocoa, to_folder
from amodal.data.sample import Sample
from amodal.data.scene_masks import read_json_masks

SIZE = (96, 128)
FRAME = Mask.from_box((0, 0, 128, 96))
BAR = Mask.from_box((66, 0, 82, 96))


class OnePicture(amodal.Dataset):
    """The bar, the disc behind it, and a box that the bar hides as a whole."""

    name = "one"
    photo: np.ndarray
    disc: Mask

    def index(self):  # type: ignore[no-untyped-def]
        from amodal.data.sample import Entry

        hidden = Mask.from_box((70, 5, 75, 10))
        masks = {"bar": (BAR, BAR), "disc": (self.disc - BAR, self.disc), "gone": (Mask.from_box((0, 0, 0, 0)), hidden)}
        entries = []
        for name, (seen, whole) in masks.items():
            sample = Sample(
                name, "photo", self.photo, SIZE, seen, whole, name, occluders=() if name == "bar" else ("bar",)
            )
            entries.append(Entry(name, "photo", "here", Path("photo.png"), lambda sample=sample: sample))
        return entries


@pytest.fixture
def one(tmp_path: Path, photo: np.ndarray) -> OnePicture:
    rows, columns = np.indices(SIZE)
    OnePicture.photo = photo
    OnePicture.disc = Mask.from_array((rows - 48) ** 2 + (columns - 60) ** 2 < 30**2)
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    return OnePicture(tmp_path)


def record_of(photo: Path, masks: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    assert run(["order", str(photo), "--masks", str(masks), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_masks_of_every_layout(one: OnePicture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The project's own data set, COCO-A's file and one entry of it, KINS's fields, results, and a plain list of masks."""
    to_folder(one, tmp_path / "own")
    to_cocoa(one, tmp_path / "cocoa")
    cocoa = json.loads((tmp_path / "cocoa" / "COCO_amodal_val2014.json").read_text())
    (tmp_path / "entry.json").write_text(json.dumps(cocoa["annotations"][0]))
    seen, image = (
        {"bar": BAR, "disc": one.disc - BAR},
        {"id": 7, "file_name": "x/photo.png", "height": 96, "width": 128},
    )
    rows = [
        {"image_id": 7, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]], "inmodal_seg": mask.to_rle(SIZE)}
        for mask in seen.values()
    ]
    other = {**image, "id": 8, "file_name": "other.png"}
    kins = {
        "images": [image, other],
        "annotations": [*rows, {"image_id": 8}],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (tmp_path / "kins.json").write_text(json.dumps(kins))
    (tmp_path / "list.json").write_text(json.dumps([mask.to_dict() for mask in seen.values()]))
    polygons = [[66, 0, 82, 0, 82, 96, 66, 96], seen["disc"].to_rle(SIZE)]
    (tmp_path / "polygons.json").write_text(json.dumps(polygons))
    files = {
        "own/annotations.json": ["bar", "disc"],
        "cocoa/COCO_amodal_val2014.json": ["bar", "disc"],
        "entry.json": ["bar", "disc"],
        "kins.json": ["thing", "thing-2"],
        "list.json": ["object-1", "object-2"],
        "polygons.json": ["object-1", "object-2"],
    }
    for file, names in files.items():
        record = record_of(tmp_path / "photo.png", tmp_path / file, capsys)
        assert record["objects"] == names, file
        assert record["boxes"] == [list(mask.box) for mask in seen.values()], file
        assert record["pairs"] == [{"front": names[0], "behind": names[1]}], file


def test_results_of_amodal_are_masks_too(one: OnePicture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = amodal.load("hull").open(one.photo)
    seen = [BAR, one.disc - BAR]
    for number, mask in enumerate(seen):
        scene.complete(mask=mask).save(tmp_path / "out", f"thing{number}")
    parts = [tmp_path / "out" / f"thing{number}.json" for number in range(2)]
    assert [read_json_masks(part, SIZE)[0][1] for part in parts] == seen
    command = ["order", str(tmp_path / "photo.png"), "--json"]
    assert run([*command, "--masks", str(parts[0]), "--masks", str(parts[1])]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["objects"] == ["object-1", "object-1-2"] and record["matrix"] == [[0, 1], [-1, 0]]


BAD = {
    '{"images": [{"id": 1, "width": 64, "height": 48}], "annotations": []}': "the photo is 64 x 48, but it is 128 x 96",
    '{"images": [{"id": 1}], "annotations": 5}': "an entry of .*json is malformed",
    '{"images": [], "annotations": []}': "has 0 pictures, none of them named 'photo.png'",
    '[{"name": "cup"}]': "object 1 has no mask; it needs one of visible_mask",
    '[{"name": "cup", "segmentation": {"size": [4, 4], "counts": [16]}}]': r"object 1 \(cup\): the RLE is of 4 x 4",
    "[[1, 2, 3]]": r"object 1 \(object-1\): a polygon",
    "[]": "no object is marked",
    "3": "is no list of masks",
    "[1": "is not complete JSON",
    '{"a": 1}': "object 1 has no mask",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_json_is_told(text: str, one: OnePicture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.json").write_text(text)
    assert run(["order", str(tmp_path / "photo.png"), "--masks", str(tmp_path / "bad.json")]) == 1
    import re

    assert re.search(BAD[text], capsys.readouterr().err)


def test_objects_that_the_segmenter_finds(one: OnePicture, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without masks: regions are found (the bar among them), none overlaps another once written, and their masks are written."""
    found = ["order", str(tmp_path / "photo.png"), "--segmenter", "pocket"]
    assert run([*found, "--json", "-o", str(tmp_path / "found")]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert "objects found by pocket" in err
    assert sorted(path.stem for path in (tmp_path / "found").iterdir()) == sorted(
        f"{n}.visible" for n in record["objects"]
    )
    masks = [read_mask(tmp_path / "found" / f"{name}.visible.png", SIZE) for name in record["objects"]]
    assert [list(mask.box) for mask in masks] == record["boxes"]
    assert (
        sum(mask.area for mask in masks)
        == sum((mask.to_array(SIZE) for mask in masks), np.zeros(SIZE, int)).astype(bool).sum()
    )
    everything = amodal.load(segmenter="pocket").open(one.photo).objects()
    assert any(proposal.mask.iou(BAR) > 0.8 for proposal in everything)
    assert sum(mask.area for mask in masks) > 0.9 * FRAME.area, (
        "parts may go with what holds them, but no region is lost"
    )
    again = record_of(tmp_path / "photo.png", tmp_path / "found", capsys)
    assert {(p["front"] + ".visible", p["behind"] + ".visible") for p in record["pairs"]} == {
        (p["front"], p["behind"]) for p in again["pairs"]
    }
    (tmp_path / "grey.png").write_bytes(encode_png(np.full((*SIZE, 3), 90, np.uint8)))
    assert run(["order", str(tmp_path / "grey.png"), "--segmenter", "grabcut"]) == 2
    assert "grabcut finds no object in this photo; give their masks" in capsys.readouterr().err
    assert run([*found, "--masks", str(tmp_path / "found")]) == 2
    assert "leave out --segmenter" in capsys.readouterr().err


def test_of_photos_of_one_name_in_a_batch_the_path_tells_which(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    lines = []
    for place, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "0.png").write_bytes(encode_png(np.zeros((20, 40, 3), np.uint8)))
        shape = Mask.from_box((4 + 20 * place, 2, 10 + 20 * place, 12)).to_rle((20, 40))
        lines.append(json.dumps({"image": f"{folder}/0.png", "mask": shape, "category": folder}))
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    (tmp_path / "0.png").write_bytes((tmp_path / "one" / "0.png").read_bytes())
    assert run(["batch", "list.jsonl", "-o", "out", "--method", "visible"]) == 0
    for masks in ("out", "out/shards/00000.jsonl", "out/coco.json"):
        for folder, left in (("one", 4), ("two", 24)):
            capsys.readouterr()
            assert run(["order", f"{folder}/0.png", "--masks", masks, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["boxes"] == [[left, 2, left + 6, 12]]
        assert run(["order", "0.png", "--masks", masks]) == 1
        assert "2 of them named '0.png'; for the picture that is meant give its path" in capsys.readouterr().err


def test_masks_of_other_pictures_are_not_taken(tmp_path: Path) -> None:
    first, second = (Mask.from_box((x, 2, x + 6, 12)) for x in (4, 24))
    entries = [{"image_id": n, "segmentation": mask.to_rle((20, 40))} for n, mask in ((7, first), (8, second))]
    path = tmp_path / "masks.json"
    path.write_text(json.dumps(entries))
    assert [mask for _, mask, _ in read_json_masks(path, (20, 40), "8.png")] == [second]
    with pytest.raises(MaskError, match=r"has 2 pictures, none of them named 'photo\.png'"):
        read_json_masks(path, (20, 40), "photo.png")
    path.write_text(json.dumps([{**entry, "file_name": f"in/{entry['image_id']}9.png"} for entry in entries]))
    assert [mask for _, mask, _ in read_json_masks(path, (20, 40), "79.png")] == [first]
    images = [{"id": 7, "file_name": "other.png"}]
    path.write_text(json.dumps({"images": images, "annotations": entries[:1]}))
    with pytest.warns(UserWarning, match="are for other.png; they are taken for photo.png"):
        assert [mask for _, mask, _ in read_json_masks(path, (20, 40), "photo.png")] == [first]


def test_masks_are_written_where_there_is_room(
    one: OnePicture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two names that make one file took each other's place with --force."""
    from amodal.cli.order import mask_files
    from amodal.core.errors import DataError, ExistsError

    with pytest.raises(DataError, match="the objects 'a/b', 'a:b' would all be written as a.b.amodal.png"):
        mask_files(tmp_path, ["a/b", "c", "a:b"], ["amodal"], force=True)
    (tmp_path / "c.amodal.png").touch()
    with pytest.raises(ExistsError):
        mask_files(tmp_path, ["b", "c"], ["visible", "amodal"], force=False)
    assert mask_files(tmp_path, ["c"], ["visible"], force=False) == {"visible": [tmp_path / "c.visible.png"]}
