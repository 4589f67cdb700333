"""The command line: one file a command group, heavy imports inside the commands."""

from __future__ import annotations

import sys
import warnings

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run `amodal`; exits with 0 (all well), 1 (failed), 2 (wrong use) or 3 (some items failed)."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The command line as a function: returns the exit code instead of ending the program."""
    from typer.main import get_command

    from ..errors import AmodalError
    from .app import build

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _one_line
        try:
            get_command(build()).main(args=arguments, prog_name="amodal")
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 0
        except AmodalError as error:
            return _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            return _fail("stopped", 1)
        except BrokenPipeError:
            sys.stderr.close()
            return 1
    return 0


def _fail(text: str, code: int) -> int:
    print(f"amodal: {text}", file=sys.stderr)
    return code


def _one_line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if category is UserWarning:
        print(f"amodal: warning: {message}", file=sys.stderr)
