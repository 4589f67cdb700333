"""amodal: sees the whole object. A photograph and a prompt in; the complete mask and the completed RGBA picture out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.completion import Alternative, Completion
    from .core.errors import AmodalError, Cancelled
    from .core.image import read, read_mask
    from .core.mask import Mask
    from .core.prompt import Prompt
    from .core.soft_mask import SoftMask
    from .data import Dataset, Sample, dataset
    from .evaluation import Report, evaluate
    from .pipeline import Model, Scene, load
    from .pipeline.layers import Layers

__version__ = "0.1.0"

_HOMES = {
    "Alternative": "core.completion",
    "AmodalError": "core.errors",
    "Cancelled": "core.errors",
    "Completion": "core.completion",
    "Dataset": "data",
    "Layers": "pipeline.layers",
    "Mask": "core.mask",
    "Model": "pipeline",
    "Prompt": "core.prompt",
    "Report": "evaluation",
    "Sample": "data",
    "Scene": "pipeline",
    "SoftMask": "core.soft_mask",
    "dataset": "data",
    "evaluate": "evaluation",
    "load": "pipeline",
    "read": "core.image",
    "read_mask": "core.image",
}
"""Public names and the modules they live in, imported at first use: `import amodal` itself costs nothing."""

__all__ = [
    "Alternative",
    "AmodalError",
    "Cancelled",
    "Completion",
    "Dataset",
    "Layers",
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'amodal' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
