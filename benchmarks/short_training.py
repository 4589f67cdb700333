"""`python -m benchmarks.short_training --data DIR -o RUNS`: OccAmodal beside the single-stage network, trained as long.

Both learn from the same composites for about 20 minutes of one CPU core each, one after the other, and complete
the fixed development composites. A stopped run goes on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import amodal
from amodal.core.config import read_sections, section
from amodal.core.files import write_json
from amodal.evaluation.report import Report
from amodal.synthesis.composites.fixed import CompositesConfig, build
from amodal.training.loop import Trainer
from amodal.training.recipe import Recipe, read_recipe
from amodal.training.run_folder import RunFolder
from amodal.training.tasks import open_task

from .measure import machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "training"
METHODS = {"occamodal": "short-occamodal", "deocclusion-single": "short-single"}
"""Method to recipe."""


def composites(data: Path, folder: Path, settings: list[str]) -> None:
    """The training composites, of the training photographs alone."""
    where = {"photos": "photos", "backgrounds": "backgrounds/train", "visible": "coco_visible"}
    given = [f"library.{key}={data / name}" for key, name in where.items()]
    config = section(
        read_sections(ROOT / "examples/composites.toml", [*given, *settings]), CompositesConfig, "composites"
    )
    build(config, folder)


def train(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Train to the end, from where the run was left; CPU seconds of a step times steps where it was."""
    with RunFolder(folder, recipe) as run:
        trainer = Trainer(recipe, open_task(recipe), folder)
        if run.begun:
            trainer.resume()
        first, start = trainer.step, time.process_time()
        trainer.train()
    made = trainer.step - first
    known = folder / "cpu_seconds_per_step.txt"
    if made:
        known.write_text(f"{(time.process_time() - start) / made}")
    return {
        "steps": trainer.step,
        "batch": recipe.run.batch,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "cpu_minutes": round(trainer.step * float(known.read_text()) / 60, 1),
    }


def score(method: str, folder: Path, size: int, data: Path) -> dict[str, Any]:
    """The run on the development composites, true visible masks given."""
    options = {"weights": str(folder / "weights.safetensors"), "input_size": size}
    made: Report = amodal.evaluate(amodal.load(method, options=options, device="cpu"), amodal.dataset("masks", data))
    return {name: made[name] for name in ("iou", "iou_pooled", "iou_occluded", "iou_occluded_pooled", "boundary_f")}


def main(arguments: list[str]) -> int:
    """Build, train, evaluate, and write `results/training/short.json` and the log of each run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.short_training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the development data")
    parser.add_argument("-o", "--output", type=Path, required=True, help="where composites and runs go")
    parser.add_argument("--set", action="append", default=[], help="of both recipes: SECTION.KEY=VALUE")
    parser.add_argument("--composites", action="append", default=[], help="of examples/composites.toml: KEY=VALUE")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    folder = given.output / "composites"
    composites(given.data, folder, given.composites)
    found: dict[str, Any] = {}
    for method, name in METHODS.items():
        where = f'data.sets=[{{name="folder",root="{folder}"}}]'
        recipe = read_recipe(ROOT / "recipes" / f"{name}.toml", [where, *given.set])
        run = given.output / name
        found[method] = {"recipe": f"recipes/{name}.toml", **train(recipe, run)}
        found[method] |= score(method, run, int(recipe.data["size"]), given.data / "composites_dev")
        (given.results / f"{name}.csv").write_bytes((run / "log.csv").read_bytes())
        print(method, found[method], flush=True)
    command = " ".join(
        ["python -m benchmarks.short_training --data DIR -o RUNS", *(f"--set {one}" for one in given.set)]
    )
    content = {"command": command, "set": "composites_dev", "machine": machine(), "methods": found}
    write_json(given.results / "short.json", content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
