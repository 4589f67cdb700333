"""Recognition: CLIP's own numbers, the pictures it is shown, ranks and accuracies by hand, label lists, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import amodal
from amodal import load
from amodal.cli import run
from amodal.core.errors import UsageError, WeightsError
from amodal.core.image import encode_png, read
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt
from amodal.data.sample import Sample
from amodal.downstream.cutout import on_white
from amodal.downstream.recognition.clip import Recognizer
from amodal.downstream.recognition.embedded import EmbeddedClassifier
from amodal.downstream.recognition.labels import COCO, check_labels, read_labels
from amodal.downstream.recognition.ranking import Ranking
from amodal.downstream.recognition.recognition import (
    VIEWS,
    RecognitionReport,
    circle_view,
    completed_view,
    evaluate_recognition,
    recognize,
    view,
)
from tiny_diffusion import without_tensors

LABELS = ("cat", "act", "tac")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """A CLIP model of two layers that knows a handful of letters."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    words = ["<|startoftext|>", "<|endoftext|>", "a</w>", "c</w>", "t</w>", "a", "c", "t", "ca", "!"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16).save_pretrained(folder)
    torch.manual_seed(0)
    both = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**both, "vocab_size": 10, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**both, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    return folder


def test_probabilities_are_clips_own(clip, photo):
    from transformers import CLIPModel, CLIPTokenizer

    recognizer = Recognizer(LABELS, clip, template="a {}", device="cpu")
    ranking = recognizer([photo, photo[:, ::-1]])[0]
    assert sum(ranking.probabilities) == pytest.approx(1, abs=1e-5)
    assert list(ranking.probabilities) == sorted(ranking.probabilities, reverse=True)
    network, tokenizer = CLIPModel.from_pretrained(clip), CLIPTokenizer.from_pretrained(clip)
    tokens = tokenizer([f"a {label}" for label in LABELS], padding=True, return_tensors="pt")
    pixels = torch.from_numpy(recognizer.pixels(photo))[None]
    with torch.no_grad():
        logits = network(**tokens, pixel_values=pixels).logits_per_image
    expected = dict(zip(LABELS, logits.softmax(1)[0].tolist(), strict=True))
    assert dict(ranking.top(3)) == pytest.approx(expected, abs=1e-5)
    assert recognizer([]) == []


