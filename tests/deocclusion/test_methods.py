"""The family's methods with real networks at tiny sizes: erasers, order, completion, pictures, errors, `amodal order`."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import amodal  # noqa: E402
from amodal.cli import run  # noqa: E402
from amodal.core.errors import (  # noqa: E402
    Cancelled,
    MaskError,
    OptionError,
    WeightsError,
)
from amodal.core.image import encode_png  # noqa: E402
from amodal.core.mask import Mask  # noqa: E402
from amodal.core.prompt import Prompt  # noqa: E402
from amodal.plugins.protocols import Context, Request  # noqa: E402

WIDTHS = (4, 4, 8, 8, 8)
SIZE = {"input_size": 32}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "amodal-home"))


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[str, str]:
    """Checkpoints in the authors' layout: {step, state_dict, optimizer} with the prefix `module.`"""
    from amodal.methods.deocclusion.content import PartialConvUNet
    from amodal.methods.deocclusion.network import SingleStageNet
    from amodal.networks.unet import MaskUNet

    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("deocclusion")
    networks = {
        "deocclusion": MaskUNet(2, WIDTHS),
        "deocclusion-single": SingleStageNet(WIDTHS, (4, 4, 4, 8)),
        "content": PartialConvUNet(widths=(4,) * 7),
    }
    paths = {}
    for name, network in networks.items():
        path = folder / f"{name}.pth.tar"
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        torch.save({"step": 1, "state_dict": state, "optimizer": {"lr": 0.1}}, path)
        paths[name] = str(path)
    return {**paths, "asbu": paths["deocclusion"]}


@pytest.fixture
def scene(tmp_path, photo, disc_visible) -> dict[str, Mask]:
    """The photo's disc, the bar before it, and a far box; also written as `scene/NAME.png` and `photo.png`."""
    rows, columns = np.indices((96, 128))
    masks = {"bar": (columns >= 66) & (columns < 82), "disc": disc_visible, "far": (columns > 110) & (rows < 20)}
    (tmp_path / "scene").mkdir()
    for name, bits in masks.items():
        (tmp_path / "scene" / f"{name}.png").write_bytes(encode_png(bits))
    (tmp_path / "photo.png").write_bytes(encode_png(photo))
    return {name: Mask.from_array(bits) for name, bits in masks.items()}


METHODS = ["deocclusion", "asbu", "deocclusion-single"]


@pytest.mark.parametrize("name", METHODS)
def test_batch_equals_single_and_repeats(name, photo, scene, weights):
    options = {**SIZE, "weights": weights[name]}
    prompts = [Prompt.make(mask=mask) for mask in scene.values()]
    together = amodal.load(name, options=options, device="cpu").open(photo).complete_all(prompts)
    for prompt, result in zip(prompts, together, strict=True):
        model = amodal.load(name, options={**options, "batch": 1}, device="cpu")
        alone = model.open(photo).complete(prompt=prompt)
        assert alone.amodal == result.amodal and alone.rgba.tobytes() == result.rgba.tobytes()
        assert alone.amodal.contains(prompt.mask)
        assert np.array_equal(alone.probability.values, result.probability.values)


@pytest.mark.parametrize("name", METHODS)
def test_strange_shapes(name, photo, weights):
    scene = amodal.load(name, options={**SIZE, "weights": weights[name]}, device="cpu").open(photo)
    for box in ((17, 9, 18, 10), (0, 0, 128, 96), (0, 0, 25, 40), (5, 50, 100, 51)):
        result = scene.complete(mask=Mask.from_box(box))
        assert result.amodal.contains(result.visible)
        assert result.amodal.clip((96, 128)) == result.amodal


def test_the_eraser_is_what_the_user_names(photo, scene, weights):
    """The occluder given and the scene without one give what the network gives for exactly these inputs."""
    method = amodal.load("deocclusion", options={**SIZE, "weights": weights["deocclusion"]}, device="cpu").method
    from amodal.core.crop import Crop

    crop = Crop.around(scene["disc"].box, 32)
    for occluder in (scene["bar"], None):
        prediction = method.complete(photo, photo, [Request(scene["disc"], occluder=occluder)], Context())[0][0]
        eraser = crop.bits(occluder, linear=True) if occluder else np.zeros((32, 32), bool)
        values = method.predict((crop.bits(scene["disc"], linear=True) & ~eraser)[None], eraser[None])[0]
        expected = crop.mask_back((values > 0.2).astype(np.float32)).clip((96, 128))
        assert prediction.amodal == expected
        assert prediction.occluder == occluder


