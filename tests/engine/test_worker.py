"""The engine below every batch: rows are taken as they are needed, results can be had in order, a bug costs one row."""

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from amodal.core.errors import UsageError
from amodal.engine.local import run_local
from amodal.engine.worker import Row, Spec, Worker, done, in_order, seed_of

ROWS = [Row(f"r{n}", {"n": n}, (f"r{n}#0", f"r{n}#1")) for n in range(4, 16)]
NUMBERS = Spec("scale_numbers:Numbers", seed=7)


def test_a_pool_takes_rows_as_it_needs_them_and_gives_what_one_process_gives():
    taken = 0

    def rows():
        nonlocal taken
        for row in ROWS:
            taken += 1
            yield row

    given = {}
    for row, results in run_local(NUMBERS, rows(), workers=2):
        given[row.id] = results
        assert taken <= len(given) + 4
    assert given == {row.id: results for row, results in run_local(NUMBERS, ROWS)}


def test_leaving_a_pool_waits_for_nothing():
    """After Ctrl-C or an error nobody would take what the workers still do: they end at once, whatever they are at."""
    rows = run_local(Spec("scale_numbers:Sleeper"), iter(ROWS), workers=2)
    next(rows)
    start = time.monotonic()
    rows.close()
    assert time.monotonic() - start < 30


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_is_sent_to_all_processes_of_a_terminal_and_ends_them():
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "from amodal.engine.local import run_local; from amodal.engine.worker import Row, Spec\n"
        "try:\n for _ in run_local(Spec('scale_numbers:Sleeper'), [Row(str(n), {'n': n}, (str(n),)) for n in range(9)], 2):\n"
        "  print('one', flush=True)\n"
        "except KeyboardInterrupt: print('stopped')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"one\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert out == b"stopped\n" and b"Traceback" not in err


def test_in_order():
    def backwards(rows):
        rows = list(rows)
        for first in range(0, len(rows), 5):
            yield from ((row, Worker(NUMBERS)([row])[0]) for row in rows[first : first + 5][::-1])

    assert list(in_order(backwards, ROWS)) == list(run_local(NUMBERS, ROWS))
    assert list(in_order(backwards, [])) == []


def test_a_work_that_is_there_already():
    work = lambda row, seed: done(row, {"seed": seed(row.id)})  # noqa: E731
    ((row, results),) = partial(run_local, Spec(work, seed=3))(ROWS[:1])
    assert results[0].record == {"id": row.id, "status": "done", "error": None, "seed": seed_of(row.id, 3)}


def test_a_cluster_that_does_not_let_us_in_is_told_at_once(monkeypatch, capfd):
    """Nobody listens: no minutes of waiting. A refusal: the token's setting is named, and Ray's own lines are kept in a file."""
    from amodal.engine import ray as engine_ray

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))  # bound, but not listening
        with pytest.raises(UsageError, match="no Ray cluster answers"):
            engine_ray._start(None, f"127.0.0.1:{busy.getsockname()[1]}", 1)

    class Refusing:
        @staticmethod
        def init(**how):
            os.write(2, b"E 12 34 rpc.cc: a frightening line\n")
            raise RuntimeError("RPC error: Unauthenticated.\nmany more lines")

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(
        UsageError, match=r"Unauthenticated\. .*RAY_AUTH_MODE must be as there, here it is disabled"
    ) as error:
        engine_ray._start(Refusing, "auto", 1)
    log = Path(str(error.value).rsplit(" ", 1)[1])
    assert b"frightening" in log.read_bytes() and capfd.readouterr().err == ""
    log.unlink()
