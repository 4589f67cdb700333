"""Runs: rows, resuming after a kill, failures, comparison, report; real methods on small real files."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.cli import run as command
from amodal.core.errors import DataError, OutputError, UsageError
from amodal.core.mask import Mask
from amodal.core.options import Options
from amodal.data.sample import Sample
from amodal.evaluation import compare
from amodal.evaluation.ablation import variants
from amodal.evaluation.answers import prompt_for, true_occluder
from amodal.evaluation.rows import NOTHING
from amodal.methods.baselines import Visible
from amodal.plugins import registry
from amodal.plugins.protocols import Prediction
from disc_sets import SIZE, make_discs
from dying import dies


def test_report_of_hull(data: amodal.Dataset, tmp_path: Path) -> None:
    report = amodal.evaluate(amodal.load("hull"), data)
    content = report.content
    assert (content["objects"], content["images"], content["occluded_objects"], content["failures"]) == (8, 4, 4, 0)
    for metric in ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled"):
        assert content[metric] == report[metric] == content["metrics"][metric]["method"]["value"]
        assert content["metrics"][metric]["method"] == content["metrics"][metric]["hull"]
    hand = [sample.visible.iou(sample.amodal) for sample in data]
    assert content["metrics"]["iou"]["visible"]["value"] == pytest.approx(np.mean(hand))
    assert content["metrics"]["iou_occluded"]["visible"]["value"] == 0.0
    order = content["order"]
    assert (order["accuracy"], order["low"], order["high"], order["pairs"]) == (1.0, 1.0, 1.0, 4)
    assert (order["accuracy_all"], order["pairs_all"]) == (1.0, 4)
    assert set(content["kinds"]) == {"even", "odd"}
    assert content["average_precision"]["all"]["ap50"] == pytest.approx(1.0)
    paths = report.save(tmp_path / "report")
    assert json.loads(paths["json"].read_text()) == content
    page = paths["html"].read_text()
    assert not re.search(r'(src|href)="(?!data:)', page), "the page must need nothing from outside"
    assert page.count("data:image/jpeg;base64,") >= 12
    assert page.count("<svg") == 3


def test_prompts(data: amodal.Dataset) -> None:
    sample = data[0]
    x, y = prompt_for(sample, "point").points[0]
    assert sample.visible.to_array(SIZE)[int(y), int(x)]
    assert prompt_for(sample, "box").box == sample.visible.box
    report = amodal.evaluate(amodal.load("visible"), data, prompt="box", limit=2)
    assert report.content["settings"]["protocol"].startswith("pred-V")
    assert 0 < report.content["prompt_iou"]["value"] <= 1
    with pytest.raises(UsageError, match="prompt must be one of"):
        amodal.evaluate(amodal.load("visible"), data, prompt="text")  # type: ignore[arg-type]


class Greedy(Visible):
    """Takes the whole frame, and tells what it was told of the occluder."""

    name = "greedy"
    Options = Options

    def complete(self, embedded, image, requests, context):  # type: ignore[no-untyped-def]
        self.told = [request.occluder for request in requests]
        return [[Prediction(Mask.from_box((0, 0, SIZE[1], SIZE[0])))] for _ in requests]


def test_the_true_occluder_is_given(data: amodal.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The bar is told for the disc, nothing hides the bar; the mask grows nowhere else; without the option nothing is told."""
    disc, bar = data[0], data[1]
    model = amodal.load("visible")
    greedy = Greedy()
    model = amodal.Model(greedy, model.segmenter, model.inpainter)
    report = amodal.evaluate(model, data, occluders="truth", limit=2)
    assert greedy.told == [bar.visible, Mask.from_box((0, 0, 0, 0))]
    predicted = [Mask.from_dict(row.mask) for row in report.rows]
    assert predicted == [disc.visible | bar.visible, bar.visible]
    assert report.content["occluders_given"] == 2
    assert report.content["settings"]["occluders"] == "truth" and "occluder mask is given" in str(report)
    assert amodal.evaluate(model, data, limit=2).content["occluders_given"] == 0 and greedy.told == [None, None]
    run = ["evaluate", "--dataset", "folder", "--root", str(data.root), "--method", "hull", "-o", str(tmp_path / "run")]
    assert command([*run, "--occluders", "truth"]) == 0
    assert "known for 8 of 8" in capsys.readouterr().out
    assert command([*run, "--resume"]) == 1, "not the same run"
    assert "made with other settings: it differs in occluders" in capsys.readouterr().err
    assert command([*run, "--occluders", "some"]) == 2
    assert "--occluders is one of none, truth, recovered, got 'some'" in capsys.readouterr().err


