"""The short training of OccAmodal beside the single-stage network, rehearsed at tiny size through its own command."""

import json

import pytest

from amodal.data import dataset
from photo_sets import make_photos

pytest.importorskip("torch")

from benchmarks.short_training import main

from amodal.core.image import encode_png


def test_both_are_trained_on_composites_that_tell_their_occluder(tmp_path):
    data = make_photos(tmp_path / "data")
    (data / "backgrounds").rename(data / "train")
    (data / "backgrounds").mkdir()
    (data / "train").rename(data / "backgrounds" / "train")
    small = ["--composites", "count=6", "--composites", "library.invented=3", "--composites", "targets={thing=1.0}"]
    small += ["--composites", 'library.visible=""']
    small += ["--set", "run.steps=2", "--set", "run.batch=2", "--set", "data.size=32"]
    (tmp_path / "results").mkdir()
    fixed = data / "composites_dev"
    arguments = ["--data", str(data), "-o", str(tmp_path / "runs"), "--results", str(tmp_path / "results"), *small]
    made = tmp_path / "runs" / "composites"
    from benchmarks.short_training import composites

    composites(data, made, small[1:8:2])
    samples = list(dataset("folder", made))
    assert all(sample.occluder is not None for sample in samples)
    hidden = [s for s in samples if s.occluded.clip(s.size).area > 30]
    assert hidden and all(s.occluder & s.occluded for s in hidden), "what hides an object lies over it"
    for part in ("images", "visible", "amodal"):
        (fixed / part).mkdir(parents=True)
    for sample in samples[:2]:
        content = (sample.image, sample.visible.to_array(sample.size), sample.amodal.to_array(sample.size))
        for part, picture in zip(("images", "visible", "amodal"), content, strict=True):
            (fixed / part / f"{sample.id}.png").write_bytes(encode_png(picture))
    assert main(arguments) == 0
    content = json.loads((tmp_path / "results" / "short.json").read_text())
    assert {m: row["steps"] for m, row in content["methods"].items()} == {"occamodal": 2, "deocclusion-single": 2}
    assert all(0 <= row["iou"] <= 1 and row["cpu_minutes"] >= 0 for row in content["methods"].values())
    assert (tmp_path / "results" / "short-single.csv").read_text().startswith("step,")
    assert main(arguments) == 0, "a finished run is only measured again"
