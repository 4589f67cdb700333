"""What weights there are (`weights.toml`), where they lie on this machine, and whether they are whole. Downloads nothing."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.errors import UnknownNameError, WeightsError, nearest, reported
from ..core.extras import entry_points, provider
from ..core.files import file_sha256, read_json, read_toml
from ..core.paths import own_path
from .ready import size_text
from .tensors import check_safetensors

__all__ = [
    "Weights",
    "cache_folder",
    "cached",
    "check_folder",
    "embedded",
    "entries",
    "entry_of",
    "find",
    "locate",
    "offline",
    "place_of",
    "record_of",
    "sha256",
]

PACKAGE = Path(__file__).parents[1]
CATALOGUE = Path(__file__).with_name("weights.toml")
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that amodal does not fetch."""
TENSORS = (".safetensors", ".ckpt")
"""Endings of the files of weights in the hub's repositories that are read."""


class Weights(BaseModel):
    """One entry of `weights.toml`.

    Attributes:
        kind: "embedded" ships in the package under `_weights/`; "file" is one file from an address; "hub" is a folder of
            a Hugging Face repository.
        summary: one line.
        sources: where to get it, tried in order: addresses for "file", `owner/name` or `owner/name@COMMIT` for "hub".
        file: its name: in `_weights/` for "embedded", in the cache for "file".
        files: "hub": patterns of the files that are needed; the rest of the repository is not fetched.
        sha256: of the file; empty if nobody has published it: then that of the first fetch is recorded and held on to.
        size: bytes to fetch, as far as known.
        memory: what running it takes, in words.
        license: of the weights.
        gated: its terms must be accepted on the hub, and a login is needed to fetch it.
        note: what else there is to say.
        package: folder of the package whose `_weights/` holds it, for "embedded"; None: this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["embedded", "file", "hub"]
    summary: str
    sources: tuple[str, ...] = ()
    file: str = ""
    files: tuple[str, ...] = ()
    sha256: str = ""
    size: int = 0
    memory: str = ""
    license: str
    gated: bool = False
    note: str = ""
    package: Path | None = None


class Record(BaseModel):
    """What a fetch notes beside the weights."""

    model_config = ConfigDict(extra="allow")

    source: str = ""
    revision: str = Field("", pattern=r"^[\w.-]*$")
    sha256: str = ""
    size: int = 0
    files: dict[str, int] = {}


@cache
def entries(path: Path = CATALOGUE) -> dict[str, Weights]:
    """All entries by name: those of `weights.toml`, and of the packages that an entry point of the group `amodal.weights` names
    (each has a `weights.toml`, and a folder `_weights/` for what it ships).

    Of another package, a malformed list is left out, and so are weights of a name that is taken; a warning says so.

    Raises:
        WeightsError: the file is malformed.
    """
    own = _read(path, None)
    for point in entry_points("amodal.weights") if path == CATALOGUE else ():
        try:
            added = _added(point)
        except WeightsError as error:
            warnings.warn(f"the weights of the package {provider(point)} are left out: {error}", stacklevel=2)
            continue
        if taken := sorted(own.keys() & added.keys()):
            text = f"weights {', '.join(taken)} of the package {provider(point)} are left out: there are others of that name"
            warnings.warn(text, stacklevel=2)
        own = {**added, **own}
    return own


def _added(point: EntryPoint) -> dict[str, Weights]:
    """The entries of another package, which is not imported. Raises WeightsError."""
    with reported(WeightsError, f"there is no package {point.module}"):
        spec = find_spec(point.module)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(f"there is no package {point.module}")
    folder = Path(next(iter(spec.submodule_search_locations)))
    return _read(folder / "weights.toml", folder)


def _read(path: Path, package: Path | None) -> dict[str, Weights]:
    try:
        table = read_toml(path, WeightsError).items()
        return {name: Weights(name=name, package=package, **entry) for name, entry in table}
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error


def find(name: str) -> Weights:
    """The entry of a name. Raises UnknownNameError."""
    try:
        return entries()[name]
    except KeyError:
        raise UnknownNameError(f"no weights named {name!r}; {nearest(name, entries())}") from None


def cache_folder() -> Path:
    """Where fetched files lie: `$AMODAL_HOME`, else `$XDG_CACHE_HOME/amodal`, else `~/.cache/amodal`.

    Hub repositories lie in the hub's own cache (`$HF_HOME`), which other programs share.
    """
    home = os.environ.get("AMODAL_HOME")
    if home:
        return own_path(home)
    return own_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "amodal"


def offline() -> bool:
    """Whether `AMODAL_OFFLINE` or `HF_HUB_OFFLINE` forbids the network."""
    return any(
        os.environ.get(name, "").lower() not in ("", "0", "false", "no")
        for name in ("AMODAL_OFFLINE", "HF_HUB_OFFLINE")
    )


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file of weights, as 64 hexadecimal digits. Raises WeightsError: it cannot be read."""
    return file_sha256(path, WeightsError)


