"""Photos of another size than their annotations: scaled where the published evaluation does so, told; refused elsewhere."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import amodal
from amodal.cli import run
from amodal.core.errors import DataError
from amodal.core.image import encode_png
from amodal.data.check import check
from amodal.data.convert import to_cocoa, to_folder
from official_layouts import SIZE, make_bsdsa, make_cocoa, make_cocoa_cls, make_d2sa, make_kins, make_mp3d

TWICE = (2 * SIZE[0], 2 * SIZE[1])
SCALED = {"cocoa": make_cocoa, "bsdsa": make_bsdsa, "cocoa-cls": make_cocoa_cls, "mp3d-amodal": make_mp3d}


def photos_of(root: Path, size: tuple[int, int]) -> int:
    """All photos anew: their left half red, their right half blue."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, : size[1] // 2, 0] = picture[:, size[1] // 2 :, 2] = 255
    found = [path for path in root.rglob("*") if path.suffix in (".png", ".jpg")]
    for path in found:
        path.write_bytes(encode_png(picture))
    return len(found)


@pytest.mark.parametrize("size", [TWICE, (SIZE[0] // 2, SIZE[1] // 2)])
@pytest.mark.parametrize("name", SCALED)
def test_scaled_copies_are_scaled_back(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    SCALED[name](tmp_path)
    count = photos_of(tmp_path, size)
    data = amodal.dataset(name, tmp_path)
    sample = data[0]
    assert sample.scaled and sample.image.shape == (*SIZE, 3)
    assert sample.image[:, :28].tolist() == [[[255, 0, 0]] * 28] * SIZE[0]
    assert sample.image[:, 32:].tolist() == [[[0, 0, 255]] * 28] * SIZE[0]
    report = amodal.evaluate(amodal.load("visible"), data)
    assert report.content["failures"] == 0 and report["iou"] is not None and report["iou"] > 0.5
    (note,) = [text for text in report.content["notes"] if "another size than their annotation" in text]
    assert note.startswith(f"{count} of the photos") and f"{size[1]} x {size[0]} for {SIZE[1]} x {SIZE[0]}" in note
    found = check(amodal.dataset(name, tmp_path, skip_bad=True), images=True)
    assert not any(finding.serious for finding in found) and note in [finding.text for finding in found]


@pytest.mark.parametrize("name", SCALED)
def test_photos_of_another_shape_are_refused(name: str, tmp_path: Path) -> None:
    SCALED[name](tmp_path)
    photos_of(tmp_path, (SIZE[0], SIZE[1] + 9))
    data = amodal.dataset(name, tmp_path)
    with pytest.raises(DataError, match="the image .* is 69 x 40, the annotation 60 x 40; use the original images"):
        _ = data[0].image
    assert not any("another size" in text for text in data.notes)


@pytest.mark.parametrize(("name", "make"), [("d2sa", make_d2sa), ("kins", make_kins)])
def test_other_data_sets_refuse_scaled_copies(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path)
    photos_of(tmp_path, TWICE)
    with pytest.raises(DataError, match="is 120 x 80, the annotation 60 x 40; use the original images"):
        _ = amodal.dataset(name, tmp_path)[0].image


def test_conversions_write_the_scaled_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The original's bytes would be of another size than the masks beside them."""
    make_cocoa(tmp_path / "from")
    photos_of(tmp_path / "from", TWICE)
    data = amodal.dataset("cocoa", tmp_path / "from")
    to_cocoa(data, tmp_path / "cocoa")
    to_folder(data, tmp_path / "folder")
    for name in ("cocoa", "folder"):
        sample = amodal.dataset(name, tmp_path / name)[0]
        assert (sample.image.shape, sample.scaled) == ((*SIZE, 3), False)
    assert run(["data", "stats", "cocoa", "--root", str(tmp_path / "from")]) == 0
    assert (
        "note: 2 of the photos read have another size than their annotation and are scaled to it"
        in capsys.readouterr().err
    )


def test_the_masks_of_mp3d_know_the_frame(tmp_path: Path) -> None:
    """The image's record states the size of the original picture; the masks were made smaller, and so is the frame."""
    make_mp3d(tmp_path)
    photos_of(tmp_path, TWICE)
    (file,) = tmp_path.glob("*.pkl")
    content = pickle.loads(file.read_bytes())  # noqa: S301  written above
    content["images"][0] |= {"height": TWICE[0], "width": TWICE[1]}
    file.write_bytes(pickle.dumps(content, 2))
    data = amodal.dataset("mp3d-amodal", tmp_path)
    assert [(sample.size, sample.image.shape) for sample in data] == [(SIZE, (*SIZE, 3))] * 2
    assert any("1 images are stated to have another size than their masks have" in text for text in data.notes)