def test_what_the_true_occluder_is() -> None:
    photo = np.zeros((*SIZE, 3), np.uint8)
    whole, cup, far = Mask.from_box((10, 10, 30, 30)), Mask.from_box((20, 5, 40, 40)), Mask.from_box((50, 0, 60, 9))
    rear = Sample("rear", "0", photo, SIZE, whole - cup, whole)
    others = [Sample(name, "0", photo, SIZE, mask, mask) for name, mask in (("cup", cup), ("far", far))]
    assert true_occluder(rear, [rear, *others]) == cup
    assert true_occluder(rear, [rear, others[1]]) is None, "what hides it is not annotated"
    assert true_occluder(replace(rear, occluder=far | cup), [rear]) == far | cup, "the data set's own mask comes first"
    leaving = Mask.from_box((50, 10, 70, 30))
    alone = Sample("alone", "0", photo, SIZE, leaving.clip(SIZE), leaving, beyond_frame=True)
    assert true_occluder(alone, [alone]) is None, "the frame hides it; an empty mask would forbid to leave the frame"


class Moody(Visible):
    """Fails on discs; on others it answers twice, once wrongly, so that samples differ."""

    name = "moody"
    Options = Options

    def complete(self, embedded, image, requests, context):  # type: ignore[no-untyped-def]
        if any(request.visible.box[0] < 15 for request in requests):
            raise RuntimeError("out of memory")
        return [
            [Prediction(request.visible), Prediction(request.visible | Mask.from_box((0, 0, 64, 2)))]
            for request in requests
        ]


def test_failures_are_rows_and_cost_only_themselves(data: amodal.Dataset) -> None:
    model = amodal.load("visible")
    report = amodal.evaluate(amodal.Model(Moody(), model.segmenter, model.inpainter), data, samples=2)
    errors = {row.id: row.error for row in report.rows}
    assert errors["0/disc"] == "RuntimeError: out of memory"
    assert errors["0/bar"] is None
    assert report.content["failures"] == sum(error is not None for error in errors.values()) > 0
    assert next(row for row in report.rows if row.id == "0/disc").iou == 0.0
    best = next(row for row in report.rows if row.id == "0/bar").best_of
    assert best is not None and (best.k, best.iou) == (2, 1.0)
    assert report.content["best_of"]["k"] == 2
    # Failed objects count as they do everywhere else: as empty masks.
    assert report.content["best_of"]["iou"]["objects"] == len(report.rows)


def test_the_best_sample_is_pooled_beside_its_mean(data: amodal.Dataset) -> None:
    """The best of each object by its IoU: its pixels, not the vote's, make the pooled number."""
    model = amodal.load("visible")
    report = amodal.evaluate(amodal.Model(Moody(), model.segmenter, model.inpainter), data, samples=2, raw=True)
    found, top, bottom = report.content["best_of"], 0, 0
    for row in report.rows:
        sample = data.by_ids([row.id])[row.id]
        seen, truth = sample.visible, sample.amodal
        made = [NOTHING] if row.error else [seen, seen | Mask.from_box((0, 0, 64, 2))]
        best = max(made, key=lambda mask: mask.iou(truth))
        top, bottom = top + (best & truth).area, bottom + (best | truth).area
    assert found["iou_pooled"]["value"] == pytest.approx(top / bottom) != report["iou_pooled"]
    assert "best of 2 samples, by IoU with the truth" in str(report)
    for row in report.rows:
        if row.best_of is not None:
            row.best_of.counts = None  # as in rows of before
    old = amodal.Report.build(report.content["settings"], report.rows).content["best_of"]
    assert old["iou"] == found["iou"] and old["iou_pooled"]["value"] is None


