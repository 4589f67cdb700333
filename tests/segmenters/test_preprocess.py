"""What the SAM networks see, against transformers' own processor of SAM and the documented numbers of SAM 2 and 3."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from amodal.segmenters.preprocess import Preprocess

torch = pytest.importorskip("torch")
SIZES = [(40, 60), (60, 40), (33, 91), (64, 64), (1, 50), (700, 20)]


def noise(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
def test_sam_is_what_transformers_makes(size: tuple[int, int]) -> None:
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    theirs = SamImageProcessorPil(size={"longest_edge": 128}, pad_size={"height": 128, "width": 128})
    made = theirs(noise(size), return_tensors="np", input_data_format="channels_last")
    ours = Preprocess.of("sam", 128)
    assert ours.shown(size) == tuple(made["reshaped_input_sizes"][0])
    np.testing.assert_allclose(ours.pixels(noise(size)), made["pixel_values"], atol=1e-5)
    logits = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    back = theirs.post_process_masks([logits], [size], [ours.shown(size)], binarize=False)[0]
    assert torch.equal(ours.full(logits, size), back)


@pytest.mark.parametrize(
    ("kind", "side", "mean", "std"),
    [
        ("sam2", 1024, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("sam3", 1008, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_sam2_and_sam3_stretch_to_a_square(kind: str, side: int, mean: tuple, std: tuple) -> None:
    """As torchvision's Resize(antialias=True) of the [0, 1] tensor, which is torch's own antialiased bilinear interpolation."""
    image = noise((50, 70))
    ours = Preprocess.of(kind, side)
    assert (ours.mean, ours.std) == (mean, std)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    scaled = torch.nn.functional.interpolate(tensor, (side, side), mode="bilinear", antialias=True)
    expected = (scaled - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    pixels = ours.pixels(image)
    assert pixels.shape == (1, 3, side, side) and pixels.dtype == np.float32
    assert np.abs(pixels - expected.numpy()).max() < 1.01 / 255 / min(
        std
    )  # one step of 8 bits: ours rounds as PIL does
    logits = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(logits, (50, 70), mode="bilinear", align_corners=False)
    assert torch.equal(ours.full(logits, (50, 70)), expected)


def test_downscaling_is_antialiased_too() -> None:
    image = noise((300, 500))
    scaled = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(2, 0, 1)[None] / 255, (64, 64), mode="bilinear", antialias=True
    )
    pixels = Preprocess.of("sam3", 64).pixels(image)
    assert np.abs(pixels - (scaled.numpy() - 0.5) / 0.5).max() < 1.01 / 255 / 0.5


def test_padding_is_zero_after_normalising() -> None:
    pixels = Preprocess.of("sam", 64).pixels(np.zeros((32, 64, 3), np.uint8))
    assert (pixels[:, :, 32:] == 0).all() and (pixels[:, :, :32] < 0).all()


def test_points_land_where_the_network_counts_them() -> None:
    """The networks add one half to a point; the middle of our first pixel then falls on the middle of its share of the input."""
    ours = Preprocess.of("sam", 1024)
    inside = ours.places([(0.5, 0.5), (640, 480)], (480, 640)) + 0.5
    np.testing.assert_allclose(inside, [(0.8, 0.8), (1024, 768)], atol=1e-4)
    stretched = Preprocess.of("sam2", 1024).places([(640, 480)], (480, 640)) + 0.5
    np.testing.assert_allclose(stretched, [(1024, 1024)], atol=1e-4)


def test_seen_cuts_the_padding_off() -> None:
    logits = torch.zeros(1, 1, 256, 256)
    assert Preprocess.of("sam", 1024).seen(logits, (480, 640)).shape[-2:] == (192, 256)
    assert Preprocess.of("sam2", 1024).seen(logits, (480, 640)).shape[-2:] == (256, 256)


@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_mean_and_std_of_the_folder_rule(tmp_path: Path, name: str) -> None:
    stated = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    content = stated if name.startswith("pre") else {"image_processor": stated}
    (tmp_path / name).write_text(json.dumps(content))
    assert Preprocess.of("sam", 64, tmp_path).mean == (0.1, 0.2, 0.3)
    assert Preprocess.of("sam3", 64, tmp_path).std == (0.4, 0.5, 0.6)
