"""docs/papers.md: the commands of tables 3 to 7 of Zhan et al. and of the tuning-free ablations run as they stand, one after the
other, with narrow networks on tiny data in the official layouts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from amodal.cli import run
from official_layouts import make_cocoa, make_cocoa_cls, make_mp3d
from tiny_sd import write_tiny_diffusion

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
FIRST, _, THIRD = (
    PAGE.split(f"\n## {name}")[1].split("\n## ")[0] for name in ("Tuning-free", "pix2gestalt", "Amodal ground")
)
TABLES = THIRD[THIRD.index("### Table 3") :]
NARROW = {
    "asbu": ["network.widths=[4,4,4,4,4]"],
    "deocclusion-single": ["network.image_widths=[4,4,4,4]"],
    "occamodal": ["network.widths=[4,4,4,4,4,4]", "network.image_widths=[4,4,4,4]", "network.reduced=4"],
    "sdamodal": ["network.widths=[4,4,4,4,4,4]", "network.reduced=4", "data.features.model=tiny"],
}
"""Recipe to what makes its network narrow; the levels and skips stay those of the row."""
SHORT = [
    "run.steps=1",
    "run.batch=2",
    "run.workers=0",
    "run.device=cpu",
    "run.precision=fp32",
    "data.validation_limit=1",
]
STAND_INS = {
    "sdxl": "xl/model",
    "sam": "sam-tiny",
    "inpainter=sd15,sd2,flux-fill": "inpainter=sd15/model,sd2/model,flux/model",
}
"""Weights to fetch, and the folder of the same networks at tiny size."""


def commands(text: str, verb: str) -> list[list[str]]:
    """The commands of a part of the page, each once, in its order."""
    return [shlex.split(line) for line in dict.fromkeys(re.findall(rf"`(amodal {verb} [^`]+)`", text))]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory):
    """A working folder with what the page asks for: data sets, recipes, the authors' PCNet-M, a Stable Diffusion."""
    from amodal.networks.unet import MaskUNet

    folder = tmp_path_factory.mktemp("papers")
    make_cocoa(folder / "data/COCOA")
    annotations = folder / "data/COCOA/annotations"
    for part in ("train", "test"):
        shutil.copy(annotations / "COCO_amodal_val2014.json", annotations / f"COCO_amodal_{part}2014.json")
    make_mp3d(folder / "data/MP3D")
    shutil.copy(folder / "data/MP3D/MP3D_seleted_eval_10.29.pkl", folder / "data/MP3D/MP3D_seleted_train_10.29.pkl")
    shutil.copytree(folder / "data/MP3D/mp3d_eval", folder / "data/MP3D/mp3d_train")
    make_cocoa_cls(folder / "data/COCOA-cls")
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    state = {f"module.{name}": value for name, value in MaskUNet(2, (4, 4, 4, 4, 4)).state_dict().items()}
    torch.save({"step": 1, "state_dict": state}, folder / "COCOA_pcnet_m.pth.tar")
    write_tiny_diffusion(folder / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AMODAL_HOME", str(folder / "home"))
        yield folder


def size_of(words: list[str]) -> int:
    """The side of a row's crops here: table 4, D is trained at twice the size of its recipe."""
    return 64 if "data.size=512" in words else 32


def trained(words: list[str]) -> None:
    """Run a training command of the page; a run that another row made already stays."""
    if Path(words[words.index("-o") + 1]).exists():
        return
    task = Path(words[2]).stem
    more = [*SHORT, f"data.size={size_of(words)}", *NARROW[task]]
    if task == "deocclusion-single":  # table 4 D gives six levels
        levels = 6 if any("512,512" in word for word in words) else 5
        more.append(f"network.widths={[4] * levels}")
    if task == "sdamodal":
        more += ["data.features.image_size=64", "data.features.draws=1"]
    assert run([*words[1:], *(part for setting in more for part in ("--set", setting))]) == 0, words


@pytest.mark.parametrize("words", commands(TABLES, "train"), ids=lambda words: words[-1])
def test_a_row_is_trained(bench: Path, words: list[str]) -> None:
    trained(words)
    assert (bench / words[-1] / "weights.safetensors").is_file()


@pytest.mark.parametrize("words", commands(TABLES, "evaluate"), ids=lambda words: words[-1])
def test_a_row_is_evaluated(bench: Path, words: list[str]) -> None:
    used = [
        re.sub(r"^weights=(.+)/weights.safetensors$", r"\1", word) for word in words if word.startswith("weights=runs/")
    ]
    sizes = [256]  # the authors' PCNet-M
    for made in used:
        (training,) = [each for each in commands(TABLES, "train") if each[-1] == made]
        trained(training)
        sizes = [size_of(training)]
    small = []
    if "sdamodal" in words:
        small += ["model=tiny", "image_size=64", "draws=1"]
    assert run([*words[1:], "--device", "cpu", *(part for setting in small for part in ("--set", setting))]) == 0
    reports = [json.loads(path.read_text()) for path in (bench / words[-1]).rglob("report.json")]
    assert len(reports) == words.count("--dataset")
    for report in reports:
        assert [report["settings"]["method"]["options"]["input_size"]] == sizes, "the one that the row was trained at"
        assert report["objects"] > 0 and 0 <= report["metrics"]["iou_pooled"]["method"]["value"] <= 1


def test_the_recipes_are_of_the_published_sizes(bench: Path) -> None:
    """The networks as the rows' recipes make them, nothing narrowed; parameters as the released files and the paper's layout have."""
    from amodal.training.recipe import read_recipe
    from amodal.training.tasks import open_task

    published = {"asbu": 3_352_002, "occamodal": 50_566_372, "sdamodal": 15_911_074}
    (bench / "sd21/unet").mkdir(parents=True)
    (bench / "sd21/unet/config.json").write_text('{"block_out_channels": [320, 640, 1280, 1280]}')
    for name, count in published.items():
        settings = ["data.features.model=./sd21"] if name == "sdamodal" else []
        with torch.device("meta"):
            network = open_task(read_recipe(Path("recipes") / f"{name}.toml", settings)).network()
        assert sum(weights.numel() for weights in network.parameters()) == count, name


@pytest.fixture(scope="module")
def networks(bench: Path) -> Path:
    """The inpainters and SAM of the tuning-free paper at tiny size, and a photo with its visible mask."""
    from tiny_diffusion import build
    from tiny_sam import save_sam

    for family, name in (("sdxl", "xl"), ("sd15", "sd15"), ("sd2", "sd2"), ("flux-fill", "flux")):
        build(family, bench / name)
    save_sam(bench / "sam-tiny")
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    cv2.imwrite("photo.jpg", picture)
    visible = np.zeros((48, 64), np.uint8)
    visible[12:36, 16:40] = 255
    cv2.imwrite("visible.png", visible)
    return bench


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "words", [*commands(FIRST, "evaluate"), *commands(FIRST, "segment")], ids=lambda words: words[-1]
)
def test_an_ablation_of_the_tuning_free_paper_runs(networks: Path, words: list[str]) -> None:
    ready = [STAND_INS.get(word, word) for word in words[1:]]
    more = ["--set", "steps=2", "--set", "inpainter.size=32", "--device", "cpu"]
    if "evaluate" in ready:
        more += ["--limit", "1"]
    assert run([*ready, *more]) == 0
    assert any(Path(words[-1]).rglob("*.json"))
