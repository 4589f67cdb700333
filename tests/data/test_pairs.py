"""Pairs: the depth rule on depths known in closed form, the layout, resuming, shards, real depth classes, bad folders."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from amodal.cli import run
from amodal.data import dataset
from amodal.data.pairs.build import build_pairs
from amodal.data.pairs.compose import cutout, paste, superimpose
from amodal.data.pairs.depth import DepthEstimator
from amodal.data.pairs.reader import FOLDERS
from amodal.data.pairs.source import (
    PairsConfig,
    Source,
    Whole,
    find_wholes,
    in_this_process,
    on_backgrounds,
    wholes_of_dataset,
)
from amodal.data.pairs.wholes import Rule, closer_share, is_candidate, outline_map, whole_objects
from amodal.errors import DataError, OutputError, WeightsError
from amodal.image import encode_png, read
from amodal.mask import Mask
from photo_sets import make_photos
from tiny_sam import save_sam


def disc(centre: tuple[int, int], radius: int, size: tuple[int, int] = (96, 128)) -> Mask:
    rows, columns = np.indices(size)
    return Mask.from_array((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < radius**2)


def picture(mask: Mask, colour: tuple[int, int, int], size: tuple[int, int] = (96, 128)) -> np.ndarray:
    image = np.random.default_rng(mask.area).integers(60, 120, (*size, 3), dtype=np.uint8)
    image[mask.to_array(size)] = colour
    return image


@pytest.fixture
def wholes() -> list[Whole]:
    out = []
    for number, (x, radius) in enumerate([(50, 25), (70, 30), (60, 20)]):
        mask = disc((x, 48), radius)
        image = picture(mask, (200, 40 * number, 30))
        out.append(Whole(f"photo{number}", lambda image=image: image, mask))
    return out


def test_rule_of_depth():
    front, behind = disc((50, 48), 25), disc((85, 48), 22)
    nearness = np.linspace(0.1, 0.2, 96, dtype=np.float32)[:, None].repeat(128, 1)
    nearness[behind.to_array((96, 128))] = 0.5
    nearness[front.to_array((96, 128))] = 0.9
    visible = behind - front
    assert closer_share(nearness, front) == 1.0
    outline = outline_map(nearness, visible)
    rows, columns = np.indices((96, 128))
    touching = (outline != 0) & ((columns - 50) ** 2 + (rows - 48) ** 2 < 27**2)
    assert touching.sum() > 10 and (outline[touching] == -1).all()
    far = (outline != 0) & ((columns - 50) ** 2 + (rows - 48) ** 2 > 34**2)
    assert (outline[far] == 1).all()
    assert 0.5 < closer_share(nearness, visible) < 0.9
    assert whole_objects([front, visible], nearness, (96, 128)) == [front]
    # the rule does not depend on the unit or the offset of the depth
    assert closer_share(nearness * 1000 - 7, visible) == pytest.approx(closer_share(nearness, visible))


def test_candidates_by_shape():
    size, rule = (96, 128), Rule(smallest=0.02, largest=0.3)
    assert is_candidate(disc((60, 48), 20), size, rule)
    assert not is_candidate(disc((60, 48), 4), size, rule)  # tiny
    assert not is_candidate(disc((60, 48), 45), size, rule)  # huge
    assert not is_candidate(disc((10, 48), 20), size, rule)  # cut by the frame
    assert not is_candidate(disc((40, 48), 15) | disc((90, 48), 15), size, rule)  # two pieces


def test_superimpose(wholes):
    image, whole = wholes[0].image(), wholes[0].mask
    occluder = cutout(wholes[1].image(), wholes[1].mask)
    shares = []
    for seed in range(12):
        pair = superimpose(image, whole, occluder, np.random.default_rng(seed), hidden=(0.2, 0.6))
        assert pair is not None
        shares.append(pair.hidden)
        assert (pair.visible <= pair.amodal).all()
        assert np.array_equal(pair.amodal, whole.to_array((96, 128)))
        assert np.array_equal(pair.whole[pair.amodal], image[pair.amodal]) and (pair.whole[~pair.amodal] == 255).all()
        changed = (pair.occlusion != image).any(-1) & pair.visible  # only where a soft edge covers less than half
        assert changed.mean() < 0.02
        hidden = pair.amodal & ~pair.visible
        assert np.abs(pair.occlusion[hidden].astype(int) - (200, 40, 30)).mean() < 40  # the occluder's colours
    assert min(shares) >= 0.2 and max(shares) <= 0.6 and len(set(shares)) > 6
    assert superimpose(image, whole, occluder, np.random.default_rng(0), hidden=(0.999, 1.0), tries=3) is None


def test_paste_beyond_the_frame():
    image = np.zeros((10, 10, 3), np.uint8)
    out, covered = paste(image, np.full((4, 4, 4), 255, np.uint8), (-2, 8))
    assert covered.sum() == 4 and covered[8:, :2].all() and (out[covered] == 255).all() and not image.any()
    assert not paste(image, np.full((4, 4, 4), 255, np.uint8), (20, 0))[1].any()


def test_build_resume_and_read(tmp_path, wholes):
    config = PairsConfig(per_object=2, side=64)
    report = build_pairs(wholes, tmp_path / "a", config)
    assert (report.written, report.present, report.failures) == (6, 0, ())
    files = sorted(p for folder in FOLDERS for p in (tmp_path / "a" / folder).rglob("*.png"))
    assert len(files) == 24
    with pytest.raises(OutputError, match="add --resume"):
        build_pairs(wholes, tmp_path / "a", config)
    with pytest.raises(OutputError, match="other settings"):
        build_pairs(wholes, tmp_path / "a", PairsConfig(per_object=2, side=64, seed=1), resume=True)
    before = {file: file.read_bytes() for file in files}
    for file in files[1::4]:
        file.unlink()
    for folder in FOLDERS[::3]:  # a build that was killed: an input and a visible mask are not there
        next((tmp_path / "a" / folder).rglob("*.png")).unlink(missing_ok=True)
    again = build_pairs(wholes, tmp_path / "a", config, resume=True)
    assert again.written + again.present == 6 and again.written > 0
    rest = {file: file.read_bytes() for file in files if file.exists()}
    assert all(before[file] == content for file, content in rest.items())
    build_pairs(wholes, tmp_path / "b", config)
    data = dataset("pix2gestalt", tmp_path / "b")
    assert len(data) == 6 and not data.missing()
    data_before = list(data)
    for sample in data:
        assert sample.size == (64, 64) and sample.amodal.contains(sample.visible) and sample.occlusion_rate > 0.03
        whole = read(sample.extra["whole"])
        assert (whole[~sample.amodal.to_array((64, 64))] > 100).mean() > 0.99
    assert (
        len(dataset("pix2gestalt", tmp_path / "b", "train")) == 5
        and len(dataset("pix2gestalt", tmp_path / "b", "val")) == 1
    )
    assert run(["data", "check", "pix2gestalt", "--root", str(tmp_path / "b")]) == 0
    for folder in FOLDERS:  # names of other sources: joined by their order, as the original training does
        for number, file in enumerate(sorted((tmp_path / "b" / folder).iterdir())):
            file.rename(file.with_name(f"{folder}-{number:03d}.png"))
    by_order = dataset("pix2gestalt", tmp_path / "b")
    assert [(s.amodal, s.visible) for s in by_order] == [(s.amodal, s.visible) for s in data_before]


def test_bad_folders(tmp_path, wholes):
    with pytest.raises(DataError, match="there is no folder .*occlusion; pairs need occlusion/, whole/"):
        dataset("pix2gestalt", tmp_path)
    build_pairs(wholes, tmp_path, PairsConfig(side=64))
    gone = next((tmp_path / "whole").rglob("*.png"))
    gone.unlink()
    with pytest.raises(DataError, match=r"no file in whole/ \(occlusion/ 3, whole/ 2, whole_mask/ 3"):
        dataset("pix2gestalt", tmp_path)
    skipping = dataset("pix2gestalt", tmp_path, skip_bad=True)
    assert len(skipping) == 2 and len(skipping.problems) == 1
    (tmp_path / "whole" / "zzz.png").write_text("no picture")  # the counts agree, the names do not
    with pytest.raises(DataError, match=r"no file in whole/"):
        dataset("pix2gestalt", tmp_path)
    (tmp_path / "whole" / "zzz.png").rename(gone)
    next((tmp_path / "whole_mask").rglob("*.png")).write_text("no picture")
    with pytest.raises(DataError, match="is not a picture"):
        list(dataset("pix2gestalt", tmp_path))
    for number, file in enumerate(sorted((tmp_path / "occlusion").iterdir())):
        file.rename(file.with_name(f"{number}.png"))
    next((tmp_path / "occlusion").iterdir()).unlink()
    with pytest.raises(DataError, match="nothing in common: occlusion/ 2, whole/ 3"):
        dataset("pix2gestalt", tmp_path)
    with pytest.raises(DataError, match="at least two are needed"):
        build_pairs(wholes[:1], tmp_path / "one", PairsConfig())


def test_photos_are_asked_once_and_sharded(tmp_path, wholes):
    photos = tmp_path / "photos"
    photos.mkdir()
    for whole in wholes:
        (photos / f"{whole.image_id}.png").write_bytes(encode_png(whole.image()))
    (photos / "broken.png").write_text("no picture")
    asked = []

    def finder(image):
        asked.append(image)
        red = Mask.from_array(image[..., 0] > 150)
        return [red], np.where(red.to_array(image.shape[:2]), 1.0, 0.0).astype(np.float32)

    def find(shard=(0, 1)):
        config = PairsConfig(shard=shard)
        failures = find_wholes(photos, tmp_path / "out", in_this_process(finder, config.rule), config)
        return Source(str(photos)).open(tmp_path / "out", config), failures

    found, failures = find()
    assert [whole.mask for whole in found] == [whole.mask for whole in wholes]
    assert len(failures) == 1 and "broken.png" in failures[0] and len(asked) == 3
    again, _ = find()
    assert [w.mask for w in again] == [w.mask for w in found] and len(asked) == 3
    parts = [find((k, 2))[0] for k in range(2)]
    assert sorted(w.image_id for part in parts for w in part) == sorted(w.image_id for w in found)
    with pytest.raises(DataError, match="shard 2/2 does not exist"):
        find((2, 2))
    with pytest.raises(DataError, match="holds no photographs"):
        Source(str(tmp_path / "out")).open(tmp_path / "x", PairsConfig())


def test_on_other_photos(tmp_path, wholes):
    (tmp_path / "ground.png").write_bytes(encode_png(np.full((50, 60, 3), (0, 90, 200), np.uint8)))
    moved = on_backgrounds(wholes, [tmp_path / "ground.png"], seed=0)
    for old, new in zip(wholes, moved, strict=True):
        image = new.image()
        inside = new.mask.to_array(image.shape[:2])
        assert new.mask.area == old.mask.area == inside.sum()
        assert (image[inside] == old.image()[old.mask.to_array((96, 128))]).all()
        assert (image[~inside] == (0, 90, 200)).all()


def test_command_line_from_given_masks(tmp_path, wholes, capsys):
    from amodal.data.folder import FolderWriter
    from amodal.data.sample import Sample

    with FolderWriter(tmp_path / "set", name="set") as writer:
        for w in wholes:
            writer.add([Sample(w.image_id, w.image_id, w.image(), (96, 128), w.mask, w.mask)])
    out = tmp_path / "pairs"
    command = ["data", "build", "pairs", "--dataset", "folder", "--root", str(tmp_path / "set"), "-o", str(out)]
    assert run([*command, "--side", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 3, "present": 0, "wholes": 3, "failures": []}
    assert run([*command, "--side", "64", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["present"] == 3
    assert len(wholes_of_dataset(dataset("folder", tmp_path / "set"), PairsConfig(shard=(0, 2)))) == 2
    assert run([*command, "--shard", "1"]) == 2
    assert "--shard takes I/N" in capsys.readouterr().err
    assert run(["data", "build", "pairs", "-o", str(out)]) == 2


def test_command_line_from_photos_without_weights(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    rows, columns = np.indices((40, 52))
    for number, x in enumerate((24, 28)):
        image = np.random.default_rng(number).integers(40, 60, (40, 52, 3), dtype=np.uint8)
        image[(columns - x) ** 2 + (rows - 20) ** 2 < 11**2] = (220, 60 * number, 20)
        (photos / f"{number}.png").write_bytes(encode_png(image))
    out = tmp_path / "pairs"
    command = ["data", "build", "pairs", str(photos), "--depth", "none", "--segmenter", "grabcut", "--side", "0"]
    assert run([*command, "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] >= 2
    for sample in dataset("pix2gestalt", out):
        assert 0.03 < sample.occlusion_rate < 0.75
    shutil.copytree(out / "wholes", tmp_path / "pooled" / "wholes")  # so that the photos are not asked again
    assert run([*command, "-o", str(tmp_path / "pooled"), "--workers", "2"]) == 0  # the same bytes from two processes
    for file in out.rglob("*.png"):
        assert (tmp_path / "pooled" / file.relative_to(out)).read_bytes() == file.read_bytes()


def test_command_line_from_photos_with_networks(tmp_path, capsys):
    """SAM's automatic masks and monocular depth together: the discs are found, and those that the depth puts in front stay."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(coloured_discs()):
        (photos / f"{number}.png").write_bytes(encode_png(image))
    sam, depth = fitted_sam(tmp_path / "sam"), tiny_depth(tmp_path / "depth", "relative")
    command = ["data", "build", "pairs", str(photos), "--segmenter", str(sam), "--device", "cpu", "--side", "0"]
    command += ["--set", "segmenter.grid=4", "--set", "segmenter.quality=0.5", "--set", "segmenter.stability=0.5"]

    def build(name: str, *settings: str) -> dict[str, list[Mask]]:
        assert run([*command, *settings, "-o", str(tmp_path / name), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        records = [json.loads(path.read_text()) for path in (tmp_path / name / "wholes").iterdir()]
        found = {record["image"]: [Mask.from_dict(mask) for mask in record["masks"]] for record in records}
        assert report["wholes"] == report["written"] == sum(map(len, found.values()))
        assert len(dataset("pix2gestalt", tmp_path / name)) == report["written"]
        return found

    trusted = build("trusted", "--depth", "none")
    for number, image in enumerate(coloured_discs()):
        (mask,) = trusted[f"{number}.png"]
        assert mask.iou(Mask.from_array(image[..., 0] > 150)) > 0.75
    estimate = DepthEstimator(depth, "cpu")
    shares = {name: closer_share(estimate(read(photos / name)), masks[0]) for name, masks in trusted.items()}
    low, middle, _ = sorted(shares.values())
    assert low < middle
    nearer = build("nearer", "--depth", str(depth), "--set", f"rule.closer={(low + middle) / 2}")
    assert nearer == {name: masks if shares[name] > low else [] for name, masks in trusted.items()}
    assert run([*command, "--set", "rule.nearer=1", "-o", str(tmp_path / "bad")]) == 2
    assert "has no key 'nearer'" in capsys.readouterr().err


def fitted_sam(folder: Path) -> Path:
    """A tiny SAM that has learnt the discs by heart: wherever it is asked, it answers with the disc."""
    from amodal.registry import create_segmenter

    networks = create_segmenter("sam", {"model": str(save_sam(folder))}, "cpu").networks
    model = networks.points.model
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.reset_parameters()
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    images = coloured_discs()
    pixels = torch.from_numpy(np.concatenate([networks.preprocess.pixels(image) for image in images]))
    truth = torch.from_numpy(np.stack([image[..., 0] > 150 for image in images]))[:, None].float()
    chance = torch.Generator().manual_seed(0)
    for _ in range(120):
        clicks = torch.rand((len(images), 8, 1, 2), generator=chance) * 64
        output = model(pixel_values=pixels, input_points=clicks, multimask_output=True)
        target = torch.nn.functional.interpolate(truth, output.pred_masks.shape[-2:], mode="area")[:, :, None] > 0.5
        error = torch.nn.functional.binary_cross_entropy_with_logits(
            output.pred_masks, target.float().expand_as(output.pred_masks)
        )
        optimizer.zero_grad()
        (error + (output.iou_scores - 1).square().mean()).backward()
        optimizer.step()
    state = {name: value.detach().contiguous().clone() for name, value in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def coloured_discs() -> list[np.ndarray]:
    rows, columns = np.indices((64, 64))
    out = []
    for number, x in enumerate((24, 38, 30)):
        image = np.random.default_rng(number).integers(20, 90, (64, 64, 3), dtype=np.uint8)
        image[(columns - x) ** 2 + (rows - 32) ** 2 < 14**2] = (230, 90 * number, 20)
        out.append(image)
    return out


@pytest.mark.slow
def test_command_line_on_ray(tmp_path, capsys):
    """The same bytes as in this process, from photographs on."""
    pytest.importorskip("ray", reason="Ray is not installed")
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, image in enumerate(coloured_discs()[:2]):
        (photos / f"{number}.png").write_bytes(encode_png(image))
    command = ["data", "build", "pairs", str(photos), "--depth", "none", "--segmenter", "grabcut", "--side", "32"]
    assert run([*command, "-o", str(tmp_path / "here")]) == 0
    done = subprocess.run(  # Ray's own warnings are not ours
        [sys.executable, "-m", "amodal", *command, "-o", str(tmp_path / "ray"), "--ray", "local"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = [p for p in (tmp_path / "here").rglob("*") if p.is_file()]
    assert sum(p.suffix == ".png" for p in files) >= 8
    for file in files:
        assert (tmp_path / "ray" / file.relative_to(tmp_path / "here")).read_bytes() == file.read_bytes()


def test_command_line_from_composites(tmp_path, capsys):
    root = make_photos(tmp_path / "set")
    config = root / "composites.toml"
    config.write_text(
        "count = 3\nseed = 4\n[targets]\nthing = 1.0\n[kinds]\none = 1.0\n"
        f'[library]\nphotos = "{root}/photos"\nbackgrounds = "{root}/backgrounds"\ninvented = 2\n'
    )
    command = ["data", "build", "pairs", str(config), "--json"]
    assert run([*command, "--side", "64", "-o", str(tmp_path / "a")]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 3, "present": 0, "wholes": 3, "failures": []}
    data = dataset("pix2gestalt", tmp_path / "a")
    assert len(data) == 3 and all(s.size == (64, 64) and s.amodal.contains(s.visible) for s in data)
    assert np.mean([s.occlusion_rate for s in data]) > 0.05
    longer = [*command, "--side", "64", "--set", "count=4", "-o", str(tmp_path / "a")]
    assert run(longer) == 1 and "add --resume" in capsys.readouterr().err
    assert run([*longer, "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["present"] == 3
    assert run([*longer, "--resume", "--set", "seed=5"]) == 1 and "other settings" in capsys.readouterr().err
    for shard in ("0/2", "1/2"):  # at their own size, as `data build composites` writes them beside its set
        assert run([*command, "--side", "0", "--shard", shard, "-o", str(tmp_path / "b")]) == 0
    command = ["data", "build", "composites", str(config), "--set", "pix2gestalt=true", "-o", str(tmp_path / "c")]
    assert run(command) == 0
    pictures = [
        sorted(p.read_bytes() for p in (tmp_path / where).glob("**/*.png"))
        for where in ("b/whole", "b/occlusion", "c/pix2gestalt/whole", "c/pix2gestalt/occlusion")
    ]
    assert pictures[:2] == pictures[2:] and len(pictures[0]) == 3


def test_command_line_tells_what_is_wrong_with_photos(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.png").write_text("no picture")
    command = [
        "data",
        "build",
        "pairs",
        str(tmp_path / "photos"),
        "--segmenter",
        "grabcut",
        "-o",
        str(tmp_path / "out"),
    ]
    assert run([*command, "--depth", "none"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "notes.png" in lines[0] and "is not a picture" in lines[0] and "0 whole objects" in lines[1]
    assert len(lines) == 2
    assert run([*command, "--depth", "nowhere"]) in (1, 2)
    assert "nowhere" in capsys.readouterr().err


def tiny_depth(folder: Path, kind: str) -> Path:
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTConfig,
        DPTForDepthEstimation,
    )

    torch.manual_seed(0)
    if kind == "dpt":
        config = DPTConfig(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=32,
            patch_size=16,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[8, 8, 8, 8],
            fusion_hidden_size=8,
        )
        DPTForDepthEstimation(config).save_pretrained(folder)
        return folder
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        patch_size=14,
        depth_estimation_type="metric" if kind == "metric" else "relative",
        max_depth=20 if kind == "metric" else 1,
    )
    network = DepthAnythingForDepthEstimation(config)
    network.head.conv3.weight.data *= 50  # else the last layer's answer is the same everywhere
    network.head.conv3.bias.data += 1
    network.save_pretrained(folder)
    size = {"height": 42, "width": 42}
    told = {
        "size": size,
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 14,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    return folder


def test_depth_networks(tmp_path, photo):
    nearness = {
        kind: DepthEstimator(tiny_depth(tmp_path / kind, kind), "cpu") for kind in ("dpt", "relative", "metric")
    }
    for estimate in nearness.values():
        values = estimate(photo)
        assert values.shape == photo.shape[:2] and values.dtype == np.float32 and values.std() > 0
    assert nearness["relative"].side == 42 and nearness["relative"].mean == [0.5] * 3
    assert not nearness["relative"].farness and nearness["metric"].farness
    assert (nearness["metric"](photo) <= 0).all()  # metres turned round: larger is nearer
    estimate = nearness["relative"]
    small = np.full((42, 56, 3), 128, np.uint8)
    pixels = torch.full((1, 3, 42, 56), (128 / 255 - 0.5) / 0.5)
    expected = estimate.network(pixel_values=pixels).predicted_depth[0].numpy()
    assert np.allclose(estimate(small), expected, atol=1e-5)
    (tmp_path / "none").mkdir()
    with pytest.raises(WeightsError, match="is not a depth model"):
        DepthEstimator(tmp_path / "none")
