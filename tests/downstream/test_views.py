"""Novel views: conventions of the cameras, every model at tiny random size through its real classes, orbits on disk, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from amodal.cli import run
from amodal.core.errors import DataError, OutputError, UsageError, WeightsError
from amodal.core.image import encode_png, read
from amodal.downstream.cutout import square_input, white_background
from amodal.downstream.reconstruction.reconstruct import create_lifter
from amodal.downstream.views.orbit import save_orbit
from amodal.downstream.views.protocol import RelativeCamera, create_novel_view, orbit_cameras, studio
from amodal.plugins import registry
from tiny_pix2gestalt import TINY_SYNC, TINY_ZERO, tiny_networks


def disc(radius: int = 12, margin: int = 3) -> np.ndarray:
    """A disc, red left and green right, off the middle of its frame."""
    size = 2 * radius + margin
    rows, columns = np.indices((size, size + 6))
    inside = (rows - radius) ** 2 + (columns - radius) ** 2 <= radius**2
    colours = np.where((columns < radius)[..., None], [200, 30, 30], [30, 200, 30])
    return np.dstack([np.where(inside[..., None], colours, 0), inside * 255]).astype(np.uint8)


@pytest.fixture(scope="module")
def zero123(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zero123")
    tiny_networks(architecture=TINY_ZERO).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def syncdreamer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("syncdreamer")
    tiny_networks(architecture=TINY_SYNC).save_pretrained(folder)
    return folder


def test_the_square_that_models_see():
    picture, mask = square_input(disc(), 64)
    assert picture.shape == (64, 64, 3) and (picture[0] == 255).all()
    rows, columns = np.nonzero(mask > 0.5)
    assert (
        abs(np.ptp(rows) + 1 - 50) <= 1 and abs(rows.mean() - 31.5) < 1.5 and abs(columns.mean() - 31.5) < 1.5
    )  # 200 of 256
    whole, seen = square_input(disc(), 64, crop=False)
    assert np.nonzero(seen > 0.5)[1].mean() < 30 and whole.shape == (64, 64, 3)
    assert (white_background(picture) == (mask < 0.02)).mean() > 0.95
    ring = np.full((9, 9, 3), 255, np.uint8)
    ring[2:7, 2:7] = 0
    ring[4, 4] = 255
    assert (
        not white_background(ring)[4, 4] and white_background(ring)[0, 0]
    )  # white inside of an object is the object's
    with pytest.raises(DataError, match="no pixel is opaque"):
        square_input(np.zeros((4, 4, 4), np.uint8), 16)


def test_lifted_turns_the_object(tmp_path):
    maker = create_novel_view("lifted", {"size": "48"})
    drawn = maker.draw(disc(), maker.cameras(4))
    front, right, back, left = drawn
    assert front[24, 12, 0] > 150 and front[24, 36, 1] > 150
    assert right[24, 24, 1] > 150 and left[24, 24, 0] > 150  # azimuth goes to the right
    assert back[24, 36, 0] > 150
    nearer, farther = maker.draw(disc(), [RelativeCamera(), RelativeCamera(radius=1.0)])
    assert (nearer < 250).any(axis=2).sum() > 2 * (farther < 250).any(axis=2).sum()


def test_zero123(zero123):
    maker = create_novel_view("zero123", {"model": str(zero123), "steps": "3", "batch": "2"}, "cpu")
    cameras = [RelativeCamera(0, 0), RelativeCamera(20, 90), RelativeCamera(0, 180, 0.3)]
    steps = []
    drawn = maker.draw(disc(), cameras, seed=1, progress=lambda *args: steps.append(args))
    assert drawn.shape == (3, 64, 64, 3) and steps[-1][1] == steps[-1][2]
    again = create_novel_view("zero123", {"model": str(zero123), "steps": "3", "batch": "1"}, "cpu")
    assert np.abs(drawn.astype(int) - again.draw(disc(), cameras, seed=1)).max() <= 1
    condition = maker.condition(disc(), cameras)
    assert condition.token.shape == (3, 1, 12) and condition.concat.shape == (3, 4, 8, 8)
    assert not torch.allclose(condition.token[0], condition.token[1])  # the camera is in the token


def test_zero123_denoiser(zero123):
    maker = create_novel_view("zero123", {"model": str(zero123)}, "cpu")
    model = maker.denoiser(disc(), guidance=3.0)
    picture = torch.rand(1, 3, 64, 64, requires_grad=True)
    latents = model.encode(picture)
    latents.sum().backward()
    assert latents.shape == (1, 4, 8, 8) and picture.grad.abs().sum() > 0
    noise = model.noise(latents.detach(), 500, [RelativeCamera(10, 30)])
    assert noise.shape == latents.shape and not noise.requires_grad
    assert not torch.allclose(noise, model.noise(latents.detach(), 500, [RelativeCamera(10, 90)]))
    assert len(model.levels) == 1000 and model.levels[0] > model.levels[-1]


def test_syncdreamer(syncdreamer, zero123):
    maker = create_novel_view("syncdreamer", {"model": str(syncdreamer), "steps": "2", "batch": "4"}, "cpu")
    cameras = maker.cameras(4, elevation=10.0)
    assert [camera.azimuth for camera in cameras] == [0, 90, 180, 270] and cameras[0].elevation == 20
    drawn = maker.draw(disc(), cameras, elevation=10.0)
    assert drawn.shape == (4, 64, 64, 3)
    one = maker.draw(disc(), [RelativeCamera(20, -90)], elevation=10.0)
    assert np.array_equal(one[0], drawn[3])
    with pytest.raises(UsageError, match="makes 4 views, not 8"):
        maker.cameras(8)
    with pytest.raises(UsageError, match="draws only its own 4 views"):
        maker.draw(disc(), [RelativeCamera(0, 45)], elevation=10.0)
    with pytest.raises(UsageError, match="no view-conditioned diffusion model"):
        maker.denoiser(disc(), 3.0)
    with pytest.raises(WeightsError, match="is not a syncdreamer folder: volume/config.json is absent"):
        create_novel_view("syncdreamer", {"model": str(zero123)}, "cpu")


def test_lifters_through_every_class(zero123, syncdreamer, tmp_path):
    """Random networks draw noise, so views share no object; what counts is that all parts meet."""
    options = {"model": str(zero123), "cells": "12", "steps": "2", "size": "16"}
    lifter = create_lifter("sds", options, "cpu")
    steps = []
    mesh = lifter.lift(disc(), 0, lambda *args: steps.append(args), tmp_path / "state.safetensors")
    assert steps == [("fit", 1, 2), ("fit", 2, 2)] and not (tmp_path / "state.safetensors").exists()
    assert mesh.notes["lifter"] == "sds" and len(mesh.faces) > 20
    options = {"views": "lifted", "count": "6", "cells": "20", "steps": "3", "rays": "256"}
    lifter, drawn = create_lifter("multiview", options, "cpu"), []

    def stop(what, done, total):
        drawn.append(what)
        if what == "fit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lifter.lift(disc(), 0, stop, tmp_path / "state.safetensors")
    del drawn[:]
    mesh = lifter.lift(disc(), 0, lambda *args: drawn.append(args[0]), tmp_path / "state.safetensors")
    assert set(drawn) == {"fit"} and len(drawn) == 2  # the views and the first step were kept
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(1)
    options = {
        "views": "syncdreamer",
        "model": str(syncdreamer),
        "count": "4",
        "steps": "1",
        "cells": "8",
        "agree": "0.1",
    }
    lifter = create_lifter("multiview", options, "cpu")
    lifter.maker.options = lifter.maker.options.model_copy(update={"steps": 2})
    try:
        assert len(lifter.lift(disc()).faces)
    except DataError as error:  # white pictures everywhere
        assert "no common object" in str(error)


@pytest.mark.parametrize("form", ["png", "gif", "mp4"])
def test_orbits_on_disk(tmp_path, form):
    pictures = np.zeros((3, 32, 32, 3), np.uint8)
    pictures[1] = 120
    paths = save_orbit(pictures, orbit_cameras(3, 5.0), tmp_path, "cup", form=form, record={"seed": 1})
    table = json.loads(paths[-1].read_text())
    assert [row["azimuth"] for row in table["cameras"]] == [0, 120, 240] and table["seed"] == 1
    assert (tmp_path / table["cameras"][1]["file"]).is_file() and table["cameras"][0]["elevation"] == 5
    if form == "png":
        assert read(paths[1])[0, 0].tolist() == [120] * 3
    elif form == "gif":
        with PILImage.open(paths[0]) as film:
            assert film.n_frames == 3
    with pytest.raises(OutputError, match="exists already"):
        save_orbit(pictures, orbit_cameras(3), tmp_path, "cup", form=form)


def test_command(tmp_path, photo, disc_visible, zero123, capsys):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "mask.png").write_bytes(encode_png(disc_visible))
    command = ["views", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--method", "hull"]
    out = ["-o", str(tmp_path / "out"), "--count", "3"]
    assert run([*command, *out, "--view", "size=32", "--json"]) == 0
    done = capsys.readouterr()
    files = json.loads(done.out)["files"]
    assert len(files) == 4 and "knows nothing" in done.err
    assert json.loads(Path(files[-1]).read_text())["completion"]["method"]["name"] == "hull"
    assert run([*command, *out, "--model", "zero123", "--view", f"model={tmp_path}"]) == 1
    assert "exists already" in capsys.readouterr().err, "before a model is loaded"
    assert run(["views", "-o", str(tmp_path / "x")]) == 2
    assert run([*command, "-o", str(tmp_path / "x"), "--model", "zero12"]) == 2
    assert "did you mean 'zero123'" in capsys.readouterr().err
    (tmp_path / "cut.png").write_bytes(encode_png(disc()))
    drawn = [
        "--model",
        "zero123",
        "--view",
        f"model={zero123}",
        "--view",
        "steps=2",
        "--format",
        "gif",
        "--device",
        "cpu",
    ]
    assert run(["views", "--cutout", str(tmp_path / "cut.png"), *out, *drawn]) == 0
    assert run(["list", "novel-views"]) == 0
    assert set(registry.names("novel-views")) == {"lifted", "syncdreamer", "zero123"}


def test_studio_is_the_training_camera():
    camera = studio(RelativeCamera(5, 90, 0.25), elevation=10)
    lift = np.radians(15)
    assert camera.position == pytest.approx(
        [1.75 * np.cos(lift), 1.75 * np.sin(lift), 0], abs=1e-9
    )  # y up, x to the right
    assert camera.matrix[0, 0] == pytest.approx(280) and camera.size == (256, 256)
    assert np.allclose(camera.locate([[0, 0, 0]])[0], 128)
