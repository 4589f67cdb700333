"""Where the network of a run starts: from chance, from what ships in the package, or from files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, float16, nn

from ..core.errors import reported
from ..networks.onnx_export import read_tensors
from ..weights.catalogue import embedded
from ..weights.tensors import load_tensors
from . import checkpoint
from .recipe import RecipeError
from .run_folder import WEIGHTS
from .task import Task

__all__ = ["SHIPPED", "network_of", "read_shipped", "read_weights"]

SHIPPED = "shipped"
"""`run.init_from` for the weights that ship in the package."""


def network_of(task: Task) -> nn.Module:
    """The network of a task. Raises RecipeError: the sizes that the recipe names do not fit each other."""
    with reported(RecipeError, "the network that the recipe describes cannot be made", "change its section [network]"):
        return task.network()


def read_weights(network: nn.Module, *paths: Path) -> None:
    """Load averaged weights (.safetensors, fp32 or fp16) into a network; several files' mean (Wortsman et al.: Model Soups).

    Raises:
        WeightsError: unreadable, or of another network.
    """
    mean: dict[str, Tensor] = {}
    for path in paths:
        if path.name == checkpoint.NAME:
            raise checkpoint.CheckpointError(f"{path} is what a run goes on from; give the {WEIGHTS} beside it")
        weights = {k: v.float() if v.dtype == float16 else v for k, v in load_tensors(path).items()}
        checkpoint.check_fits(network, weights, str(path))
        for name, value in weights.items():
            whole = not value.is_floating_point()  # a count of batches: the last one's
            mean[name] = value if whole or name not in mean else mean[name] + value
    network.load_state_dict({k: v / len(paths) if v.is_floating_point() else v for k, v in mean.items()})


def read_shipped(network: nn.Module, task: Task) -> None:
    """Load what ships in the package into a network. Layers that do not ship keep their first values.

    Raises:
        RecipeError: no network of this task ships.
        CheckpointError: the shipped one has other sizes than the recipe.
    """
    files: dict[str, tuple[str, str]] = getattr(task, "shipped", {})
    if not files:
        raise RecipeError('run.init_from = "shipped": no network of this task ships; name a file of weights')
    weights = network.state_dict()
    for name, (theirs, mine) in files.items():
        for key, value in read_tensors(embedded(name)).items():
            if key.startswith(theirs):
                weights[mine + key.removeprefix(theirs)] = value
    checkpoint.check_fits(network, weights, "the package")
    network.load_state_dict(weights)
