"""Several methods and data sets: one table, pictures side by side, options of one of several, runs that fail."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.cli import run as command
from amodal.core.errors import DataError, OutputError, UsageError
from amodal.core.image import encode_png, read
from amodal.evaluation.compare import compare
from amodal.evaluation.matrix import check_place, latex, matrix, matrix_rows, read_runs, write_table
from amodal.evaluation.pictures import LINE, TILE, choose_cases
from disc_sets import SIZE


@pytest.fixture
def second(data: amodal.Dataset, tmp_path: Path) -> Path:
    """The same objects in the layout of `masks`, without the first."""
    for sample in list(data)[1:]:
        for part, content in (
            ("images", sample.image),
            ("visible", sample.visible.to_array(SIZE)),
            ("amodal", sample.amodal.to_array(SIZE)),
        ):
            (tmp_path / "masks" / part).mkdir(parents=True, exist_ok=True)
            (tmp_path / "masks" / part / f"{sample.id.replace('/', '_')}.png").write_bytes(encode_png(content))
    return tmp_path / "masks"


def test_one_table_and_pictures(
    data: amodal.Dataset, second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--dataset", "folder", "--root", str(data.root), "--dataset", "masks", "--root", str(second)]
    runs = tmp_path / "runs"
    assert command(["evaluate", *where, "--method", "visible", "--method", "hull", "-o", str(runs)]) == 0
    assert "average" in capsys.readouterr().out
    table = list(csv.reader((runs / "table.csv").read_text().splitlines()))
    content = json.loads((runs / "table.json").read_text())
    assert table == matrix_rows(content) and [row[0] for row in table] == ["iou", "visible", "hull"]
    assert content["sets"] == {"folder": 8, "masks": 7}
    for line, method in zip(table[1:], ("visible", "hull"), strict=True):
        own = [amodal.evaluate(amodal.load(method), each)["iou"] for each in (data, amodal.dataset("masks", second))]
        assert line[1:4] == [f"{100 * value:.1f}" for value in (*own, np.mean(own))]
        below = [s.visible.iou(s.amodal) for s in data if s.occlusion_rate < 0.5]
        if method == "visible":
            assert line[4] == f"{100 * np.mean(below):.1f}"
    assert (
        r"\begin{tabular}{lrrrrrr}" in (runs / "table.tex").read_text() and "$<$ 50" in (runs / "table.tex").read_text()
    )
    assert (runs / "table.md").read_text().count("|") > 10
    again = shutil.copytree(runs, tmp_path / "again")
    both = matrix([runs, again, runs / "." / "folder" / "hull"])
    assert both["methods"] == ["hull (runs)", "visible (runs)", "hull (again)", "visible (again)"], (
        "no run stands for another"
    )
    assert all(both["values"]["iou"]["all"]["hull (again)"].get(name) for name in ("folder", "masks", "average"))
    pair = compare([runs / "folder" / "hull", again / "folder" / "hull"])
    assert [each["folder"] for each in pair["runs"]] == ["runs", "again"]

    page, picture = tmp_path / "page.html", tmp_path / "figure.png"
    roots = ["--root", str(data.root), "--root", str(second)]
    shown = ["compare", str(runs), "--html", str(page), "--png", str(picture), "--cases", "1"]
    assert command([*shown, *roots]) == 0
    assert page.read_text().count("data:image/jpeg;base64,") == 7, "four kinds; the second set has three"
    assert read(picture).shape[0] >= 7 * (LINE + TILE) + LINE, "the columns are named once, above all rows"
    assert command([*shown[:2], "--html", str(tmp_path / "turned.html"), "--cases", "1", *roots[2:], *roots[:2]]) == 0
    assert (tmp_path / "turned.html").read_text() == page.read_text(), "a folder is taken for the set that it holds"
    assert command([*shown, *roots]) == 1, "exists already"
    for option, name in (("--png", "figure.jpg"), ("--table", "t.xlsx"), ("--html", "page.png"), ("-o", "all.txt")):
        capsys.readouterr()
        assert command(["compare", str(runs), option, str(tmp_path / name), *roots]) == 2
        assert "is to be written as ." in capsys.readouterr().err and not (tmp_path / name).exists()
    assert command([*shown, "--force"]) == 2
    assert "give --root for folder, then masks" in capsys.readouterr().err


def test_one_reader_reads_two_folders(second: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its own runs and its own column; the same folder twice is refused."""
    (tmp_path / "more").mkdir()
    other = Path(shutil.copytree(second, tmp_path / "more" / "masks"))
    for part in ("images", "visible", "amodal"):
        for file in sorted((other / part).iterdir())[2:]:
            file.unlink()
    both = ["evaluate", "--dataset", "masks", "--root", str(second), "--dataset", "masks", "--root", str(other)]
    runs = tmp_path / "runs"
    assert command([*both, "--method", "visible", "-o", str(runs)]) == 0
    capsys.readouterr()
    names = (f"{tmp_path.name}-masks", "more-masks")
    content = json.loads((runs / "table.json").read_text())
    assert content["sets"] == {f"masks {names[0]}": 7, f"masks {names[1]}": 2} == matrix([runs])["sets"]
    found = [read_runs([runs / f"masks-{name}"])[0].settings["data"]["objects"] for name in names]
    assert found == [7, 2]
    assert command([*both[:-1], f"{second}/../masks", "-o", str(tmp_path / "twice")]) == 2
    assert "folder is given twice" in capsys.readouterr().err


