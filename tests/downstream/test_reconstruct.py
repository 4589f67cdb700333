"""3-D: closed forms for the inflated ball, files that come back, metrics against references, Shap-E's real classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from amodal.cli import run
from amodal.downstream import shapes
from amodal.downstream.evaluate_3d import evaluate_reconstruction, occluded_views
from amodal.downstream.lifters import Inflate, bleed
from amodal.downstream.mesh import TexturedMesh, View, orbit, render
from amodal.downstream.reconstruct import create_lifter, reconstruct, save_reconstruction
from amodal.errors import DataError, MissingExtraError, OptionError, OutputError, UnknownNameError
from amodal.image import encode_png, read

trimesh = pytest.importorskip("trimesh", reason="needs the extra amodal[scenes]")


def ball(radius: float = 0.5, colour=(200, 40, 30)) -> TexturedMesh:
    made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    colours = np.tile(np.array(colour, np.uint8), (len(made.vertices), 1))
    return TexturedMesh(np.asarray(made.vertices), np.asarray(made.faces, np.int64), colours=colours)


def box(sides=(1.0, 0.6, 0.4)) -> TexturedMesh:
    made = trimesh.creation.box(sides)
    colours = np.full((len(made.vertices), 3), 120, np.uint8)
    return TexturedMesh(np.asarray(made.vertices), np.asarray(made.faces, np.int64), colours=colours)


def disc_cutout(radius: int = 40) -> np.ndarray:
    rows, columns = np.indices((2 * radius + 1, 2 * radius + 1))
    inside = (rows - radius) ** 2 + (columns - radius) ** 2 <= radius**2
    rgba = np.zeros((*inside.shape, 4), np.uint8)
    rgba[inside] = (230, 120, 20, 255)
    rgba[:, : radius // 2][inside[:, : radius // 2]] = (20, 60, 220, 255)
    return rgba


def test_a_disc_becomes_a_ball():
    mesh = Inflate().lift(disc_cutout())
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert radii.min() > 0.47 and radii.max() < 0.52
    body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert body.is_watertight and body.is_winding_consistent
    assert body.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.06)  # positive: faces look outwards
    assert np.ptp(Inflate({"thickness": "0.5"}).lift(disc_cutout()).vertices[:, 2]) == pytest.approx(0.5, rel=0.05)
    assert "without knowledge" in mesh.notes["note"]


def test_front_shows_the_picture_and_back_its_mirror():
    mesh = Inflate().lift(disc_cutout())
    front, seen = render(mesh, View(0), 64)
    back, _ = render(mesh, View(180), 64)
    assert 0.4 < seen.mean() < 0.8 and (front[~seen] == 255).all()
    assert front[32, 13].tolist() == [20, 60, 220] and front[32, 40].tolist() == [230, 120, 20]  # blue is on the left
    assert np.abs(back[:, ::-1].astype(int) - front).mean() < 6  # seen from behind, left is right
    assert not np.array_equal(render(mesh, View(90), 64)[0], front)


def test_shapes_with_holes_parts_and_single_pixels():
    rgba = disc_cutout(20)
    rgba[15:26, 15:26, 3] = 0
    ring = Inflate().lift(rgba)
    body = trimesh.Trimesh(ring.vertices, ring.faces, process=False)
    assert body.is_watertight and body.euler_number == 0  # a torus
    two = np.concatenate([disc_cutout(15), np.zeros((31, 9, 4), np.uint8), disc_cutout(15)], axis=1)
    pair = Inflate().lift(two)
    assert len(trimesh.Trimesh(pair.vertices, pair.faces, process=False).split()) == 2
    one = np.full((1, 1, 4), 255, np.uint8)
    assert len(Inflate().lift(one).faces) > 4
    with pytest.raises(DataError, match="no pixel is opaque"):
        Inflate().lift(np.zeros((5, 5, 4), np.uint8))
    with pytest.raises(DataError, match=r"a cut-out is \(h, w, 4\)"):
        Inflate().lift(np.zeros((5, 5, 3), np.uint8))


def test_bleed_has_no_background():
    rgba = disc_cutout(10)
    rgba[rgba[..., 3] == 0] = (0, 255, 0, 0)
    assert not (bleed(rgba[..., :3], rgba[..., 3] > 127) == (0, 255, 0)).all(axis=2).any()


def test_glb_comes_back(tmp_path):
    mesh = Inflate().lift(disc_cutout())
    mesh.save(tmp_path / "disc.glb")
    again = TexturedMesh.load(tmp_path / "disc.glb")
    assert np.allclose(np.sort(again.vertices, axis=0), np.sort(mesh.vertices, axis=0), atol=1e-6)
    assert len(again.faces) == len(mesh.faces) and np.array_equal(again.texture, mesh.texture)
    for view in (View(0), View(70, 20)):
        assert np.abs(render(again, view, 48)[0].astype(int) - render(mesh, view, 48)[0]).mean() < 1
    assert trimesh.load(tmp_path / "disc.glb").metadata["lifter"] == "inflate"
    ball().save(tmp_path / "ball.glb")
    assert render(TexturedMesh.load(tmp_path / "ball.glb"), View(), 32)[0][16, 16].tolist() == [200, 40, 30]
    with pytest.raises(OutputError, match="exists already"):
        mesh.save(tmp_path / "disc.glb")


def test_bad_meshes(tmp_path):
    with pytest.raises(DataError, match="there is no mesh file"):
        TexturedMesh.load(tmp_path / "absent.glb")
    (tmp_path / "bad.glb").write_bytes(b"glTF but not really")
    with pytest.raises(DataError, match="is not a mesh that can be read"):
        TexturedMesh.load(tmp_path / "bad.glb")
    (tmp_path / "empty.obj").write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(DataError, match=r"empty\.obj"):
        TexturedMesh.load(tmp_path / "empty.obj")
    with pytest.raises(DataError, match="the mesh is empty"):
        TexturedMesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    with pytest.raises(DataError, match="not finite"):
        TexturedMesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]]))
    with pytest.raises(DataError, match="at least two"):
        occluded_views([tmp_path / "a.glb"])


def test_views_go_around():
    marked = ball()
    colours = np.where(marked.vertices[:, :1] > 0, np.uint8(255), np.uint8(0)) * np.array([1, 0, 0], np.uint8)
    marked = TexturedMesh(marked.vertices, marked.faces, colours=colours)
    shown = [render(marked, view, 32)[0][16, 16].tolist() for view in orbit(4, elevation=0, start=90)]
    assert shown[0] == [255, 0, 0] and shown[2] == [0, 0, 0]  # from +x, then from -x
    for view in orbit(5, elevation=30):
        assert np.allclose(view.axes().T @ view.axes(), np.eye(3)) and np.linalg.det(view.axes()) == pytest.approx(1)
    top, seen = render(box((0.2, 1.0, 0.2)), View(0, 89.9), 64)
    assert np.ptp(np.nonzero(seen)[0]) < 16 and top.shape == (64, 64, 3)


def test_shape_metrics_in_closed_form():
    small, large = ball(0.4), ball(0.5)
    assert shapes.chamfer(large, large) < 0.012  # two samplings of the same surface
    assert shapes.chamfer(small, large) == pytest.approx(0.1, abs=0.01)
    assert shapes.volume_iou(large, large) > 0.99
    assert shapes.volume_iou(small, large) == pytest.approx(0.8**3, abs=0.05)
    brick = box()
    assert shapes.volume_iou(brick, brick.moved(np.eye(3), 1, (0.5, 0, 0))) == pytest.approx(1 / 3, abs=0.06)


def test_alignment_undoes_a_small_turn_and_any_scale():
    turn = trimesh.transformations.rotation_matrix(0.15, [0.2, 1, 0.1])[:3, :3]
    moved = box().moved(turn, 3.0, (5, -2, 1))
    aligned = shapes.align(moved, box())
    assert shapes.chamfer(aligned, box()) < 0.02 < shapes.chamfer(moved.normalised(), box())
    assert shapes.volume_iou(aligned, box()) > 0.85


def test_picture_metrics_against_references():
    skimage = pytest.importorskip("skimage.metrics", reason="the reference is scikit-image")
    random = np.random.default_rng(0)
    truth = (random.random((48, 48, 3)) * 60 + np.linspace(0, 190, 48)[:, None, None]).astype(np.uint8)
    noisy = np.clip(truth.astype(int) + random.integers(-25, 25, truth.shape), 0, 255).astype(np.uint8)
    assert shapes.psnr(noisy, truth) == pytest.approx(skimage.peak_signal_noise_ratio(truth, noisy), abs=1e-6)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    assert shapes.ssim(noisy, truth) == pytest.approx(skimage.structural_similarity(truth, noisy, **settings), abs=2e-3)
    assert shapes.psnr(truth, truth) == 100 and shapes.ssim(truth, truth) == pytest.approx(1)


def test_lpips_says_what_it_needs(photo):
    try:
        import lpips  # noqa: F401
    except (ImportError, RuntimeError):
        with pytest.raises(MissingExtraError, match="leave out --lpips"):
            shapes.lpips(photo, photo)
    else:
        assert shapes.lpips(photo, photo) == pytest.approx(0, abs=1e-6)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    for name, mesh in {"ball": ball(), "brick": box(), "egg": ball().moved(np.diag([1, 1.4, 1]))}.items():
        mesh.save(tmp_path / "objects" / f"{name}.glb")
    return sorted((tmp_path / "objects").glob("*.glb"))


def test_evaluation_and_command(files, tmp_path, capsys):
    from amodal import load

    views = occluded_views(files, views=1, size=64)
    assert [view.id for view in views] == ["ball/0", "brick/0", "egg/0"]
    assert all(0.1 <= view.pair.hidden <= 0.6 for view in views)
    again = occluded_views(files, views=1, size=64)
    assert all(np.array_equal(a.pair.occlusion, b.pair.occlusion) for a, b in zip(views, again, strict=True))
    report = evaluate_reconstruction(views, Inflate({"resolution": 24}), load("hull"), novel=2)
    table = report.table()
    assert list(table) == ["visible", "completed", "whole"] and len(report.rows) == 9
    assert table["whole"]["chamfer"] < table["visible"]["chamfer"] and table["whole"]["iou"] > table["visible"]["iou"]
    command = ["reconstruct", "--objects", str(tmp_path / "objects"), "--limit", "2", "--size", "32"]
    command += ["--lift", "resolution=12"]
    assert run([*command, "--method", "visible", "-o", str(tmp_path / "report"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["views"] == 4
    assert run([*command, "-o", str(tmp_path / "report")]) == 1
    assert "exists already" in capsys.readouterr().err


def test_command_on_a_photo(tmp_path, photo, disc_visible, capsys):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "mask.png").write_bytes(encode_png(disc_visible))
    command = ["reconstruct", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--method", "hull"]
    out = ["-o", str(tmp_path / "out"), "--views", "2", "--size", "32", "--lift", "resolution=24"]
    assert run([*command, *out, "--json"]) == 0
    done = capsys.readouterr()
    record = json.loads(done.out)
    assert "knows nothing" in done.err
    assert TexturedMesh.load(record["files"]["mesh"][0]).texture is not None
    assert [read(path).shape for path in record["files"]["views"]] == [(32, 32, 3)] * 2
    saved = json.loads(Path(record["files"]["json"][0]).read_text())
    assert saved["lifting"]["options"]["resolution"] == 24 and saved["completion"]["method"]["name"] == "hull"
    assert run([*command, *out]) == 1
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "cut.png").write_bytes(encode_png(disc_cutout()))
    assert run(["reconstruct", "--cutout", str(tmp_path / "cut.png"), *out]) == 0
    assert run(["reconstruct", "--cutout", str(tmp_path / "photo.png"), *out, "--force"]) == 2
    assert "has no transparency" in capsys.readouterr().err
    assert run(["reconstruct"]) == 2
    assert run([*command, *out, "--lifter", "inflat"]) == 2
    assert "did you mean 'inflate'" in capsys.readouterr().err


def test_lifters_by_name():
    assert isinstance(create_lifter("inflate", {"resolution": "32"}), Inflate)
    with pytest.raises(UnknownNameError, match="no lifter named"):
        create_lifter("triposr")
    with pytest.raises(OptionError, match="resolution"):
        create_lifter("inflate", {"resolution": "2"})


def fill_triangle_table(decoder) -> None:
    """Marching cubes' table is part of the real weights and empty otherwise: here a fan over the edges that change sign."""
    edges = []
    for axis in range(3):
        first, second = (other for other in range(3) if other != axis)
        for high in (0, 1):
            for low in (0, 1):
                corner = low << first | high << second
                edges.append((corner, corner | 1 << axis))
    for case in range(1, 255):
        crossed = [k for k, (a, b) in enumerate(edges) if (case >> a ^ case >> b) & 1]
        for k in range(min(5, len(crossed) - 2)):
            decoder.cases[case, k] = torch.tensor([crossed[0], crossed[k + 1], crossed[k + 2]])
            decoder.masks[case, k] = True


