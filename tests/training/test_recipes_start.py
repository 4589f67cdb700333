"""Each committed recipe on the sample set (`amodal data sample`): it makes a step at tiny size, or names the data that it needs."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("trimesh")

from amodal.cli import run

RECIPES = Path(__file__).parents[2] / "recipes"
STEP = ("run.steps=1", "run.batch=2", "run.workers=0", "run.threads=1", 'run.device="cpu"', 'run.precision="fp32"')
NARROW = "network.widths=[4,4,4,4,4]"
IMAGE = "network.image_widths=[4,4,4,4]"
PLAIN = ("data.targets={thing=1.0,photo=1.0,render=0,room=0}", "data.library.invented=4")
SMALL = ("data.sizes=[[0,32]]", "network.widths=[8,16]", "network.depths=[1,1]")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "asbu": ("", ("data.size=32", NARROW)),
    "deocclusion": ("", ("data.size=32", NARROW)),
    "deocclusion-content": ("", ("data.size=32", NARROW)),
    "deocclusion-single": ("", ("data.size=32", NARROW, IMAGE)),
    "occamodal": ("", ("data.size=32", "network.widths=[4,4,4,4,4,4]", IMAGE, "network.reduced=4")),
    "embedded": ("data/renders.npz", (*PLAIN, *SMALL, "network.head=8")),
    "pocket-segmenter": ("data/renders.npz", (*PLAIN, *SMALL, "network.head=[8,8]")),
    "pocket-inpainter": ("data/renders.npz", (PLAIN[1], "data.library.renders=", *SMALL)),
    "painter": ("", (PLAIN[1], *SMALL)),
    "pix2gestalt": ("lambdalabs/sd-image-variations-diffusers", ()),
    "sdamodal": ("sd21", ()),
    "short-occamodal": ("data/composites", ()),
    "short-single": ("data/composites", ()),
}
"""Recipe to what it says that it lacks, and the settings with which it starts all the same; none: it needs that."""


def test_all_recipes_are_here() -> None:
    assert set(CASES) == {path.stem for path in RECIPES.glob("*.toml")}


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_starts_or_says_what_it_needs(
    name: str, sample_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(sample_set, tmp_path / "sample", copy_function=os.link)
    monkeypatch.chdir(tmp_path / "sample")
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    lacks, small = CASES[name]

    def train(*settings: str) -> int:
        words = [word for setting in settings for word in ("--set", setting)]
        return run(["train", str(RECIPES / f"{name}.toml"), "-o", "run", *words])

    if lacks:
        assert train(*STEP, *(setting for setting in small if "invented" in setting)) != 0
        told = capsys.readouterr().err
        assert lacks in told and "Traceback" not in told
    if small:
        assert train(*STEP, "data.validation=" if '"data"' in small else "run.validate_every=1000000", *small) == 0
        assert Path("run/weights.safetensors").stat().st_size > 0
        assert not [thread for thread in threading.enumerate() if "AsyncWriter" in type(thread).__name__]