@pytest.mark.parametrize("order", ["hull", "area", "larger", "y-axis", "network"])
def test_other_objects_as_erasers(order, photo, scene, weights, tmp_path):
    options = {**SIZE, "weights": weights["deocclusion"], "scene": str(tmp_path / "scene"), "order": order}
    method = amodal.load("deocclusion", options=options, device="cpu").method
    everything = list(scene.values())
    matrix, predictions = method.complete_scene(photo, [Request(mask) for mask in everything])
    assert matrix.shape == (3, 3) and np.array_equal(matrix, -matrix.T)
    for index, mask in enumerate(everything):
        alone = method.complete(photo, photo, [Request(mask)], Context())[0][0]
        assert alone.amodal == predictions[index].amodal
        assert alone.occluder == predictions[index].occluder
    if order == "hull":
        assert predictions[1].occluder == scene["bar"], "the bar lies in the disc's hull"
        assert predictions[0].occluder is None


def test_the_rule_of_the_area_of_both_papers_sets(photo, scene, weights):
    """COCO-A: the smaller one is on top; KINS: the larger one."""
    requests = [Request(scene[name]) for name in ("bar", "disc")]
    larger = scene["disc"].area > scene["bar"].area
    for order, disc_in_front in (("area", not larger), ("larger", larger)):
        options = {**SIZE, "weights": weights["deocclusion"], "order": order}
        method = amodal.load("deocclusion", options=options, device="cpu").method
        assert method.order(requests)[1, 0] == (1 if disc_in_front else -1)


@pytest.mark.parametrize("content", [False, True])
def test_the_hull_under_what_lies_in_front_is_convex_r(content, photo, scene, weights):
    from amodal.core.regions import convex_hull

    options = {"weights": weights["deocclusion"], "order": "hull", "completion": "hull", "input_size": 128}
    options |= {"content_weights": weights["content"]} if content else {}
    method = amodal.load("deocclusion", options=options, device="cpu").method
    empty = Request(Mask.from_array(np.zeros((0, 0), bool)), box=(2, 2, 9, 9))
    _, predictions = method.complete_scene(photo, [*(Request(mask) for mask in scene.values()), empty])
    disc = predictions[1]
    assert disc.amodal == scene["disc"] | (convex_hull(scene["disc"]) & scene["bar"]) != scene["disc"]
    assert disc.occluder == scene["bar"] and (disc.picture is not None) == content
    assert predictions[0].amodal == scene["bar"] and not predictions[3].amodal


def test_neighbours_as_erasers(photo, scene, weights):
    options = {**SIZE, "weights": weights["deocclusion"], "order": "hull", "eraser": "neighbours"}
    method = amodal.load("deocclusion", options=options, device="cpu").method
    _, predictions = method.complete_scene(photo, [Request(mask) for mask in scene.values()])
    assert [prediction.occluder for prediction in predictions] == [scene["disc"], scene["bar"], None]


def test_ancestors_through_others(weights):
    from amodal.core.mask import union

    method = amodal.load("deocclusion", options={**SIZE, "weights": weights["deocclusion"]}, device="cpu").method
    order = np.array([[0, 1, 0], [-1, 0, 1], [0, -1, 0]], np.int8)
    masks = [Mask.from_box((10 * i, 0, 10 * i + 10, 10)) for i in range(3)]
    assert method.erasers(masks, order, [2, 0]) == [union(masks[:2]), Mask.from_box((0, 0, 0, 0))]


def test_content_completion(photo, scene, weights):
    options = {"weights": weights["deocclusion"], "content_weights": weights["content"], "input_size": 128}
    model = amodal.load("deocclusion", options=options, device="cpu")
    result = model.open(photo).complete(mask=scene["disc"], occluder=scene["bar"])
    seen = scene["disc"].crop(result.amodal.box)
    assert np.array_equal(result.rgba[seen][:, :3], photo[scene["disc"].to_array((96, 128))])
    classical = amodal.load("deocclusion", options={**options, "content_weights": ""}, device="cpu")
    other = classical.open(photo).complete(mask=scene["disc"], occluder=scene["bar"])
    assert other.amodal == result.amodal
    if result.amodal.area > result.visible.area:
        assert not np.array_equal(other.rgba, result.rgba)


