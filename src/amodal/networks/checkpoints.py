"""Checkpoints of the authors to safetensors, once: the torch file is read without unpickling anything but tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from ..core.errors import OptionError, WeightsError
from ..core.files import atomic_write
from ..core.options import Options, build_options
from ..weights import cache_folder, load_tensors, locate, sha256
from ..weights.tensors import file_kind, read_header

if TYPE_CHECKING:
    import torch

__all__ = ["at_trained_size", "check_trained", "converted", "crop_side", "facts_of", "read_checkpoint"]

T = TypeVar("T", bound=Options)
HOLDERS = ("model.", "net.", "network.")


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
    if path.is_dir() or file_kind(path) == "safetensors":
        return path, _bare(load_tensors(path))
    copy = converted(path)
    if copy.is_file():
        return path, _bare(load_tensors(copy))
    tensors = load_tensors(path)
    _save(tensors, copy)
    return path, _bare(tensors)


def _bare(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the name under which a LightningModule held the whole network."""
    head = next((name for name in HOLDERS if all(key.startswith(name) for key in tensors)), "")
    return {key.removeprefix(head): value for key, value in tensors.items()}


def facts_of(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, whatever its name, such as `task` and `step` of `amodal train`; {} for other files.

    Raises:
        WeightsError: a file that cannot be read.
    """
    if not path.is_file() or file_kind(path) != "safetensors":
        return {}
    facts = read_header(path).get("__metadata__")
    return {str(name): str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}


def crop_side(step: int, otherwise: str) -> Any:
    """The option `input_size` of a method whose crops `at_trained_size` sets.

    Args:
        step: what the side must be a multiple of, in pixels.
        otherwise: what it is where the weights do not tell, in words.
    """
    told = "that of the crops which the weights were trained on, where they tell it (amodal train writes it)"
    return Field(
        None,
        ge=step,
        le=2048,
        multiple_of=step,
        description=f"side of the crop, in pixels; none: {told}, else {otherwise}",
    )


def at_trained_size(options: T, otherwise: int) -> T:
    """A method's options with a crop size: `input_size` as it is given, else that of the crops which its weights were trained on.

    Args:
        options: with `weights` (a name or a file) and `input_size` (side of the crops in pixels, or None).
        otherwise: the published side, where the weights do not tell: files of the authors, and of `amodal train` before it wrote
            `size` into their metadata.

    Raises:
        WeightsError: the weights are absent, or name a size that `input_size` cannot be.
    """
    given: Any = options
    if given.input_size is not None:
        return options
    said = facts_of(locate(given.weights)).get("size", str(otherwise))
    try:
        size = int(said[:9]) if said.isdecimal() else 0  # 0 is refused like any side that does not fit
        return build_options(type(options), {**options.model_dump(), "input_size": size})
    except OptionError as error:
        raise WeightsError(
            f"{given.weights} says that it was trained on crops of {said[:40]!r} pixels, which the method cannot take ({error}); "
            "give a side that fits as the option input_size, or train it anew at such a data.size"
        ) from error


def check_trained(options: Options, *names: str) -> None:
    """Refuse weights that say that they were trained with another value of an option than its default, which is in use.

    Args:
        options: with `weights`, a name or a file.
        names: of the options that must be as in training.

    Raises:
        WeightsError: says what to set; a value that was set on purpose is taken.
    """
    weights = str(getattr(options, "weights", ""))
    facts = facts_of(locate(weights))
    for name in names:
        said, used = facts.get(name), str(getattr(options, name)).lower()
        if said is not None and said != used and name not in options.model_fields_set:
            raise WeightsError(
                f"{weights} was trained with {name}={said[:40]}, {name}={used} is in use; set the option {name}={said[:40]}, or "
                f"{name}={used} if that is meant"
            )


def converted(path: Path) -> Path:
    """The place of the safetensors copy of a torch file: named by its content, so that another file gets another copy."""
    return cache_folder() / "converted" / f"{path.stem}-{sha256(path)[:16]}.safetensors"


def _save(tensors: dict[str, torch.Tensor], target: Path) -> None:
    from safetensors.torch import save

    content = save({name: value.contiguous().clone() for name, value in tensors.items()})
    with atomic_write(target) as file:
        file.write(content)
