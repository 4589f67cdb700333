"""The command line: one file a command group, heavy imports inside the commands."""

from __future__ import annotations

import gc
import io
import os
import sys
import warnings

__all__ = ["main"]

LONGEST = 1500
"""Characters that the line of an error may have: names come from files, which may hold anything."""


def main(arguments: list[str] | None = None) -> None:
    """Run `amodal`; exits with 0 (all well), 1 (failed), 2 (wrong use), 3 (some items failed) or 130 (Ctrl-C)."""
    gc.disable()  # until the command is imported (`app.Commands`): nothing of all this is garbage
    _open_streams()
    try:
        sys.exit(run(arguments))
    except KeyboardInterrupt:  # while `run` imports what it needs
        sys.exit(_fail("stopped", 130))


def run(arguments: list[str] | None = None) -> int:
    """The command line as a function: returns the exit code instead of ending the program."""
    from typer.main import get_command

    from ..core.errors import AmodalError
    from ..core.extras import told
    from .app import build

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names that are no text are printed with escapes
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _one_line
        try:
            get_command(build()).main(args=arguments, prog_name="amodal")
        except SystemExit as end:
            if end.code == 130:  # typer's answer to Ctrl-C
                return _fail(_stopped(sys.argv[1:] if arguments is None else arguments), 130)
            return end.code if isinstance(end.code, int) else 0
        except AmodalError as error:
            return _fail(f"{error}{_flags(error)}", error.exit_code)
        except ImportError as error:
            if (known := told(error)) is None:
                raise
            return _fail(str(known), known.exit_code)
        except KeyboardInterrupt:  # before or after typer's own part
            return _fail("stopped", 130)
        except BrokenPipeError:
            sys.stderr.close()
            return 1
        except OSError as error:  # a full disk, a folder that may not be written, a name too long
            return _fail(f"{error.strerror or error}{f': {str(error.filename)[:200]}' if error.filename else ''}", 1)
        except MemoryError:
            return _fail("there is not enough memory for this; take a smaller picture or close other programs", 1)
    return 0


def _open_streams() -> None:
    """A stream that the caller has closed (`2>&-`) leads nowhere; else a file that is opened later takes its number, and
    what libraries print goes into that file."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  for the life of the process


def _stopped(words: list[str]) -> str:
    """What to say after Ctrl-C."""
    goes_on = words[:1] in (["batch"], ["evaluate"], ["train"], ["fetch"]) or words[:2] == ["data", "build"]
    if not goes_on:
        return "stopped"
    return f"stopped; the same command{' without --force' if '--force' in words else ''} goes on"


def _flags(error: Exception) -> str:
    """The options that mend an error; errors themselves know of none."""
    from ..core.errors import ExistsError, MissingOptionError
    from ..engine.store import InUseError, OtherSettingsError

    if isinstance(error, OtherSettingsError):
        return " (--force begins anew, -o names another folder)"
    if isinstance(error, MissingOptionError):
        return f" (--set {error.setting})"
    if isinstance(error, ExistsError):
        return " (--force replaces it, -o names another place)"
    return " (-o names another folder)" if isinstance(error, InUseError) else ""


def _fail(text: str, code: int) -> int:
    line = " ".join(text.splitlines())
    print(f"amodal: {line if len(line) <= LONGEST else f'{line[:LONGEST]} ...'}", file=sys.stderr)
    return code


def _one_line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if category is UserWarning:
        print(f"amodal: warning: {message}", file=sys.stderr)
