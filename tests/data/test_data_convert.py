"""Checks, statistics, conversion and the contact sheet."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import amodal
from amodal.cli import run as command
from amodal.core.errors import DataError, ExistsError
from amodal.core.mask import Mask
from amodal.data.annotations import from_polygon
from amodal.data.check import check, find_cycle, statistics
from amodal.data.convert import to_cocoa, to_folder, to_masks, to_polygon
from amodal.data.folder import FolderWriter
from amodal.data.sample import Sample
from reference import COCO, coco_mask

SIZE = (40, 60)
FRONT, REAR = Mask.from_box((10, 10, 30, 30)), Mask.from_box((20, 5, 66, 25))


def build(root: Path, images: int = 3) -> Path:
    photo = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    with FolderWriter(root, name="test", beyond_frame=True) as writer:
        for k in range(images):
            seen = (REAR - FRONT).clip(SIZE)
            rear = Sample(f"{k}/rear", str(k), photo, SIZE, seen, REAR, "box", occluders=(f"{k}/front",), order=2)
            front = Sample(f"{k}/front", str(k), photo, SIZE, FRONT, FRONT, "cup", order=1)
            writer.add(
                [front, rear, Sample(f"{k}/floor", str(k), photo, SIZE, FRONT, FRONT, "floor", stuff=True, order=3)]
            )
    return root


@given(st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_polygon_of_a_mask_is_exact(seed: int) -> None:
    """Parts, holes, single pixels, corners that touch."""
    rng = np.random.default_rng(seed)
    bits = rng.random(rng.integers(1, 20, 2)) < rng.choice([0.1, 0.5, 0.9, 1.0])
    bits[0, 0] = True
    polygon = to_polygon(Mask.from_array(bits))
    assert np.array_equal(from_polygon(polygon, bits.shape).to_array(bits.shape), bits)
    decoded = coco_mask.decode(coco_mask.frPyObjects([polygon], *bits.shape))[..., 0]
    assert np.array_equal(decoded.astype(bool), bits)


def test_to_masks_and_back(tmp_path: Path) -> None:
    data = amodal.dataset("folder", build(tmp_path / "set"))
    assert to_masks(data, tmp_path / "masks", limit=7) == {"objects": 7, "left_out": 0}
    again = {sample.id: sample for sample in amodal.dataset("masks", tmp_path / "masks")}
    for old in list(data)[:7]:
        new = again[old.id.replace("/", "_")]
        assert (new.amodal, new.visible, new.category) == (old.amodal.clip(SIZE), old.visible, old.category)
        assert np.array_equal(new.image, old.image)
    with pytest.raises(ExistsError, match="rows.json exists already"):
        to_masks(data, tmp_path / "masks")


def test_to_masks_tells_names_that_meet(tmp_path: Path) -> None:
    one, other = (Sample(name, name, np.zeros((*SIZE, 3), np.uint8), SIZE, FRONT, FRONT) for name in ("a/b", "a_b"))
    with pytest.raises(DataError, match="object a_b: another object has the file name a_b"):
        to_masks([one, other], tmp_path / "masks")
    assert not (tmp_path / "masks" / "rows.json").exists()


def test_to_cocoa_and_back(tmp_path: Path) -> None:
    data = amodal.dataset("folder", build(tmp_path / "set"))
    assert to_cocoa(data, tmp_path / "cocoa") == {"images": 3, "objects": 9, "left_out": 0}
    again = amodal.dataset("cocoa", tmp_path / "cocoa")
    for old, new in zip(data, again, strict=True):
        assert new.amodal == old.amodal.clip(SIZE)
        assert new.visible == old.visible
        assert (new.category, new.stuff, new.order) == (old.category, old.stuff, old.order)
        assert np.array_equal(new.image, old.image)
    assert [sample.image_id for sample in again] == [sample.image_id for sample in data]
    assert again[1].occluders == ("0/1",)
    assert check(amodal.dataset("cocoa", tmp_path / "cocoa", skip_bad=True), images=True)[0].kind == "duplicate"


def test_numbers_survive(tmp_path: Path) -> None:
    """Predictions for the source name objects and images by its numbers; running ones would be other objects'."""
    photo = np.zeros((*SIZE, 3), np.uint8)
    with FolderWriter(tmp_path / "set", name="numbers") as writer:
        for k in (2, 10, 7):
            rear, front = (Sample(str(10 * k + j), str(k), photo, SIZE, FRONT, FRONT) for j in (1, 0))
            writer.add([rear, front, dataclasses.replace(front, id=str(10 * k + 2), occluders=(rear.id,))])
    data = amodal.dataset("folder", tmp_path / "set")
    to_folder(data, tmp_path / "again")
    for root in (tmp_path / "set", tmp_path / "again"):
        content = json.loads((root / "annotations.json").read_text())
        assert {row["id"]: row["name"] for row in content["images"]} == {10: "10", 2: "2", 7: "7"}
        rows = {row["id"]: (row["name"], row["image_id"], row["occluders"]) for row in content["annotations"]}
        assert rows[101] == ("101", 10, []) and rows[72] == ("72", 7, [71]) and rows[20] == ("20", 2, [])
    to_cocoa(data, tmp_path / "cocoa")
    assert [sample.image_id for sample in amodal.dataset("cocoa", tmp_path / "cocoa")][::3] == ["10", "2", "7"]


