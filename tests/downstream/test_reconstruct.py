"""3-D: closed forms for the inflated ball, files that come back, metrics against references, Shap-E's real classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from amodal.cli import run
from amodal.core.errors import DataError, MissingExtraError, OptionError, OutputError, UnknownNameError, WeightsError
from amodal.core.image import encode_png, read
from amodal.downstream.cutout import bleed
from amodal.downstream.perceptual import perceptual_distance
from amodal.downstream.reconstruction.evaluate_3d import INPUTS, PUBLISHED, Evaluation, summary
from amodal.downstream.reconstruction.lifters import Inflate
from amodal.downstream.reconstruction.occluded import choose_objects, find_meshes, occluded_view
from amodal.downstream.reconstruction.reconstruct import create_lifter, reconstruct, save_reconstruction
from amodal.downstream.views.protocol import RelativeCamera, studio
from amodal.geometry import shapes
from amodal.geometry.camera import orbit
from amodal.geometry.mesh import Mesh
from amodal.geometry.readers import read_mesh
from amodal.geometry.render import Renderer
from tiny_diffusion import without_tensors

trimesh = pytest.importorskip("trimesh", reason="needs the extra amodal[scenes]")


def ball(radius: float = 0.5, colour=(200, 40, 30)) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    colours = np.tile(np.array(colour, np.uint8), (len(made.vertices), 1))
    return Mesh.coloured(made.vertices, made.faces, colours)


def box(sides=(1.0, 0.6, 0.4)) -> Mesh:
    made = trimesh.creation.box(sides)
    colours = np.full((len(made.vertices), 3), 120, np.uint8)
    return Mesh.coloured(made.vertices, made.faces, colours)


def shown(mesh: Mesh, azimuth: float = 0, elevation: float = 0, size: int = 256):
    """The mesh in its own colours from an orbit, and where it is."""
    return Renderer(mesh).paint(orbit(azimuth, elevation, size=size))


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
    front, seen = shown(mesh, size=64)
    back, _ = shown(mesh, 180, size=64)
    assert 0.4 < seen.mean() < 0.8 and (front[~seen] == 255).all()
    assert front[32, 13].tolist() == [20, 60, 220] and front[32, 40].tolist() == [230, 120, 20]  # blue is on the left
    assert np.abs(back[:, ::-1].astype(int) - front).mean() < 6  # seen from behind, left is right
    assert not np.array_equal(shown(mesh, 90, size=64)[0], front)


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
    again = read_mesh(tmp_path / "disc.glb")
    assert np.allclose(np.sort(again.vertices, axis=0), np.sort(mesh.vertices, axis=0), atol=1e-6)
    assert len(again.faces) == len(mesh.faces) and np.array_equal(
        again.surface.materials[0].texture, mesh.surface.materials[0].texture
    )
    for view in ((0, 0), (70, 20)):
        assert np.abs(shown(again, *view, size=48)[0].astype(int) - shown(mesh, *view, size=48)[0]).mean() < 1
    assert trimesh.load(tmp_path / "disc.glb").metadata["lifter"] == "inflate"
    ball().save(tmp_path / "ball.glb")
    assert shown(read_mesh(tmp_path / "ball.glb"), size=32)[0][16, 16].tolist() == [200, 40, 30]
    with pytest.raises(OutputError, match="exists already"):
        mesh.save(tmp_path / "disc.glb")


def test_bad_meshes(tmp_path):
    with pytest.raises(DataError, match="there is no .*absent.glb"):
        read_mesh(tmp_path / "absent.glb")
    (tmp_path / "bad.glb").write_bytes(b"glTF but not really")
    with pytest.raises(DataError, match="cannot read .*bad.glb"):
        read_mesh(tmp_path / "bad.glb")
    (tmp_path / "empty.obj").write_text("v 0 0 0\nv 1 0 0\n")
    with pytest.raises(DataError, match="scene empty has no faces"):
        read_mesh(tmp_path / "empty.obj")
    with pytest.raises(DataError, match="the mesh is empty"):
        Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)).checked()
    with pytest.raises(DataError, match="not finite"):
        Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])).checked()


def test_views_go_around():
    marked = ball()
    colours = np.where(marked.vertices[:, :1] > 0, np.uint8(255), np.uint8(0)) * np.array([1, 0, 0], np.uint8)
    marked = Mesh.coloured(marked.vertices, marked.faces, colours)
    middles = [shown(marked, 90 + 90 * k, size=32)[0][16, 16].tolist() for k in range(4)]
    assert middles[0] == [255, 0, 0] and middles[2] == [0, 0, 0]  # from +x, then from -x
    for k in range(5):
        view = orbit(72 * k, 30)
        assert np.allclose(view.axes.T @ view.axes, np.eye(3)) and np.linalg.det(view.axes) == pytest.approx(1)
        c, s = np.cos(np.radians(72 * k)), np.sin(np.radians(72 * k))
        turn = np.array([[c, 0, -s, 0], [0, 1, 0, 0], [s, 0, c, 0], [0, 0, 0, 1]])
        assert np.allclose(
            orbit(0, 30).cam_from_world @ turn, view.cam_from_world
        )  # to the right around the upright axis
    top, seen = shown(box((0.2, 1.0, 0.2)), 0, 89.9, size=64)
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
        with pytest.raises(MissingExtraError, match="leave LPIPS out"):
            shapes.lpips(photo, photo)
    else:
        assert shapes.lpips(photo, photo) == pytest.approx(0, abs=1e-6)


@pytest.fixture
def objects(tmp_path) -> Path:
    for name, mesh in {"ball": ball(), "brick": box(), "egg": ball().moved(np.diag([1, 1.4, 1]))}.items():
        mesh.save(tmp_path / "objects" / f"{name}.glb")
    return tmp_path / "objects"


def test_objects_and_occluders_are_drawn(objects):
    files = find_meshes(objects)
    assert [file.stem for file in files] == ["ball", "brick", "egg"]
    assert len(choose_objects(files, 2, 0)) == 2 and choose_objects(files, 9, 0) == files
    seen = {tuple(choose_objects(files, 1, seed)) for seed in range(20)}
    assert len(seen) == 3  # all of them, by the seed
    occluders = {occluded_view(files[0], number, files, 48).occluder for number in range(8)}
    assert occluders == {"brick", "egg"}  # from all objects but itself
    view, again = (occluded_view(files[1], 1, files, 48) for _ in range(2))
    assert np.array_equal(view.pair.occlusion, again.pair.occlusion) and 0.1 <= view.pair.occluded <= 0.6
    assert -10 <= view.elevation <= 40
    front = Renderer(view.truth).paint(studio(RelativeCamera(), view.elevation, 48))[1]
    assert np.array_equal(front, view.pair.amodal)  # upright, seen from azimuth 0
    with pytest.raises(DataError, match="at least two are needed"):
        find_meshes(objects.parent / "nothing")


def test_inputs_of_the_tables(objects):
    from amodal import load

    item = occluded_view(find_meshes(objects)[0], 0, find_meshes(objects), 64)
    how = Evaluation(Inflate(), load("hull", segmenter="grabcut"), size=64)
    areas = {name: int((how.input_of(item, name)[..., 3] > 0).sum()) for name in list(INPUTS)[:6]}
    assert areas["visible"] == item.pair.visible.sum() and areas["whole"] == item.pair.amodal.sum()
    assert areas["foreground"] > areas["whole"] > areas["visible"] and areas["completed"] >= areas["visible"]


def test_perceptual_distance_is_none_for_equal_pictures_and_grows():
    random = np.random.default_rng(0)
    truth = np.full((64, 64, 3), 255, np.uint8)
    truth[16:48, 16:48] = random.integers(0, 255, (32, 32, 3))
    near, far = truth.copy(), np.full((64, 64, 3), 255, np.uint8)
    near[20:24] = 128
    assert perceptual_distance(truth, truth) == pytest.approx(0, abs=1e-6)
    assert 0 < perceptual_distance(near, truth) < perceptual_distance(far, truth)


def test_summary_by_hand():
    def row(name, value, **more):
        cells = {kind: {"chamfer": value, "iou": value} for kind in ("visible", "whole")}
        return {"id": name, "error": None, "measures": cells, "errors": {}, **more}

    partial = row("c/0", 9.0, errors={"whole": "empty"})
    del partial["measures"]["whole"]
    done = summary([row("a/0", 0.2), row("b/0", 0.4), partial, {"id": "d/0", "error": "flat"}])
    assert done["table"]["whole"] == {"chamfer": 0.3, "iou": 0.3} and done["compared"] == 2
    assert done["failures"] == ["d/0: flat", "c/0 (whole): empty"]
    assert list(PUBLISHED) == list(INPUTS)[:5] and PUBLISHED["completed"]["iou"] == 0.3639


def test_evaluation_and_command(objects, tmp_path, capsys):
    command = ["reconstruct", "--evaluate", "--objects", str(objects), "--count", "1", "--size", "32"]
    command += ["--lift", "resolution=12", "--method", "visible", "--segmenter", "grabcut"]
    out = ["-o", str(tmp_path / "report"), "--json"]
    assert run([*command, *out, "--rows", "visible,whole"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (len(content["objects"]), content["views"], content["occluders"]) == (1, 2, 3)
    assert set(content["table"]) == {"visible", "whole"}
    assert set(content["table"]["whole"]) == {"chamfer", "iou", "psnr", "ssim", "perceptual"}
    assert content["table"]["whole"]["iou"] > content["table"]["visible"]["iou"]
    assert content["published"]["completed"]["chamfer"] == 0.0681
    assert run([*command, *out, "--rows", "visible,whole"]) == 0  # all is there: nothing is done again
    assert json.loads(capsys.readouterr().out) == content
    assert run([*command, *out, "--rows", "visible"]) == 1  # another evaluation
    assert run([*command, *out, "--rows", "visible", "--force"]) == 0  # begun anew
    assert set(json.loads(capsys.readouterr().out)["table"]) == {"visible"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "reconstruction.json").write_text("mine")
    assert run([*command, "-o", str(tmp_path / "mine")]) == 1
    assert "holds other files (reconstruction.json)" in capsys.readouterr().err
    assert run([*command, *out, "--rows", "visble"]) == 2
    assert "did you mean 'visible'" in capsys.readouterr().err
    assert run(["reconstruct", "--objects", str(objects)]) == 2
    capsys.readouterr()
    assert run([*command, *out, "--size", "40"]) == 2
    assert "multiple of 32" in capsys.readouterr().err
    lifted = ["--novel-views", "lifted", "--view", "size=32", "--rows", "whole,true-views", "--count", "1"]
    assert run([*command, *lifted, "-o", str(tmp_path / "other"), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["novel_views"]["name"] == "lifted" and content["table"]["true-views"]["iou"] > 0.6


def test_command_on_a_photo(tmp_path, photo, disc_visible, capsys):
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    (tmp_path / "mask.png").write_bytes(encode_png(disc_visible))
    command = ["reconstruct", str(tmp_path / "photo.png"), "--mask", str(tmp_path / "mask.png"), "--method", "hull"]
    out = ["-o", str(tmp_path / "out"), "--views", "2", "--size", "32", "--lift", "resolution=24"]
    assert run([*command, *out, "--json"]) == 0
    done = capsys.readouterr()
    record = json.loads(done.out)
    assert "knows nothing" in done.err
    assert read_mesh(record["files"]["mesh"][0]).surface.materials[0].texture is not None
    assert [read(path).shape for path in record["files"]["views"]] == [(32, 32, 3)] * 2
    saved = json.loads(Path(record["files"]["json"][0]).read_text())
    assert saved["lifting"]["options"]["resolution"] == 24 and saved["completion"]["method"]["name"] == "hull"
    assert run([*command, *out, "--lifter", "shap-e", "--lift", f"model={tmp_path}"]) == 1
    assert "exists already" in capsys.readouterr().err, "before a model is loaded"
    (tmp_path / "cut.png").write_bytes(encode_png(disc_cutout()))
    assert run(["reconstruct", "--cutout", str(tmp_path / "cut.png"), *out]) == 0
    assert run(["reconstruct", "--cutout", str(tmp_path / "photo.png"), *out, "--force"]) == 2
    assert "has no transparency" in capsys.readouterr().err
    assert run(["reconstruct"]) == 2
    assert run([*command, "-o", str(tmp_path / "x"), "--lifter", "inflat"]) == 2
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
    mesh = reconstruct(disc_cutout(), lifter, seed=1, progress=lambda *t: ticks.append(t))
    assert len(mesh.faces) > 10 and mesh.surface.colours is not None and ticks[-1] == ("step", 3, 3)
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(1)
    same = lifter.lift(disc_cutout(), seed=1)
    assert np.array_equal(same.vertices, mesh.vertices)
    assert mesh.notes["lifter"] == "shap-e"
    paths = save_reconstruction(mesh, tmp_path, views=1, size=16)
    assert read_mesh(paths["mesh"][0]).surface.colours is not None
    for part, name in (("image_encoder", "layers.0.self_attn.q_proj"), ("prior", "proj_in")):
        folder = without_tensors(shap_e, tmp_path / part, name, part)
        with pytest.raises(WeightsError, match=rf"{part} do not fit its config.json .* missing \(.*{name}"):
            create_lifter("shap-e", {"model": str(folder)}, "cpu")
