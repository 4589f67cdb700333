"""amodal: sees the whole object. A photograph and a prompt in; the complete mask and the completed RGBA picture out."""

from typing import TYPE_CHECKING, Any

from .completion import Alternative, Completion
from .errors import AmodalError, Cancelled
from .image import read, read_mask
from .mask import Mask, SoftMask
from .pipeline import Model, Scene, load
from .prompt import Prompt

if TYPE_CHECKING:
    from .data import Dataset, Sample, dataset
    from .evaluation import Report, evaluate

__version__ = "0.1.0"

__all__ = [
    "Alternative",
    "AmodalError",
    "Cancelled",
    "Completion",
    "Dataset",
    "Mask",
    "Model",
    "Prompt",
    "Report",
    "Sample",
    "Scene",
    "SoftMask",
    "__version__",
    "dataset",
    "evaluate",
    "load",
    "read",
    "read_mask",
]

LAZY = {
    "Dataset": "data",
    "Report": "evaluation",
    "Sample": "data",
    "dataset": "data",
    "evaluate": "evaluation",
}
"""Public names that live in a subpackage, imported at first use."""


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module 'amodal' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{LAZY[name]}", __name__), name)
