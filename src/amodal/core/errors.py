"""The errors that amodal raises: each says what was given, what is needed and what to do next."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "MALFORMED",
    "AmodalError",
    "Cancelled",
    "ExistsError",
    "ImageError",
    "MaskError",
    "MissingExtraError",
    "MissingOptionError",
    "OptionError",
    "OutputError",
    "PluginError",
    "PromptError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "nearest",
    "reason_of",
    "reported",
    "unwritten",
]

MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What reading a record raises that lacks a field, or holds a value of a wrong type or size."""


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


class MissingOptionError(OptionError):
    """An option that has no useful default and was not given.

    Args:
        text: what is needed.
        setting: the option with a value, as an example: "weights=RUN/weights.safetensors".
    """

    def __init__(self, text: str, setting: str) -> None:
        super().__init__(text)
        self.setting = setting

    def __reduce__(self) -> tuple[type[MissingOptionError], tuple[str, str]]:
        return type(self), (str(self), self.setting)


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


class PluginError(AmodalError, RuntimeError):
    """A plug-in of another package that cannot be loaded or is not what it is offered as."""


class OutputError(AmodalError, OSError):
    """A result that cannot be written (exists already, no space, no permission)."""


class ExistsError(OutputError):
    """A result whose place is taken; nothing was changed there."""


class Cancelled(AmodalError):
    """The caller asked for the work to stop."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error text: the nearest known name, if any is near, and all of them."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}All: {', '.join(names)}" if names else "there are none"


def reason_of(error: BaseException, length: int = 200) -> str:
    """The text of a library's error in one line of at most `length` characters; its class where it has no text."""
    return " ".join(str(error).split())[:length] or type(error).__name__


def unwritten(error: OSError) -> str:
    """Why a file could not be written, and what to do about it."""
    number = error.errno
    reason = error.strerror or str(error)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space or choose another folder"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{reason}; choose a folder that you may write to"
    if number in (errno.EEXIST, errno.ENOTDIR):
        return "there is a file where a folder is needed; choose another folder"
    if number == errno.EISDIR:
        return "it is a folder; choose another name"
    return f"{reason}; choose another folder"


@contextmanager
def reported(error: type[AmodalError], what: str, hint: str = "") -> Iterator[None]:
    """Whatever a library raises inside the block on damaged input, as one line: `what (its reason); hint`. Ours pass as they are.

    For calls into libraries alone, whose errors on damaged files are of any class; never around our own steps.
    """
    try:
        yield
    except AmodalError:
        raise
    except Exception as reason:
        raise error(f"{what} ({reason_of(reason)})" + (f"; {hint}" if hint else "")) from reason
