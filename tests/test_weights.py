"""The catalogue of weights, and finding what lies on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amodal.core.errors import UnknownNameError, WeightsError
from amodal.weights import catalogue
from amodal.weights.catalogue import Weights
from amodal.weights.config import read_config
from amodal.weights.ready import state


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches of our own: no test sees or changes those of the user."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "AMODAL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


def given(monkeypatch: pytest.MonkeyPatch, **entries: dict[str, object]) -> None:
    table = {name: Weights(name=name, summary="", license="MIT", **entry) for name, entry in entries.items()}  # type: ignore[arg-type]
    monkeypatch.setattr(catalogue, "entries", lambda: table)


def test_every_embedded_file_is_what_the_record_says() -> None:
    for name, entry in catalogue.entries().items():
        assert entry.kind in ("file", "hub", "embedded")
        if entry.kind == "embedded":
            assert catalogue.embedded(name).is_file()


def test_embedded_checks_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_weights").mkdir()
    file = tmp_path / "_weights" / "net.onnx"
    file.write_bytes(b"network")
    digest = catalogue.sha256(file)
    given(monkeypatch, net={"kind": "embedded", "file": "net.onnx", "sha256": digest, "package": tmp_path})
    assert catalogue.embedded("net") == file == catalogue.locate("net")
    file.write_bytes(b"altered")
    with pytest.raises(WeightsError, match=r"'net' are damaged: the file has sha256 \w+\.\.\., the record says \w+"):
        catalogue.embedded("net")
    file.unlink()
    with pytest.raises(WeightsError, match="'net' are missing from this installation"):
        catalogue.embedded("net")


def test_embedded_is_only_for_what_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, big={"kind": "hub", "sources": ("some/where",)})
    with pytest.raises(WeightsError, match="'big' do not ship in the package; run: amodal fetch big"):
        catalogue.embedded("big")
    with pytest.raises(UnknownNameError, match="no weights named 'bog'; did you mean 'big'"):
        catalogue.embedded("bog")


def test_a_malformed_catalogue(tmp_path: Path) -> None:
    file = tmp_path / "weights.toml"
    file.write_text('[net]\nkind = "hub"\nsummary = "x"\nlicense = "MIT"\nsizes = 3\n')
    with pytest.raises(WeightsError, match=r"weights.toml: sizes: extra inputs are not permitted"):
        catalogue.entries(file)


NOTHING = (2).to_bytes(8, "little") + b"{}"
"""A safetensors file without tensors."""
SD15 = "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb"


def snapshot(home: Path, repository: str, commit: str = "c0ffee") -> Path:
    base = home / "hf" / "hub" / f"models--{repository.replace('/', '--')}"
    folder = base / "snapshots" / commit
    folder.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text(commit)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(NOTHING)
    return folder


def test_locate_takes_the_first_source_that_is_here(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, sd={"kind": "hub", "sources": ("gone/sd", "mirror/sd"), "size": 4_270_000_000})
    with pytest.raises(
        WeightsError, match=r"'sd' are not on this machine; run: amodal fetch sd  \(4\.3 GB, license MIT"
    ):
        catalogue.locate("sd")
    folder = snapshot(home, "mirror/sd")
    assert catalogue.locate("sd") == folder == catalogue.locate("mirror/sd")


def test_a_snapshot_without_tensors_is_not_here(home: Path) -> None:
    """Another program looked at a configuration: the model was `here`, a fetch had nothing to do, and its use asked to fetch it."""
    folder = snapshot(home, "facebook/sam-vit-base")
    assert catalogue.locate("sam-vit-b") == folder and state("sam-vit-b") == "here"
    (folder / "model.safetensors").unlink()
    assert state("sam-vit-b") == "not here"
    for name in ("sam-vit-b", "facebook/sam-vit-base"):
        with pytest.raises(WeightsError, match=f"are not on this machine; run: amodal fetch {name}"):
            catalogue.locate(name)
    # Parts in another precision than the one that is fetched will do; a part without any will not.
    folder = snapshot(home, "stable-diffusion-v1-5/stable-diffusion-inpainting", SD15)
    for part in ("scheduler", "tokenizer", "text_encoder", "unet", "vae"):
        assert state("sd15") == "not here"
        (folder / part).mkdir()
        (folder / part / "model.safetensors").write_bytes(NOTHING)
    assert state("sd15") == "here"


def test_locate_own_folders_and_files(home: Path) -> None:
    (home / "own").mkdir()
    assert catalogue.locate(str(home / "own")) == home / "own"
    (home / "own" / "net.ckpt").write_bytes(b"x")
    assert catalogue.locate(str(home / "own" / "net.ckpt")) == home / "own" / "net.ckpt"
    with pytest.raises(WeightsError, match=r"'no/body' are not on this machine; run: amodal fetch no/body"):
        catalogue.locate("no/body")
    for name in (str(home / "absent"), "./absent", "a/b/c", "plain"):
        with pytest.raises(UnknownNameError, match="is no file or folder, no hub name"):
            catalogue.locate(name)


def test_a_folder_that_is_not_whole(home: Path) -> None:
    folder = home / "own"
    folder.mkdir()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
    with pytest.raises(WeightsError, match=r"is incomplete: model.safetensors.index.json promises model-1.safetensors"):
        catalogue.locate(str(folder))
    index.write_text('{"weight_map": {"a"')
    with pytest.raises(WeightsError, match=r"is not complete JSON: .*; was it cut short"):
        catalogue.locate(str(folder))
    index.write_text('{"weight_map": {"a": ["model-1.safetensors"], "b": 2}}')
    with pytest.raises(WeightsError, match=r"model.safetensors.index.json names shards that are no files"):
        catalogue.locate(str(folder))
    index.write_text('{"weight_map": {"a": "/nowhere/model-1.safetensors"}}')
    with pytest.raises(WeightsError, match=r"promises /nowhere/model-1.safetensors"):
        catalogue.locate(str(folder))
    index.unlink()
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "X", "unet": ["diffusers", "U"], "none": [None, None], "empty": []})
    )
    with pytest.raises(WeightsError, match=r"model_index.json promises unet"):
        catalogue.locate(str(folder))
    (folder / "unet").mkdir()
    (folder / "unet" / "model.safetensors").write_bytes((100).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsError, match=r"is not a whole safetensors file"):
        catalogue.locate(str(folder))


def test_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not catalogue.offline()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert catalogue.offline()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([1], "is a JSON object"),
        ({"vision_config": {"num_hidden_layers": 10**30}}, "says num_hidden_layers = 1000.*, at most 1,000"),
        ({"depths": [2, 2, 100_000]}, "says depths = 100000"),
        ({"hidden_size": -(10**9)}, "at most 10,000,000"),
    ],
)
def test_a_configuration_that_no_network_has(tmp_path: Path, content: object, text: str) -> None:
    """A library would build such layers without an end."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=text):
        read_config(path)
    path.write_text(json.dumps({"depths": [2, 18], "vocab_size": 250_112, "eps": 1e-6, "tied": True, "name": "x"}))
    assert read_config(path)["depths"] == [2, 18]
