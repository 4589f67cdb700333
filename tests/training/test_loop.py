"""The training loop on tiny real networks: exact resume after a kill, checkpoints that survive, schedules."""

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import pytest

from photo_sets import make_photos

torch = pytest.importorskip("torch")

from amodal.cli import run as amodal_command  # noqa: E402
from amodal.core.errors import AmodalError, DataError  # noqa: E402
from amodal.training import checkpoint  # noqa: E402
from amodal.training.loop import Trainer  # noqa: E402
from amodal.training.recipe import (  # noqa: E402
    OptimizerConfig,
    Recipe,
    RecipeError,
    read_recipe,
    recipe_of_run,
)
from amodal.training.schedule import Average, learning_rate  # noqa: E402
from amodal.training.start import read_weights  # noqa: E402
from amodal.training.tasks import open_task  # noqa: E402

SOURCE = Path(__file__).parents[2] / "src"
RECIPE = """
task = "embedded"
[run]
steps = 6
batch = 2
device = "cpu"
precision = "fp32"
threads = 1
workers = 0
log_every = 2
validate_every = 100000
checkpoint_every = 1
[optimizer]
warmup = 2
schedule = "trapezoid"
cooldown = 2
[network]
widths = [8, 16]
depths = [1, 1]
head = 8
[data]
sizes = [[0, 32], [3, 64]]
targets = {thing = 1.0, photo = 1.0}
[data.library]
photos = "PHOTOS"
backgrounds = "BACKGROUNDS"
invented = 4
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    root = make_photos(tmp_path_factory.mktemp("set"))
    path = root / "recipe.toml"
    text = RECIPE.replace("PHOTOS", str(root / "photos")).replace("BACKGROUNDS", str(root / "backgrounds"))
    path.write_text(text)
    return path


@pytest.fixture
def recipe(path) -> Recipe:
    return read_recipe(path)


def fresh(recipe: Recipe, folder: Path, monkeypatch=None) -> Trainer:
    task = open_task(recipe)
    task.validate = lambda network, device: ({}, None)  # the fixed sets are not there in tests
    return Trainer(recipe, task, folder)


def state(folder: Path) -> dict:
    return checkpoint.load(folder)


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_run_knows_its_recipe(recipe, tmp_path, capsys):
    fresh(recipe, tmp_path / "run").train()
    assert recipe_of_run(tmp_path / "run") == recipe
    assert recipe_of_run(tmp_path / "run", ["run.steps=8"]) == replace(recipe, run=replace(recipe.run, steps=8))
    with pytest.raises(RecipeError, match="no run in"):
        recipe_of_run(tmp_path)
    assert amodal_command(["train", "--resume", str(tmp_path)]) == 2 and "no run in" in capsys.readouterr().err
    assert amodal_command(["train", "-o", str(tmp_path / "new")]) == 2 and "needs a recipe" in capsys.readouterr().err


def test_resumed_run_equals_an_unbroken_one(recipe, tmp_path):
    fresh(recipe, tmp_path / "whole").train()
    short = replace(recipe, run=replace(recipe.run, steps=3))
    # The trapezoid of the long run has not begun to fall by step 3, so only the number of steps differs.
    short = replace(short, optimizer=replace(recipe.optimizer, cooldown=0))
    fresh(short, tmp_path / "broken").train()
    again = fresh(recipe, tmp_path / "broken")
    again.resume()
    assert again.step == 3
    again.train()
    whole, broken = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole["step"] == broken["step"] == 6
    for part in ("network", "average", "optimizer", "rng"):
        assert same(whole[part], broken[part]), part
    assert open_task(recipe).validate(again.average.network, again.device) == ({}, None)  # no fixed set is named
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert rows[0].startswith("step,samples_per_second,lr,loss")
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "4", "6"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at the import of its compiler
def test_compiled_network_learns_the_same(compiler, recipe, tmp_path):
    """And where nothing can compile, the error says what to do."""
    from torch._inductor import config

    small = {"widths": [8], "depths": [1], "head": 8}
    short = replace(recipe, run=replace(recipe.run, steps=2), network=small)
    compiled = replace(short, run=replace(short.run, compile=True))
    for name, one in (("plain", short), ("compiled", compiled)):
        fresh(one, tmp_path / name).train()
    assert compiler["stats"]["unique_graphs"] == 1 and not compiler["graph_break"]
    plain, other = state(tmp_path / "plain")["network"], state(tmp_path / "compiled")["network"]
    assert plain.keys() == other.keys()
    assert max(float((plain[k] - other[k]).abs().max()) for k in plain if plain[k].is_floating_point()) < 1e-3
    torch._dynamo.reset()
    unreachable = config.patch({"cpp.cxx": ("/nowhere/g++",)})
    with unreachable, pytest.raises(RecipeError, match="cannot be compiled here .* run.compile=false"):
        fresh(compiled, tmp_path / "none").train()


TRAIN = """
import itertools, json, multiprocessing, os, signal, sys
from pathlib import Path
from amodal.training.loop import Trainer
from amodal.training.recipe import read_recipe
from amodal.training.tasks import open_task

