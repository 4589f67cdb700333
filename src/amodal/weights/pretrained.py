"""Networks of diffusers and transformers from their folders; what a library would fill with chance is refused."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import WeightsError, reported
from ..runtime.quiet import quiet

if TYPE_CHECKING:
    import torch

__all__ = ["half_variant", "load_pretrained"]


def load_pretrained(cls: Any, folder: Path, *, unused: str = "", spare: str = "*", **how: Any) -> Any:
    """`cls.from_pretrained` on a folder of this machine, safetensors only, whose tensors must all be there and fit.

    The libraries give tensors that are missing random values, with a warning.

    Args:
        cls: a class of diffusers or transformers.
        folder: with `config.json` and the tensors.
        unused: pattern of tensors that may be missing, since nothing is computed with them.
        spare: pattern of tensors that may lie in the files and belong to nothing: many hold another network beside the one that is
            wanted.
        how: what else `from_pretrained` takes.

    Raises:
        WeightsError: it cannot be loaded, or tensors are missing, left over or of another shape.
    """
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(f"{folder} holds no .safetensors file; fetch the model again, or convert its weights")
    hint = "it is damaged or of another architecture"
    with quiet(), reported(WeightsError, f"{folder} cannot be loaded as {cls.__name__}", hint):
        network, report = cls.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True, **how
        )
    kinds = (
        ("missing", "missing_keys", unused),
        ("left over", "unexpected_keys", spare),
        ("of another shape", "mismatched_keys", ""),
    )
    names = {what: sorted(n for n in map(_name, report[key]) if not fnmatch(n, free)) for what, key, free in kinds}
    faults = [
        f"{len(found)} {what} ({', '.join(found[:2])}{', ...' if len(found) > 2 else ''})"
        for what, found in names.items()
        if found
    ]
    if faults:
        raise WeightsError(
            f"the weights in {folder} do not fit its config.json ({cls.__name__}): {'; '.join(faults)}; fetch it again"
        )
    return network


def half_variant(folder: Path, dtype: torch.dtype) -> str | None:
    """The `variant` to load: "fp16" where such files are there and wanted; where all files are of variants ("model.bf16.safetensors"),
    fp16, or the first of them; else None."""
    found = {_variant(file.name) for file in folder.glob("*.safetensors")}
    if "fp16" in found and (dtype.itemsize == 2 or "" not in found):
        return "fp16"
    return None if "" in found else min(found, default=None)


def _variant(name: str) -> str:
    """The second word of a file's name, without the number of its shard; empty if there is none."""
    return re.sub(r"-\d+-of-\d+$", "", name.removesuffix(".safetensors").partition(".")[2])


def _name(item: Any) -> str:
    return str(item[0] if isinstance(item, tuple) else item)
