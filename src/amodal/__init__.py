"""amodal: sees the whole object. A photograph and a prompt in; the complete mask and the completed RGBA picture out."""

from .completion import Alternative, Completion
from .errors import AmodalError, Cancelled
from .image import read, read_mask
from .mask import Mask, SoftMask
from .pipeline import Model, Scene, load
from .prompt import Prompt

__version__ = "0.1.0"

__all__ = [
    "Alternative",
    "AmodalError",
    "Cancelled",
    "Completion",
    "Mask",
    "Model",
    "Prompt",
    "Scene",
    "SoftMask",
    "__version__",
    "load",
    "read",
    "read_mask",
]
