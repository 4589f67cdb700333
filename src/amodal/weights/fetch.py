"""Fetching weights: mirrors in turn, resumed where it stopped, checked, and in place only when whole."""

from __future__ import annotations

import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from ..core.errors import AmodalError, OutputError, WeightsError, unwritten
from ..core.extras import missing
from ..core.files import read_text, write_json
from ..plugins.protocols import Progress, no_progress
from . import hub
from .catalogue import Weights, cached, check_folder, entry_of, offline, place_of, record_of, sha256
from .ready import size_text

__all__ = ["check", "fetch"]

BLOCK = 1 << 20
LOOSE = 50_000_000
"""Bytes by which a file may be larger than its record says: sizes are rounded."""
SPARE = 200_000_000
"""Bytes that must stay free on the disk."""


def fetch(name: str, progress: Progress = no_progress) -> Path:
    """Fetch weights if they are not here yet.

    Args:
        name: an entry of `weights.toml`, or a hub name `owner/name`.
        progress: called as ("MB", done, total) for single files; raising in it stops, and the next fetch goes on from there.
            The hub's client draws its own bars.

    Returns:
        the file or folder.

    Raises:
        UnknownNameError: no such weights.
        WeightsError: no source gave the right bytes; or the network is forbidden.
        OutputError: the disk is too small.
    """
    entry = entry_of(name)
    here = cached(entry)
    if here is not None and not mark(entry).exists():
        return check_folder(here) if here.is_dir() else here
    if offline():
        raise WeightsError(
            f"weights {name!r} are not here and AMODAL_OFFLINE or HF_HUB_OFFLINE forbids the network; unset it, or "
            f"{by_hand(entry)}"
        )
    get = fetch_file if entry.kind == "file" else fetch_hub
    reasons = []
    for source in entry.sources:
        try:
            return get(entry, source, progress)
        except WeightsError as error:
            reasons.append(f"{source}: {error}")
    raise WeightsError(
        f"weights {name!r} could not be fetched. {'; '.join(reasons)}. Try again later, set HF_ENDPOINT to a mirror of the "
        f"hub, or {by_hand(entry)}"
    )


def by_hand(entry: Weights) -> str:
    """What to copy, and to where, so that an entry is found without the network."""
    if entry.kind == "file":
        return f"copy the files to {place_of(entry)}"
    folder = "models--" + entry.sources[0].partition("@")[0].replace("/", "--")
    return f"copy the folder {folder} from the hub's cache of a machine that has it to {hub.hub_cache()}"


def check(name: str) -> list[str]:
    """Read fetched weights to the last byte and remove what is damaged, so that the next `fetch` gets it anew.

    Returns:
        the names of the damaged files; empty if all is well.

    Raises:
        UnknownNameError: no such weights.
        WeightsError: nothing of them is here.
    """
    entry = entry_of(name)
    here = cached(entry)
    if here is None:
        raise WeightsError(f"weights {name!r} are not on this machine; run: amodal fetch {name}")
    if entry.kind == "embedded":
        return []  # `cached` has compared it with its record
    if entry.kind == "file":
        expected = entry.sha256 or record_of(entry).get("sha256", "")
        if expected and sha256(here) != expected:
            here.unlink()
            return [here.name]
        return []
    bad = hub.damaged(here) + _cut_short(here, record_of(entry).get("files", {}))
    for path in bad:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    if bad:
        _begin(entry)
    return sorted({str(path.relative_to(here)) for path in bad})


def fetch_file(entry: Weights, source: str, progress: Progress) -> Path:
    """One file from an address (https, http, file), resumed from its `.part` if the server can."""
    target = place_of(entry)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _download(source, part, progress, entry.size)
    except AmodalError:
        raise
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise WeightsError(f"{getattr(error, 'reason', None) or error}") from error
    except OSError as error:
        raise OutputError(f"cannot write {part}: {unwritten(error)} (set AMODAL_HOME)") from error
    digest = sha256(part)
    expected = entry.sha256 or record_of(entry).get("sha256", "")
    if expected and digest != expected:
        part.unlink()
        raise WeightsError(f"gave another file (sha256 {digest[:12]}..., the record says {expected[:12]}...)")
    os.replace(part, target)
    write_json(target.parent / "record.json", {"source": source, "sha256": digest, "size": target.stat().st_size})
    return target


