"""`amodal data convert-weights`, and a checkpoint that is converted at its first use."""

import json

import pytest

pytest.importorskip("torch")

import torch

from amodal.cli import fetch, run
from amodal.core.errors import WeightsError
from amodal.networks.latent_diffusion import convert, folder
from tiny_pix2gestalt import TINY, lightning, original_state, tiny_networks


def test_convert_and_refusals(tmp_path, monkeypatch, capsys):
    path = tmp_path / "epoch=000005.ckpt"
    torch.save(lightning(original_state(tiny_networks())), path)
    assert (
        run(["data", "convert-weights", str(path), str(tmp_path / "x")]) == 1
    )  # tiny shapes are not the published ones
    assert "does not fit" in capsys.readouterr().err or not (tmp_path / "x").exists()
    monkeypatch.setitem(convert.convert_checkpoint.__kwdefaults__, "architecture", TINY)
    assert run(["data", "convert-weights", str(path), str(tmp_path / "out"), "--dtype", "fp32", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert set(record["files"]) == {f"{part}/{file}" for part, file in convert.FILES.items() if part != "volume"}
    assert run(["data", "convert-weights", str(path), str(tmp_path / "out")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(["data", "convert-weights", str(path), str(tmp_path / "y"), "--dtype", "int8"]) == 1


def test_fetch_converts(tmp_path, monkeypatch):
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(folder.ready_folder, "__defaults__", (TINY, *folder.ready_folder.__defaults__[1:]))
    repository = tmp_path / "hub" / "models--cvlab--pix2gestalt-weights"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    torch.save(lightning(original_state(tiny_networks())), snapshot / "epoch=000005.ckpt")
    (snapshot / "epoch=000010.ckpt").write_bytes(b"PK")  # the repository's other one: the entry names the first
    ticks = []
    with pytest.warns(UserWarning, match="converting"):
        made = fetch.prepare("pix2gestalt", snapshot, lambda *progress: ticks.append(progress))
    assert (made / "model_index.json").is_file() and made.is_relative_to(tmp_path / "home") and ticks
    assert fetch.prepare("clip", snapshot, lambda *progress: None) == snapshot


def test_checkpoint_is_converted_at_its_first_use(tmp_path, monkeypatch):
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    path = tmp_path / "epoch=000005.ckpt"
    torch.save(lightning(original_state(tiny_networks())), path)
    with pytest.warns(UserWarning, match="converting epoch=000005.ckpt"):
        first = folder.ready_folder(str(path), TINY)
    assert (first / "unet" / "config.json").is_file() and first.is_relative_to(tmp_path / "home")
    assert folder.ready_folder(str(path), TINY) == first  # no second warning: that would be an error
    assert folder.ready_folder(str(first), TINY) == first
    # The same name and size, other weights: another conversion. Two checkpoints in a folder: which is meant must be said.
    other = tmp_path / "other" / path.name
    other.parent.mkdir()
    torch.save(lightning(original_state(tiny_networks(seed=1))), other)
    assert other.stat().st_size == path.stat().st_size
    with pytest.warns(UserWarning, match="converting epoch=000005.ckpt"):
        assert folder.ready_folder(str(other), TINY) != first
    (other.parent / "last.ckpt").write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"holds 2 checkpoints \(epoch=000005.ckpt, last.ckpt\); name the one"):
        folder.ready_folder(str(other.parent), TINY)
