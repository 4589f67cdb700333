"""What a run writes is what a method's option `weights` takes, and what it must be asked with."""

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import amodal  # noqa: E402
from amodal.core.errors import WeightsError  # noqa: E402
from amodal.data import dataset  # noqa: E402
from amodal.training.loop import Trainer  # noqa: E402
from amodal.training.tasks import open_task  # noqa: E402
from training.test_mask_tasks import diffusion, discs, own_cache, recipe_for  # noqa: E402, F401


def test_trained_weights_serve_the_methods(discs, diffusion, tmp_path):  # noqa: F811
    """What a run writes is what `weights=` takes."""
    image = next(iter(dataset("masks", discs))).image
    visible = next(iter(dataset("masks", discs))).visible
    features = {"model": str(diffusion), "image_size": 64, "draws": 1}
    for task, options in (("deocclusion", {}), ("asbu", {}), ("deocclusion-single", {}), ("sdamodal", features)):
        recipe = recipe_for(task, discs, diffusion, steps=1)
        Trainer(recipe, open_task(recipe), tmp_path / task).train()
        chosen = {"weights": str(tmp_path / task / "weights.safetensors"), **options}
        model = amodal.load(task, options=chosen, device="cpu")
        assert model.method.options.input_size == 32, "the size of the recipe's crops, which the weights tell"
        assert model(image, mask=visible).amodal.contains(visible)
        assert amodal.load(task, options={**chosen, "input_size": 64}, device="cpu").method.options.input_size == 64
        with pytest.raises(WeightsError, match=f"goes on from; give the weights that it learnt, .*{chosen['weights']}"):
            amodal.load(task, options={**chosen, "weights": str(tmp_path / task / "checkpoint.pt")}, device="cpu")
        # Under another name, as a copy may have, the file tells the same.
        bare = Path(shutil.copy(chosen["weights"], tmp_path / f"{task}-best"))
        assert amodal.load(task, options={**chosen, "weights": str(bare)}, device="cpu").method.options.input_size == 32


def test_weights_are_asked_as_they_were_trained(discs, diffusion, tmp_path):  # noqa: F811
    """What tensors do not show: the task, ASBU's second input, and how SDAmodal's features were made."""

    def trained(task: str, **loss: object) -> str:
        recipe = recipe_for(task, discs, diffusion, 1, **loss)
        Trainer(recipe, open_task(recipe), tmp_path / task).train()
        return str(tmp_path / task / "weights.safetensors")

    pcnet, asbu, sdamodal = trained("deocclusion"), trained("asbu", boundary=False), trained("sdamodal")
    made = {"model": str(diffusion), "draws": 1}
    for method, options, words in (
        ("asbu", {"weights": pcnet}, "was trained for deocclusion, not for asbu; take the method deocclusion"),
        ("deocclusion", {"weights": asbu}, "was trained for asbu, not for deocclusion; take the method asbu"),
        (
            "asbu",
            {"weights": asbu},
            "was trained with boundary=false, boundary=true is in use; set the option boundary=false",
        ),
        ("sdamodal", {"weights": sdamodal, **made}, "was trained with image_size=64, image_size=768 is in use"),
    ):
        with pytest.raises(WeightsError, match=words):
            amodal.load(method, options=options, device="cpu")
    for method, options in (
        ("asbu", {"weights": asbu, "boundary": "false"}),
        ("asbu", {"weights": asbu, "boundary": True}),  # on purpose
        ("sdamodal", {"weights": sdamodal, **made, "image_size": 64}),
    ):
        assert amodal.load(method, options=options, device="cpu").method.options.input_size == 32