def test_content_leaves_the_rest_of_the_crop(photo, scene):
    from amodal.core.crop import Crop
    from amodal.methods.deocclusion.content import PartialConvUNet, complete_content

    crop = Crop((10, -10), 128, 128)
    network = PartialConvUNet(widths=(4,) * 7).eval()
    amodal_mask = scene["disc"] | (scene["bar"] & Mask.from_box((66, 30, 82, 60)))
    made = complete_content(network, photo, scene["disc"], amodal_mask, crop)
    hole = np.zeros((128, 128), bool)
    hole[38:72, 54:74] = True  # rows 30..59 and columns 66..81 less the origin, grown by 2
    assert not np.array_equal(made[hole], crop.image(photo)[hole])
    assert np.array_equal(made[~hole], crop.image(photo)[~hole])


def test_cancel(photo, scene, weights):
    def stop(what, done, total):
        raise Cancelled("stop")

    for name in METHODS:
        with pytest.raises(Cancelled):
            amodal.load(name, options={**SIZE, "weights": weights[name]})(photo, mask=scene["disc"], progress=stop)


def test_errors(photo, scene, weights, tmp_path):
    for name in METHODS:
        with pytest.raises(OptionError, match=f"{name} needs its weights: a file"):
            amodal.load(name)
    with pytest.raises(WeightsError, match="do not fit this network"):
        amodal.load("deocclusion", options={"weights": weights["deocclusion-single"]})
    with pytest.raises(WeightsError, match="do not fit this network"):
        amodal.load("deocclusion-single", options={"weights": weights["deocclusion"]})
    with pytest.raises(WeightsError, match="do not fit this network"):
        amodal.load(
            "deocclusion", options={**SIZE, "weights": weights["deocclusion"], "content_weights": weights["asbu"]}
        )
    model = amodal.load("deocclusion", options={**SIZE, "weights": weights["deocclusion"], "scene": str(tmp_path)})
    (tmp_path / "photo.png").rename(tmp_path / "photo.dat")
    with pytest.raises(MaskError, match="holds no mask pictures"):
        model(photo, mask=scene["disc"])
    (tmp_path / "small.png").write_bytes(encode_png(np.ones((4, 4), bool)))
    with pytest.raises(MaskError, match="4 x 4 pixels, the image 128 x 96"):
        model(photo, mask=scene["disc"])


def command(tmp_path, *more):
    return run(["order", str(tmp_path / "photo.png"), "--masks", str(tmp_path / "scene"), *more])