def embedded(name: str) -> Path:
    """The file of weights that ship in the package, its SHA-256 checked (once a process).

    Raises:
        UnknownNameError: no such entry.
        WeightsError: the entry does not ship in the package, or the file is absent or altered.
    """
    entry = find(name)
    if entry.kind != "embedded":
        raise WeightsError(f"weights {name!r} do not ship in the package; run: amodal fetch {name}")
    path = (entry.package or PACKAGE) / "_weights" / entry.file
    if not path.is_file():
        raise WeightsError(
            f"weights {name!r} are missing from this installation ({path}); install the package amodal again"
        )
    found = _digest(path, path.stat().st_mtime_ns)
    if found != entry.sha256:
        raise WeightsError(
            f"weights {name!r} are damaged: the file has sha256 {found[:12]}..., the record says "
            f"{entry.sha256[:12]}...; install the package amodal again"
        )
    return path


@cache
def _digest(path: Path, changed: int) -> str:
    return sha256(path)


def locate(name: str) -> Path:
    """Where weights lie on this machine: a file or a folder. Never touches the network.

    Args:
        name: an entry of `weights.toml`, a hub name `owner/name`, or a file or folder of the user's own.

    Raises:
        UnknownNameError: none of these.
        WeightsError: known but not on this machine, with the command that fetches it; or cut short.
    """
    own = own_path(name)
    if name not in entries() and own.exists():
        return check_folder(own) if own.is_dir() else own
    entry = entry_of(name)
    if (place_of(entry) / "unfinished").exists():
        raise WeightsError(f"weights {name!r} are here in part only; to get the rest run: amodal fetch {name}")
    path = cached(entry)
    if path is None:
        size = f"{size_text(entry.size)}, " if entry.size else ""
        raise WeightsError(
            f"weights {name!r} are not on this machine; run: amodal fetch {name}  ({size}license {entry.license}), "
            "or give a folder of your own"
        )
    return check_folder(path) if path.is_dir() else path


def entry_of(name: str) -> Weights:
    """The entry of a name, or one made up for a hub name `owner/name` that weights.toml does not know.

    Raises:
        UnknownNameError: neither.
    """
    if name in entries():
        return find(name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is None:
        raise UnknownNameError(
            f"{name!r} is no file or folder, no hub name (owner/name) and no entry of amodal list weights; "
            f"{nearest(name, entries())}"
        )
    return Weights(name=name, kind="hub", summary="", sources=(name,), license="as its page says")


def place_of(entry: Weights) -> Path:
    """Where amodal's cache keeps an entry: the file, or for "hub" the folder of its record (the files lie in the hub's cache)."""
    folder = cache_folder() / "weights" / entry.name.replace("/", "--")
    return folder / entry.file if entry.kind == "file" else folder


def record_of(entry: Weights) -> dict[str, Any]:
    """What the first fetch recorded: source, revision or sha256, size; empty if it was not fetched by amodal.

    Raises:
        WeightsError: the record is damaged.
    """
    place = place_of(entry)
    path = (place.parent if entry.kind == "file" else place) / "record.json"
    if not path.is_file():
        return {}
    try:
        return Record.model_validate(read_json(path, WeightsError)).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise WeightsError(f"the record {path} is damaged ({where}: {first['msg'].lower()}); delete it") from error


def cached(entry: Weights) -> Path | None:
    """The file or folder of an entry on this machine, from whichever source it was fetched and by whichever program; None if it, or
    its tensors, are not here."""
    if entry.kind == "embedded":
        return embedded(entry.name)
    if entry.kind == "file":
        return place_of(entry) if place_of(entry).is_file() else None
    from .hub import cached_snapshot

    record = record_of(entry)
    for source in entry.sources:
        repository, _, commit = source.partition("@")
        recorded = record.get("revision") if record.get("source") == repository else None
        folder = cached_snapshot(repository, commit or recorded)
        if folder is not None and _holds(folder, entry.files):
            return folder
    return None


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    """Whether a snapshot has tensors wherever the patterns of its files ask for some, in whichever precision: the hub's cache is
    shared, and another program may have fetched a configuration alone."""
    if not patterns:
        return any(path.suffix in TENSORS for path in folder.rglob("*"))
    for pattern in patterns:
        place, _, name = pattern.rpartition("/")
        ending = Path(name).suffix
        if (ending in TENSORS or name == "*") and not any((folder / place).rglob(f"*{ending}")):
            return False
    return True


def check_folder(folder: Path) -> Path:
    """Check that what a folder in the hub's layout holds is whole: JSON parses, shards exist, safetensors have their length.

    Reads headers only, so it is fast for gigabytes. Returns the folder.

    Raises:
        WeightsError: names the first file that is cut short or missing.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        check_safetensors(path)
    for path in sorted(folder.rglob("*.json")):
        content = read_json(path, WeightsError, finite=False)
        for name in _promised(path, content):
            if not (path.parent / name).exists():
                raise WeightsError(f"{folder} is incomplete: {path.name} promises {name}")
    return folder


def _promised(path: Path, content: Any) -> Iterator[str]:
    """The files or folders that an index says must lie beside it. Raises WeightsError: it is damaged."""
    if not isinstance(content, dict):
        return
    if path.name == "model_index.json":
        for part, value in content.items():
            if not part.startswith("_") and part not in UNUSED and isinstance(value, list) and any(value):
                yield part
    elif path.name.endswith(".index.json") and isinstance(content.get("weight_map"), dict):
        shards = list(content["weight_map"].values())
        if not all(isinstance(shard, str) for shard in shards):
            raise WeightsError(f"{path} names shards that are no files; fetch the model again")
        yield from sorted(set(shards))
