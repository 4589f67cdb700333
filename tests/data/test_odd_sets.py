"""Annotation files that are odd and legitimate, and those that are wrong in ways that made wrong results without a word."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amodal
from amodal.cli import run
from amodal.core.errors import DataError, ExistsError
from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.data.convert import to_cocoa, to_folder, to_masks
from amodal.data.folder import FolderWriter
from amodal.data.sample import Sample
from amodal.evaluation import compare
from amodal.evaluation.matrix import matrix
from amodal.evaluation.predictions import Predictions, evaluate_predictions

SIZE = (40, 60)
WHOLE, SEEN = Mask.from_box((10, 10, 40, 30)), Mask.from_box((10, 10, 25, 30))
PHOTO = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)


def put(path: Path, content: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(content))


def row(number: Any = 1, **more: Any) -> dict[str, Any]:
    masks = {"segmentation": WHOLE.to_rle(SIZE), "visible_mask": SEEN.to_rle(SIZE)}
    return {"id": number, "image_id": 1, "category_id": 1, **masks, **more}


def coco(root: Path, name: str, *rows: dict[str, Any], **more: Any) -> amodal.Dataset:
    """A set of one photo, in D2SA's or the project's own layout."""
    put(root / "images" / "a.png", PHOTO)
    image = {"id": 1, "file_name": "a.png", "width": SIZE[1], "height": SIZE[0]}
    content = {"images": [image], "annotations": rows, "categories": [{"id": 1, "name": "cup"}], **more}
    file = {"d2sa": "D2S_amodal_validation.json", "folder": "annotations.json"}[name]
    (root / file).write_text(json.dumps(content))
    return amodal.dataset(name, root, skip_bad=True)


def masks(root: Path, whole: Mask = WHOLE, seen: Mask = SEEN, names: tuple[str, ...] = ("a", "b")) -> amodal.Dataset:
    for name in names:
        put(root / "images" / f"{name}.png", PHOTO)
        put(root / "visible" / f"{name}.png", seen.to_array(SIZE))
        put(root / "amodal" / f"{name}.png", whole.to_array(SIZE))
    return amodal.dataset("masks", root, skip_bad=True)


@pytest.mark.parametrize("name", ["d2sa", "folder"])
def test_crowd_regions_are_no_objects_and_are_counted(name: str, tmp_path: Path) -> None:
    data = coco(tmp_path, name, row(1), row(2, iscrowd=1), row(3, iscrowd=True))
    assert data.ids() == ["1"]
    assert [": 2 crowd regions" in note for note in data.notes] == [True]


@pytest.mark.parametrize("name", ["d2sa", "folder"])
def test_categories_by_text_are_found_and_unknown_ones_counted(name: str, tmp_path: Path) -> None:
    data = coco(tmp_path, name, row(1, category_id="1"), row(2, category_id=7), row(3, category_id=None))
    assert [sample.category for sample in data] == ["cup", None, None]
    assert [": 1 of its objects have a category_id that is not in its list" in note for note in data.notes] == [True]


@pytest.mark.parametrize("name", ["d2sa", "folder"])
def test_a_category_with_two_names_has_none(name: str, tmp_path: Path) -> None:
    """The last one was taken without a word; so was that of a name that is no text, which ended an evaluation with a traceback."""
    for categories in ([{"id": 1, "name": "cup"}, {"id": 1, "name": "box"}], [{"id": 1, "name": 5}]):
        data = coco(tmp_path, name, row(), categories=categories)
        assert [sample.category for sample in data] == [None]
        assert ["category 1" in str(problem) for problem in data.problems] == [True]
        assert amodal.evaluate(amodal.load("visible"), data)["iou"] == 0.5


@pytest.mark.parametrize("name", ["d2sa", "folder"])
def test_ids_may_be_text(name: str, tmp_path: Path) -> None:
    data = coco(tmp_path, name, row("x"), row("y"), row(None), row(True))
    assert [sample.id for sample in data] == ["x", "y"]
    assert len(data.problems) == 2
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"annotation_id": each, "segmentation": WHOLE.to_rle(SIZE)} for each in "xy"]))
    assert evaluate_predictions(Predictions(results), data)["iou"] == 1.0


def test_two_images_of_one_id_or_name_are_refused_in_the_own_format(tmp_path: Path) -> None:
    """The second one's photo was taken for the first one's objects."""
    for more, match in (
        ({"id": 1}, "two images have the id 1"),
        ({"id": 2, "name": "1"}, "two images have the name '1'"),
    ):
        image = {"width": SIZE[1], "height": SIZE[0]}
        images = [{"id": 1, "file_name": "a.png", **image}, {"file_name": "b.png", **image, **more}]
        with pytest.raises(DataError, match=match):
            coco(tmp_path, "folder", row(), images=images)


def test_bad_rows_of_the_own_format_are_listed(tmp_path: Path) -> None:
    far = {**Mask.from_box((-10, 10, 40, 30)).to_dict()}
    rows = [
        row(1, extra=[1]),
        row(2, order="x"),
        row(3, extra=None, occluders=None, order="2"),
        row(4, beyond_frame=far),
    ]
    data = coco(tmp_path, "folder", *rows)
    found = list(data)
    assert [(sample.id, sample.order, sample.extra) for sample in found] == [("3", 2, {}), ("4", None, {})]
    assert [problem.id for problem in data.problems] == ["1", "2"]
    assert found[1].amodal == WHOLE, "the truth is cut at the frame where predictions are"


def test_stuff_that_is_written_as_text(tmp_path: Path) -> None:
    data = coco(tmp_path, "folder", row(1, isStuff="0"), row(2, isStuff="1"))
    assert [sample.stuff for sample in data] == [False, True]


def test_categories_and_ids_of_rows_json(tmp_path: Path) -> None:
    masks(tmp_path)
    rows = [{"id": "a", "category": 3}, {"id": "b", "category": ["x"]}, {"id": "c.png"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    data = amodal.dataset("masks", tmp_path, skip_bad=True)
    assert [(sample.id, sample.category) for sample in data] == [("a", "3")]
    assert ["a category is text" in str(problem) for problem in data.problems] == [True]
    assert ["1 of its 3 ids are of no picture, the first 'c.png'" in note for note in data.notes] == [True]


def test_pairs_of_different_objects_are_bad(tmp_path: Path) -> None:
    """Their union was taken for the truth."""
    for name, seen in (("1", SEEN), ("2", Mask.from_box((10, 9, 40, 30))), ("3", Mask.from_box((45, 10, 55, 30)))):
        put(tmp_path / "occlusion" / f"{name}_occlusion.png", PHOTO)
        put(tmp_path / "whole_mask" / f"{name}_whole_mask.png", WHOLE.to_array(SIZE))
        put(tmp_path / "visible_object_mask" / f"{name}_visible_mask.png", seen.to_array(SIZE))
    data = amodal.dataset("pix2gestalt", tmp_path, skip_bad=True)
    assert [sample.id for sample in data] == ["1", "2"]
    assert ["200 of the 200 pixels" in str(problem) for problem in data.problems] == [True]


def test_fishbowl_frames_by_number_and_masks_of_one_size(tmp_path: Path) -> None:
    for t in range(11):
        put(tmp_path / "test_data" / "test_frames" / "v" / f"frame_{t}.png", PHOTO)
    good = {"FM": WHOLE.to_rle(SIZE), "VM": SEEN.to_rle(SIZE)}
    frames = {2: good, 3: {**good, "VM": SEEN.to_rle((60, 40))}}
    (tmp_path / "test_data" / "test_data.pkl").write_bytes(pickle.dumps({"v_0": frames}))
    data = amodal.dataset("fishbowl", tmp_path, skip_bad=True)
    assert [sample.picture.name for sample in data] == ["frame_2.png"]  # type: ignore[union-attr]
    assert ["the RLE is of 40 x 60 pixels" in str(problem) for problem in data.problems] == [True]


def test_truths_that_are_not_inside_each_other_are_noted(tmp_path: Path) -> None:
    data = coco(tmp_path, "d2sa", row(1), row(2, visible_mask=Mask.from_box((30, 0, 60, 40)).to_rle(SIZE)))
    assert data[1].occlusion_rate == 0.0, "a share in [0, 1]"
    report = amodal.evaluate(amodal.load("visible"), data)
    assert [
        "1 objects have more than 1 % of their true visible mask outside" in note for note in report.content["notes"]
    ] == [True]
    assert report.content["bins"]["0"]["objects"] == 1


def test_a_run_with_nothing_to_report_says_why(tmp_path: Path) -> None:
    data = coco(tmp_path, "d2sa", row(segmentation=[[1, 1, 9, 9]]))
    with pytest.raises(DataError, match=r"no object was evaluated \(.*: 1: a polygon needs at least three points"):
        amodal.evaluate(amodal.load("visible"), data)


@pytest.mark.parametrize("change", ["visible", "amodal", "photo"])
def test_a_run_goes_on_over_the_same_data_alone(change: str, tmp_path: Path) -> None:
    """Another folder, or masks that were mended meanwhile: the earlier rows were reported again, as if they were of these."""
    model = amodal.load("visible")
    first = amodal.evaluate(model, masks(tmp_path / "one"), output=tmp_path / "run")
    again = amodal.evaluate(model, masks(tmp_path / "copy"), output=tmp_path / "run")
    assert again.content == first.content, "moved data are the same data"
    other = masks(tmp_path / "other")
    if change == "photo":
        put(tmp_path / "other" / "images" / "b.png", np.zeros_like(PHOTO))
    else:
        put(tmp_path / "other" / change / "b.png", Mask.from_box((10, 10, 24, 30)).to_array(SIZE))
    with pytest.raises(amodal.AmodalError, match=r"differs in data\.(truth|photos)_sha256"):
        amodal.evaluate(model, other, output=tmp_path / "run")
    assert amodal.evaluate(model, other, output=tmp_path / "run", overwrite=True).content["objects"] == 2


def test_predictions_and_conversions_go_on_over_the_same_data_alone(tmp_path: Path) -> None:
    data = masks(tmp_path / "one")
    results = Predictions(tmp_path / "one" / "amodal")
    assert evaluate_predictions(results, data, output=tmp_path / "run")["iou"] == 1.0
    to_folder(data, tmp_path / "set")
    other = masks(tmp_path / "other", whole=SEEN)
    with pytest.raises(amodal.AmodalError, match=r"truth_sha256"):
        evaluate_predictions(results, other, output=tmp_path / "run")
    with pytest.raises(amodal.AmodalError, match=r"truth_sha256"):
        to_folder(other, tmp_path / "set")


def test_runs_on_different_data_of_one_name_are_not_compared(tmp_path: Path) -> None:
    """Their objects may have the same names, and even areas: one table was made of both."""
    mirrored = [Mask.from_array(mask.to_array(SIZE)[:, ::-1]) for mask in (WHOLE, SEEN)]
    for name, pair in (("one", (WHOLE, SEEN)), ("two", mirrored)):
        amodal.evaluate(amodal.load("visible"), masks(tmp_path / f"{name}-set", *pair), output=tmp_path / name)
    for join in (compare, matrix):
        with pytest.raises(DataError, match="different data sets that are both called masks"):
            join([tmp_path / "one", tmp_path / "two"])


@pytest.mark.parametrize(
    "command", ["view --order first -o {}/view.html", "view -o {}/view.html", "stats", "convert -o {}/out"]
)
def test_what_is_skipped_is_told_by_every_command(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A contact sheet failed on the first bad entry all the same; the statistics passed over it."""
    coco(tmp_path, "d2sa", row(1), row(2, segmentation=[[1, 1, 9, 9]]))
    name, *more = command.format(tmp_path).split()
    assert run(["data", name, "d2sa", "--root", str(tmp_path), "--skip-bad", *more]) == 3
    assert "skipped: " in capsys.readouterr().err
    if name == "view":
        assert "1 of 2 objects" in (tmp_path / "view.html").read_text()


