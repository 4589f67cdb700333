"""Reading tensors: the formats, the wrappings, and files that must not be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from amodal.core.errors import WeightsError  # noqa: E402
from amodal.weights.tensors import check_safetensors, fit_state, load_tensors  # noqa: E402


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"inc.weight": torch.arange(6.0).reshape(2, 3), "inc.bias": torch.ones(2)}


class Callback:
    """A class that a training program leaves in its checkpoints, known to the writer alone."""

    def __init__(self) -> None:
        self.best = 3


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.system, ("touch /tmp/amodal-was-here",))


def same(found: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> bool:
    return found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


def wrappings(state: dict[str, torch.Tensor]) -> dict[str, object]:
    return {
        "plain": state,
        "parallel": {f"module.{k}": v for k, v in state.items()},
        "compiled": {f"_orig_mod.module.{k}": v for k, v in state.items()},
        "sdamodal": {"step": 56000, "state_dict": {f"module.{k}": v for k, v in state.items()}, "optimizer": {}},
        "lightning": {
            "epoch": 5,
            "global_step": 3200,
            "callbacks": {Callback: {"best_model_score": torch.tensor(0.1), "monitor": Callback()}},
            "state_dict": state,
        },
    }


@pytest.mark.parametrize("kind", ["plain", "parallel", "compiled", "sdamodal", "lightning"])
@pytest.mark.parametrize("new_format", [True, False])
def test_torch_files(tmp_path: Path, state: dict[str, torch.Tensor], kind: str, new_format: bool) -> None:
    file = tmp_path / "epoch=000005.ckpt"
    torch.save(wrappings(state)[kind], file, _use_new_zipfile_serialization=new_format)
    if kind == "lightning" and not new_format:
        with pytest.raises(WeightsError, match="holds more than tensors"):
            load_tensors(file)
        return
    assert same(load_tensors(file), state)


def test_safetensors_and_prefix(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "net.safetensors"
    save_file({f"first_stage_model.{k}": v for k, v in state.items()} | {"betas": torch.zeros(3)}, file)
    assert same(load_tensors(file, "first_stage_model."), state)
    assert len(load_tensors(file)) == 3
    with pytest.raises(WeightsError, match=r"holds no tensor named unet\.\*; it holds 3: "):
        load_tensors(file, "unet.")


def test_nothing_is_run(tmp_path: Path) -> None:
    mark = Path("/tmp/amodal-was-here")
    mark.unlink(missing_ok=True)
    for new_format in (True, False):
        torch.save({"state_dict": {"a": Bomb()}}, tmp_path / "x.pt", _use_new_zipfile_serialization=new_format)
        with pytest.raises(WeightsError, match="could run code"):
            load_tensors(tmp_path / "x.pt")
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_cut_short(tmp_path: Path, suffix: str, part: float) -> None:
    file = tmp_path / f"net{suffix}"
    tensors = {"a": torch.randn(64, 64)}
    save_file(tensors, file) if suffix == ".safetensors" else torch.save(tensors, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(WeightsError, match=r"(is empty|is cut short|has \d|is not a whole|damaged).*fetch"):
        load_tensors(file)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"<!DOCTYPE html><html>login</html>", "is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is a Git LFS pointer"),
        (b"nothing of the kind, but long enough to be read as a header", "neither a safetensors nor a torch file"),
    ],
)
def test_what_is_no_weights_file(tmp_path: Path, content: bytes, text: str) -> None:
    file = tmp_path / "x.ckpt"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=text):
        load_tensors(file)


def test_absent_or_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        load_tensors(tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match="is a folder"):
        load_tensors(tmp_path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="holds no tensors by name"):
        load_tensors(tmp_path / "list.pt")


def test_check_safetensors_needs_no_torch(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    file = tmp_path / "net.safetensors"
    save_file(state, file)
    check_safetensors(file)
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(WeightsError, match="its header says"):
        check_safetensors(file)


def test_fit_state_is_all_or_nothing() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    state = {k: torch.full_like(v, 2) for k, v in before.items() if k != "1.num_batches_tracked"}
    wrong = {**state, "0.weight": torch.zeros(3, 3), "head.weight": torch.zeros(1)}
    del wrong["1.bias"]
    with pytest.raises(WeightsError) as caught:
        fit_state(net, wrong, "tiny")
    assert str(caught.value) == (
        "weights 'tiny' do not fit this network: of 7 tensors, 1 missing (1.bias); 1 unexpected (head.weight); "
        "1 of another shape (0.weight is 3x3, should be 2x3). They were made for another network or version"
    )
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert fit_state(net, state, "tiny") is net
    assert torch.equal(net[0].weight, state["0.weight"])
    fit_state(net, {**state, "head.weight": torch.zeros(1)}, "tiny", ignore=["head.*"])


def test_fit_state_takes_tensors_into_a_meta_network() -> None:
    with torch.device("meta"):
        net = torch.nn.Linear(3, 2)
    state = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}
    fit_state(net, state, "tiny")
    assert net.weight.data_ptr() == state["weight"].data_ptr()
