"""PCNet-M, ASBU, the single-stage network and SDAmodal learn, at tiny sizes, through the project's training loop."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiny_sd import write_tiny_diffusion

torch = pytest.importorskip("torch")

import amodal  # noqa: E402
from amodal.core.errors import DataError, OptionError  # noqa: E402
from amodal.core.image import encode_png  # noqa: E402
from amodal.core.mask import Mask  # noqa: E402
from amodal.data import dataset  # noqa: E402
from amodal.data.crops import Augmentation, cut, random_crop  # noqa: E402
from amodal.networks.checkpoints import read_checkpoint  # noqa: E402
from amodal.training import checkpoint  # noqa: E402
from amodal.training.loop import Trainer  # noqa: E402
from amodal.training.recipe import (  # noqa: E402
    OptimizerConfig,
    Recipe,
    RecipeError,
    RunConfig,
    read_recipe,
)
from amodal.training.schedule import learning_rate  # noqa: E402
from amodal.training.tasks import open_task  # noqa: E402
from training.test_loop import same  # noqa: E402

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AMODAL_HOME", str(tmp_path_factory.mktemp("amodal-home")))
        yield


@pytest.fixture(scope="module")
def discs(tmp_path_factory) -> Path:
    """Composites with exact truth: orange discs, each behind a grey bar from one side, 64 x 64 pixels."""
    root = tmp_path_factory.mktemp("discs")
    rng = np.random.default_rng(0)
    rows, columns = np.indices((64, 64))
    for part in ("images", "visible", "amodal"):
        (root / part).mkdir()
    for number in range(12):
        x, y, radius = rng.integers(24, 40), rng.integers(24, 40), rng.integers(10, 16)
        amodal = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        side = number % 4
        edge = radius // 3
        bar = (columns > x + edge, columns < x - edge, rows > y + edge, rows < y - edge)[side]
        image = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        image[amodal] = (230, 120, 20)
        image[bar] = 128
        for part, content in (("images", image), ("visible", amodal & ~bar), ("amodal", amodal)):
            (root / part / f"{number}.png").write_bytes(encode_png(content))
    return root


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory) -> Path:
    pytest.importorskip("diffusers")
    return write_tiny_diffusion(tmp_path_factory.mktemp("diffusion"))


def recipe_for(task: str, discs: Path, diffusion: Path | None, steps: int, **loss: object) -> Recipe:
    sets = [{"name": "masks", "root": str(discs)}]
    data: dict[str, object] = {"sets": sets, "validation": sets, "size": 32}
    network: dict[str, object] = {"widths": (8, 8, 16, 16, 16)}
    if task == "sdamodal":
        data["features"] = {"model": str(diffusion), "image_size": 64, "draws": 1}
        network = {"widths": (8, 8, 8, 16, 16, 16), "reduced": 4}
    if task == "deocclusion-single":
        network["image_widths"] = (4, 4, 8, 8)
    run = RunConfig(
        steps=steps, batch=8, device="cpu", precision="fp32", threads=1, workers=0,
        log_every=5, validate_every=10**6, checkpoint_every=10**6,
    )  # fmt: skip
    optimizer = OptimizerConfig("adamw", lr=1e-2, weight_decay=1e-4, warmup=5, schedule="steps", clip=5.0, ema=0.0)
    return Recipe(task, run, optimizer, data, network, dict(loss))


@pytest.mark.parametrize("task", ["deocclusion", "asbu", "deocclusion-single", "sdamodal"])
def test_it_learns(task, discs, diffusion, tmp_path):
    """The loss falls, whatever the processor rounds. What is learnt from true masks shows in the occluded region as well:
    0 before, 52 to 75 after. (Networks that learn from erased masks meet other shapes there: their IoU is left to chance.)"""
    recipe = recipe_for(task, discs, diffusion, steps=80)
    trainer = Trainer(recipe, open_task(recipe), tmp_path)
    before = trainer.task.validate(trainer.network, torch.device("cpu"))[0]
    after = trainer.train()
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert np.mean(losses[-3:]) < 0.75 * losses[0], losses  # 0.12 to 0.6 of the first
    if task in ("deocclusion-single", "sdamodal"):
        assert after["occluded_iou"] > before["occluded_iou"] + 10, (before, after)


@pytest.mark.parametrize("task", ["deocclusion", "asbu", "deocclusion-single", "sdamodal"])
def test_networks_start_as_the_authors_do(task, discs, diffusion):
    """Xavier's normal law with gain 0.02, in every convolution."""
    network = open_task(recipe_for(task, discs, diffusion, steps=1)).network()
    ratios = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            fans = torch.nn.init._calculate_fan_in_and_fan_out(module.weight)
            ratios.append(float(module.weight.detach().pow(2).mean().sqrt()) / (0.02 * (2 / sum(fans)) ** 0.5))
    assert len(ratios) > 10 and abs(np.median(ratios) - 1) < 0.1 and min(ratios) > 0.5 and max(ratios) < 1.6


