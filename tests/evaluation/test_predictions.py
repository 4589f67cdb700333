"""Predictions of others, as a results file or as pictures: joined by name or overlap, broken ones named, scored as a run."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import amodal
from amodal.cli import run as run_command
from amodal.core.errors import DataError
from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.data.convert import to_cocoa, to_folder
from amodal.data.scene_masks import read_scene
from amodal.evaluation import Predictions, evaluate_predictions, score
from amodal.evaluation.agreement import agreement
from amodal.evaluation.metrics import METRICS
from amodal.evaluation.predictions import flat
from disc_sets import SIZE


def results(data: amodal.Dataset, *, names: bool) -> list[dict[str, object]]:
    """Hulls-to-be: the truth as COCO results, in another order."""
    rows = []
    for sample in data:
        assert sample.coco is not None
        row = {"image_id": sample.coco[1], "category_id": 1, "score": 0.5, "segmentation": sample.amodal.to_rle(SIZE)}
        rows.append({**row, "name": sample.id} if names else row)
    return rows[::-1]


@pytest.mark.parametrize("names", [True, False])
def test_predictions_in_another_order(data: amodal.Dataset, tmp_path: Path, names: bool) -> None:
    file = tmp_path / "results.json"
    extra = {"image_id": 1, "score": 0.9, "segmentation": Mask.from_box((50, 0, 64, 3)).to_rle(SIZE)}
    file.write_text(json.dumps([*results(data, names=names), extra]))
    report = evaluate_predictions(Predictions(file), data)
    assert report["iou"] == 1.0
    assert report.content["average_precision"]["all"]["ap"] < 1.0, "a stray detection of high score costs precision"
    rising = [{**row, "score": 0.1 + number / 20} for number, row in enumerate(results(data, names=names)[::-1])]
    file.write_text(json.dumps(rising))
    part = evaluate_predictions(Predictions(file), data, limit=1).content
    assert (part["objects"], part["average_precision"]["all"]["ap"]) == (1, 1.0), (
        "the picture's other objects have theirs"
    )


def test_predictions_as_pictures_and_their_errors(data: amodal.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for sample in data:
        (folder / f"{sample.id.replace('/', '_')}.png").write_bytes(encode_png(sample.visible.to_array(SIZE)))
    report = evaluate_predictions(Predictions(folder), data)
    assert report.content["metrics"]["iou"]["method"] == report.content["metrics"]["iou"]["visible"]
    (folder / "0_bar.png").unlink()
    assert (
        evaluate_predictions(Predictions(folder), data).content["failed"][0]["error"] == "there is no prediction for it"
    )
    (folder / "0_disc.png").write_bytes(encode_png(np.ones((5, 5), bool)))
    with pytest.raises(DataError, match=r"0/disc: .*0_disc\.png is 5 x 5 pixels, the image 64 x 48"):
        evaluate_predictions(Predictions(folder), data)
    (folder / "nobody.png").write_bytes(encode_png(np.ones(SIZE, bool)))
    with pytest.raises(DataError, match="name no object of folder, the first is 'nobody'"):
        evaluate_predictions(Predictions(folder), data)
    lenient = amodal.dataset("folder", data.root, skip_bad=True)
    assert evaluate_predictions(Predictions(folder), lenient).content["failures"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "was it cut short"),
        ('{"a": 1}', "is not a COCO results file"),
        ("[1]", "entry 0 has no segmentation"),
        ('[{"segmentation": []}]', "neither image_id nor an object's id"),
        (
            '[{"name": "x", "segmentation": []}, {"name": "x", "segmentation": []}]',
            "entries 0 and 1 both are for the object x",
        ),
    ],
)
def test_broken_predictions(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Predictions(tmp_path / "p.json")


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [48, 64], "counts": [2**62, 2**62]}, "a run that is negative or too long"),
        ({"size": [10, 10], "counts": [100]}, "is of 10 x 10 pixels, the image 64 x 48"),
        ([[1, 1, 2, 2]], "at least three points"),
        ([[1, 1, 2, 2, float("nan"), 3]], "NaN or infinity"),
        ("abc", "a mask is a polygon or an RLE"),
    ],
)
def test_broken_prediction_masks(data: amodal.Dataset, tmp_path: Path, segmentation: object, message: str) -> None:
    (tmp_path / "p.json").write_text(json.dumps([{"name": "0/disc", "segmentation": segmentation}]))
    with pytest.raises(DataError, match=message) as caught:
        evaluate_predictions(Predictions(tmp_path / "p.json"), data)
    assert "entry 0" in str(caught.value) and "\n" not in str(caught.value)


def test_the_images_of_a_file_are_known_by_its_own_list(data: amodal.Dataset, tmp_path: Path) -> None:
    photos = {sample.coco[1]: Path(str(sample.picture)).name for sample in data if sample.coco}
    turned = dict(zip(photos, [*list(photos)[1:], *list(photos)[:1]], strict=True))  # every number is another image's
    entries = [{**row, "image_id": turned[row["image_id"]]} for row in results(data, names=False)]
    listed = [{"id": turned[number], "file_name": f"elsewhere\\{name}"} for number, name in photos.items()]
    named = [{**entry, "name": sample.id} for entry, sample in zip(entries, list(data)[::-1], strict=True)]
    alone = [
        {"file_name": photos[row["image_id"]], "segmentation": row["segmentation"]}
        for row in results(data, names=False)
    ]
    for content in ({"images": listed, "annotations": entries}, {"images": listed, "annotations": named}, alone):
        (tmp_path / "p.json").write_text(json.dumps(content))
        report = evaluate_predictions(Predictions(tmp_path / "p.json"), data)
        assert report["iou"] == 1.0 and report.content["failures"] == 0
    unknown = [{**each, "file_name": f"{each['id']}.tif"} for each in listed]
    (tmp_path / "p.json").write_text(json.dumps({"images": unknown, "annotations": results(data, names=False)}))
    assert evaluate_predictions(Predictions(tmp_path / "p.json"), data)["iou"] == 1.0
    assert "p.json: 4 of its images have a file_name that is of no photo of folder" in data.notes[-1]
    moved = [
        {**each, "file_name": other["file_name"]} for each, other in zip(listed, listed[1:] + listed[:1], strict=True)
    ]
    (tmp_path / "p.json").write_text(json.dumps({"images": moved, "annotations": named[:1]}))
    with pytest.raises(DataError, match="is of the image .*, and says image "):
        evaluate_predictions(Predictions(tmp_path / "p.json"), data)


def test_predictions_for_two_photos_of_one_name_are_refused(tmp_path: Path) -> None:
    images = []
    for number, folder in enumerate(("one", "two"), 1):
        (tmp_path / "images" / folder).mkdir(parents=True)
        (tmp_path / "images" / folder / "000.png").write_bytes(encode_png(np.zeros((*SIZE, 3), np.uint8)))
        images.append({"id": number, "file_name": f"{folder}/000.png", "height": SIZE[0], "width": SIZE[1]})
    shape = Mask.from_box((2, 3, 20, 30)).to_rle(SIZE)
    truth = [{"id": number, "image_id": number, "category_id": 1, "segmentation": shape} for number in (1, 2)]
    (tmp_path / "D2S_amodal_validation.json").write_text(
        json.dumps({"images": images, "annotations": truth, "categories": []})
    )
    data = amodal.dataset("d2sa", tmp_path)
    for name, fails in (("000.png", True), ("one/000.png", False)):
        (tmp_path / "p.json").write_text(json.dumps([{"file_name": name, "segmentation": shape}]))
        if fails:
            with pytest.raises(
                DataError, match="predictions for '000.png' may be of .*one/000.png or of .*two/000.png"
            ):
                evaluate_predictions(Predictions(tmp_path / "p.json"), data)
        else:
            report = evaluate_predictions(Predictions(tmp_path / "p.json"), data)
            assert [row.iou for row in report.rows] == [1.0, 0.0]


def test_quick_scores_equal_the_run(data: amodal.Dataset, tmp_path: Path) -> None:
    rows = results(data, names=True)
    rows[0]["segmentation"] = [[1, 1, 20, 1, 20, 30]]
    del rows[3]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    predictions = Predictions(tmp_path / "p.json")
    counts, report = score(predictions, data), evaluate_predictions(predictions, data)
    for name, metric in METRICS.items():
        assert metric(counts).value == pytest.approx(report[name]), name
    (tmp_path / "q.json").write_text(json.dumps(results(data, names=False)))
    with pytest.raises(DataError, match="entries without an object's id"):
        score(Predictions(tmp_path / "q.json"), data)


def coco_results(data: amodal.Dataset) -> list[dict[str, object]]:
    """COCO's results with running ids that have nothing to do with the objects', in another order than theirs."""
    rows = [
        {"image_id": sample.coco[1], "segmentation": sample.amodal.to_rle(sample.size), "score": 0.5, "category_id": 1}
        for sample in data
    ]
    return [{**row, "id": number} for number, row in enumerate(rows[::-1], 1)]


def test_running_ids_are_not_the_objects(data: amodal.Dataset, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(coco_results(data)))
    report = evaluate_predictions(Predictions(tmp_path / "p.json"), data)
    assert report["iou"] == pytest.approx(1) and report.content["failures"] == 0


def test_two_files_for_one_object_are_refused(data: amodal.Dataset, tmp_path: Path) -> None:
    sample = data[0]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{flat(sample.id)}.png").write_bytes(encode_png(sample.amodal.to_array(sample.size)))
    with pytest.raises(DataError, match=r"both are for the object 0_disc"):
        Predictions(tmp_path)


def test_palettes(data: amodal.Dataset, tmp_path: Path) -> None:
    """Index 1 of a palette, as label tools write it; and a palette of black and white, white first."""
    from PIL import Image

    for number, sample in enumerate(data):
        bits = sample.amodal.to_array(sample.size)
        picture = Image.fromarray((bits != (number % 2 == 1)).astype(np.uint8)).convert("P")
        picture.putpalette([0, 0, 0, 128, 0, 0] if number % 2 == 0 else [255, 255, 255, 0, 0, 0])
        (tmp_path / "masks").mkdir(exist_ok=True)
        picture.save(tmp_path / "masks" / f"{flat(sample.id)}.png")
    assert evaluate_predictions(Predictions(tmp_path / "masks"), data)["iou"] == pytest.approx(1)


@pytest.mark.parametrize("source", ["coco", "cocoa", "prompts"])
def test_a_batch_is_understood(data: amodal.Dataset, tmp_path: Path, source: str, capsys: Any) -> None:
    """By evaluate, from a COCO file with the objects' numbers or from prompts with their names; by order; by data view."""
    out = tmp_path / "out"
    prompts = data.root / "annotations.json"
    if source == "prompts":
        prompts = tmp_path / "prompts.jsonl"
        lines = [
            {"image": Path(str(sample.picture)).name, "id": sample.id, "mask": sample.visible.to_rle(sample.size)}
            for sample in data
        ]
        prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if source == "cocoa":
        to_cocoa(data, tmp_path / "set")
        data = amodal.dataset("cocoa", tmp_path / "set")
        prompts = tmp_path / "set" / "COCO_amodal_val2014.json"
    images = str(data.root / ("val2014" if source == "cocoa" else "images"))
    command = [
        "batch",
        str(prompts),
        "--images",
        images,
        "--method",
        "visible",
        "--segmenter",
        "grabcut",
        "-o",
        str(out),
    ]
    assert run_command(command) == 0
    wanted = np.mean([sample.visible.iou(sample.amodal) for sample in data])
    for path in (out, out / "shards" / "00000.jsonl", out / "results.json", out / "coco.json"):
        report = evaluate_predictions(Predictions(path), data)
        assert report["iou"] == pytest.approx(wanted) and report.content["failures"] == 0, path
    first = data[0]
    names, masks, _ = read_scene(out, first.size, str(first.picture))
    assert masks == [sample.visible for sample in data if sample.image_id == first.image_id] and len(names) == len(
        masks
    )
    batch = amodal.dataset("batch", out, options={"photos": images})
    assert {(sample.visible, sample.size) for sample in batch} == {(sample.visible, sample.size) for sample in data}
    assert np.array_equal(batch[0].image, first.image)
    to_folder(batch, tmp_path / "converted")
    converted = amodal.dataset("folder", tmp_path / "converted")
    assert {sample.image_id for sample in converted} == {
        Path(str(sample.picture)).name if source == "prompts" else sample.image_id for sample in data
    }
    for path, truth in (
        (out, converted),
        (out / "results.json", converted),
        (out / "coco.json", converted),
        (converted.root / "annotations.json", batch),
    ):
        report = evaluate_predictions(Predictions(path), truth)
        assert report["iou"] == 1.0 and report.content["failures"] == 0, path
    assert bool(converted.notes) == (source == "cocoa"), "photos of numbers are called otherwise than those of COCO-A"


