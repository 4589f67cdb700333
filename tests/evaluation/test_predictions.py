"""Predictions of others, as a results file or as pictures: joined by name or overlap, broken ones named, scored as a run."""

import json
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.errors import DataError
from amodal.evaluation import Predictions, evaluate_predictions, score
from amodal.evaluation.metrics import METRICS
from amodal.image import encode_png
from amodal.mask import Mask
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
        ({"size": [48, 64], "counts": [2**62, 2**62]}, "runs add up to"),
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
