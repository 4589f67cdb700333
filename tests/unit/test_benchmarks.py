"""Benchmarks that need a GPU, rehearsed with narrow networks on the CPU."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")


@pytest.mark.slow
def test_inpainters_beside_pix2gestalt():
    from benchmarks.beside_pix2gestalt import REPORTED, compare

    found = compare(torch.device("cpu"), torch.float32, small=True, steps=1, theirs=2)
    assert list(found["networks"]) == ["pix2gestalt", "sd15", "sd2", "sdxl"] and set(REPORTED) < set(found["networks"])
    assert all(row["seconds"] > 0 and row["peak_bytes"] is None for row in found["networks"].values())
    assert all(found["networks"][name]["faster"] > 0 for name in REPORTED)