def test_batches_are_compared_with_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(np.full((40, 60, 3), 90, np.uint8)))
    bits = np.zeros((40, 60), bool)
    bits[5:20, 10:30] = True
    bits[5:12, 18:24] = False
    record = {"image": "a.png", "mask": Mask.from_array(bits).to_rle((40, 60))}
    (tmp_path / "list.jsonl").write_text("\n".join(json.dumps({**record, "id": name}) for name in "xy"))
    for method in ("hull", "visible"):
        assert (
            run_command(["batch", str(tmp_path / "list.jsonl"), "-o", str(tmp_path / method), "--method", method]) == 0
        )
    folders = [str(tmp_path / method) for method in ("hull", "visible")]
    made = agreement(folders)
    hull, visible = made["runs"]
    assert made["objects"] == 2 and hull["iou"] == 1 and hull["equal"] == 2 and visible["equal"] == 0
    assert visible["occlusion"] == 0 and hull["occlusion"] == pytest.approx(1 - bits.sum() / (15 * 20))
    assert visible["iou"] == pytest.approx(bits.sum() / (15 * 20))
    assert [each["id"] for each in made["least"]] == ["x", "y"]
    assert run_command(["compare", *folders]) == 0 and "least alike" in capsys.readouterr().out
    assert run_command(["compare", folders[0], str(tmp_path)]) == 2
    assert run_command(["compare", folders[0]]) == 1


