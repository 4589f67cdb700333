"""Weights: the catalogue of what is known, fetching, hub layouts, reading tensors without running code."""

from .catalogue import (
    Weights,
    cache_folder,
    cached,
    check_folder,
    embedded,
    entries,
    entry_of,
    find,
    locate,
    offline,
    place_of,
    record_of,
    sha256,
)
from .tensors import fit_state, load_tensors

__all__ = [
    "Weights",
    "cache_folder",
    "cached",
    "check_folder",
    "embedded",
    "entries",
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