@pytest.mark.parametrize("to", [to_folder, to_cocoa, to_masks])
def test_objects_without_their_photo_are_skipped_if_asked_to(to: Any, tmp_path: Path) -> None:
    lost = {"id": 2, "file_name": "b.png", "width": SIZE[1], "height": SIZE[0]}
    kept = {"id": 1, "file_name": "a.png", "width": SIZE[1], "height": SIZE[0]}
    data = coco(tmp_path / "coco", "d2sa", row(1), row(2, image_id=2), images=[kept, lost])
    assert to(data, tmp_path / "out")["objects"] == 1
    assert ["there is no file" in str(problem) for problem in data.problems] == [True]


def test_a_conversion_leaves_nothing_of_the_last_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    to_masks(masks(tmp_path / "one", names=("a", "b", "c")), out)
    to_masks(masks(tmp_path / "two", names=("a", "d")), out, overwrite=True)
    assert amodal.dataset("masks", out).ids() == ["a", "d"]
    assert {file.stem for file in out.rglob("*.png")} == {"a", "d"}
    put(tmp_path / "mine" / "images" / "x.png", PHOTO)
    with pytest.raises(ExistsError, match=r"other pictures \(images/x\.png\)"):
        to_masks(masks(tmp_path / "two"), tmp_path / "mine")