def test_order_table_json_and_dot(scene, tmp_path, capsys):
    assert command(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["bar  hides  disc", "layer 1: bar, far", "layer 2: disc"]
    assert command(tmp_path, "--by", "hull", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["objects"] == ["bar", "disc", "far"]
    assert record["matrix"] == [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]
    assert record["pairs"] == [{"front": "bar", "behind": "disc"}]
    assert command(tmp_path, "--dot") == 0
    assert '"bar" -> "disc";' in capsys.readouterr().out
    assert command(tmp_path, "--by", "y-axis", "--json") == 0
    assert json.loads(capsys.readouterr().out)["pairs"] in (
        [{"front": "bar", "behind": "disc"}],
        [{"front": "disc", "behind": "bar"}],
    )


def test_order_by_a_network_writes_masks(scene, weights, tmp_path, capsys):
    settings = ["--set", f"weights={weights['deocclusion']}", "--set", "input_size=32"]
    out = tmp_path / "out"
    assert command(tmp_path, "--by", "deocclusion", *settings, "-o", str(out), "--json", "--device", "cpu") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["by"] == "deocclusion"
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.amodal.png" for name in ("bar", "disc", "far")]
    assert command(tmp_path, "--by", "deocclusion", *settings, "-o", str(out)) == 1
    assert "exists already" in capsys.readouterr().err


def test_order_from_a_label_picture(scene, tmp_path, capsys):
    from PIL import Image

    labels = np.zeros((96, 128), np.uint8)
    for value, mask in enumerate(scene.values(), 1):
        labels[mask.to_array((96, 128))] = value
    picture = Image.fromarray(labels, "L").convert("P")
    picture.putdata(labels.ravel().tolist())
    picture.save(tmp_path / "labels.png")
    assert run(["order", str(tmp_path / "photo.png"), "--masks", str(tmp_path / "labels.png"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["objects"] == ["labels:1", "labels:2", "labels:3"]
    assert record["matrix"] == [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]


def test_order_wrong_use(scene, tmp_path, capsys):
    for more, text in (
        (["--json", "--dot"], "two forms of the same"),
        (["-o", "x"], "--by hull does not make"),
        (["--set", "a=b"], "--by hull has no options"),
        (["--by", "deocclusion"], "needs its weights"),
    ):
        assert command(tmp_path, *more) == 2
        assert text in capsys.readouterr().err
    assert run(["order", str(tmp_path / "photo.png"), "--masks", str(tmp_path / "nothing.png")]) == 1
    assert "there is no file" in capsys.readouterr().err


@pytest.fixture
def kins_json(scene, tmp_path) -> str:
    """The scene as KINS has it, of 2020: visible masks in `i_segm`, whole ones in `a_segm`, a category number each."""
    rows = [
        {
            "id": n,
            "image_id": 1,
            "category_id": n + 2,
            "a_segm": mask.to_rle((96, 128)),
            "i_segm": mask.to_rle((96, 128)),
        }
        for n, mask in enumerate(scene.values(), 1)
    ]
    image = {"id": 1, "file_name": "photo.png", "height": 96, "width": 128}
    path = tmp_path / "kins.json"
    path.write_text(json.dumps({"images": [image], "annotations": rows, "categories": []}))
    return str(path)


@pytest.fixture
def given(monkeypatch) -> set[float]:
    """The values that the network got in its mask channel."""
    from amodal.methods.deocclusion.method import Deocclusion

    seen: set[float] = set()
    real = Deocclusion.predict

    def predict(self, visible, eraser):
        seen.update(np.unique(visible).tolist())
        return real(self, visible, eraser)

    monkeypatch.setattr(Deocclusion, "predict", predict)
    return seen


def test_kins_categories_reach_the_network_from_json(kins_json, given, photo, scene, weights, tmp_path, capsys):
    """bar 3, disc 4, far 5; `far` touches nothing, so that the order asks nothing of it."""
    settings = ["--set", f"weights={weights['deocclusion']}", "--set", "input_size=32", "--device", "cpu"]
    words = ["order", str(tmp_path / "photo.png"), "--masks", kins_json, "--by", "deocclusion", *settings]
    assert run(words) == 0 and given == {0, 3, 4}
    given.clear()
    assert run([*words, "-o", str(tmp_path / "out")]) == 0 and given == {0, 3, 4, 5}
    given.clear()
    assert run([*words, "--set", "category=1"]) == 0 and given == {0, 1}, "the option is for every object"
    given.clear()
    assert (
        run(
            [
                "batch",
                kins_json,
                "-o",
                str(tmp_path / "batch"),
                "--method",
                "deocclusion",
                *settings,
            ]
        )
        == 0
    )
    assert given == {0, 3, 4, 5}
    capsys.readouterr()
    other = json.loads((tmp_path / "kins.json").read_text())
    for row in other["annotations"]:
        row["visible_mask"] = row.pop("i_segm")
    (tmp_path / "other.json").write_text(json.dumps(other))
    given.clear()
    assert run([str(tmp_path / "other.json") if word == kins_json else word for word in words]) == 0
    assert given == {0, 1}, "networks for other sets read a constant 1"


def test_kins_categories_reach_the_network_from_the_scene(kins_json, given, photo, scene, weights):
    options = {**SIZE, "weights": weights["deocclusion"], "scene": kins_json}
    method = amodal.load("deocclusion", options=options, device="cpu").method
    for mask, category, value in (
        (scene["disc"], None, 4),
        (scene["disc"], 9, 9),
        (Mask.from_box((0, 0, 9, 9)), None, 1),
    ):
        given.clear()
        method.complete(photo, photo, [Request(mask, category=category)], Context())
        assert value in given and given <= {0, 3, 4, 5, value}
