"""Checkpoints of the authors to safetensors, once: the torch file is read without unpickling anything but tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.files import atomic_write
from ..weights import cache_folder, load_tensors, locate, sha256
from ..weights.tensors import read_header

if TYPE_CHECKING:
    import torch

__all__ = ["converted", "facts_of", "read_checkpoint"]


def read_checkpoint(name: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """Where weights lie, and their tensors by name.

    A torch file (`.tar`, `.pth`, `.ckpt`) is converted to safetensors in the cache at its first use; later uses read that.

    Args:
        name: a name of `amodal list weights`, or a file.

    Returns:
        the file that `name` stands for (not the converted one), and its tensors, without training's wrappers and prefixes.

    Raises:
        WeightsError: absent, damaged, or holding more than tensors.
        UnknownNameError: neither a name nor a file.
    """
    path = locate(name)
    if path.suffix == ".safetensors" or path.is_dir():
        return path, load_tensors(path)
    copy = converted(path)
    if copy.is_file():
        return path, load_tensors(copy)
    tensors = load_tensors(path)
    _save(tensors, copy)
    return path, tensors


def facts_of(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, such as `task` and `step` of `amodal train`; {} for other files.

    Raises:
        WeightsError: a safetensors file that cannot be read.
    """
    if path.suffix != ".safetensors":
        return {}
    facts = read_header(path).get("__metadata__")
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


def converted(path: Path) -> Path:
    """The place of the safetensors copy of a torch file: named by its content, so that another file gets another copy."""
    return cache_folder() / "converted" / f"{path.stem}-{sha256(path)[:16]}.safetensors"


def _save(tensors: dict[str, torch.Tensor], target: Path) -> None:
    from safetensors.torch import save

    content = save({name: value.contiguous().clone() for name, value in tensors.items()})
    with atomic_write(target) as file:
        file.write(content)
