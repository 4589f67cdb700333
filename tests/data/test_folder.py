"""The project's own format and plain mask folders: round trips, resuming, pycocotools, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.core.errors import DataError, OutputError, UnknownNameError, UsageError
from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.data.convert import to_folder
from amodal.data.folder import Folder, FolderWriter
from amodal.data.masks import MaskFolder
from amodal.data.sample import Sample
from reference import COCO

SIZE = (40, 60)


def scene(name: str, seed: int = 0) -> list[Sample]:
    """Two overlapping boxes; the rear one leaves the frame."""
    image = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    front, rear = Mask.from_box((20, 10, 40, 30)), Mask.from_box((30, 5, 70, 25))
    seen = Mask.from_array((rear - front).to_array(SIZE))
    return [
        Sample(f"{name}/front", name, image, SIZE, front, front, "cup", order=1, extra={"kind": "one"}),
        Sample(f"{name}/rear", name, image, SIZE, seen, rear, "box", occluders=(f"{name}/front",), order=2),
    ]


def build(root: Path, names: list[str], **settings: object) -> None:
    with FolderWriter(root, name="test", beyond_frame=True, **settings) as writer:
        for name in names:
            writer.add(scene(name, len(name)))


def test_round_trip(tmp_path: Path) -> None:
    build(tmp_path / "set", ["b", "a/1"])
    samples = list(amodal.dataset("folder", tmp_path / "set"))
    assert [sample.id for sample in samples] == ["a/1/front", "a/1/rear", "b/front", "b/rear"]
    for sample, truth in zip(samples, scene("a/1", 3) + scene("b", 1), strict=True):
        assert sample.amodal == truth.amodal
        assert sample.visible == truth.visible
        assert (sample.category, sample.occluders, sample.order) == (truth.category, truth.occluders, truth.order)
        assert sample.extra == truth.extra
        assert sample.beyond_frame
        assert np.array_equal(sample.image, truth.image)
    assert samples[1].amodal.box == (30, 5, 70, 25)
    assert samples[1].occlusion_rate == pytest.approx(1 - samples[1].visible.area / 800)
    assert [len(group) for group in Folder(tmp_path / "set").scenes()] == [2, 2]
    assert [len(group) for group in Folder(tmp_path / "set").scenes(3, frozenset({"a/1/front"}))] == [2, 1]
    assert [len(group) for group in Folder(tmp_path / "set").scenes(without=frozenset({"b/front", "b/rear"}))] == [2]


def test_pycocotools_opens_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(tmp_path, ["a", "b"])
    coco = COCO(str(tmp_path / "annotations.json"))
    rows = coco.loadAnns(coco.getAnnIds())
    assert [coco.cats[row["category_id"]]["name"] for row in rows] == ["cup", "box", "cup", "box"]
    for row, sample in zip(rows, Folder(tmp_path), strict=True):
        assert np.array_equal(coco.annToMask(row).astype(bool), sample.amodal.to_array(SIZE))
    capsys.readouterr()


def test_order_of_adding_does_not_matter(tmp_path: Path) -> None:
    build(tmp_path / "x", ["a", "bb", "c"])
    build(tmp_path / "y", ["c", "a", "bb"])
    files = sorted(path.relative_to(tmp_path / "x") for path in (tmp_path / "x").rglob("*") if path.is_file())
    assert len(files) == 5  # with the lock
    for file in files:
        assert (tmp_path / "x" / file).read_bytes() == (tmp_path / "y" / file).read_bytes()


def test_resume_after_a_kill(tmp_path: Path) -> None:
    build(tmp_path / "whole", ["a", "b", "c"])
    with pytest.raises(KeyboardInterrupt), FolderWriter(tmp_path / "set", name="test", beyond_frame=True) as writer:
        writer.add(scene("a", 1))
        writer.add(scene("b", 1))
        raise KeyboardInterrupt
    journal = tmp_path / "set" / ".build.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])  # killed within the last line
    assert not (tmp_path / "set" / "annotations.json").exists()
    for names in (["b", "c"], ["c"]):  # the second time: growing a finished set, here by nothing
        with FolderWriter(tmp_path / "set", name="test", beyond_frame=True) as again:
            assert again.done("a")
            for name in names:
                if not again.done(name):
                    again.add(scene(name, 1))
    assert (tmp_path / "set" / "annotations.json").read_bytes() == (
        tmp_path / "whole" / "annotations.json"
    ).read_bytes()
    assert not journal.exists()


def test_writer_refuses(tmp_path: Path) -> None:
    build(tmp_path, ["a"])
    other = FolderWriter(tmp_path, name="test", settings={"seed": 1}, beyond_frame=True)
    with pytest.raises(OutputError, match=r"differs in settings.*seed \(null, now 1\)"), other:
        pass
    (tmp_path / "foreign" / "images").mkdir(parents=True)
    (tmp_path / "foreign" / "annotations.json").write_text('{"info": {}, "images": []}')
    foreign = FolderWriter(tmp_path / "foreign", name="test", overwrite=True)
    with pytest.raises(OutputError, match=r"holds other files \(annotations.json\)"), foreign:
        pass
    assert (tmp_path / "foreign" / "annotations.json").exists()
    writer = FolderWriter(tmp_path / "new", name="test")
    with pytest.raises(DataError, match="visible mask is not inside"):
        writer.add(
            [
                Sample(
                    "x",
                    "x",
                    np.zeros((*SIZE, 3), np.uint8),
                    SIZE,
                    Mask.from_box((0, 0, 9, 9)),
                    Mask.from_box((0, 0, 8, 8)),
                )
            ]
        )
    with pytest.raises(DataError, match="is taken"):
        writer.add([scene("a")[0], scene("a")[0]])
    assert not (tmp_path / "new").exists()


def test_lost_pictures_are_made_again(tmp_path: Path) -> None:
    build(tmp_path, ["a", "b"])
    before = (tmp_path / "annotations.json").read_bytes()
    (tmp_path / "images" / "a.png").unlink()
    with FolderWriter(tmp_path, name="test", beyond_frame=True) as writer:
        assert writer.done("b") and not writer.done("a")
        writer.add(scene("a"))
    assert (tmp_path / "annotations.json").read_bytes() == before and (tmp_path / "images" / "a.png").exists()


def test_names_that_leave_the_set_are_refused(tmp_path: Path) -> None:
    build(tmp_path, ["a"])
    file = tmp_path / "annotations.json"
    content = json.loads(file.read_text())
    for name in ("/etc/passwd", "../../etc/passwd"):
        content["images"][0]["file_name"] = name
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match="leads out of"):
            Folder(tmp_path)
    (tmp_path / "images" / "text.png").write_text("root:x:0:0")
    content["images"][0]["file_name"] = "text.png"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="not a picture"):
        to_folder(Folder(tmp_path), tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("text*"))


def break_row(file: Path, **changes: object) -> None:
    content = json.loads(file.read_text())
    content["annotations"][1].update(changes)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"visible_mask": {"size": [3, 3], "counts": [9]}}, "RLE is of 3 x 3 pixels, the image 60 x 40"),
        ({"visible_mask": {"size": [40, 60], "counts": [2**40]}}, "RLE|run"),
        ({"visible_mask": {"size": [40, 60], "counts": "\x7f"}}, "outside of COCO's code"),
        ({"visible_mask": None}, "absent or malformed|an RLE is"),
        ({"image_id": 77}, "its image 77 is not in the list"),
        ({"name": "a/front"}, "occurs twice"),
    ],
)
def test_bad_annotations(tmp_path: Path, changes: dict[str, object], text: str) -> None:
    build(tmp_path, ["a"])
    break_row(tmp_path / "annotations.json", **changes)
    with pytest.raises(DataError, match=text) as caught:
        list(Folder(tmp_path))
    assert "annotations.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    data = Folder(tmp_path, skip_bad=True)
    assert [sample.id for sample in data] == ["a/front"]
    assert len(data.problems) == 1


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        Folder(tmp_path / "absent")
    with pytest.raises(DataError, match=r"cannot read .*annotations\.json"):
        Folder(tmp_path)
    (tmp_path / "annotations.json").write_text('{"images": [')
    with pytest.raises(DataError, match="was it cut short"):
        Folder(tmp_path)
    (tmp_path / "annotations.json").write_text("[]")
    with pytest.raises(DataError, match="needs the keys images and annotations"):
        Folder(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'folder'"):
        amodal.dataset("foldr", tmp_path)


def test_missing_and_wrong_images(tmp_path: Path) -> None:
    build(tmp_path, ["a", "b"])
    (tmp_path / "images" / "a.png").unlink()
    (tmp_path / "images" / "b.png").write_bytes(encode_png(np.zeros((5, 5, 3), np.uint8)))
    data = Folder(tmp_path)
    assert data.missing() == [tmp_path / "images" / "a.png"]
    with pytest.raises(DataError, match=r"object a/front: there is no file .*a\.png"):
        _ = data[0].image
    with pytest.raises(DataError, match="is 5 x 5, the annotation 60 x 40"):
        _ = data[2].image


def test_mask_folders(tmp_path: Path) -> None:
    front, rear = scene("a")
    for part, array in (
        ("images", rear.image),
        ("visible", rear.visible.to_array(SIZE)),
        ("amodal", rear.amodal.to_array(SIZE)),
    ):
        (tmp_path / part).mkdir()
        (tmp_path / part / "0001.png").write_bytes(encode_png(array))
    (tmp_path / "rows.json").write_text('[{"id": "0001", "kind": "one", "name": "box"}]')
    (sample,) = MaskFolder(tmp_path)
    assert sample.visible == rear.visible
    assert sample.amodal == rear.amodal.clip(SIZE)
    assert (sample.category, dict(sample.extra)) == ("box", {"kind": "one"})
    (tmp_path / "visible" / "0002.png").write_bytes(encode_png(front.visible.to_array(SIZE)))
    with pytest.raises(DataError, match=r"0002: there is no file 0002\.\* in images, amodal/"):
        MaskFolder(tmp_path)
    assert len(MaskFolder(tmp_path, skip_bad=True)) == 1
    (tmp_path / "rows.json").write_text('[{"id": "0001", "name": "box"}, {"id": "0001", "name": "cup"}]')
    with pytest.raises(DataError, match="rows.json says '0001' twice; keep one row"):
        MaskFolder(tmp_path)


def test_composites_dev(development_data: Path) -> None:
    data = MaskFolder(development_data / "composites_dev")
    assert len(data) == 300
    sample = data[2]
    assert sample.extra["kind"] == "one"
    assert sample.occlusion_rate == pytest.approx(sample.extra["occlusion"], abs=1e-9)
    assert sample.image.shape[:2] == sample.size


def test_split_is_a_subfolder(tmp_path: Path) -> None:
    build(tmp_path / "dev", ["a"])
    assert len(amodal.dataset("folder", tmp_path, split="dev")) == 2


def test_unknown_split_names_the_known(tmp_path: Path) -> None:
    class Two(Folder):
        splits = ("train", "val")

    with pytest.raises(UsageError, match="did you mean 'val'"):
        Two(tmp_path, "vall")


def test_a_folder_of_splits_names_them(tmp_path: Path) -> None:
    for split in ("train", "eval"):
        build(tmp_path / split, ["a"])
    with pytest.raises(DataError, match="holds the splits eval, train, and no set of its own; name one as split"):
        amodal.dataset("folder", tmp_path)
    assert len(amodal.dataset("folder", tmp_path, "eval")) == 2
