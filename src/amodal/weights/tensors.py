"""Reading tensors from files without running anything that a file says, and fitting them into a network."""

from __future__ import annotations

import os
import pickle
import re
import threading
from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import MALFORMED, WeightsError, reason_of, reported
from ..core.extras import missing
from ..core.files import open_regular, parse_json

if TYPE_CHECKING:
    import torch

__all__ = ["check_safetensors", "file_kind", "fit_state", "load_tensors", "read_header", "read_torch"]

WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "weights", "params", "net")
"""Keys under which training programs put the tensors, in the order in which they are tried."""
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""


MAX_HEADER = 100_000_000
"""The longest header of a safetensors file, by its format."""
LOCK = threading.Lock()
"""torch's list of safe classes is one for all threads."""


class Inert:
    """Stands for a class that a checkpoint names and that is not a tensor (a callback, an optimiser): holds nothing, does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __hash__(self) -> int:
        return id(self)


def load_tensors(path: str | os.PathLike[str], prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a file by name, on the CPU, memory-mapped where the format allows it.

    Reads safetensors, and torch files with `weights_only=True`; classes that a torch file names beside its tensors become
    inert stand-ins and no code of the file is run. The dictionary that holds the tensors (Lightning's and others'
    `state_dict`) is found, and `module.` and `_orig_mod.` are stripped where all names have them.

    Args:
        path: a `.safetensors`, `.ckpt`, `.pt`, `.pth`, `.bin` or `.tar` (torch's own, not an archive) file.
        prefix: keep only the names that start with it, and strip it.

    Raises:
        WeightsError: absent, cut short, a web page or a Git LFS pointer, holding no tensors, or holding dangerous code.
        MissingExtraError: torch is not installed.
    """
    file = Path(path)
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise missing("reading weights", error, "diffusion") from error
    kind = file_kind(file)
    content = _read_safetensors(file) if kind == "safetensors" else read_torch(file)
    tensors = _unwrap(content, file)
    while head := next((p for p in PREFIXES if all(name.startswith(p) for name in tensors)), None):
        tensors = {name[len(head) :]: value for name, value in tensors.items()}
    chosen = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    if not chosen:
        some = ", ".join(list(tensors)[:3])
        raise WeightsError(f"{file} holds no tensor named {prefix}*; it holds {len(tensors)}: {some}, ...")
    return chosen


