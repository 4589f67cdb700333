"""Pairs by real SAM and depth classes, tiny ones; and on Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from amodal.cli import run
from amodal.core.errors import WeightsError
from amodal.core.image import encode_png, read
from amodal.core.mask import Mask
from amodal.data import dataset
from amodal.synthesis.pairs.depth import DepthEstimator
from amodal.synthesis.pairs.wholes import closer_share
from tiny_diffusion import without_tensors
from tiny_sam import save_sam


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
    from amodal.plugins.registry import create_segmenter

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
    assert nearness["relative"].canvas.side == 42 and nearness["relative"].canvas.mean == [0.5] * 3
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
    with pytest.raises(WeightsError, match=r"do not fit its config.json .* 2 missing \(head.conv3"):
        DepthEstimator(without_tensors(tmp_path / "relative", tmp_path / "less", "head.conv3"), "cpu")
    unused = without_tensors(tmp_path / "dpt", tmp_path / "midas", "fusion_stage.layers.0.residual_layer1")
    assert np.array_equal(DepthEstimator(unused, "cpu")(photo), nearness["dpt"](photo))  # as MiDaS' own files
