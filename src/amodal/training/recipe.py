"""Recipes: a TOML file that says everything about a training run, checked before anything starts."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..errors import OptionError, nearest
from ..files import read_toml, toml_value

T = TypeVar("T")


@dataclass(frozen=True)
class RunConfig:
    """How long, how often and on what.

    Attributes:
        steps: Optimizer steps of the whole run.
        batch: Samples of one pass.
        accumulate: Passes whose gradients are averaged into one step; the effective batch is batch times accumulate.
        seed: Seed of weights and data.
        device: "auto", "cpu", "cuda", ...
        precision: "fp32" or "bf16" (autocast).
        threads: Threads of the training process on a CPU; 0 leaves torch's choice.
        workers: Data processes.
        compile: Compile the network first (`torch.compile`; needs a C++ compiler). Takes a minute or two, then steps are faster.
        log_every, validate_every, checkpoint_every: In steps.
        init_from: Weights (.safetensors) to start from; "" starts from scratch.
    """

    steps: int = 10_000
    batch: int = 32
    accumulate: int = 1
    seed: int = 0
    device: str = "auto"
    precision: str = "bf16"
    threads: int = 0
    workers: int = 1
    compile: bool = False
    log_every: int = 50
    validate_every: int = 1000
    checkpoint_every: int = 500
    init_from: str = ""

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise RecipeError(f"run.precision must be fp32 or bf16, got {self.precision!r}")
        for key in ("steps", "batch", "accumulate", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, key) < 1:
                raise RecipeError(f"run.{key} must be at least 1, got {getattr(self, key)}")
        for key in ("seed", "workers", "threads"):
            if getattr(self, key) < 0:
                raise RecipeError(f"run.{key} must not be negative, got {getattr(self, key)}")


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer, with warm-up and one of three schedules.

    Attributes:
        name: "adamw", or "sgd" with momentum.
        momentum: Of "sgd".
        lr: Peak learning rate.
        weight_decay: On weights with more than one dimension; with "sgd" on all, as the papers that use it do.
        warmup: Steps of linear warm-up.
        schedule: "cosine" to zero; "trapezoid": constant, then (1 - sqrt) to zero over the last `cooldown` steps, so
            that a run can be lengthened or shortened by resuming it with another number of steps; or "steps": multiplied by
            `drop` at each of `milestones`.
        cooldown: Steps of the trapezoid's end.
        milestones: Steps at which the rate drops.
        drop: What the rate is multiplied by there.
        clip: Largest norm of the gradient.
        ema: Decay of the moving average of the weights, which is what is validated and shipped.
    """

    name: str = "adamw"
    momentum: float = 0.9
    lr: float = 1e-3
    weight_decay: float = 0.02
    warmup: int = 300
    schedule: str = "cosine"
    cooldown: int = 0
    milestones: tuple[int, ...] = ()
    drop: float = 0.1
    clip: float = 1.0
    ema: float = 0.999

    def __post_init__(self) -> None:
        for key, known in (("name", ("adamw", "sgd")), ("schedule", ("cosine", "trapezoid", "steps"))):
            if getattr(self, key) not in known:
                raise RecipeError(f"optimizer.{key} must be one of {', '.join(known)}, got {getattr(self, key)!r}")


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. `data`, `network`, `loss` belong to the task, which parses them with `section`."""

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


def read_recipe(path: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a TOML recipe and apply `section.key=value` overrides (values in TOML syntax, bare words as text).

    Raises:
        RecipeError: Unreadable file, unknown key (with the nearest known one), or a value of the wrong type.
    """
    return parse_recipe(read_sections(path, overrides))


def read_sections(path: Path, overrides: list[str] | None = None) -> dict[str, Any]:
    """A TOML file with `section.key=value` overrides applied, as a plain dict. Raises RecipeError."""
    raw = read_toml(path, RecipeError)
    for item in overrides or []:
        key, eq, value = item.partition("=")
        if not eq:
            raise RecipeError(f"--set takes section.key=value, got {item!r}")
        place = raw
        *parents, last = key.strip().split(".")
        for name in parents:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise RecipeError(f"--set {key}: {name!r} is a value, not a section")
        place[last] = toml_value(value)
    return raw


def parse_recipe(raw: dict[str, Any]) -> Recipe:
    """Recipe from a plain dict; raises RecipeError."""
    check_keys(raw, [f.name for f in dataclasses.fields(Recipe)], "the recipe")
    if not isinstance(raw.get("task"), str):
        raise RecipeError('the recipe needs task = "NAME" at its top, such as task = "occamodal"')
    run, optimizer = (
        section(raw.get("run", {}), RunConfig, "run"),
        section(raw.get("optimizer", {}), OptimizerConfig, "optimizer"),
    )
    rest = {k: raw.get(k, {}) for k in ("data", "network", "loss")}
    for k, v in rest.items():
        if not isinstance(v, dict):
            raise RecipeError(f"[{k}] of the recipe must be a section, got {v!r}")
    return Recipe(raw["task"], run, optimizer, **rest)


def section(raw: Any, cls: type[T], name: str) -> T:
    """One section of a recipe as the dataclass `cls`; unknown keys and wrong types raise RecipeError."""
    if not isinstance(raw, dict):
        raise RecipeError(f"[{name}] of the recipe must be a section, got {raw!r}")
    hints = typing.get_type_hints(cls)
    check_keys(raw, list(hints), f"section [{name}]")
    return cls(**{k: _typed(v, hints[k], f"{name}.{k}") for k, v in raw.items()})


def check_keys(raw: dict[str, Any], known: list[str], where: str) -> None:
    """Raise RecipeError for the first key that is not known, naming the nearest."""
    for key in raw:
        if key not in known:
            raise RecipeError(f"{where} has no key {key!r}; {nearest(key, known)}")


def _typed(value: Any, hint: Any, name: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is tuple and isinstance(value, (list, tuple)):
        inner = typing.get_args(hint)[0]
        return tuple(_typed(v, inner, name) for v in value)
    if origin is dict and isinstance(value, dict):
        return value
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    shown = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    raise RecipeError(f"{name} must be {shown}, got {value!r}")
