"""The Hugging Face hub's cache on this machine, read by its documented layout: no package, no network."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ..core.errors import WeightsError, reason_of
from ..core.files import open_regular, read_text
from ..core.paths import own_path

__all__ = ["USUAL", "cached_snapshot", "damaged", "explain", "hub_cache"]

USUAL = ["*.json", "*.txt", "*.model", "*.safetensors"]
"""What is fetched of a repository that weights.toml does not know: no pickles."""


def hub_cache() -> Path:
    """The hub's cache folder: `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`."""
    direct = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if direct:
        return own_path(direct)
    base = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return own_path(base) / "hub"


def cached_snapshot(repository: str, revision: str | None = None) -> Path | None:
    """The folder of a repository `owner/name` in the cache (`models--owner--name/snapshots/COMMIT`), or None.

    Args:
        repository: `owner/name`.
        revision: a commit; None takes what `refs/main` says.
    """
    base = hub_cache() / f"models--{repository.replace('/', '--')}"
    if revision is None:
        ref = base / "refs" / "main"
        if not ref.is_file():
            return None
        revision = read_text(ref, WeightsError).strip()
    folder = base / "snapshots" / revision
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def damaged(folder: Path) -> list[Path]:
    """The files of a snapshot whose bytes are not those their names promise.

    The hub's cache names each blob by its hash: SHA-256 for large files, git's own SHA-1 for small ones; a snapshot links to
    them. Files that are no links (Windows without links) have no such name and are passed over.
    """
    return [path for path in sorted(folder.rglob("*")) if path.is_symlink() and not _true(path.resolve())]


def _true(blob: Path) -> bool:
    if not blob.is_file():
        return False
    if re.fullmatch("[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif re.fullmatch("[0-9a-f]{40}", blob.name):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size, usedforsecurity=False)
    else:
        return True
    with open_regular(blob, WeightsError) as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest() == blob.name


def explain(error: BaseException, repository: str) -> str:
    """An error of the hub's client in one line, with what to do; the answer of the server may lie behind it."""
    answer: BaseException | None = error
    while answer is not None and getattr(answer, "response", None) is None:
        answer = answer.__cause__ or answer.__context__
    status = getattr(getattr(answer, "response", None), "status_code", None)
    if status in (401, 403):
        page = f"https://huggingface.co/{repository}"
        return f"the hub asks for a login; accept the terms on {page}, then run: hf auth login  (or set HF_TOKEN)"
    if status == 404:
        return "the hub has no such repository or revision (any more)"
    return reason_of(answer or error).rstrip(".")
