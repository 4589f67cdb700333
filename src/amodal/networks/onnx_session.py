"""Sessions of ONNX Runtime for the networks that ship in the package. Needs no torch."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ..core.errors import WeightsError, reason_of
from ..runtime.parallel import cores

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_session"]

_OPENED: dict[tuple[str, int, int], Future[onnxruntime.InferenceSession]] = {}
_GUARD = Lock()


def open_session(path: str, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session on the CPU; `threads` 0 takes one per core that this process may use.

    A process opens a file once: whoever asks while another thread opens it waits for that.

    Raises:
        WeightsError: there is no such file, or it is no ONNX network.
    """
    if not Path(path).is_file():
        raise WeightsError(f"there is no file {path}; give an ONNX file that amodal export wrote")
    key = (path, Path(path).stat().st_mtime_ns, threads)
    with _GUARD:
        first = key not in _OPENED
        session = _OPENED.setdefault(key, Future())
    if first:
        try:
            session.set_result(_open(path, threads))
        except BaseException as error:
            del _OPENED[key]  # the next one tries again
            session.set_exception(error)
            raise
    return session.result()


def _open(path: str, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()  # told a number, it ties no thread to a core
    options.log_severity_level = 3
    # Memory is given back between calls: the networks are small, their scratch space is not.
    options.enable_cpu_mem_arena = False
    # Threads that wait sleep: on a busy machine spinning ones would take the cores that the others need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes are not public
        raise WeightsError(f"{path} is no ONNX network that can be run: {reason_of(error)}") from error
