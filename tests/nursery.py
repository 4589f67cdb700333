"""A process that has imported everything and forks a child for each line of arguments: the child runs `amodal ...` at once.

A test that kills twenty processes would else spend its time on twenty imports. The children are processes like any other: they
have the pool, the files and the deaths of `python -m amodal`.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


class Child:
    """A running `amodal`."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.ended = False

    def running(self) -> bool:
        """Whether it still works; a child that has ended waits as a zombie until `code` is asked."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    def code(self) -> int:
        """Waits for its end: the exit code, or minus the signal that killed it."""
        return int(self.nursery.ask("wait"))


class Nursery:
    """The parent of the children; one at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def start(self, *arguments: str) -> Child:
        return Child(self, int(self.ask(json.dumps(arguments))))


@contextlib.contextmanager
def nursery(*modules: str) -> Iterator[Nursery]:
    """With these modules imported beside the command line's own."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, *modules]
    process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Nursery(process)
    finally:
        process.communicate()


def main() -> None:
    for name in ("amodal.cli", "amodal.batch.complete", "amodal.pipeline", "cv2", "scipy.ndimage", *sys.argv[1:]):
        importlib.import_module(name)
    import cv2

    from amodal import cli

    cv2.setNumThreads(1)
    pid = 0
    for line in sys.stdin:
        if line == "wait\n":
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            continue
        pid = os.fork()
        if not pid:
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            os._exit(cli.run(json.loads(line)))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
