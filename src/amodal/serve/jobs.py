"""`Desk`: one thread per device does the work: jobs from a bounded queue, and short questions between a job's steps."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from ..core.errors import AmodalError, Cancelled
from ..plugins.protocols import Progress

__all__ = ["Busy", "Desk", "Job"]

State = Literal["queued", "running", "done", "failed", "cancelled"]
log = logging.getLogger("amodal.serve")
ENDING = "the service is shutting down"


class Busy(AmodalError):
    """The queue is full."""


@dataclass(eq=False)
class Job:
    """A piece of work and how far it is.

    Attributes:
        kind: "completion", "repaint" or "layers".
        work: called with a `progress`; returns the result.
        what, done, total: the step it is at.
        error: why it failed, for the user.
    """

    kind: str
    work: Callable[[Progress], Any] | None
    owner: str = ""
    id: str = ""
    state: State = "queued"
    what: str = ""
    done: int = 0
    total: int = 0
    error: str | None = None
    result: Any = None
    created: float = field(default_factory=time.monotonic)
    started: float | None = None
    ended: float | None = None
    stop: str | None = None
    """Why it must stop, once it must."""
    on_end: Callable[[Job], None] | None = None
    """Called once, when nothing more will happen."""
    _listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started

    def changed(self) -> None:
        """Tell those who watch; from any thread."""
        for loop, event in list(self._listeners):
            with contextlib.suppress(RuntimeError):  # a loop that has ended
                loop.call_soon_threadsafe(event.set)

    async def watch(self, beat: float = 10.0) -> AsyncIterator[None]:
        """Yields at once, after every change, and every `beat` seconds; ends after the change to finished."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        self._listeners.append(mine)
        try:
            while True:
                mine[1].clear()
                finished = self.finished
                yield
                if finished:
                    return
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(mine[1].wait(), beat)
        finally:
            self._listeners.remove(mine)


class Desk:
    """The queue and its one thread."""

    def __init__(self, capacity: int, job_s: float, questions: int = 256) -> None:
        """
        Args:
            capacity: waiting jobs.
            job_s: seconds that a job may run.
            questions: waiting questions.
        """
        self.capacity = capacity
        self.job_s = job_s
        self.counts = dict.fromkeys(("done", "failed", "cancelled", "refused"), 0)
        self.busy_s = 0.0
        self._waiting: deque[Job] = deque()
        self._questions: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue(questions)
        self._wake = threading.Condition()
        self._closed = False
        self._running: Job | None = None
        self._thread = threading.Thread(target=self._loop, name="amodal-device", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue. Raises Busy."""
        with self._wake:
            if self._closed:
                raise Busy(ENDING)
            if len(self._waiting) >= self.capacity:
                self.counts["refused"] += 1
                raise Busy(f"{self.capacity} jobs are waiting already; try again in a moment")
            self._waiting.append(job)
            self._wake.notify()

    def ask(self, question: Callable[[], Any]) -> Future[Any]:
        """Answer a short question (a prompt's visible mask) soon: at once, or after the running job's step. Raises Busy."""
        answer: Future[Any] = Future()
        try:
            self._questions.put_nowait((question, answer))
        except queue.Full:
            self.counts["refused"] += 1
            raise Busy("too many prompts are waiting; try again in a moment") from None
        with self._wake:
            self._wake.notify()
        return answer

    def cancel(self, job: Job) -> None:
        """Stop a job: at once if it waits, within a step if it runs."""
        with self._wake:
            if job.finished:
                return
            job.stop = "cancelled"
            if job in self._waiting:
                self._waiting.remove(job)
                self._end(job, "cancelled", "cancelled before it began")
        for other in list(self._waiting):
            other.changed()

    def place(self, job: Job) -> int:
        """How many jobs come before it: 0 when it runs or is finished."""
        with self._wake:
            return self._waiting.index(job) + 1 if job in self._waiting else 0

    @property
    def waiting(self) -> int:
        """Length of the queue."""
        return len(self._waiting)

    def stop(self) -> None:
        """Take no more work; tell everyone who waits that the service ends. The running job stops at its next step."""
        with self._wake:
            self._closed = True
            while self._waiting:
                self._end(self._waiting.popleft(), "failed", ENDING)
            if self._running is not None:
                self._running.stop = ENDING
                self._end(self._running, "failed", ENDING)
            self._wake.notify()

    def close(self, timeout: float = 10.0) -> None:
        """`stop`, and wait for the thread."""
        self.stop()
        self._thread.join(timeout)
        self._answer_questions()

    def _loop(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not self._waiting and self._questions.empty():
                    self._wake.wait()
                if self._closed:
                    return
                job = self._waiting.popleft() if self._waiting and self._questions.empty() else None
                self._running = job
            self._answer_questions()
            if job is not None:
                self._run(job)
                self._running = None

    def _answer_questions(self) -> None:
        while True:
            try:
                question, answer = self._questions.get_nowait()
            except queue.Empty:
                return
            if not answer.set_running_or_notify_cancel():
                continue
            if self._closed:
                answer.set_exception(Busy(ENDING))
                continue
            try:
                answer.set_result(question())
            except BaseException as error:  # noqa: BLE001  it is the asker's
                answer.set_exception(error)

    def _run(self, job: Job) -> None:
        job.state, job.started = "running", time.monotonic()
        job.changed()
        for other in list(self._waiting):
            other.changed()
        try:
            assert job.work is not None
            self._progress(job, "", 0, 0)
            job.result = job.work(lambda what, done, total: self._progress(job, what, done, total))
            if job.finished:  # the service ended meanwhile
                job.result = None
            self._end(job, "done")
        except Cancelled as error:
            late = job.stop is not None and job.stop != "cancelled"
            self._end(job, "failed" if late else "cancelled", job.stop or str(error))
        except AmodalError as error:
            self._end(job, "failed", str(error))
        except MemoryError:
            self._end(job, "failed", "this needs more memory than there is; try a smaller photo or fewer samples")
        except Exception:
            log.exception("a job failed")
            self._end(job, "failed", "an internal error; the service's log has it")

    def _progress(self, job: Job, what: str, done: int, total: int) -> None:
        if job.started is not None and time.monotonic() - job.started > self.job_s:
            job.stop = f"it took longer than {self.job_s:g} seconds; use fewer steps or samples, or a smaller photo"
        if job.stop is not None:
            raise Cancelled(job.stop)
        job.what, job.done, job.total = what, done, total
        job.changed()
        self._answer_questions()

    def _end(self, job: Job, state: State, error: str | None = None) -> None:
        with self._wake:
            if job.finished:
                return
            job.ended = time.monotonic()
            job.error, job.state, job.work = error, state, None
            self.counts[state] += 1
            self.busy_s += job.seconds
        if job.on_end is not None:
            job.on_end(job)
        job.changed()