def fit_state(
    module: torch.nn.Module, state: Mapping[str, torch.Tensor], name: str, ignore: Iterable[str] = ()
) -> torch.nn.Module:
    """Put tensors into a network whose names and shapes they must match, or change nothing.

    Args:
        module: the network; parameters on the meta device take the tensors as they are, without a copy.
        state: tensors by name, as from `load_tensors`.
        name: what to call the weights in the error.
        ignore: patterns of names that may be absent from, or left over in, `state`.

    Returns:
        `module`.

    Raises:
        WeightsError: some names are missing, unexpected or of another shape; tells how many and the first of each.
    """
    own = module.state_dict()
    free = (*ignore, "*num_batches_tracked")  # only counts; absent from files of torch before 0.4.1
    missing = [key for key in own if key not in state and not any(fnmatch(key, p) for p in free)]
    extra = [key for key in state if key not in own and not any(fnmatch(key, p) for p in free)]
    other = [key for key in own if key in state and own[key].shape != state[key].shape]
    shapes = [f"{key} is {_shape(state[key])}, should be {_shape(own[key])}" for key in other]
    faults = [
        f"{len(keys)} {what} ({', '.join(keys[:2])}{', ...' if len(keys) > 2 else ''})"
        for keys, what in ((missing, "missing"), (extra, "unexpected"), (shapes, "of another shape"))
        if keys
    ]
    if faults:
        raise WeightsError(
            f"weights {name!r} do not fit this network: of {len(own)} tensors, {'; '.join(faults)}. {_verdict(name)}"
        )
    on_meta = any(value.is_meta for value in own.values())
    module.load_state_dict({key: state[key] for key in own if key in state}, strict=False, assign=on_meta)
    return module


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a safetensors file, checked against the file's length; needs no package.

    Returns:
        tensor names to `dtype`, `shape` and `data_offsets`, and `__metadata__`, such as `task` and `step` of `amodal train`.

    Raises:
        WeightsError: the file is shorter or longer than its header says, or is no safetensors file.
    """
    file = Path(path)
    with open_regular(file, WeightsError) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, MAX_HEADER):
            raise WeightsError(f"{file} is not a whole safetensors file ({size:,} bytes); {AGAIN}")
        try:
            header = parse_json(stream.read(length), f"the header of {file}", WeightsError)
            made: dict[str, Any] = header
            ends = [int(entry["data_offsets"][1]) for name, entry in made.items() if name != "__metadata__"]
        except MALFORMED as error:
            raise WeightsError(f"{file} has a damaged header; {AGAIN}") from error
    if size != 8 + length + max(ends, default=0):
        raise WeightsError(f"{file} has {size:,} bytes, its header says {8 + length + max(ends, default=0):,}; {AGAIN}")
    return made


def check_safetensors(path: str | os.PathLike[str]) -> None:
    """Check that a safetensors file is whole: its header tells its length. Reads the header only; needs no package.

    Raises:
        WeightsError: as `read_header`.
    """
    read_header(path)


AGAIN = "fetch it again with a check, which replaces damaged files"


def file_kind(file: Path) -> str:
    """ "safetensors" or "torch", from the first bytes. Raises WeightsError: it cannot be weights."""
    if file.is_dir() or not file.exists():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise WeightsError(f"weights file {file} {what}; give a .safetensors, .ckpt, .pt or .bin file")
    with open_regular(file, WeightsError) as stream:
        head = stream.read(64)
    if not head:
        raise WeightsError(f"{file} is empty; {AGAIN}")
    if head.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{file} is a Git LFS pointer, not the weights; run: git lfs pull, or {AGAIN}")
    if head.lstrip()[:1] == b"<":
        raise WeightsError(f"{file} is a web page, not weights (a download that needed a login?); {AGAIN}")
    if file.suffix == ".safetensors" or head[8:9] == b"{":
        return "safetensors"
    if not head.startswith((b"PK", b"\x80")):  # a zip file, or the pickle of older versions
        raise WeightsError(f"{file} is neither a safetensors nor a torch file; {AGAIN}")
    return "torch"


def _read_safetensors(file: Path) -> Any:
    check_safetensors(file)
    from safetensors.torch import load_file

    with reported(WeightsError, f"{file} is damaged", AGAIN):
        return load_file(file)


def read_torch(file: Path, *, mapped: bool = True) -> Any:
    """What a torch file holds: tensors and plain values, on the CPU; other classes become inert stand-ins.

    Args:
        file: the file.
        mapped: tensors may lie in the file, where it allows it; False for files that will be written again.

    Raises:
        WeightsError: absent, damaged, or holding dangerous code.
    """
    import torch

    with open_regular(file, WeightsError) as stream:
        zipped = stream.read(2) == b"PK"  # torch's format since 1.6; the older one cannot be mapped or looked into
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(file) if zipped else []
        with LOCK, torch.serialization.safe_globals([(Inert, name) for name in unsafe]):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped and mapped)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({found[1]})" if found else ""
        raise WeightsError(
            f"{file} holds more than tensors{what} and is not read, since that could run code; get it as safetensors"
        ) from error
    except Exception as error:  # whatever a damaged pickle makes torch do
        raise WeightsError(f"{file} is cut short or not a torch file ({reason_of(error)}); {AGAIN}") from error


def _unwrap(content: Any, file: Path) -> dict[str, torch.Tensor]:
    import torch

    if isinstance(content, Mapping) and {"network", "average", "optimizer", "recipe"} <= content.keys():
        raise WeightsError(
            f"{file} is what a run of amodal train goes on from; give the weights that it learnt, in the same folder: "
            f"{file.with_name('weights.safetensors')}"
        )
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name): value for name, value in items if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{file} holds no tensors by name; it is not a checkpoint of a network")
    return tensors


def _verdict(name: str) -> str:
    """Whether a fetched file is the one on record, for the error of one that does not fit."""
    from . import catalogue

    entry = catalogue.entries().get(name)
    path = catalogue.cached(entry) if entry is not None and entry.kind == "file" else None
    if entry is None or path is None:
        return "They were made for another network or version"
    found = catalogue.sha256(path)
    record = entry.sha256 or catalogue.record_of(entry).get("sha256", "")
    if found == record:
        return f"The file is the one on record (sha256 {found[:12]}...), so it was made for other options or another version"
    says = f"the record says {record[:12]}..." if record else "no record of it exists"
    return f"The file has sha256 {found[:12]}..., {says}; fetch {name} again with a check"


def _shape(tensor: torch.Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
