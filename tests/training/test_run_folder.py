"""A run's folder keeps the one rule: the same recipe goes on, another is refused, `--force` begins anew."""

import json
import resource
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from amodal import cli  # noqa: E402
from amodal.engine import store  # noqa: E402
from amodal.runtime import devices  # noqa: E402
from amodal.training import checkpoint, tasks  # noqa: E402
from amodal.training.loop import Trainer  # noqa: E402
from amodal.training.recipe import read_recipe  # noqa: E402
from amodal.training.run_folder import RunFolder, append_row, cut_table, last_step  # noqa: E402
from amodal.weights import load_tensors  # noqa: E402
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


def test_what_a_kill_after_the_last_checkpoint_left_undone_is_made_up(path, tmp_path):
    """The checkpoint is written first; weights and validation of its step may be missing, or be of an earlier one."""
    run = tmp_path / "run"
    assert train(path, run) == 0
    weights, validated = (run / "weights.safetensors").read_bytes(), (run / "validation.csv").read_bytes()
    tensors = load_tensors(run / "weights.safetensors")
    assert (run / "weights.safetensors").stat().st_mode == (run / "checkpoint.pt").stat().st_mode
    for earlier in (None, weights.replace(b'"step":"6"', b'"step":"4"'), b"cut short"):
        (run / "validation.csv").unlink()
        (run / "weights.safetensors").unlink()
        if earlier is not None:
            (run / "weights.safetensors").write_bytes(earlier)
        assert train(path, run) == 0
        assert same(load_tensors(run / "weights.safetensors"), tensors) and checkpoint.weights_step(run) == 6
        assert (run / "validation.csv").read_bytes() == validated
    times = [(run / name).stat().st_mtime_ns for name in ("weights.safetensors", "validation.csv")]
    assert train(path, run) == 0  # nothing is missing, nothing is done
    assert times == [(run / name).stat().st_mtime_ns for name in ("weights.safetensors", "validation.csv")]


def test_a_resumed_run_takes_the_settings_of_the_optimizer(path, tmp_path):
    run = tmp_path / "run"
    assert train(path, run, "--set", "run.steps=4") == 0
    settings = ("run.steps=6", "optimizer.weight_decay=0.5", "optimizer.betas=[0.5, 0.6]")
    assert cli.run(["train", "--resume", str(run), *(word for each in settings for word in ("--set", each))]) == 0
    groups = checkpoint.load(run)["optimizer"]["param_groups"]
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.5]
    assert all(tuple(group["betas"]) == (0.5, 0.6) for group in groups)


def test_a_run_starts_from_weights_that_it_needs_once(path, tmp_path, capsys):
    first, run = tmp_path / "first", tmp_path / "run"
    assert train(path, first, "--set", "run.steps=2") == 0
    weights = first / "weights.safetensors"
    start = ("--set", f"run.init_from={weights}")
    recipe = read_recipe(path, [start[1]])
    trainer = Trainer(recipe, tasks.open_task(recipe), tmp_path / "new")
    assert same(dict(trainer.network.state_dict()), load_tensors(weights))
    assert train(path, run, *start, "--set", "run.steps=2") == 0
    weights.unlink()
    assert cli.run(["train", "--resume", str(run), "--set", "run.steps=4"]) == 0 and steps(run) == ["2", "4"]
    assert train(path, tmp_path / "other", *start) == 1 and "does not exist" in capsys.readouterr().err


def test_a_resumption_that_fails_changes_nothing(path, tmp_path, capsys):
    """A network that does not fit, data that are not there, fewer steps than were made: the run keeps its recipe."""
    run, four = tmp_path / "run", ("--set", "run.steps=4")
    assert train(path, run, *four) == 0
    wrong = {
        "network.widths=[4, 8]": "holds another network",
        "data.library.photos=nowhere": "nowhere",
        "run.steps=3": "has made 4 steps, and run.steps = 3",
    }
    for setting, told in wrong.items():
        longer = [] if "steps" in setting else ["--set", "run.steps=5"]
        assert cli.run(["train", "--resume", str(run), *longer, "--set", setting]) != 0
        assert told in capsys.readouterr().err
        assert train(path, run, *four) == 0, "the command that began it goes on"
    (run / "checkpoint.pt").unlink()
    assert cli.run(["train", "--resume", str(run)]) == 1
    assert "stopped before its first one; begin it again by its recipe" in capsys.readouterr().err


def test_a_resumed_run_logs_what_an_unbroken_one_does(path, tmp_path):
    """Stopped between two lines of the table: the next line is the mean over all its steps; TensorBoard has no step twice."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from torch.utils.tensorboard import SummaryWriter

    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(path, whole) == 0
    trained = read_recipe(path, ["run.log_every=2"])
    with RunFolder(run, trained) as folder:
        trainer = Trainer(trained, tasks.open_task(trained), folder.folder)
        save = trainer.save

        def stop() -> None:
            save()
            if trainer.step == 5:
                trainer.writer.close()
                raise KeyboardInterrupt

        trainer.save = stop
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        trainer.writer = SummaryWriter(str(run / "tensorboard"))
        trainer.writer.add_scalar("train/loss", 0.0, 6)  # of a step that was made after the last checkpoint
        trainer.writer.close()
    assert train(path, run) == 0
    tables = [[row.split(",") for row in (each / "log.csv").read_text().splitlines()] for each in (whole, run)]
    told = [[row[:1] + row[2:] for row in table] for table in tables]  # all but the speed
    assert told[0] == told[1] and len(told[0]) == 4
    found = events.EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    assert [each.step for each in found.Scalars("train/loss")] == [2, 4, 6] and found.Scalars("train/loss")[
        -1
    ].value > 0


def test_no_room_for_the_weights_is_one_line(tmp_path):
    checkpoint.save_weights(tmp_path, {"a": torch.zeros(10)}, {"step": "3"})
    assert checkpoint.weights_step(tmp_path) == 3
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(checkpoint.CheckpointError, match="no weights could be written"):
            checkpoint.save_weights(tmp_path, {"a": torch.zeros(100_000)}, {"step": "4"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.weights_step(tmp_path) == 3 and [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


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


def test_tables_take_new_columns(tmp_path):
    """Another validation set may know more or fewer numbers."""
    table = tmp_path / "validation.csv"
    assert last_step(table) == -1
    for row in ({"step": 2, "iou": 0.5}, {"step": 4, "iou": 0.4, "occluded_iou": 0.1}, {"step": 6, "iou": 0.3}):
        append_row(table, row)
    assert table.read_bytes() == b"step,iou,occluded_iou\r\n2,0.5,\r\n4,0.4,0.1\r\n6,0.3,\r\n"
    assert last_step(table) == 6


def test_a_processor_that_emulates_bf16_is_told(path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(devices, "emulates_bf16", lambda device: True)
    told = "--set run.precision=fp32 trains several times faster"
    assert train(path, tmp_path / "slow", "--set", "run.steps=1", "--set", "run.precision=bf16") == 0
    assert told in capsys.readouterr().err
    assert train(path, tmp_path / "fast", "--set", "run.steps=1", "--set", "run.precision=fp32") == 0
    assert told not in capsys.readouterr().err