def test_a_data_set_is_not_converted_over_itself(tmp_path: Path) -> None:
    """With `--force` its pictures were deleted before they were read."""
    data = masks(tmp_path / "one")
    to_folder(data, tmp_path / "set")
    own = amodal.dataset("folder", tmp_path / "set")
    for convert, each in ((to_folder, own), (to_masks, data)):
        with pytest.raises(DataError, match="is the data set that is read"):
            convert(each, each.root, overwrite=True)
    assert len(list(amodal.dataset("folder", tmp_path / "set"))) == len(list(data)) == 2


def test_an_unknown_order_follows_what_hides_what(tmp_path: Path) -> None:
    """It was the place in the list, against `depth_constraint` in the same file."""
    front = Mask.from_box((25, 10, 50, 35))
    with FolderWriter(tmp_path / "set", name="test") as writer:
        writer.add(
            [
                Sample("rear", "p", PHOTO, SIZE, SEEN, WHOLE, "box", occluders=("front",)),
                Sample("front", "p", PHOTO, SIZE, front, front, "cup", order=3),
            ]
        )
    to_cocoa(amodal.dataset("folder", tmp_path / "set"), tmp_path / "cocoa")
    assert [sample.order for sample in amodal.dataset("cocoa", tmp_path / "cocoa")] == [2, 1]