def test_kinds_of_objects_are_trained_with_their_number(discs):
    """KINS: the mask channel holds the category number."""
    from amodal.training.tasks.deocclusion import channel

    sample = dataset("masks", discs)[0]
    bits = np.eye(3, dtype=bool)
    assert channel(bits, sample).max() == 1
    assert np.array_equal(channel(bits, replace(sample, category_id=4)), 4 * np.eye(3))


@pytest.mark.parametrize("task", ["deocclusion", "asbu", "deocclusion-single", "deocclusion-content", "sdamodal"])
def test_fixed_sets_that_are_not_there_are_told_before_the_first_step(task, discs, diffusion):
    recipe = recipe_for(task, discs, diffusion, steps=1)
    recipe.data["validation"] = [{"name": "masks", "root": str(discs / "nowhere")}]
    with pytest.raises(DataError, match="nowhere"):
        open_task(recipe).source(0, 2)


def test_a_resumed_run_of_sdamodal_equals_an_unbroken_one(discs, diffusion, tmp_path):
    """Without data processes, where the features are opened in the middle of the run; they are computed anew, too."""
    for name, steps in (("whole", (4,)), ("broken", (2, 4))):
        for count in steps:
            recipe = recipe_for("sdamodal", discs, diffusion, steps=count)
            recipe.data["features"]["cache"] = str(tmp_path / f"{name}{count}")
            trainer = Trainer(recipe, open_task(recipe), tmp_path / name)
            if count > steps[0]:
                trainer.resume()
            trainer.train()
    whole, broken = (checkpoint.load(tmp_path / name) for name in ("whole", "broken"))
    for part in ("network", "average", "optimizer", "rng"):
        assert same(whole[part], broken[part]), part


def test_a_flipped_sample_is_the_mirrored_sample(discs, diffusion):
    """Mask, truth and every feature map are mirrored together: the same chance with and without the flip."""
    from dataclasses import replace

    from amodal.training.tasks.objects import CropConfig, mixture_of
    from amodal.training.tasks.sdamodal import Maker

    config = open_task(recipe_for("sdamodal", discs, diffusion, steps=1))
    makers = [
        Maker(replace(config.data, crop=CropConfig(flip=share)), replace(config.data.features, dtype="fp32"))
        for share in (0.0, 1.0)
    ]
    mixture = mixture_of(config.data.sets, "data.sets")
    plain, mirrored = (make(mixture, np.random.default_rng(5)) for make in makers)
    assert len(plain) == 6
    for a, b in zip(plain, mirrored, strict=True):
        assert np.array_equal(a[..., ::-1], b) and not np.array_equal(a, b)


