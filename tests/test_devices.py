"""Devices and number formats."""

from __future__ import annotations

import pytest

from amodal.core.errors import OptionError
from amodal.runtime.devices import emulates_bf16, memory_info, pick_device, pick_dtype

torch = pytest.importorskip("torch")


def test_auto_is_the_best_there_is() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert pick_device().type == expected
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("bf16", torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "text"), [("gpu", "no device is named 'gpu'"), ("cuda:99", "device 'cuda:99' is not here: torch .* sees")]
)
def test_absent_devices(name: str, text: str) -> None:
    with pytest.raises(OptionError, match=text):
        pick_device(name)


def test_unknown_dtype() -> None:
    with pytest.raises(OptionError, match="no dtype is named 'half'"):
        pick_dtype("half", torch.device("cpu"))  # type: ignore[arg-type]


def test_memory() -> None:
    main = memory_info()[0]
    assert main["device"] == "cpu" and main["total"] > 1e8


@pytest.mark.parametrize(
    ("known", "emulated"),
    [
        ({"architecture": "x86_64", "avx2": True}, True),
        ({"architecture": "x86_64", "avx512_bf16": True}, False),
        ({"architecture": "x86_64", "amx_bf16": True}, False),
        ({"architecture": "aarch64"}, False),
        ({}, False),
    ],
)
def test_processors_without_bf16_are_known(
    known: dict[str, object], emulated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    assert emulates_bf16(torch.device("cpu")) is emulated
    assert not emulates_bf16(torch.device("meta"))
