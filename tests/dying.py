"""`python dying.py N ...` is `amodal ...` that dies of kill -9 with the N-th line of its journal: in the middle, however fast or
slow the machine is."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parents[1] / "src"


def dies(lines: int, *arguments: str) -> None:
    """Run `amodal` with these arguments until it dies so."""
    command = [sys.executable, __file__, str(lines), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    ended = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


if __name__ == "__main__":
    from amodal.cli import run
    from amodal.engine.store import Store

    append, lines = Store.append, itertools.count(1)

    def dying(self: Store, entry: Mapping[str, Any]) -> None:
        append(self, entry)
        if next(lines) == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)

    Store.append = dying
    sys.exit(run(sys.argv[2:]))
