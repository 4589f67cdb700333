"""Devices and number formats: `auto` resolved in one place, and what memory there is."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any, Literal

from ..core.errors import OptionError
from ..core.files import read_text

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPES", "Dtype", "check_device", "emulates_bf16", "memory_info", "pick_device", "pick_dtype"]

Dtype = Literal["auto", "fp32", "fp16", "bf16"]
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def check_device(name: str) -> str:
    """`name` itself, if it is one that `pick_device` may know; torch is not imported, nor the machine asked.

    Raises:
        OptionError: not "auto", "cpu", "mps", "cuda" or "cuda:N".
    """
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise OptionError(f"no device is named {name!r}; use auto, cpu, cuda, cuda:1 or mps")
    return name


def pick_device(name: str = "auto") -> torch.device:
    """The torch device of a name: "auto" is the first CUDA GPU, else Apple's MPS, else the CPU.

    Args:
        name: "auto", "cpu", "cuda", "cuda:1", "mps".

    Raises:
        OptionError: not a device, or not present in this machine or this build of torch.
    """
    import torch

    check_device(name)
    has = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if name == "auto":
        return torch.device("cuda" if has["cuda"] else "mps" if has["mps"] else "cpu")
    device = torch.device(name)
    if (device.index or 0) >= has.get(device.type, 0):
        raise OptionError(
            f"device {name!r} is not here: torch {torch.__version__} sees {has['cuda']} CUDA and {has['mps']} MPS devices; "
            "use the device auto, or install a torch build for your GPU"
        )
    return device


def pick_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """The torch dtype of a name: "auto" is bf16 on GPUs that have it, else fp16 on a GPU, else fp32 (CPU and MPS).

    Args:
        name: "auto", "fp32", "fp16", "bf16".
        device: where the network will run.

    Raises:
        OptionError: not a name of the list.
    """
    import torch

    if name == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if name not in DTYPES:
        raise OptionError(f"no dtype is named {name!r}; use auto, {', '.join(DTYPES)}")
    dtype = getattr(torch, DTYPES[name])
    assert isinstance(dtype, torch.dtype)
    return dtype


def emulates_bf16(device: torch.device) -> bool:
    """Whether bf16 is slower than fp32 here: an x86 processor without instructions for it (AVX-512 BF16, AMX)."""
    import torch

    if device.type != "cpu":
        return False
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not tell
    return known.get("architecture") == "x86_64" and not (known.get("avx512_bf16") or known.get("amx_bf16"))


def memory_info() -> list[dict[str, Any]]:
    """The machine's memory, then each GPU's: `device`, `name`, `free` and `total` in bytes (None where it cannot be told).

    GPUs are told only if torch is installed already; it is not imported for anything else.
    """
    rows: list[dict[str, Any]] = [{"device": "cpu", "name": f"{os.cpu_count()} cores", **_main_memory()}]
    try:
        import torch
    except ImportError:
        return rows
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        rows.append(
            {"device": f"cuda:{index}", "name": torch.cuda.get_device_name(index), "free": free, "total": total}
        )
    if torch.backends.mps.is_available():
        rows.append({"device": "mps", "name": "Apple GPU", "free": None, "total": None})
    return rows


def _main_memory() -> dict[str, int | None]:
    if sys.platform == "linux":
        lines = read_text("/proc/meminfo").splitlines()
        fields = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        return {"free": fields.get("MemAvailable"), "total": fields.get("MemTotal")}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return {"free": None, "total": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")}
    return {"free": None, "total": None}