def test_pixels_shorter_side_and_centre(clip):
    recognizer = Recognizer(LABELS, clip, device="cpu")
    image = np.zeros((40, 120, 3), np.uint8)
    image[:, 40:80] = 255  # the middle third is what the centre crop keeps
    values = recognizer.pixels(image)
    assert values.shape == (3, 32, 32)
    white = (1 - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array([0.26862954, 0.26130258, 0.27577711])
    assert np.allclose(values[:, 16, 3:-3].T, white, atol=1e-3)


def test_views(photo, disc_visible):
    visible = Mask.from_array(disc_visible)
    completion = load("hull")(photo, mask=visible)
    assert np.array_equal(view("photo", photo, visible, None), photo)
    masked = view("visible", photo, visible, None)
    assert np.array_equal((masked != 255).any(axis=2), disc_visible) and masked.shape == photo.shape
    part = view("visible-crop", photo, visible, None)
    assert part.shape[0] == part.shape[1] and (part == 255).all(axis=2).sum() == part.shape[0] ** 2 - visible.area
    whole = view("completed-crop", photo, visible, completion)
    assert (whole != 255).any(axis=2).sum() == completion.amodal.area
    frame = completed_view(completion)  # in its place, the whole frame squeezed to a square
    shown = np.argwhere((frame != 255).any(axis=2)).mean(axis=0) / 256
    place = np.argwhere(completion.amodal.to_array((96, 128))).mean(axis=0) / (96, 128)
    assert frame.shape == (256, 256, 3) and np.allclose(shown, place, atol=0.02)
    circle = circle_view(photo, visible)
    changed = (circle != photo).any(axis=2)
    assert changed.any() and not changed[40:56, 50:60].any()  # around, not on it
    red = circle[changed & (circle[..., 0] > 230) & (circle[..., 1] < 30)]
    assert len(red) > 20
    assert on_white(photo[:1, :1], np.ones((1, 1), bool)).shape == (1, 1, 3)
    with pytest.raises(UsageError, match="did you mean 'circle'"):
        view("circel", photo, visible, None)
    with pytest.raises(UsageError, match="needs a completion"):
        view("completed", photo, visible, None)


def test_embedded_classifier_needs_no_weights(tmp_path, photo, disc_visible, capsys):
    """ImageNet's names, each once; chosen labels share the probability; a command that answers on a fresh machine."""
    picture = read(Path(amodal.__file__).parent / "_demo" / "chelsea.jpg")
    every = EmbeddedClassifier()
    assert len(every.labels) == len(set(every.labels)) == 998  # two names stand for two classes each
    ranking = every([picture])[0]
    assert sum(ranking.probabilities) == pytest.approx(1, abs=1e-4) and "cat" in " ".join(ranking.labels[:3])
    few = EmbeddedClassifier(["Goldfish", ranking.labels[0]])([picture])[0]
    assert few.labels == (ranking.labels[0], "goldfish") and sum(few.probabilities) == pytest.approx(1, abs=1e-5)
    assert every([]) == []
    with pytest.raises(UsageError, match="'person' is none of ImageNet's"):
        EmbeddedClassifier(["person", "goldfish"])
    with pytest.raises(UsageError, match="near it are .*coffee mug|near it are .*cup") as told:
        EmbeddedClassifier(["cup"])
    assert len(str(told.value)) < 400
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "mask.png").write_bytes(encode_png(disc_visible))
    command = ["recognize", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--method", "hull"]
    assert run([*command, "--json"]) == 0
    (best, *_) = json.loads(capsys.readouterr().out)["views"]["completed-crop"]
    assert best["label"] in every.labels
    taken = tmp_path / "taken.json"
    taken.write_text("mine")
    for name, text in (("photo.png", "is to be written as .json"), ("taken.json", "exists already")):
        assert run([*command, "-o", str(tmp_path / name)]) in (1, 2)
        assert text in capsys.readouterr().err
    assert taken.read_text() == "mine" and np.array_equal(read(tmp_path / "photo.png"), photo)
    several = ["--view", "photo", "--view", "circle,visible", "--force", "-o", str(taken)]
    assert run([*command, *several]) == 0 and list(json.loads(taken.read_text())["views"]) == [
        "photo",
        "circle",
        "visible",
    ]
    assert run([*command[:2], "--box", "1,1,9,9", "--box", "2,2,9,9"]) == 2
    assert "one --box" in capsys.readouterr().err


def test_report_by_hand():
    rows = [
        {"id": str(k), "category": "x", "ranks": {"photo": rank}, "best": {}} for k, rank in enumerate((1, 3, 4, 1))
    ]
    assert RecognitionReport(rows).table(["photo"]) == {"photo": {"top1": 50.0, "top3": 75.0}}
    ranking = Ranking(("b", "a"), (0.7, 0.3))
    assert (ranking.place("b"), ranking.place("a"), ranking.top(1)) == (1, 2, [("b", 0.7)])
    with pytest.raises(UsageError, match="'c' is not in the label list"):
        ranking.place("c")


def test_evaluation(clip, photo, disc_visible):
    rows, columns = np.indices((96, 128))
    amodal = Mask.from_array((rows - 48) ** 2 + (columns - 60) ** 2 < 30**2)
    visible = Mask.from_array(disc_visible)
    samples = [
        Sample(f"s{k}", f"s{k}", photo, (96, 128), visible, amodal, category=name)
        for k, name in enumerate(["cat", "Act", "dog", "tac"])
    ]
    recognizer = Recognizer(LABELS, clip, device="cpu")
    report = evaluate_recognition(samples, load("hull"), recognizer)
    assert [row["id"] for row in report.rows] == ["s0", "s1", "s3"] and "'dog'" in report.failures[0]
    for name in ("completed", "visible", "circle", "photo"):
        assert sorted(row["ranks"][name] for row in report.rows) == [1, 2, 3]  # one picture, three different truths
        assert report.table([name])[name] == {"top1": 33.33, "top3": 100.0}
    rankings, completion = recognize(load("hull"), recognizer, photo, Prompt.make(mask=visible), views=("completed",))
    assert rankings["completed"].labels[0] == report.rows[0]["best"]["completed"]
    assert completion.amodal.contains(visible)
    with pytest.raises(UsageError, match="no object could be classified"):
        evaluate_recognition(samples[2:3], None, recognizer, views=("photo",))


def test_labels(tmp_path):
    assert len(COCO) == 80 == len(set(COCO)) and read_labels("coco") is COCO
    assert COCO[0] == "person" and COCO[79] == "toothbrush" and COCO[13] == "bench"
    assert read_labels("cat, dog") == ("cat", "dog")
    file = tmp_path / "labels.txt"
    file.write_text("# animals\ncat\n\nbig  dog\n")
    assert read_labels(str(file)) == ("cat", "big dog")
    for labels, text in (
        (["cat", "dog", "Cat"], "'Cat' twice"),
        (["cat"], "at least two"),
        (["cat", " "], "empty label"),
    ):
        with pytest.raises(UsageError, match=text):
            check_labels(labels)
    file.write_bytes(b"\xff\xfe\x00cat")
    with pytest.raises(UsageError, match="UTF-8"):
        read_labels(str(file))
    with pytest.raises(UsageError, match="there is no label file"):
        read_labels("absent.txt")


def test_bad_models(tmp_path, clip):
    with pytest.raises(WeightsError, match="is not a CLIP model"):
        Recognizer(LABELS, tmp_path)
    with pytest.raises(UsageError, match="one pair of braces"):
        Recognizer(LABELS, clip, template="a photo")
    with pytest.raises(WeightsError, match=r"do not fit its config.json \(CLIPModel\): 1 missing \(visual_projection"):
        Recognizer(LABELS, without_tensors(clip, tmp_path / "copy", "visual_projection"))


def test_command(clip, tmp_path, photo, disc_visible, capsys):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "mask.png").write_bytes(encode_png(disc_visible))
    command = ["recognize", str(tmp_path / "photo.png"), "--clip", str(clip), "--labels", ",".join(LABELS)]
    prompt = ["--mask", str(tmp_path / "mask.png"), "--method", "hull"]
    assert run([*command, *prompt, "--view", "all", "--json", "-o", str(tmp_path / "out.json")]) == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record["views"]) == list(VIEWS)
    assert json.loads((tmp_path / "out.json").read_text()) == record
    assert run([*command, *prompt]) == 0
    assert capsys.readouterr().out.startswith("completed-crop: ")
    assert run(command) == 2
    assert "mark one object" in capsys.readouterr().err
    assert run([*command, *prompt, "--labels", "cat,cat"]) == 2
    assert "'cat' twice" in capsys.readouterr().err
    assert run(["recognize", "--clip", str(clip), "--labels", "cat,act"]) == 2


