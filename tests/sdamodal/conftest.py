"""A tiny Stable Diffusion and a tiny SDAmodal checkpoint in the authors' layout, made once."""

from pathlib import Path

import numpy as np
import pytest

WIDTHS = (4, 4, 4, 8, 8, 8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing is written to the user's cache."""
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "amodal-home"))


@pytest.fixture(scope="session")
def diffusion(tmp_path_factory) -> Path:
    pytest.importorskip("diffusers")
    from tiny_sd import write_tiny_diffusion

    return write_tiny_diffusion(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="session", autouse=True)
def load_once():
    """The real loading code, but once per folder: it takes a second each time."""
    pytest.importorskip("diffusers")
    from functools import cache

    from amodal.methods.sdamodal import features

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "load_parts", cache(features.load_parts))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """`ckpt_SDAmodal.tar` as the authors' trainer writes it: {step, state_dict, optimizer}, names prefixed `module.`"""
    return write_checkpoint(tmp_path_factory.mktemp("weights") / "ckpt_SDAmodal.tar")


def write_checkpoint(path: Path, seed: int = 0, **shape) -> Path:
    import torch

    from amodal.methods.sdamodal.network import SDAmodalNet
    from tiny_sd import CHANNELS

    torch.manual_seed(seed)
    network = torch.nn.ModuleDict({"module": SDAmodalNet(CHANNELS, widths=WIDTHS, reduced=4, **shape)})
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    torch.save({"step": 56000, "state_dict": network.state_dict(), "optimizer": optimizer.state_dict()}, path)
    return path


@pytest.fixture
def options(diffusion, checkpoint, tmp_path) -> dict:
    """Options under which everything is tiny."""
    return {
        "weights": str(checkpoint),
        "model": str(diffusion),
        "image_size": 64,
        "input_size": 32,
        "draws": 2,
        "draw_batch": 2,
        "cache": str(tmp_path / "features"),
    }


@pytest.fixture
def count_passes(monkeypatch):
    """A list that grows by the batch size with every pass of any diffusion UNet, and of its third up-block."""
    from diffusers import UNet2DConditionModel

    passes = {"unet": [], "up 2": []}
    original = UNet2DConditionModel.forward

    def counted(self, sample, *args, **kwargs):
        passes["unet"].append(len(sample))
        handle = self.up_blocks[2].register_forward_pre_hook(lambda *_: passes["up 2"].append(len(sample)))
        try:
            return original(self, sample, *args, **kwargs)
        finally:
            handle.remove()

    monkeypatch.setattr(UNet2DConditionModel, "forward", counted)
    return passes


@pytest.fixture
def noise_image() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