def strip(path: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (path / "rows.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_resume_is_exact(data: amodal.Dataset, tmp_path: Path) -> None:
    model = amodal.load("hull")
    amodal.evaluate(model, data, output=tmp_path / "whole")
    for cut in (0, 10, 900, 2500):
        folder = tmp_path / f"cut{cut}"
        amodal.evaluate(model, data, output=folder)
        rows = folder / "rows.jsonl"
        rows.write_bytes(rows.read_bytes()[:cut])
        amodal.evaluate(model, data, output=folder)
        assert strip(folder) == strip(tmp_path / "whole")
    with pytest.raises(OutputError, match=r"differs in seed \(0, now 1\)"):
        amodal.evaluate(model, data, output=tmp_path / "whole", seed=1)


def test_kill_9_in_the_middle(tmp_path: Path) -> None:
    root = make_discs(tmp_path / "set", 6)
    folder = tmp_path / "run"
    arguments = [
        "evaluate",
        "--method",
        "hull",
        "--dataset",
        "folder",
        "--root",
        str(root),
        "-o",
        str(folder),
        "--resume",
    ]
    dies(5, *arguments)
    assert (folder / "rows.jsonl").read_bytes().count(b"\n") == 5
    assert command(arguments) == 0
    ids = [row["id"] for row in strip(folder)]
    assert ids == amodal.dataset("folder", root).ids()


def test_two_processes_give_the_same_rows(data: amodal.Dataset, tmp_path: Path) -> None:
    (data.root / "images" / "1.png").write_bytes(b"not a picture")
    base = ["evaluate", "--method", "hull", "--dataset", "folder", "--root", str(data.root), "--batch", "1"]
    assert command([*base, "-o", str(tmp_path / "one")]) == 3
    rows = (tmp_path / "one" / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "run.json").write_bytes((tmp_path / "one" / "run.json").read_bytes())
    (tmp_path / "two" / "rows.jsonl").write_bytes(rows[0])
    assert command([*base, "-o", str(tmp_path / "two"), "--workers", "2", "--resume"]) == 3
    assert strip(tmp_path / "two") == strip(tmp_path / "one")
    assert [row["error"] is None for row in strip(tmp_path / "one")] == [True, True, False, False, *[True] * 4]


def test_missing_images_stop_or_are_listed(data: amodal.Dataset, tmp_path: Path) -> None:
    (data.root / "images" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1 image\(s\) of folder are missing, the first is .*1\.png"):
        amodal.evaluate(amodal.load("visible"), data)
    where = ["--dataset", "folder", "--root", str(data.root), "--method", "hull"]
    assert command(["evaluate", *where, "-o", str(tmp_path / "run")]) == 3, "listed, the rest is done"
    assert command(["evaluate", *where, "-o", str(tmp_path / "strict"), "--strict"]) == 1
    lenient = amodal.dataset("folder", data.root, skip_bad=True)
    report = amodal.evaluate(amodal.load("visible"), lenient)
    assert report.content["failures"] == 2
    assert "1.png" in report.content["skipped"][0]


def test_compare_is_paired(data: amodal.Dataset, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("visible", "hull", "again")]
    for folder, method in zip(runs, ("visible", "hull", "hull"), strict=True):
        amodal.evaluate(amodal.load(method), data, output=folder)
    content = compare(runs)
    first, second = content["metrics"]["iou"]["differences"]
    assert first == second
    values = content["metrics"]["iou"]["values"]
    assert first["value"] == pytest.approx(values[1] - values[0])
    assert first["low"] <= first["value"] <= first["high"]
    same = compare(runs[1:])["metrics"]["iou"]["differences"][0]
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}
    with pytest.raises(DataError, match="at least two"):
        compare(runs[:1])
    with pytest.raises(DataError, match=r"cannot read .*run\.json"):
        compare([runs[0], tmp_path])


def test_command_line(data: amodal.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["evaluate", "--dataset", "folder", "--root", str(data.root)]
    for method in ("visible", "hull"):
        assert command([*base, "--method", method, "-o", str(tmp_path / method)]) == 0
    out, err = capsys.readouterr()
    assert "protocol: GT-V" in out and "visible" in out and "hull" in out
    assert "next: look at" in err
    assert command([*base, "--method", "hull", "-o", str(tmp_path / "hull"), "--seed", "1"]) == 1
    assert "--force begins anew" in capsys.readouterr().err
    for name in ("report.html", "notes.txt"):
        (tmp_path / name[:5]).mkdir()
        (tmp_path / name[:5] / name).write_text("mine")
        for more in ([], ["--force"]):
            assert command([*base, "--method", "hull", "-o", str(tmp_path / name[:5]), *more]) == 1
            assert f"holds other files ({name})" in capsys.readouterr().err
        assert (tmp_path / name[:5] / name).read_text() == "mine"
    assert command([*base, "--method", "hull", "-o", str(tmp_path / "hull")]) == 0, "its own report is replaced"
    capsys.readouterr()
    assert command(["compare", str(tmp_path / "visible"), str(tmp_path / "hull"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["objects"] == 8
    assert command([*base, "--method", "hull", "--ablate", "leak", "-o", str(tmp_path / "a")]) == 2
    assert "has no option 'leak' to take away; the ablation is that of tuning-free" in capsys.readouterr().err
    assert command([*base, "--method", "hull", "--predictions", "x", "-o", str(tmp_path / "a")]) == 2
    capsys.readouterr()


def test_report_keys_are_documented(data: amodal.Dataset) -> None:
    content = amodal.evaluate(amodal.load("visible"), data).content
    text = (Path(__file__).parents[2] / "docs" / "evaluate.md").read_text()
    undocumented = [key for key in content if f"`{key}`" not in text and key != "format"]
    assert not undocumented
    metrics_page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    assert not [key for key in content["metrics"] if f"`{key}`" not in metrics_page]


def test_every_reader_has_a_page() -> None:
    folder = Path(__file__).parents[2] / "docs" / "datasets"
    for name in registry.names("datasets"):
        assert f"--dataset {name} " in (folder / f"{name}.md").read_text()
        assert f"({name}.md)" in (folder / "README.md").read_text()


def test_results_page_is_what_the_reports_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from benchmarks.tables import main

    assert main(["--check"]) == 0, "run: python -m benchmarks.tables"


def test_ablation_variants_are_the_other_choices() -> None:
    options = registry.find("methods", "tuning-free").Options
    made = variants(["leak", "background", "area"], options)
    assert list(made)[:3] == ["full", "leak=0,1", "leak=0,0"]
    assert made["leak=0,1"].options == {"leak": (0.0, 1.0), "strength": 1.0}, "the start does not carry the condition"
    for part in ("background", "area"):
        choices = {change.options[part] for change in made.values() if part in change.options}
        assert choices and options().model_dump()[part] not in choices
    with pytest.raises(UsageError, match="no ablation named 'leek'; did you mean 'leak'"):
        variants(["leek"], options)


def test_ablation_runs(data: amodal.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tuning-free method itself, driven by the inpainter that needs no weights."""
    parts = ["--method", "tuning-free", "--inpainter", "classical", "--set", "steps=1", "--limit", "1"]
    where = ["--dataset", "folder", "--root", str(data.root), "-o", str(tmp_path / "table2")]
    assert command(["evaluate", *parts, *where, "--ablate", "leak"]) == 0
    told = capsys.readouterr().out
    assert "without leak -37.6" in told and "#2  leak-0-1 (tuning-free)" in told and "#2 - #1" in told
    content = json.loads((tmp_path / "table2" / "ablation.json").read_text())
    names = [run["folder"] for run in content["runs"]]
    assert names == ["full", "leak-0-1", "leak-0-0"]
    leaks = [
        json.loads((tmp_path / "table2" / name / "run.json").read_text())["method"]["options"]["leak"] for name in names
    ]
    assert leaks == [[0.3, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert all((tmp_path / "table2" / name / "report.html").is_file() for name in names)
    assert len(content["metrics"]["iou"]["differences"]) == 2
    assert command(["evaluate", *parts, *where, "--ablate", "leak", "--json"]) == 0, "it goes on by itself"
    assert json.loads(capsys.readouterr().out) == content