def test_batches_are_the_same_for_the_same_number(discs, diffusion):
    for task in ("deocclusion", "deocclusion-single", "sdamodal"):
        made = [open_task(recipe_for(task, discs, diffusion, 1)).source(3, 2)[7] for _ in range(2)]
        other = open_task(recipe_for(task, discs, diffusion, 1)).source(4, 2)[7]
        assert all(np.array_equal(a, b) for a, b in zip(*made, strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(made[0], other, strict=True))


def test_random_crop_by_hand():
    """No chance at all: the crop of evaluation. A shift moves the centre by a share of the side; the scale divides the side."""
    still = Augmentation(shift=0, scale=(1, 1), flip=0)
    rng = np.random.default_rng(0)
    crop, flip = random_crop((100, 50, 140, 70), 64, rng, still)
    assert (crop.origin, crop.side, flip) == ((95, 35), 48, False)
    crop, _ = random_crop((100, 50, 140, 70), 64, rng, Augmentation(shift=0, scale=(2, 2), flip=0))
    assert (crop.origin, crop.side) == ((107, 47), 24)  # 48.99 / 2 = 24.49 about (120, 60)
    origins = {random_crop((100, 50, 140, 70), 64, rng, Augmentation(scale=(1, 1)))[0].origin for _ in range(200)}
    xs = [x for x, _ in origins]
    assert 85 <= min(xs) < 89 and 101 < max(xs) <= 105, "within 0.2 of 48.99 about 95.5"
    assert random_crop((100, 50, 140, 70), 64, rng, Augmentation(flip=1.0), shift=False)[1] is True
    assert random_crop((5, 5, 7, 7), 64, rng, still) is None, "a square of 3.46 pixels is too small"
    assert random_crop((0, 0, 0, 0), 64, rng, still) is None
    bits = cut(Mask.from_box((95, 35, 100, 40)), crop, flip=True)
    assert bits.shape == (64, 64)


def test_erasers():
    from amodal.methods.deocclusion.erasers import erase, place_eraser, slide

    assert np.array_equal(slide(np.eye(3, dtype=bool), 1, 0), [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert np.array_equal(slide(np.eye(3, dtype=bool), 0, -1), [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert not slide(np.ones((3, 3), bool), 5, 0).any()
    target = np.zeros((40, 40), bool)
    target[12:28, 12:28] = True
    shape = np.zeros((40, 40), bool)
    shape[10:30, 15:25] = True
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        placed = place_eraser(target, shape, rng)
        shares.append((target & placed).sum() / target.sum())
    assert min(shares) >= 0.001 and max(shares) < 0.9
    front, behind = erase(target, shape, rng, front=1.0), erase(target, shape, rng, front=0.0)
    assert np.array_equal(front[0], target & ~shape) and np.array_equal(front[1], shape)
    assert np.array_equal(behind[0], target) and np.array_equal(behind[1], shape & ~target)


def test_losses_by_hand():
    from amodal.methods.deocclusion.losses import mask_loss, uncertainty_loss

    output = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 1, 2)
    target, eraser = torch.tensor([[[1, 0]]]), torch.tensor([[[1.0, 0.0]]])
    right, wrong = np.log(1 + np.exp(-1)), np.log(1 + np.exp(1))
    assert mask_loss(output, target, eraser).item() == pytest.approx((5 * right + wrong) / 2)
    # mu = 0.5, sigma = softplus(1) + 1e-6; two pixels weighing 5 and 1, over n + 1 = 3.
    sigma = np.log(1 + np.e) + 1e-6
    each = 0.5 * (0.5 / sigma) ** 2 + 0.5 * sigma**2
    assert uncertainty_loss(output, target, eraser).item() == pytest.approx(6 * each / 3, rel=1e-5)
    entropy = np.log(2) / sigma**2 + 0.5 * sigma**2
    made = uncertainty_loss(output, target, eraser, "cross-entropy")
    assert made.item() == pytest.approx(6 * entropy / 3, rel=1e-5)
    edge = torch.tensor([[[1.0, 0.0]]])
    extra = ((sigma - 1) ** 2 + sigma**2) / 2
    made = uncertainty_loss(output, target, eraser, "gaussian", edge)
    assert made.item() == pytest.approx(6 * each / 3 + extra, rel=1e-5)


def test_content_loss_by_hand():
    """A picture of zeros, ones made everywhere, a hole of one pixel in the middle of 5 x 5."""
    from amodal.methods.deocclusion.losses import content_loss

    target, made, known = torch.zeros(1, 3, 5, 5), torch.ones(1, 3, 5, 5), torch.ones(1, 1, 5, 5)
    known[..., 2, 2] = 0
    total, parts = content_loss(made, target, known)
    assert parts["valid"].item() == pytest.approx(24 / 25) and parts["hole"].item() == pytest.approx(1 / 25)
    assert parts["smooth"].item() == pytest.approx(4 / 25)  # four steps of one per channel around the pixel
    assert total.item() == pytest.approx(24 / 25 + 6 / 25 + 0.1 * 4 / 25)


def test_content_completion_learns(discs, tmp_path):
    """The erased pixels of orange discs become orange; what a run writes is what `content_weights=` takes."""
    recipe = recipe_for("deocclusion-content", discs, None, steps=120)
    recipe = replace(
        recipe,
        data={**recipe.data, "validation_limit": 12},
        network={"widths": (16, 16, 32, 32)},
        loss={"perceptual": 0, "style": 0, "adversarial": 0},
        optimizer=OptimizerConfig("adamw", lr=1e-2, weight_decay=0.0, warmup=5, clip=5.0, ema=0.0),
    )
    trainer = Trainer(recipe, open_task(recipe), tmp_path / "content")
    before = trainer.task.validate(trainer.network, torch.device("cpu"))[0]
    after = trainer.train()
    assert after["hole_error"] < 0.5 * before["hole_error"], (before, after)  # 0.13 of it
    masks = recipe_for("deocclusion", discs, None, steps=1)
    Trainer(masks, open_task(masks), tmp_path / "masks").train()
    options = {"weights": str(tmp_path / "masks" / "weights.safetensors"), "input_size": 32}
    options["content_weights"] = str(tmp_path / "content" / "weights.safetensors")
    sample = next(iter(dataset("masks", discs)))
    result = amodal.load("deocclusion", options=options, device="cpu").open(sample.image).complete(mask=sample.visible)
    assert result.amodal.contains(sample.visible)
    with pytest.raises(RecipeError, match=r"data\.size is 40; with 4 levels it is a multiple of 16"):
        open_task(replace(recipe, data={**recipe.data, "size": 40}))


def test_content_completion_with_features_and_a_discriminator(discs, tmp_path):
    """All six terms: each learns what is its own, and the run's file serves the method without the discriminator."""
    pytest.importorskip("onnx")
    recipe = recipe_for("deocclusion-content", discs, None, steps=1)
    recipe = replace(recipe, network={"widths": (4, 4), "critic": 4})
    task = open_task(recipe)
    network = task.network()
    batch = tuple(map(torch.from_numpy, task.source(0, 2)[0]))
    total, parts = task.loss(network, batch, 0)
    assert list(parts) == ["valid", "hole", "smooth", "perceptual", "style", "fooled", "critic"]
    weights = {"valid": 1, "hole": 6, "smooth": 0.1, "perceptual": 0.1, "style": 250, "fooled": 0.1, "critic": 1}
    assert total.item() == pytest.approx(sum(w * parts[name].item() for name, w in weights.items()), rel=1e-5)
    painter = [p for name, p in network.named_parameters() if p.requires_grad and not name.startswith("critic.")]
    critic = list(network.critic.parameters())
    for name, learns in (("perceptual", painter), ("style", painter), ("fooled", painter), ("critic", critic)):
        grads = torch.autograd.grad(parts[name], painter + critic, retain_graph=True, allow_unused=True)
        moved = {id(p) for p, g in zip(painter + critic, grads, strict=True) if g is not None and g.any()}
        assert moved and moved <= {id(p) for p in learns}, name
    Trainer(recipe, task, tmp_path).train()
    assert any(name.startswith("critic.") for name in read_checkpoint(str(tmp_path / "weights.safetensors"))[1])
    masks = recipe_for("deocclusion", discs, None, steps=1)
    Trainer(masks, open_task(masks), tmp_path / "masks").train()
    options = {"weights": str(tmp_path / "masks" / "weights.safetensors"), "input_size": 32}
    options["content_weights"] = str(tmp_path / "weights.safetensors")
    assert amodal.load("deocclusion", options=options, device="cpu").method.content is not None


def test_feature_terms_by_hand():
    """One map of one channel that is the picture's mean: differences of 2 deviations, and of Gram matrices of 1 by 1."""
    from amodal.methods.deocclusion.critic import feature_terms, unit_range
    from amodal.networks.resnet import STD

    def features(picture):
        return (picture.mean(1, keepdim=True),)

    target = torch.zeros(1, 3, 4, 4)
    made = target + 1
    before, after = features(unit_range(target))[0].mean().item(), features(unit_range(made))[0].mean().item()
    assert after - before == pytest.approx(2 * np.mean(STD))
    perceptual, style = feature_terms(features, made, target, target)
    assert perceptual.item() == pytest.approx(after - before, rel=1e-5)
    assert style.item() == pytest.approx(abs(after**2 - before**2), rel=1e-4)


def test_mixture_of_two_sets(discs, diffusion, tmp_path):
    from amodal.training.tasks.objects import Mixture, SetConfig, mixture_of, open_sets

    sets = tuple(SetConfig("masks", str(discs), share=share) for share in (0.9, 0.1))
    mixture = Mixture(open_sets(sets, "data.sets"))
    assert mixture.odds.tolist() == pytest.approx([0.9, 0.1])
    for bad, error, text in (
        ((), RecipeError, "names no data set"),
        ((SetConfig("masks", str(tmp_path / "none")),), DataError, "there is no folder"),
    ):
        with pytest.raises(error, match=text):
            open_sets(bad, "data.sets")
    with pytest.raises(RecipeError, match=r"no set of data.sets has a share above 0"):
        mixture_of((SetConfig("masks", str(discs), share=0.0),), "data.sets")
    recipe = recipe_for("deocclusion", discs, None, steps=1)
    recipe.data["sets"] = [{"name": "masks", "roots": "x"}]
    with pytest.raises(OptionError, match=r"section \[data.sets.0\] has no key 'roots'; did you mean 'root'"):
        open_task(recipe)


def test_schedule_of_the_papers():
    config = OptimizerConfig("sgd", lr=1e-3, warmup=0, schedule="steps", milestones=(32_000, 48_000))
    rates = [learning_rate(config, step, 56_000) for step in (0, 31_999, 32_000, 47_999, 48_000, 55_999)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


@pytest.mark.parametrize("name", ["sdamodal", "occamodal", "deocclusion", "asbu", "deocclusion-single"])
def test_recipes_are_the_papers(name):
    recipe = read_recipe(RECIPES / f"{name}.toml")
    assert recipe.task == name
    how = recipe.optimizer
    assert (how.name, how.momentum, how.lr, how.weight_decay) == ("sgd", 0.9, 1e-3, 1e-4)
    assert (how.milestones, how.drop, recipe.run.steps, recipe.run.batch) == ((32_000, 48_000), 0.1, 56_000, 32)
    assert recipe.data["size"] == (512 if "amodal" in name else 256)
    json.dumps(recipe.to_dict()["data"])


def test_recipe_of_content_completion():
    recipe = read_recipe(RECIPES / "deocclusion-content.toml")
    assert (recipe.optimizer.lr, recipe.run.steps, recipe.run.batch, recipe.data["size"]) == (1e-4, 450_000, 16, 256)
    terms = {"valid": 1.0, "hole": 6.0, "smooth": 0.1, "perceptual": 0.1, "style": 250.0, "adversarial": 0.1}
    assert recipe.loss == terms and recipe.optimizer.betas == (0.0, 0.9)


def test_bad_loss_settings(discs, diffusion):
    with pytest.raises(OptionError, match=r"loss\.kind = \"laplace\": input should be 'gaussian' or 'cross-entropy'"):
        open_task(recipe_for("asbu", discs, diffusion, 1, kind="laplace"))
