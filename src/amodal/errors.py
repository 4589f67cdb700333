"""The errors that amodal raises: each says what was given, what is needed and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AmodalError",
    "Cancelled",
    "ImageError",
    "MaskError",
    "MissingExtraError",
    "OptionError",
    "OutputError",
    "PromptError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "nearest",
]


class AmodalError(Exception):
    """Base of all errors that a user can cause and mend; the command line prints it as one line and exits with 1."""

    exit_code = 1


class UsageError(AmodalError, ValueError):
    """The call itself is wrong (an option, a prompt, a name); the command line exits with 2."""

    exit_code = 2


class PromptError(UsageError):
    """A point, box, mask or text that does not fit the picture."""


class OptionError(UsageError):
    """An option of a method, inpainter, segmenter or recipe that does not exist or has a wrong value."""


class UnknownNameError(UsageError, LookupError):
    """A name that the registry does not hold."""


class ImageError(AmodalError, ValueError):
    """A picture that cannot be read or an array that is not one."""


class MaskError(AmodalError, ValueError):
    """A mask that cannot be read, is empty, or has the wrong size or type."""


class DataError(AmodalError, ValueError):
    """A data set, annotation or predictions file that is missing something or is malformed."""


class WeightsError(AmodalError, RuntimeError):
    """Weights that are absent, cut short, altered, or made for another network."""


class MissingExtraError(AmodalError, ImportError):
    """A package of an optional extra is not installed."""


class OutputError(AmodalError, OSError):
    """A result that cannot be written (exists already, no space, no permission)."""


class Cancelled(AmodalError):
    """The caller asked for the work to stop."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error text: the nearest known name, if any is near, and all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}All: {', '.join(names)}" if names else "there are none"