def test_one_bad_entry_is_listed_and_the_rest_is_scored(data: amodal.Dataset, tmp_path: Path) -> None:
    entries = [None, 5, *({"name": each.id, "segmentation": each.amodal.to_rle(each.size)} for each in data)]
    (tmp_path / "p.json").write_text(json.dumps(entries))
    with pytest.raises(DataError, match="entry 0 has no segmentation"):
        evaluate_predictions(Predictions(tmp_path / "p.json"), data)
    lenient = amodal.dataset("folder", data.root, skip_bad=True)
    report = evaluate_predictions(Predictions(tmp_path / "p.json"), lenient)
    assert report.content["failures"] == 0 and report["iou"] is not None and len(report.content["skipped"]) == 2


def test_malformed_entries_without_an_object_are_listed(data: amodal.Dataset, tmp_path: Path) -> None:
    entries = [{**row, "segmentation": {"size": [2, 2], "counts": "22"}} for row in results(data, names=False)]
    (tmp_path / "p.json").write_text(json.dumps(entries))
    lenient = amodal.dataset("folder", data.root, skip_bad=True)
    report = evaluate_predictions(Predictions(tmp_path / "p.json"), lenient)
    assert report.content["failures"] == len(data)
    assert len(report.content["skipped"]) == len(entries) and "entry 0" in str(report.content["skipped"])
    with pytest.raises(DataError, match=r"entry \d+: the RLE is of 2 x 2 pixels, the image 64 x 48"):
        evaluate_predictions(Predictions(tmp_path / "p.json"), data)