@pytest.fixture(scope="module")
def shap_e(tmp_path_factory) -> Path:
    from diffusers import HeunDiscreteScheduler, PriorTransformer, ShapEImg2ImgPipeline
    from diffusers.pipelines.shap_e import ShapERenderer
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=16, image_size=32, intermediate_size=24, num_attention_heads=2, num_hidden_layers=2, patch_size=8
    )
    prior = PriorTransformer(
        num_attention_heads=2,
        attention_head_dim=8,
        embedding_dim=16,
        num_embeddings=32,
        embedding_proj_dim=16,
        time_embed_dim=32,
        num_layers=1,
        clip_embed_dim=32,
        additional_embeddings=0,
        time_embed_act_fn="gelu",
        norm_in_type="layer",
        embedding_proj_norm_type="layer",
        encoder_hid_proj_type=None,
        added_emb_type=None,
    )
    renderer = ShapERenderer(
        param_shapes=((8, 93), (8, 8), (8, 8), (8, 8)),
        d_latent=16,
        d_hidden=8,
        n_output=12,
        background=(0.1, 0.1, 0.1),
    )
    fill_triangle_table(renderer.mesh_decoder)
    scheduler = HeunDiscreteScheduler(
        beta_schedule="exp",
        num_train_timesteps=1024,
        prediction_type="sample",
        use_karras_sigmas=True,
        clip_sample=True,
    )
    processor = CLIPImageProcessor(do_center_crop=False, size={"height": 32, "width": 32}, resample=3)
    folder = tmp_path_factory.mktemp("shap-e")
    ShapEImg2ImgPipeline(prior, CLIPVisionModel(vision), processor, scheduler, renderer).save_pretrained(folder)
    return folder


def test_shap_e(shap_e, tmp_path):
    lifter = create_lifter("shap-e", {"model": str(shap_e), "steps": "2", "grid": "24"}, "cpu")
    field = lifter.pipeline.shap_e_renderer.mlp
    field.mlp[-1].bias.data[0] = -20  # negative everywhere
    with pytest.raises(DataError, match="found no surface"):
        lifter.lift(disc_cutout(), seed=1)
    field.mlp[-1].bias.data[0] = 0
    ticks = []
    mesh = reconstruct(disc_cutout(), lifter, seed=1, tick=lambda *t: ticks.append(t))
    assert len(mesh.faces) > 10 and mesh.colours is not None and ticks[-1] == ("step", 3, 3)
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(1)
    same = lifter.lift(disc_cutout(), seed=1)
    assert np.array_equal(same.vertices, mesh.vertices)
    assert mesh.notes["lifter"] == "shap-e"
    paths = save_reconstruction(mesh, tmp_path, views=1, size=16)
    assert TexturedMesh.load(paths["mesh"][0]).colours is not None
