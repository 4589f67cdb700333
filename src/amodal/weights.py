"""What weights there are (`weights.toml`), where they lie on this machine, and whether they are whole. Downloads nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import UnknownNameError, WeightsError, nearest
from .files import read_json, read_toml
from .tensors import check_safetensors, fit_state, load_tensors

__all__ = [
    "Weights",
    "cache_folder",
    "cached",
    "catalogue",
    "check_folder",
    "embedded",
    "entry_of",
    "find",
    "fit_state",
    "load_tensors",
    "locate",
    "offline",
    "place_of",
    "record_of",
    "sha256",
]

PACKAGE = Path(__file__).parent
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of a pipeline that amodal does not fetch."""


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
        licence: of the weights.
        gated: its terms must be accepted on the hub, and a login is needed to fetch it.
        note: what else there is to say.
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
    licence: str
    gated: bool = False
    note: str = ""


@cache
def catalogue(path: Path = PACKAGE / "weights.toml") -> dict[str, Weights]:
    """All entries by name.

    Raises:
        WeightsError: the file is malformed.
    """
    try:
        return {name: Weights(name=name, **entry) for name, entry in read_toml(path, WeightsError).items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise WeightsError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error


def find(name: str) -> Weights:
    """The entry of a name. Raises UnknownNameError."""
    try:
        return catalogue()[name]
    except KeyError:
        raise UnknownNameError(f"no weights named {name!r}; {nearest(name, catalogue())}") from None


def cache_folder() -> Path:
    """Where fetched files lie: `$AMODAL_HOME`, else `$XDG_CACHE_HOME/amodal`, else `~/.cache/amodal`.

    Hub repositories lie in the hub's own cache (`$HF_HOME`), which other programs share.
    """
    home = os.environ.get("AMODAL_HOME")
    if home:
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "amodal"


def offline() -> bool:
    """Whether `AMODAL_OFFLINE` or `HF_HUB_OFFLINE` forbids the network."""
    return any(
        os.environ.get(name, "").lower() not in ("", "0", "false", "no")
        for name in ("AMODAL_OFFLINE", "HF_HUB_OFFLINE")
    )


def sha256(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def embedded(name: str) -> Path:
    """The file of weights that ship in the package, its SHA-256 checked (once a process).

    Raises:
        UnknownNameError: no such entry.
        WeightsError: the entry does not ship in the package, or the file is absent or altered.
    """
    entry = find(name)
    if entry.kind != "embedded":
        raise WeightsError(f"weights {name!r} do not ship in the package; run: amodal fetch {name}")
    path = PACKAGE / "_weights" / entry.file
    if not path.is_file():
        raise WeightsError(
            f"weights {name!r} are missing from this installation ({path}); "
            "run: pip install --force-reinstall --no-deps amodal"
        )
    found = _digest(path, path.stat().st_mtime_ns)
    if found != entry.sha256:
        raise WeightsError(
            f"weights {name!r} are damaged: the file has sha256 {found[:12]}..., the record says "
            f"{entry.sha256[:12]}...; run: pip install --force-reinstall --no-deps amodal"
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
    own = Path(name).expanduser()
    if name not in catalogue() and own.exists():
        return check_folder(own) if own.is_dir() else own
    entry = entry_of(name)
    path = cached(entry)
    if path is None:
        size = f"{entry.size / 1e9:.1f} GB, " if entry.size else ""
        raise WeightsError(
            f"weights {name!r} are not on this machine; run: amodal fetch {name}  ({size}licence {entry.licence}), "
            "or give a folder of your own"
        )
    if (place_of(entry) / "unfinished").exists():
        raise WeightsError(f"weights {name!r} are here in part only; to get the rest run: amodal fetch {name}")
    return check_folder(path) if path.is_dir() else path


def entry_of(name: str) -> Weights:
    """The entry of a name, or one made up for a hub name `owner/name` that weights.toml does not know.

    Raises:
        UnknownNameError: neither.
    """
    if name in catalogue():
        return find(name)
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) is None:
        raise UnknownNameError(
            f"{name!r} is no file or folder, no hub name (owner/name) and no entry of amodal list weights; "
            f"{nearest(name, catalogue())}"
        )
    return Weights(name=name, kind="hub", summary="", sources=(name,), licence="as its page says")


def place_of(entry: Weights) -> Path:
    """Where amodal's cache keeps an entry: the file, or for "hub" the folder of its record (the files lie in the hub's cache)."""
    folder = cache_folder() / "weights" / entry.name.replace("/", "--")
    return folder / entry.file if entry.kind == "file" else folder


def record_of(entry: Weights) -> dict[str, Any]:
    """What the first fetch recorded: source, revision or sha256, size; empty if it was not fetched by amodal."""
    place = place_of(entry)
    path = (place.parent if entry.kind == "file" else place) / "record.json"
    return dict(read_json(path, WeightsError)) if path.is_file() else {}


def cached(entry: Weights) -> Path | None:
    """The file or folder of an entry on this machine, from whichever source it was fetched; None if it is not here."""
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
        if folder is not None:
            return folder
    return None


def check_folder(folder: Path) -> Path:
    """Check that what a folder in the hub's layout holds is whole: JSON parses, shards exist, safetensors have their length.

    Reads headers only, so it is fast for gigabytes. Returns the folder.

    Raises:
        WeightsError: names the first file that is cut short or missing.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        check_safetensors(path)
    for path in sorted(folder.rglob("*.json")):
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise WeightsError(f"{path} is not complete JSON; was it cut short? Fetch the folder again") from error
        missing = [file for file in _promised(path, content) if not file.exists()]
        if missing:
            raise WeightsError(f"{folder} is not whole: {path.name} promises {missing[0].relative_to(folder)}")
    return folder


def _promised(path: Path, content: Any) -> Iterator[Path]:
    """The files or folders that an index says must lie beside it."""
    if not isinstance(content, dict):
        return
    if path.name == "model_index.json":
        for part, value in content.items():
            if not part.startswith("_") and part not in UNUSED and isinstance(value, list) and value[0]:
                yield path.parent / part
    elif path.name.endswith(".index.json") and isinstance(content.get("weight_map"), dict):
        yield from (path.parent / shard for shard in sorted(set(content["weight_map"].values())))
