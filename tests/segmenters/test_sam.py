"""SAM, SAM 2.1 and SAM 3 as their real classes at tiny sizes, loaded from folders in the hub's layout."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402

import amodal  # noqa: E402
import tiny_sam  # noqa: E402
from amodal import Prompt  # noqa: E402
from amodal.core.errors import PromptError, WeightsError  # noqa: E402
from amodal.core.mask import Mask  # noqa: E402
from amodal.plugins.registry import create_segmenter  # noqa: E402
from amodal.segmenters.sam import (  # noqa: E402  # noqa: E402
    ALIASES,
    Sam,
    Sam2,
    Sam3,
    disagreement,
    grid_points,
    stability,
    unlike,
)
from amodal.weights import catalogue  # noqa: E402
from amodal.weights.tensors import load_tensors  # noqa: E402

KINDS = ("sam", "sam2", "sam3")
PROMPTS = {
    "click": Prompt.make(point=(60, 48)),
    "clicks": Prompt.make(points=[(60, 48), (40, 40), (5, 5)], labels=[1, 1, 0]),
    "box": Prompt.make(box=(30, 18, 90, 78)),
    "both": Prompt.make(box=(30, 18, 90, 78), points=[(60, 48)]),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sam")
    return {kind: getattr(tiny_sam, f"save_{kind}")(root / kind) for kind in KINDS}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, Sam]:
    return {kind: create_segmenter(kind, {"model": str(folders[kind])}, "cpu") for kind in KINDS}


@pytest.fixture(params=KINDS)
def sam(request: pytest.FixtureRequest, models: dict[str, Sam]) -> Sam:
    return models[request.param]


def encoder(sam: Sam) -> torch.nn.Module:
    part = sam.networks.text or sam.networks.points
    return part.model.vision_encoder


@pytest.fixture
def runs(sam: Sam) -> Iterator[list[int]]:
    """Grows by one item per run of the image encoder."""
    counted: list[int] = []
    hook = encoder(sam).register_forward_hook(lambda *_: counted.append(1))
    yield counted
    hook.remove()


@pytest.mark.parametrize("name", PROMPTS)
def test_proposals(sam: Sam, photo: np.ndarray, name: str) -> None:
    proposals = sam.segment(sam.embed(photo), PROMPTS[name])
    assert len(proposals) == (3 if name == "click" else 4)
    for proposal in proposals:
        assert proposal.mask.clip((96, 128)) == proposal.mask
        assert 0 <= proposal.score <= 1
    keys = [(not p.mask, disagreement(p.mask, PROMPTS[name]), -p.score) for p in proposals[-3:]]
    assert keys == sorted(keys)


def test_same_prompt_same_answer(sam: Sam, photo: np.ndarray) -> None:
    first, second = (sam.segment(sam.embed(photo), PROMPTS["box"]) for _ in range(2))
    assert [(p.mask, p.score) for p in first] == [(p.mask, p.score) for p in second]


def test_the_prompt_matters(sam: Sam, photo: np.ndarray) -> None:
    embedded = sam.embed(photo)
    scores = {tuple(p.score for p in sam.segment(embedded, prompt)) for prompt in PROMPTS.values()}
    assert len(scores) == len(PROMPTS)


def test_a_scene_embeds_once(sam: Sam, photo: np.ndarray, runs: list[int]) -> None:
    model = amodal.load("visible")
    model.segmenter = sam
    scene = model.open(photo)
    for prompt in PROMPTS.values():
        scene.segment(prompt=prompt)
    assert len(runs) == 1


def test_a_batch_of_prompts_equals_one_by_one(sam: Sam, photo: np.ndarray) -> None:
    embedded = sam.embed(photo)
    prompts = [*PROMPTS.values(), Prompt.make(point=(20, 30)), Prompt.make(box=(0, 0, 20, 20))]
    for many, prompt in zip(sam.segment_many(embedded, prompts), prompts, strict=True):
        alone = sam.segment(embedded, prompt)
        assert [p.score for p in many] == pytest.approx([p.score for p in alone], abs=1e-4)
        assert min(a.mask.iou(b.mask) for a, b in zip(many, alone, strict=True)) > 0.99


def test_as_transformers_itself_predicts(folders: dict[str, Path], models: dict[str, Sam], photo: np.ndarray) -> None:
    """SAM from the same folder, with transformers' own processor, gives the same logits and scores."""
    from transformers import SamModel
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    theirs = SamModel.from_pretrained(folders["sam"]).eval()
    seen = SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})(
        photo, return_tensors="pt"
    )
    point = torch.tensor([[[[60 * 64 / 128 - 0.5, 48 * 64 / 128 - 0.5]]]])
    with torch.no_grad():
        output = theirs(pixel_values=seen["pixel_values"], input_points=point)
    sam = models["sam"]
    logits, scores = sam._predict(sam.embed(photo), [PROMPTS["click"]], True)
    torch.testing.assert_close(logits, output.pred_masks[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(scores, output.iou_scores[0], atol=1e-4, rtol=1e-4)


def test_multimask(folders: dict[str, Path], photo: np.ndarray) -> None:
    counts = {}
    for choice in ("always", "never"):
        sam = create_segmenter("sam", {"model": str(folders["sam"]), "multimask": choice}, "cpu")
        counts[choice] = [len(sam.segment(sam.embed(photo), PROMPTS[name])) for name in ("click", "box")]
    assert counts == {"always": [3, 3], "never": [1, 1]}


def test_half_precision_is_of_the_encoder_alone(
    folders: dict[str, Path], models: dict[str, Sam], photo: np.ndarray
) -> None:
    for kind in KINDS:
        sam = create_segmenter(kind, {"model": str(folders[kind]), "dtype": "bf16"}, "cpu")
        numbers = {p.dtype for p in encoder(sam).parameters()}
        assert torch.bfloat16 in numbers
        assert {p.dtype for p in sam.networks.points.model.mask_decoder.parameters()} == {torch.float32}
        full, half = (s._predict(s.embed(photo), [PROMPTS["box"]], True)[0] for s in (models[kind], sam))
        assert half.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(full.flatten(), half.flatten(), dim=0) > 0.98


def test_both_halves_of_sam3_share_the_encoder(
    models: dict[str, Sam], folders: dict[str, Path], photo: np.ndarray
) -> None:
    """The tracker's embedding from the shared run equals what transformers' video model makes of the pixels."""
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoModel

    sam = models["sam3"]
    assert not hasattr(sam.networks.points.model.vision_encoder, "backbone")
    theirs = load_state(Sam3VideoModel, folders["sam3"])
    with torch.no_grad():
        vision = theirs.detector_model.get_vision_features(torch.from_numpy(sam.networks.preprocess.pixels(photo)))
        maps, _ = theirs.get_vision_features_for_tracker(vision)
    maps[-1] = maps[-1] + theirs.tracker_model.no_memory_embedding
    for ours, flat in zip(sam.embed(photo).points, maps, strict=True):
        torch.testing.assert_close(ours.flatten(2).permute(2, 0, 1), flat, atol=1e-5, rtol=1e-5)


def load_state(cls: type, folder: Path) -> torch.nn.Module:
    """A model with exactly the tensors of its file, by their own names."""
    model = cls(cls.config_class.from_pretrained(folder)).eval()
    model.load_state_dict(load_tensors(folder / "model.safetensors"))
    return model


def test_half_a_sam3(folders: dict[str, Path], models: dict[str, Sam], tmp_path: Path, photo: np.ndarray) -> None:
    """A folder with the tracker alone takes clicks and answers as the whole does; one with the detector alone takes words."""
    whole = models["sam3"]
    config = json.loads((folders["sam3"] / "config.json").read_text())
    for part, prefixes in {
        "tracker": {
            "detector_model.vision_encoder.backbone": "vision_encoder.backbone",
            "tracker_neck": "vision_encoder.neck",
        }
        | {"tracker_model": ""},
        "detector": {"detector_model": ""},
    }.items():
        folder = copy(folders["sam3"], tmp_path / part)
        (folder / "config.json").write_text(json.dumps(config[f"{part}_config"]))
        state = {}
        for name, value in load_tensors(folders["sam3"] / "model.safetensors").items():
            for old, new in prefixes.items():
                if name.startswith(f"{old}."):
                    state[f"{new}.{name[len(old) + 1 :]}".lstrip(".")] = value.clone()
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    clicks = create_segmenter(str(tmp_path / "tracker"), device="cpu")
    ours, alone = (s.segment(s.embed(photo), PROMPTS["box"]) for s in (whole, clicks))
    assert [p.score for p in alone] == pytest.approx([p.score for p in ours], abs=1e-4)
    with pytest.raises(PromptError, match="does not understand words"):
        clicks.segment(clicks.embed(photo), Prompt.make(text="cup"))
    words = create_segmenter("sam3", {"model": str(tmp_path / "detector"), "threshold": 0}, "cpu")
    assert len(words.segment(words.embed(photo), Prompt.make(text="cup"))) == 8
    with pytest.raises(PromptError, match="understand words only"):
        words.segment(words.embed(photo), PROMPTS["click"])


def test_words(folders: dict[str, Path], models: dict[str, Sam], photo: np.ndarray) -> None:
    sam = create_segmenter("sam3", {"model": str(folders["sam3"]), "threshold": 0}, "cpu")
    embedded = sam.embed(photo)
    proposals = sam.segment(embedded, Prompt.make(text="the red cup"))
    assert len(proposals) == 8
    assert [p.score for p in proposals if p.mask] == sorted((p.score for p in proposals if p.mask), reverse=True)
    other = sam.segment(embedded, Prompt.make(text="zebra"))
    assert [p.score for p in other] != [p.score for p in proposals]
    clicked = sam.segment(embedded, Prompt.make(text="the red cup", point=(60, 48)))
    wrong = [not p.mask.crop((60, 48, 61, 49)).all() for p in clicked if p.mask]
    assert wrong == sorted(wrong)
    strict = create_segmenter("sam3", {"model": str(folders["sam3"]), "threshold": 1}, "cpu")
    with pytest.raises(PromptError, match=r"nothing here is 'dog' to sam3: the best score is 0\.\d+, below 1"):
        strict.segment(embedded, Prompt.make(text="dog"))
    with pytest.raises(PromptError, match=r"sam does not understand words; .* the segmenter sam3"):
        models["sam"].segment(models["sam"].embed(photo), Prompt.make(text="dog"))


def test_a_folder_or_hub_name_chooses_by_its_config(folders: dict[str, Path]) -> None:
    for kind in KINDS:
        assert create_segmenter(str(folders[kind]), device="cpu").networks.kind.startswith(kind)


def test_cleaning(folders: dict[str, Path], photo: np.ndarray) -> None:
    raw = create_segmenter("sam", {"model": str(folders["sam"]), "speck": 0, "hole": 0}, "cpu")
    logits, _ = raw._predict(raw.embed(photo), [PROMPTS["box"]], False)
    mask = raw.segment(raw.embed(photo), PROMPTS["box"])[0].mask
    assert mask == Mask.from_array((raw.networks.preprocess.full(logits, (96, 128))[0, 0] > 0).numpy())


def test_everything(sam: Sam, photo: np.ndarray, runs: list[int]) -> None:
    options = sam.options.model_copy(update={"grid": 4, "batch": 7, "quality": 0.0, "stability": 0.0})
    sam.options, old = options, sam.options
    try:
        ticks: list[tuple[int, int]] = []
        proposals = sam.segment_everything(photo, lambda what, done, total: ticks.append((done, total)))
    finally:
        sam.options = old
    assert proposals and all(p.mask for p in proposals)
    assert ticks == [(0, 16), (7, 16), (14, 16), (16, 16)]
    assert len(runs) == 1
    scores = [p.score for p in proposals]
    assert scores == sorted(scores, reverse=True)


def test_everything_may_find_nothing(sam: Sam, photo: np.ndarray) -> None:
    sam.options, old = sam.options.model_copy(update={"grid": 1, "quality": 1.0}), sam.options
    try:
        assert sam.segment_everything(photo) == []
    finally:
        sam.options = old


def test_the_filters_of_everything() -> None:
    assert grid_points(2, (10, 20)) == [(5, 2.5), (15, 2.5), (5, 7.5), (15, 7.5)]
    logits = torch.tensor([[[5.0, 0.5], [-0.5, -5.0]], [[-5.0, -5.0], [-5.0, -5.0]]])
    assert stability(logits).tolist() == pytest.approx([1 / 3, 0])
    masks = torch.zeros(4, 1, 10, dtype=torch.bool)
    masks[0, 0, :5] = masks[1, 0, :6] = masks[2, 0, 5:] = True
    masks[3, 0, :1] = True
    assert unlike(masks, torch.tensor([0.5, 0.9, 0.7, 0.6]), 0.7) == [1, 2, 3]


def test_every_alias_can_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for cls in (Sam, Sam2, Sam3):
        for name in cls.weights:
            assert catalogue.find(name).kind == "hub"
        assert ALIASES.get(cls.Options().model, cls.Options().model) in cls.weights
    assert set(ALIASES.values()) <= {name for cls in (Sam, Sam2) for name in cls.weights}
    with pytest.raises(WeightsError, match=r"'sam2-large' are not on this machine; run: amodal fetch sam2-large"):
        create_segmenter("sam2")


def test_the_page_on_segmenters_runs(folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "segmenters.md"
    copy(folders["sam2"], tmp_path / "my-sam")
    shutil.copy(Path(amodal.__file__).parent / "_demo" / "coffee.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/segmenters.md", "exec"), names)
    assert isinstance(names["result"], amodal.Completion) and isinstance(names["objects"], list)


def test_grabcut_needs_a_prompt(photo: np.ndarray) -> None:
    with pytest.raises(PromptError, match="grabcut finds no objects by itself; use a SAM model"):
        create_segmenter("grabcut").segment_everything(photo)


def copy(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def test_folders_that_do_not_fit(folders: dict[str, Path], tmp_path: Path) -> None:
    def fails(folder: Path, text: str) -> None:
        with pytest.raises(WeightsError, match=text):
            create_segmenter("sam", {"model": str(folder)}, "cpu")

    short = copy(folders["sam"], tmp_path / "short")
    file = short / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    fails(short, r"model.safetensors has [\d,]+ bytes, its header says")
    file.unlink()
    fails(short, "holds no .safetensors file")
    (short / "config.json").unlink()
    fails(short, "has no config.json")
    (short / "sam_vit_b.pth").touch()
    fails(short / "sam_vit_b.pth", "is one file; a segmenter is a folder")
    other = copy(folders["sam"], tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    fails(other, "holds a model of type 'bert'; a segmenter is one of sam, sam2")
    config["vision_config"]["num_hidden_layers"] = 3
    (other / "config.json").write_text(json.dumps(config))
    fails(other, r"do not fit its config.json \(SamModel\): \d+ missing \(vision_encoder.layers.2")
    config["vision_config"]["num_hidden_layers"] = 2
    config["mask_decoder_config"]["iou_head_hidden_dim"] = 12
    (other / "config.json").write_text(json.dumps(config))
    fails(other, r"\d+ of another shape \(mask_decoder.iou_prediction_head")