def train(folder, steps, dies):
    recipe = read_recipe(Path(sys.argv[1]), [f"run.steps={steps}", "optimizer.cooldown=0"])
    task = open_task(recipe)
    task.validate = lambda *_: ({}, None)  # there is no set to validate on
    loss, passes = task.loss, itertools.count(1)

    def dying(*given):
        if next(passes) == dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(*given)

    task.loss = dying
    trainer = Trainer(recipe, task, Path(folder))
    if (Path(folder) / "checkpoint.pt").exists():
        trainer.resume()
        print("from", trainer.step, flush=True)
    trainer.train()

for run in json.loads(sys.argv[2]):
    process = multiprocessing.get_context("fork").Process(target=train, args=run)
    process.start()
    process.join()
    print("ends", process.exitcode, flush=True)
"""


def test_killed_run_goes_on_exactly(path, tmp_path):
    """Each run in a process of its own, as users have it: what other tests leave behind in this one changes sums."""
    run, whole = tmp_path / "killed", tmp_path / "unbroken"
    runs = [(str(run), 9, 4), (str(run), 5, 0), (str(whole), 5, 0)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", TRAIN, str(path), json.dumps(runs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n") == [f"ends {-signal.SIGKILL}", "from 3", "ends 0", "ends 0", ""], done.stderr
    assert state(run)["step"] == state(whole)["step"] == 5
    assert same(state(run)["network"], state(whole)["network"])
    assert same(state(run)["average"], state(whole)["average"])


KILLED = """
import multiprocessing, os, random, signal, sys
from pathlib import Path
from amodal.training.loop import Trainer
from amodal.training.recipe import read_recipe
from amodal.training.run_folder import RunFolder
from amodal.training.tasks import open_task

def train(folder):
    recipe = read_recipe(Path(sys.argv[1]), ["run.steps=12", "optimizer.cooldown=0"])
    task = open_task(recipe)
    task.validate = lambda *_: ({}, None)  # there is no set to validate on
    with RunFolder(folder, recipe) as run:
        trainer = Trainer(recipe, task, folder)
        if run.begun:
            trainer.resume()
        trainer.train()

root, wanted, dice, kills, number = Path(sys.argv[2]), int(sys.argv[3]), random.Random(3), 0, 0
while kills < wanted or number < 2:
    process = multiprocessing.get_context("fork").Process(target=train, args=(root / str(number),))
    process.start()
    process.join(dice.uniform(0.02, 1.5) if number and kills < wanted else None)
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += 1
    else:
        assert process.exitcode == 0
        number += 1
print(kills, number)
"""


@pytest.mark.slow
def test_twenty_kills_at_random_moments(path, tmp_path):
    """The first run is never killed; all others end as it did."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    wanted = os.environ.get("AMODAL_KILLS", "20")
    command = [sys.executable, "-c", KILLED, str(path), str(tmp_path), wanted]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    kills, runs = map(int, done.stdout.split())
    assert kills >= int(wanted) and runs >= 2, done.stderr
    whole = state(tmp_path / "0")
    for number in range(1, runs):
        other = state(tmp_path / str(number))
        assert (
            other["step"] == 12
            and same(other["network"], whole["network"])
            and same(other["average"], whole["average"])
        )
        assert not [file for file in (tmp_path / str(number)).iterdir() if ".checkpoint" in file.name]


def test_no_pool_of_threads_is_open_when_data_processes_fork(recipe, tmp_path, monkeypatch):
    """They would wait for ever for threads that the fork left behind."""
    trainer = fresh(recipe, tmp_path)
    source, threads = trainer.task.source, []

    def noting(seed: int, batch: int):
        threads.append(cv2.getNumThreads())
        return source(seed, batch)

    monkeypatch.setattr(trainer.task, "source", noting)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        trainer.train()
    finally:
        cv2.setNumThreads(before)
    assert threads == [1]


def test_absent_data_are_told_in_one_line(path, tmp_path):
    """Also where a data process finds it out."""
    settings = [f"data.library.photos={tmp_path / 'nowhere'}", "run.workers=1"]
    command = [sys.executable, "-m", "amodal", "train", path, "-o", tmp_path / "run"]
    command += [word for setting in settings for word in ("--set", setting)]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr == f"amodal: cannot read {tmp_path / 'nowhere' / 'index.json'}: No such file or directory\n"


