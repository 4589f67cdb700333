"""A run's folder keeps the one rule: the same recipe goes on, another is refused, `--force` begins anew."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from amodal import cli  # noqa: E402
from amodal.engine import store  # noqa: E402
from amodal.runtime import devices  # noqa: E402
from amodal.training import checkpoint, tasks  # noqa: E402
from amodal.training.recipe import read_recipe  # noqa: E402
from amodal.training.run_folder import RunFolder, cut_table  # noqa: E402
from photo_sets import make_photos  # noqa: E402
from training.test_loop import RECIPE, same  # noqa: E402


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    root = make_photos(tmp_path / "set")
    path = root / "recipe.toml"
    text = RECIPE.replace("PHOTOS", str(root / "photos")).replace("BACKGROUNDS", str(root / "backgrounds"))
    path.write_text(text.replace("cooldown = 2", "cooldown = 0"))
    open_task = tasks.open_task

    def without_fixed_sets(recipe):
        task = open_task(recipe)
        task.validate = lambda network, device: ({}, None)
        return task

    monkeypatch.setattr(tasks, "open_task", without_fixed_sets)
    return path


def train(path: Path, run: Path, *more: str) -> int:
    return cli.run(["train", str(path), "-o", str(run), *more])


def steps(run: Path) -> list[str]:
    return [line.split(",")[0] for line in (run / "log.csv").read_text().splitlines()[1:]]


def test_the_one_rule(path, tmp_path, capsys):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(path, whole) == 0 and steps(whole) == ["2", "4", "6"]
    # 1. Shorter, then longer: other settings are refused in one line, --resume takes them.
    assert train(path, run, "--set", "run.steps=4") == 0
    capsys.readouterr()
    assert train(path, run) == 1
    told = capsys.readouterr().err
    assert "differs in run.steps (4, now 6)" in told and "--force begins anew" in told and told.count("\n") == 1
    assert cli.run(["train", "--resume", str(run), "--force"]) == 2
    assert cli.run(["train", "--resume", str(run), "--set", "run.steps=6"]) == 0
    assert "4 of 6 steps are done already; going on" in capsys.readouterr().err
    assert same(checkpoint.load(run)["network"], checkpoint.load(whole)["network"]) and steps(run) == steps(whole)
    # 2. The same command goes on by itself, to the end if it was there; how often it logs does not matter.
    before = (run / "checkpoint.pt").read_bytes()
    assert train(path, run, "--set", "run.log_every=1") == 0 and (run / "checkpoint.pt").read_bytes() == before
    # 3. Anew: what is there is deleted, but never under another process.
    assert train(path, run, "--set", "optimizer.lr=0.002", "--force") == 0
    assert steps(run) == ["2", "4", "6"] and json.loads((run / "recipe.json").read_text())["optimizer"]["lr"] == 0.002
    assert not same(checkpoint.load(run)["network"], checkpoint.load(whole)["network"])


def test_one_process_at_a_time(path, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    assert train(path, run, "--set", "run.steps=2") == 0
    monkeypatch.setattr(store, "LOCK_WAIT", 0.1)
    before = (run / "checkpoint.pt").read_bytes()
    with RunFolder(run, read_recipe(path, ["run.steps=2"])):
        capsys.readouterr()
        for more in ([], ["--force"]):
            assert train(path, run, "--set", "run.steps=2", *more) == 1
            assert "another process is writing" in capsys.readouterr().err
        assert cli.run(["train", "--resume", str(run)]) == 1
    assert (run / "checkpoint.pt").read_bytes() == before


def test_what_a_kill_leaves_is_cleaned(path, tmp_path):
    run = tmp_path / "run"
    assert train(path, run, "--set", "run.steps=4") == 0
    for name in (".checkpoint.pt.abcd.part", ".weights.safetensors.part"):
        (run / name).write_bytes(b"half")
    with (run / "log.csv").open("a") as file:
        file.write("6,1.0,0.001,0.5\r\n8,1.")
    assert cli.run(["train", "--resume", str(run), "--set", "run.steps=6"]) == 0
    assert steps(run) == ["2", "4", "6"] and not list(run.glob(".*.part"))


def test_a_start_that_failed_binds_nobody(path, tmp_path, capsys):
    """Before the first step nothing is there that another recipe could spoil."""
    run = tmp_path / "run"
    assert train(path, run, "--set", f"data.library.photos={tmp_path}/nowhere") == 1
    assert train(path, run, "--set", "run.steps=2") == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "log.csv").write_text("somebody else's\n")
    assert train(path, tmp_path / "other") == 1 and "holds other files (log.csv)" in capsys.readouterr().err


def test_tables_are_cut_at_a_step(tmp_path):
    table = tmp_path / "log.csv"
    table.write_bytes(b"step,loss\r\n2,0.5\r\n4,0.4\r\n6,0.3\r\n7")
    cut_table(table, 4)
    assert table.read_bytes() == b"step,loss\r\n2,0.5\r\n4,0.4\r\n"
    cut_table(tmp_path / "absent.csv", 4)


def test_a_processor_that_emulates_bf16_is_told(path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(devices, "emulates_bf16", lambda device: True)
    told = "--set run.precision=fp32 trains several times faster"
    assert train(path, tmp_path / "slow", "--set", "run.steps=1", "--set", "run.precision=bf16") == 0
    assert told in capsys.readouterr().err
    assert train(path, tmp_path / "fast", "--set", "run.steps=1", "--set", "run.precision=fp32") == 0
    assert told not in capsys.readouterr().err