def test_command_on_data(clip, tmp_path, photo, disc_visible, capsys):
    from amodal.data.folder import FolderWriter

    visible = Mask.from_array(disc_visible)
    with FolderWriter(tmp_path / "set", name="set") as writer:
        for name in ("cat", "tac"):
            writer.add([Sample(name, name, photo, (96, 128), visible, visible, category=name)])
    command = ["recognize", "--dataset", "folder", "--root", str(tmp_path / "set"), "--clip", str(clip)]
    assert (
        run([*command, "--labels", ",".join(LABELS), "--method", "visible", "--view", "photo,visible", "--json"]) == 0
    )
    record = json.loads(capsys.readouterr().out)
    assert record["objects"] == 2 and set(record["table"]) == {"photo", "visible"}
    assert run([*command, "--labels", "coco"]) in (1, 2, 3)  # "tac" is not among the 80
    assert "'tac'" in capsys.readouterr().err


def test_command_on_separated_coco(clip, tmp_path, photo, disc_visible, capsys):
    import pickle

    (tmp_path / "val2017").mkdir()
    (tmp_path / "val2017" / "000000000139.jpg").write_bytes(encode_png(photo))
    rle = Mask.from_array(disc_visible).to_rle((96, 128))
    rows = [["000000000139.jpg", name, 1, [30, 18, 60, 60], rle] for name in ("cat", "act")]
    (tmp_path / "separated_coco.pkl").write_bytes(pickle.dumps(rows))
    command = ["recognize", "--dataset", "occluded-coco", "--split", "separated", "--root", str(tmp_path)]
    assert run([*command, "--clip", str(clip), "--labels", ",".join(LABELS), "--method", "hull", "--view", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(VIEWS)
    # one picture, two different truths: no more than one of them can come first
    assert all(float(line.split()[1]) in (0.0, 50.0) for line in lines[1:])


def test_what_is_bad_in_the_data_is_told(tmp_path, photo, disc_visible, capsys):
    """Objects of which nothing is visible were shown as a circle in the corner; bad entries went without a word."""
    from amodal.data.folder import FolderWriter

    visible, nothing = Mask.from_array(disc_visible), Mask.from_array(disc_visible & False)
    name = EmbeddedClassifier().labels[0]
    with FolderWriter(tmp_path / "set", name="set") as writer:
        for number, seen in enumerate((visible, nothing, visible)):
            writer.add([Sample(f"s{number}", f"s{number}", photo, (96, 128), seen, visible, category=name)])
    file = tmp_path / "set" / "annotations.json"
    content = json.loads(file.read_text())
    content["annotations"][2]["segmentation"] = [[1, 1, 9, 9]]
    file.write_text(json.dumps(content))
    command = ["recognize", "--dataset", "folder", "--root", str(tmp_path / "set"), "--method", "visible"]
    assert run([*command, "--view", "circle", "--json"]) == 3
    out, err = capsys.readouterr()
    made = json.loads(out)
    assert (made["objects"], made["failures"]) == (1, ["s1: no pixel of it is visible"])
    assert ["s2" in problem for problem in made["skipped"]] == [True] and "skipped: " in err and "1 bad entries" in err
