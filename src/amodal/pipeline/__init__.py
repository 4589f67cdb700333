"""One photograph: `Model`, `Scene`, `load`; its objects, their order, layers. `seal.py` keeps the promises."""

from .model import Model, load
from .scene import Scene

__all__ = ["Model", "Scene", "load"]
