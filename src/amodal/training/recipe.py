"""Recipes: a TOML file that says everything about a training run, checked before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..core.config import Batch, Count, Natural, Processes, Share, Weight, config, overlaid, read_sections, section
from ..core.errors import OptionError, nearest
from ..core.files import read_json

__all__ = ["OptimizerConfig", "Recipe", "RecipeError", "RunConfig", "parse_recipe", "read_recipe", "recipe_of_run"]

RECORD = "recipe.json"
"""The recipe in a run's folder."""


@config
class RunConfig:
    """How long, how often and on what.

    Attributes:
        steps: Optimizer steps of the whole run.
        batch: Samples of one pass.
        accumulate: Passes whose gradients are averaged into one step; the effective batch is batch times accumulate.
        seed: Seed of weights and data.
        device: "auto", "cpu", "cuda", ...
        precision: "bf16" means autocast; on a CPU without instructions for it "fp32" is several times faster. Validated is in fp32.
        threads: Threads of the training process on a CPU; 0 leaves torch's choice.
        workers: Data processes.
        compile: Compile the network first (`torch.compile`; needs a C++ compiler). Takes a minute or two, then steps are faster.
        log_every, validate_every, checkpoint_every: In steps.
        init_from: Weights (.safetensors) to start from; "shipped" for those in the package; "" starts from scratch.
    """

    steps: Count = 10_000
    batch: Batch = 32
    accumulate: Count = 1
    seed: Natural = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "bf16"
    threads: Processes = 0
    workers: Processes = 1
    compile: bool = False
    log_every: Count = 50
    validate_every: Count = 1000
    checkpoint_every: Count = 500
    init_from: str = ""


@config
class OptimizerConfig:
    """The optimizer, with warm-up and one of three schedules.

    Attributes:
        name: "sgd" is with momentum.
        momentum: Of "sgd".
        betas: Of "adamw".
        lr: Peak learning rate.
        weight_decay: On weights with more than one dimension; with "sgd" on all, as the papers that use it do.
        warmup: Steps of linear warm-up.
        schedule: "cosine" to zero; "trapezoid": constant, then (1 - sqrt) to zero over the last `cooldown` steps, so
            that a run can be lengthened or shortened by resuming it with another number of steps; or "steps": multiplied by
            `drop` at each of `milestones`.
        cooldown: Steps of the trapezoid's end.
        milestones: Steps at which the rate drops.
        drop: What the rate is multiplied by there.
        clip: Largest norm of the gradient; 0 does not clip.
        ema: Decay of the moving average of the weights, which is what is validated and shipped; 0 is no average.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    lr: Annotated[float, Field(gt=0, le=10)] = 1e-3
    weight_decay: Weight = 0.02
    warmup: Natural = 300
    schedule: Literal["cosine", "trapezoid", "steps"] = "cosine"
    cooldown: Natural = 0
    milestones: tuple[Natural, ...] = ()
    drop: Share = 0.1
    clip: Weight = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. `data`, `network` and `loss` belong to the task, which parses them with `section`."""

    task: str
    run: RunConfig
    optimizer: OptimizerConfig
    data: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict, as in the TOML file."""
        return dataclasses.asdict(self)


class RecipeError(OptionError):
    """A recipe cannot be used."""


def read_recipe(path: Path, settings: Iterable[str] | None = None) -> Recipe:
    """Read a TOML recipe and lay `section.key=value` settings over it; see `amodal.core.config.read_sections`.

    Raises:
        OptionError: unreadable file, unknown key (with the nearest known one), or a value of the wrong type or out of its range.
    """
    return parse_recipe(read_sections(path, settings or ()))


def recipe_of_run(folder: Path, settings: Iterable[str] | None = None) -> Recipe:
    """The recipe that a run in `folder` was started with, with `section.key=value` settings laid over it.

    Raises:
        OptionError: no run there, or as `read_recipe`.
    """
    path = folder / RECORD
    if not path.is_file():
        raise RecipeError(f"no run in {folder}; give the folder of a run that amodal train made, or a recipe")
    raw = read_json(path, RecipeError)
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} is no recipe of a run; give the recipe itself")
    return parse_recipe(overlaid(raw, settings or ()))


def parse_recipe(raw: dict[str, Any]) -> Recipe:
    """Recipe from a plain dict; raises OptionError."""
    known = [part.name for part in dataclasses.fields(Recipe)]
    for key in raw:
        if key not in known:
            raise RecipeError(f"the recipe has no key {key!r}; {nearest(key, known)}")
    if not isinstance(raw.get("task"), str):
        raise RecipeError('the recipe needs task = "NAME" at its top, such as task = "embedded"')
    rest = {key: raw.get(key, {}) for key in ("data", "network", "loss")}
    for key, value in rest.items():
        if not isinstance(value, dict):
            raise RecipeError(f"[{key}] of the recipe must be a section, got {value!r}")
    run, optimizer = raw.get("run", {}), raw.get("optimizer", {})
    return Recipe(raw["task"], section(run, RunConfig, "run"), section(optimizer, OptimizerConfig, "optimizer"), **rest)
