"""`make bench-gpu`, rehearsed on the CPU: every part runs and saves what it found."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from benchmarks import gpu
from disc_sets import make_discs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected")  # of diffusers' code, when it is compiled
@pytest.mark.parametrize("part", gpu.PARTS)
def test_every_part_runs_at_tiny_size(part, tmp_path, monkeypatch):
    make_discs(tmp_path / "data" / "composites")
    monkeypatch.chdir(tmp_path)
    assert gpu.main(["--tiny", "-o", str(tmp_path), part]) == 0
    content = json.loads((tmp_path / f"{part}.json").read_text())
    assert content["tiny"] and content["result"] and "failed" not in content
    if part == "training":
        assert content["result"]["short-occamodal"]["steps_per_s"] > 0


def test_a_part_that_fails_is_told_and_the_next_begins(tmp_path, monkeypatch, capsys):
    def broken(device, tiny):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(gpu, "PARTS", {"broken": broken, "fine": lambda device, tiny: {"seconds": 1}})
    assert gpu.main(["--tiny", "-o", str(tmp_path), "broken", "fine"]) == 1
    assert "out of memory" in json.loads((tmp_path / "broken.json").read_text())["failed"]
    assert json.loads((tmp_path / "fine.json").read_text())["result"] == {"seconds": 1}
    assert gpu.main(["--tiny", "-o", str(tmp_path), "--seconds", "-1", "fine"]) == 1
    assert "no time left" in capsys.readouterr().out


def test_without_a_gpu_it_says_so(capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert gpu.main([]) == 2
    assert "--tiny" in capsys.readouterr().err