def test_absent_fixed_sets_are_told_before_the_first_step(recipe, tmp_path):
    gone = tmp_path / "nowhere"
    told = replace(recipe, data={**recipe.data, "validation": str(gone)})
    trainer = fresh(told, tmp_path / "run")
    with pytest.raises(DataError, match="nowhere/composites_dev/rows.json"):
        trainer.train()
    assert trainer.step == 0 and not (tmp_path / "run" / "log.csv").exists()
    (gone / "composites_dev").mkdir(parents=True)
    (gone / "composites_dev" / "rows.json").write_text("[]")
    with pytest.raises(DataError, match="rows.json lists no object; there is nothing to validate on"):
        fresh(told, tmp_path / "run").train()


def test_checkpoint_of_another_network(recipe, tmp_path):
    fresh(replace(recipe, run=replace(recipe.run, steps=1)), tmp_path / "run").train()
    other = fresh(replace(recipe, network={**recipe.network, "head": 16}), tmp_path / "run")
    with pytest.raises(checkpoint.CheckpointError, match="another network: .* of another shape .head.0.weight"):
        other.resume()
    with pytest.raises(checkpoint.CheckpointError, match="no checkpoint in"):
        fresh(recipe, tmp_path / "new").resume()
    torch.save({**state(tmp_path / "run"), "step": "three", "rng": None}, tmp_path / "run" / checkpoint.NAME)
    with pytest.raises(checkpoint.CheckpointError, match="is not of this run, or damaged"):
        fresh(recipe, tmp_path / "run").resume()
    (tmp_path / "run" / checkpoint.NAME).write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(checkpoint.CheckpointError, match="cannot read the checkpoint"):
        checkpoint.load(tmp_path / "run")


def test_crops_grow_at_a_step_however_many_passes_it_has(recipe):
    """`data.sizes` = [[0, 32], [3, 64]] with two batches a step: the seventh batch is the first of step 3."""
    twice = replace(recipe, run=replace(recipe.run, accumulate=2))
    source = open_task(twice).source(0, 1)
    assert [source[number][0].shape[1] for number in (0, 5, 6)] == [32, 32, 64]


def test_no_room_keeps_the_last_checkpoint(tmp_path):
    checkpoint.save(tmp_path, {"step": 1, "weights": torch.zeros(10)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(checkpoint.CheckpointError, match="File too large.*last good one is kept"):
            checkpoint.save(tmp_path, {"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.load(tmp_path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [checkpoint.NAME]


def test_schedules():
    trapezoid = OptimizerConfig(lr=1.0, warmup=10, schedule="trapezoid", cooldown=20)
    rates = [learning_rate(trapezoid, s, 100) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == rates[79] == 1.0
    assert all(a > b for a, b in pairwise(rates[80:]))
    assert 0 < rates[99] < 0.05
    cosine = OptimizerConfig(lr=1.0, warmup=10)
    assert learning_rate(cosine, 10, 110) == 1.0
    assert learning_rate(cosine, 60, 110) == pytest.approx(0.5)


def test_average_follows():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    average = Average(network, 0.5)
    with torch.no_grad():
        network[0].weight.fill_(4.0)
    before = average.network[0].weight.clone()
    average.update(network, 1000)
    assert torch.allclose(average.network[0].weight, (before + 4.0) / 2)
    warm = Average(network, 0.9999, plain=("1.",))
    with torch.no_grad():
        network[0].weight.fill_(15.0)
        network[1].weight.fill_(7.0)
    warm.update(network, 1)
    assert torch.allclose(warm.network[0].weight, torch.tensor(13.0)), (
        "2 / 11 of the old weight stay at the first update"
    )
    assert torch.equal(warm.network[1].weight, network[1].weight), "what is not averaged follows at once"


def test_unknown_task(recipe):
    with pytest.raises(RecipeError, match="did you mean 'occamodal'"):
        open_task(replace(recipe, task="occamodel"))


def test_weights_of_several_runs_are_averaged(tmp_path):
    from safetensors.torch import save_file

    def network():
        return torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))

    runs = [network() for _ in range(3)]
    runs[2][1](torch.randn(4, 3, 2, 2))
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for path, one in zip(paths, runs, strict=True):
        save_file(one.state_dict(), path)
    mean = network()
    with pytest.raises(checkpoint.CheckpointError, match=r"give the weights\.safetensors beside it"):
        read_weights(mean, tmp_path / "checkpoint.pt")
    read_weights(mean, *paths)
    assert torch.allclose(mean[0].weight, sum(one[0].weight for one in runs) / 3)
    assert torch.allclose(mean[1].running_var, sum(one[1].running_var for one in runs) / 3)
    read_weights(mean, paths[1])
    assert torch.equal(mean[0].weight, runs[1][0].weight)
    save_file(torch.nn.Conv2d(2, 3, 1).state_dict(), paths[1])
    with pytest.raises(AmodalError, match=r"1\.safetensors"):
        read_weights(mean, *paths)
    with pytest.raises(AmodalError, match="does not exist"):
        read_weights(mean, paths[0], tmp_path / "none.safetensors")
