"""Answers of a review of a data set that was built anew in between."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import OutputError
from amodal.core.mask import Mask
from amodal.data import Sample, dataset
from amodal.data.folder import FolderWriter
from amodal.synthesis.review import Review, export


def make(image_id: str, object_id: str, left: int) -> Sample:
    image = np.full((60, 80, 3), 90, np.uint8)
    image[10:40, left : left + 30] = (200, 80, 40)
    amodal = Mask.from_box((left, 10, left + 30, 40))
    visible = Mask.from_box((left, 10, left + 20, 40))
    return Sample(object_id, image_id, image, (60, 80), visible, amodal, "box")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, names in (("train", ("a", "b")), ("eval", ("c",))):
        with FolderWriter(tmp_path / "set" / split, name="toy") as writer:
            for name in names:
                writer.add([make(name, f"{name}/1", 5), make(name, f"{name}/2", 40)])
    return tmp_path / "set"


def test_answers_to_other_masks_do_not_count(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The set is built anew: one object has moved, one is gone, one is as it was. Earlier versions' lines count for what is there."""
    review = Review(root)
    for name in ("a/1", "a/2", "b/1", "c/1"):
        review.answer("ann", name, "yes")
    log = root / "review" / "round1" / "ann.jsonl"
    with FolderWriter(root / "train", name="toy", overwrite=True) as writer:
        writer.add([make("a", "a/1", 5), make("a", "a/2", 45)])
    again = Review(root)
    assert again.answers("ann") == {"a/1": "yes", "c/1": "yes"} and again.outdated() == 2
    assert again.everybody() == {"ann": {"a/1": "yes", "c/1": "yes"}}
    assert run(["data", "review", str(root), "--report"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["accepted"], report["outdated"], report["reviewers"]["ann"]["answered"]) == (2, 2, 2)
    assert Review(root, 2).ids == ["c/1", "a/1"]
    assert export(root, tmp_path / "kept") == 2
    with FolderWriter(root / "eval", name="toy", overwrite=True) as writer:
        writer.add([make("c", "c/1", 15)])
    Review(root).answer("ann", "c/1", "yes")
    with pytest.raises(OutputError, match="settings.accepted"):
        export(root, tmp_path / "kept")  # the same objects, of which one has other masks
    again.answer("ann", "a/2", "no")
    assert Review(root).answers("ann") == {"a/1": "yes", "c/1": "yes", "a/2": "no"}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    log.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "masks"}) + "\n" for line in lines[:3]))
    assert Review(root).answers("ann") == {"a/1": "yes", "a/2": "yes"}


def test_objects_of_one_id_in_two_splits_are_two(root: Path, tmp_path: Path) -> None:
    with FolderWriter(root / "eval", name="toy") as writer:
        writer.add([make("a", "a/1", 20)])
    review = Review(root)
    assert sorted(review.ids) == ["a/2", "b/1", "b/2", "c/1", "c/2", "eval/a/1", "train/a/1"]
    assert review.sample("eval/a/1").amodal.box[0] == 20 and review.sample("train/a/1").amodal.box[0] == 5
    review.answer("ann", "eval/a/1", "yes")
    review.answer("ann", "train/a/1", "no")
    assert Review(root).answers("ann") == {"eval/a/1": "yes", "train/a/1": "no"}
    assert export(root, tmp_path / "kept") == 1
    assert [sample.amodal.box[0] for sample in dataset("folder", tmp_path / "kept", "eval")] == [20]


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_is_none_is_told(port: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "review", str(root), "--port", port]) == 2
    assert "--port" in capsys.readouterr().err
