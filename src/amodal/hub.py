"""The Hugging Face hub's cache on this machine, read by its documented layout: no package, no network."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cached_snapshot", "hub_cache"]


def hub_cache() -> Path:
    """The hub's cache folder: `$HF_HUB_CACHE`, else `$HF_HOME/hub`, else `~/.cache/huggingface/hub`."""
    direct = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if direct:
        return Path(direct).expanduser()
    base = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(base).expanduser() / "hub"


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
        revision = ref.read_text(encoding="utf-8").strip()
    folder = base / "snapshots" / revision
    return folder if folder.is_dir() and any(folder.iterdir()) else None