def test_long_ids_are_shortened_in_names_of_masks(tmp_path: Path) -> None:
    names = ["x" * 300, "x" * 299 + "y"]
    to_masks([Sample(name, "1", np.zeros((*SIZE, 3), np.uint8), SIZE, FRONT, FRONT) for name in names], tmp_path)
    assert len(amodal.dataset("masks", tmp_path)) == 2


def test_to_folder_trims_and_says_so(tmp_path: Path) -> None:
    data = amodal.dataset("folder", build(tmp_path / "set"))
    file = tmp_path / "set" / "annotations.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["visible_mask"] = (FRONT | Mask.from_box((0, 0, 3, 3))).to_rle(SIZE)
    file.write_text(json.dumps(content))
    data = amodal.dataset("folder", tmp_path / "set")
    assert to_folder(data, tmp_path / "new") == {"images": 3, "objects": 9, "trimmed": 1, "left_out": 0}
    again = amodal.dataset("folder", tmp_path / "new")
    assert again[1].amodal == REAR, "what is beyond the frame is kept"
    assert again[0].visible == FRONT
    assert len(COCO(str(tmp_path / "new" / "annotations.json")).anns) == 9


def test_findings(tmp_path: Path) -> None:
    root = build(tmp_path / "set")
    file = root / "annotations.json"
    content = json.loads(file.read_text())
    rows = content["annotations"]
    rows[0]["visible_mask"] = (FRONT | Mask.from_box((0, 0, 9, 9))).to_rle(SIZE)
    rows[0]["occluders"] = [2]
    rows[3]["segmentation"] = {"size": [2, 2], "counts": [4]}
    rows[4]["visible_mask"] = {"size": list(SIZE), "counts": [2400]}
    file.write_text(json.dumps(content))
    (root / "images" / "2.png").unlink()
    found = check(amodal.dataset("folder", root, skip_bad=True))
    kinds = {(finding.kind, finding.id, finding.serious) for finding in found}
    assert ("missing image", "2.png", True) in kinds
    assert ("visible outside of amodal", "0/front", True) in kinds
    assert ("bad entry", "1/front", True) in kinds
    assert ("unseen", "1/rear", False) in kinds
    assert ("duplicate", "2/floor", False) in kinds
    assert any(kind == "order cycle" for kind, _, _ in kinds)


def test_cycles() -> None:
    assert find_cycle({"a": ("b",), "b": ("c",), "c": (), "d": ("a", "c")}) == []
    cycle = find_cycle({"a": (), "b": ("a", "c"), "c": ("d",), "d": ("b",)})
    assert cycle[0] == cycle[-1] and set(cycle) == {"b", "c", "d"}
    assert find_cycle({"a": ("a",)}) == ["a", "a"]


def test_statistics(tmp_path: Path) -> None:
    numbers = statistics(amodal.dataset("folder", build(tmp_path / "set")))
    assert (numbers["objects"], numbers["images"], numbers["stuff"], numbers["beyond_frame"]) == (9, 3, 3, 3)
    assert numbers["with_known_occluders"] == 3
    assert numbers["occlusion_percent"]["0"] == 6
    assert sum(numbers["occlusion_percent"].values()) == 9
    assert numbers["area"]["median"] == 400
    assert numbers["categories"] == {"cup": 3, "box": 3, "floor": 3} and numbers["labels"] == 3


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(build(tmp_path / "set"))
    assert command(["data", "check", "folder", "--root", root, "--images"]) == 0
    assert "note: duplicate" in capsys.readouterr().out
    assert command(["data", "stats", "folder", "--root", root, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 9
    assert command(["data", "stats", "folder", "--root", root]) == 0
    sheet = tmp_path / "sheet.html"
    view = ["data", "view", "folder", "--root", root, "-o", str(sheet), "--count", "4", "--order", "occluded"]
    assert command(view) == 0
    assert sheet.read_text().count("data:image/jpeg;base64,") == 4
    assert not re.search(r'(src|href)="(?!data:)', sheet.read_text())
    assert command(view) == 1
    assert command(["data", "convert", "folder", "--root", root, "-o", str(tmp_path / "c"), "--to", "cocoa"]) == 0
    assert command(["data", "convert", "folder", "--root", root, "-o", str(tmp_path / "c"), "--to", "voc"]) == 2
    assert "--to is folder, cocoa or masks" in capsys.readouterr().err
    (tmp_path / "set" / "images" / "1.png").unlink()
    assert command(["data", "check", "folder", "--root", root]) == 3
    capsys.readouterr()