def _download(source: str, part: Path, progress: Progress, size: int) -> None:
    """Append what is missing to `part`; start anew if the server cannot resume or has another file now.

    Args:
        source: the address.
        part: the file so far.
        progress: as in `fetch`.
        size: bytes of the whole, as far as known: whatever the server sends, not much more is taken.
    """
    tag = part.with_name(part.name + ".etag")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(source, headers={"User-Agent": "amodal"})
    if have and tag.exists():
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", read_text(tag, WeightsError))
    try:
        answer = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise WeightsError(f"HTTP {error.code} {error.reason}") from error
        part.unlink()  # it is as long as the file or longer: begin again
        return _download(source, part, progress, size)
    with answer:
        resumed = answer.status == 206
        if resumed and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise WeightsError(
                "the server sent another part of the file than was asked for; run the same command again"
            )
        have = have if resumed else 0
        length = answer.headers.get("Content-Length") or ""
        total = have + int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0
        most = max(2 * size, size + LOOSE) if size else 0
        if most and total > most:
            raise WeightsError(f"the server has {size_text(total)} for it, {size_text(size)} are on record")
        _room(part.parent, total - have)
        if answer.headers.get("ETag"):
            tag.write_text(answer.headers["ETag"], encoding="utf-8")
        with open(part, "ab" if resumed else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                if most and have > most:
                    raise WeightsError(f"the server sends more than the {size_text(size)} that are on record")
                if not total:
                    _room(part.parent, 0)
                progress("MB", have // BLOCK, max(total, have) // BLOCK)
        if total and have != total:
            raise WeightsError(
                f"the connection broke off at {have:,} of {total:,} bytes; run the same command to go on"
            )
    tag.unlink(missing_ok=True)


def fetch_hub(entry: Weights, source: str, _: Progress) -> Path:
    """The needed files of a hub repository, through the hub's own client and into its own cache."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise missing(f"fetching {entry.name!r}", error, "diffusion") from error
    if not sys.stderr.isatty():
        disable_progress_bars()
    repository, commit = source.partition("@")[::2]
    known = record_of(entry)
    revision = commit or (known.get("revision") if known.get("source") == repository else None)
    wanted = {
        "repo_id": repository,
        "revision": revision,
        "allow_patterns": list(entry.files) or hub.USUAL,
        "cache_dir": hub.hub_cache(),
        "endpoint": os.environ.get("HF_ENDPOINT") or None,
    }
    try:
        plan = snapshot_download(**wanted, dry_run=True)
        if not plan:
            raise WeightsError("none of the files that are needed is there")
        _room(hub.hub_cache(), sum(info.file_size for info in plan if info.will_download))
        _begin(entry)
        folder = Path(snapshot_download(**wanted))
    except AmodalError:
        raise
    except (OSError, ValueError) as error:
        raise WeightsError(hub.explain(error, repository)) from error
    sizes = {info.filename: info.file_size for info in plan}
    check_folder(folder)
    write_json(
        place_of(entry) / "record.json",
        {"source": repository, "revision": folder.name, "size": sum(sizes.values()), "files": sizes},
    )
    mark(entry).unlink(missing_ok=True)
    return folder


def mark(entry: Weights) -> Path:
    """The file that says that a fetch of a folder has begun and not ended."""
    return place_of(entry) / "unfinished"


def _begin(entry: Weights) -> None:
    try:
        mark(entry).parent.mkdir(parents=True, exist_ok=True)
        mark(entry).touch()
    except OSError as error:
        raise OutputError(
            f"cannot write {mark(entry)}: {error.strerror}; set AMODAL_HOME to a folder of yours"
        ) from error


def _cut_short(folder: Path, sizes: dict[str, int]) -> list[Path]:
    return [
        folder / name
        for name, size in sizes.items()
        if not (folder / name).exists() or (folder / name).stat().st_size != size
    ]


def _room(folder: Path, needed: int) -> None:
    """Raise OutputError unless the disk of `folder` has room for `needed` bytes."""
    there = folder
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if needed + SPARE > free:
        raise OutputError(
            f"{size_text(needed)} are needed in {folder}, {size_text(max(free, 1))} are free; free some space, or set AMODAL_HOME "
            "and HF_HOME to a larger disk"
        )
