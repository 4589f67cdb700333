"""Loading networks without the bars and reports of the libraries: what is wrong comes as an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no log lines of transformers and diffusers inside the block."""
    from diffusers.utils import logging as diffusers
    from transformers.utils import logging as transformers

    levels = transformers.get_verbosity(), diffusers.get_verbosity()
    bars = transformers.is_progress_bar_enabled(), diffusers.is_progress_bar_enabled()
    for library in (transformers, diffusers):
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level, bar in zip((transformers, diffusers), levels, bars, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()