def test_cases_are_what_they_say(data: amodal.Dataset, tmp_path: Path) -> None:
    for method in ("visible", "hull"):
        amodal.evaluate(amodal.load(method), data, output=tmp_path / method)
    cases = choose_cases(read_runs([tmp_path / "visible", tmp_path / "hull"]), data, 1)
    assert [case.kind for case in cases] == ["best", "worst", "different", "random"]
    assert len({case.sample.id for case in cases}) == 4 and all(case.sample.occluded for case in cases)
    spread = {case.kind: abs(case.rows[0].iou - case.rows[1].iou) for case in cases}
    assert spread["different"] == max(spread.values())
    for case in cases:
        photo = case.panels()[0][1]
        assert photo.std() > 0 and not (photo == 255).all(axis=(1, 2)).any(), (
            "a window within the photo shows no white beside it"
        )
    titles = [title for title, _ in cases[0].panels()]
    assert titles[0] == "photo" and titles[1] == "visible" and titles[-1] == "truth"
    assert titles[2].startswith("visible: ") and titles[3].startswith("hull: ")


def test_wrong_use_and_runs_that_fail(data: amodal.Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["evaluate", "--dataset", "folder", "--root", str(data.root), "-o", str(tmp_path / "runs"), "--limit", "2"]
    assert command([*base, "--root", "x"]) == 2
    assert "one --root for each --dataset" in capsys.readouterr().err
    assert command([*base, "--method", "hull", "--method", "visible", "--ablate", "leak"]) == 2
    assert command([*base, "--method", "hull", "--method", "deocclusion"]) == 3, (
        "one lacks its weights, the other is done"
    )
    assert "failed: deocclusion needs its weights" in capsys.readouterr().err
    assert [run.method for run in read_runs([tmp_path / "runs"])] == ["hull"]
    check_place(tmp_path / "runs", ["table.json", "table.csv"], False)  # its own
    (tmp_path / "other").mkdir()
    for name, overwrite, text in (("table.csv", False, "exists already"), ("notes.txt", True, "holds other files")):
        (tmp_path / "other" / name).write_text("mine")
        with pytest.raises(OutputError, match=text):
            check_place(tmp_path / "other", ["table.json", "table.csv"], overwrite)
    own = ["--method", "tuning-free", "--inpainter", "classical", "--set", "tuning-free.steps=1", "--method", "hull"]
    assert command([*base, *own, "--force", "--set", "hull.steps=1"]) == 3
    assert "no option named 'steps'" in capsys.readouterr().err
    with pytest.raises(DataError, match="the folder of a run"):
        matrix([tmp_path / "nothing"])
    rows = matrix_rows(matrix([tmp_path / "runs"]))
    with pytest.raises(UsageError, match=r"\.md, \.csv, \.tex"):
        write_table(rows, tmp_path / "table.xls")
    assert latex([["a_b", "50 %"], ["c", "1"]]).splitlines()[1] == r"a\_b & 50 \% \\"