def test_numbers_are_the_same_as_floats_and_an_entry_stays_in_its_image(data: amodal.Dataset, tmp_path: Path) -> None:
    lenient = amodal.dataset("folder", data.root, skip_bad=True)
    each = next(sample for sample in lenient if sample.coco)
    assert each.coco is not None
    entry = {"annotation_id": float(each.coco[0]), "segmentation": each.amodal.to_rle(each.size)}
    for image, error in ((float(each.coco[1]), None), (each.coco[1] + 1, f"and says image {each.coco[1] + 1}")):
        (tmp_path / "p.json").write_text(json.dumps([{**entry, "image_id": image}]))
        report = evaluate_predictions(Predictions(tmp_path / "p.json"), lenient)
        (row,) = (row for row in report.rows if row.id == each.id)
        assert row.error is None if error is None else error in str(row.error)


@pytest.mark.parametrize("image", [999, "one", None])
def test_entries_of_no_image_are_told(data: amodal.Dataset, tmp_path: Path, image: Any) -> None:
    rows = [{**row, "image_id": image} for row in coco_results(data)] if image else []
    (tmp_path / "p.json").write_text(json.dumps(rows))
    text = (
        f"none of the 8 entries .* the first has the image_id {image!r}, the first image here 0$"
        if image
        else "holds no"
    )
    lenient = amodal.dataset("folder", data.root, skip_bad=True)
    report = evaluate_predictions(Predictions(tmp_path / "p.json"), lenient)
    assert len(report.content["skipped"]) == 1 and re.search(text, report.content["skipped"][0])
    with pytest.raises(DataError, match=text.rstrip("$")):
        evaluate_predictions(Predictions(tmp_path / "p.json"), data)


def test_masks_of_a_wrong_size_are_one_line(
    data: amodal.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "masks").mkdir()
    for sample in data:
        (tmp_path / "masks" / f"{flat(sample.id)}.png").write_bytes(encode_png(np.ones((5, 5), bool)))
    base = ["evaluate", "--dataset", "folder", "--root", str(data.root), "--predictions", str(tmp_path / "masks")]
    assert run_command([*base, "-o", str(tmp_path / "run")]) == 3
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped: ")]
    assert len(told) == 1 and told[0].endswith("is 5 x 5 pixels, the image 64 x 48 (and 7 more like it)")
    assert told[0].count(".png") == 1


def test_an_unfinished_batch_is_told(data: amodal.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = tmp_path / "batch"
    batch.mkdir()
    (batch / "plan.json").write_text('{"format": "amodal/batch/1"}')
    (batch / "journal.jsonl").write_text("")
    shown = ["data", "view", "batch", "--root", str(batch), "-o", str(tmp_path / "v.html")]
    scored = ["evaluate", "--dataset", "folder", "--root", str(data.root), "--predictions", str(batch)]
    for words in (["compare", str(batch), str(batch)], shown, [*scored, "-o", str(tmp_path / "run")]):
        assert run_command(words) == 1
        assert "is an unfinished batch: it was stopped; repeat the command" in capsys.readouterr().err
