"""Sessions of ONNX Runtime for the networks that ship in the package. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import WeightsError, reason_of
from ..runtime.parallel import cores

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_session"]


def open_session(path: str, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session on the CPU; `threads` 0 takes one per core that this process may use.

    Raises:
        WeightsError: there is no such file, or it is no ONNX network.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or cores()  # told a number, it ties no thread to a core
    options.log_severity_level = 3
    # Memory is given back between calls: the networks are small, their scratch space is not.
    options.enable_cpu_mem_arena = False
    # Threads that wait sleep: on a busy machine spinning ones would take the cores that the others need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not Path(path).is_file():
        raise WeightsError(f"there is no file {path}; give an ONNX file that amodal export wrote")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes are not public
        raise WeightsError(f"{path} is no ONNX network that can be run: {reason_of(error)}") from error
