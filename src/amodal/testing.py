"""Contract checks for plug-ins, to be called from a package's own tests: what every method, inpainter and segmenter must do.

    from amodal.testing import check_method

    def test_contract():
        check_method(Grow())

Each check raises AssertionError with what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from .core.completion import Completion
from .core.errors import Cancelled, PromptError
from .core.image import Image
from .core.mask import Mask
from .core.options import build_options, describe_options
from .core.prompt import Prompt
from .pipeline import Model
from .plugins import registry
from .plugins.protocols import Inpainter, Method, Plugin, Sampling, Segmenter

__all__ = ["check_inpainter", "check_method", "check_plugin", "check_segmenter", "example_photo"]

ODD_SIZES = ((1, 1), (2, 3), (37, 61), (300, 11))


def example_photo() -> tuple[Image, Mask]:
    """A made picture (96, 128, 3) uint8 of an orange disc partly behind a grey bar, and the disc's visible mask."""
    rows, columns = np.indices((96, 128))
    image = np.stack([columns, rows + 60, 160 - rows], axis=-1).clip(0, 255).astype(np.uint8)
    disc = (rows - 48) ** 2 + (columns - 60) ** 2 < 30**2
    image[disc] = (230, 120, 20)
    image[:, 66:82] = 128
    disc[:, 66:82] = False
    return image, Mask.from_array(disc)


def check_plugin(plugin: Plugin) -> None:
    """Name, summary and options: told, given as they are shown, and recorded so that the same object can be made again."""
    cls = type(plugin)
    assert plugin.name and plugin.summary, f"{cls.__name__} needs a name and a one-line summary"
    shown = {row["name"]: row["default"] for row in describe_options(cls.Options)}
    assert build_options(cls.Options, shown) == cls.Options(), "options must be read back as `amodal show` prints them"
    record = plugin.provenance()
    assert cls(record["options"]).provenance() == record, "provenance() must be enough to make the same object"


def check_method(method: Method) -> None:
    """Everything a method promises: any mask, any size, the same answer for the same seed, batches, cancelling."""
    check_plugin(method)
    image, disc = example_photo()
    scene = _model(method=method).open(image)
    for title, visible in _shapes():
        done = scene.complete(mask=visible, seed=5)
        _check_promises(done, image, title)
        again = _model(method=method).open(image).complete(mask=visible, seed=5)
        assert again == done, f"{title}: the same seed must give the same answer"
    for size in ODD_SIZES:
        small = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        visible = Mask.from_box((0, 0, max(1, size[1] // 2), max(1, size[0] // 2)))
        _check_promises(_model(method=method)(small, mask=visible), small, f"a picture of {size}")
    prompts = [Prompt.make(mask=mask) for mask in (disc, Mask.from_box((66, 0, 82, 96)))]
    for together, prompt, seed in zip(scene.complete_all(prompts, seeds=[1, 2]), prompts, (1, 2), strict=True):
        assert together == scene.complete(prompt=prompt, seed=seed), (
            "an object's answer depends on the rest of its batch"
        )
    _check_cancel(lambda stop: _model(method=method)(image, mask=disc, progress=stop))


def check_inpainter(inpainter: Inpainter) -> None:
    """Shapes, range, seeds and batches of `paint`; cancelling."""
    check_plugin(inpainter)
    side = inpainter.size
    rng = np.random.default_rng(0)
    conditions = rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    areas = np.zeros((2, side, side), np.float32)
    areas[:, side // 4 : side // 2, side // 4 : side // 2] = 1
    sampling = Sampling(2)
    both = inpainter.paint(conditions, areas, [1, 2], sampling)
    assert both.shape == conditions.shape and both.dtype == np.float32, "paint returns (N, size, size, 3) float32"
    assert np.isfinite(both).all() and np.abs(both).max() <= 1, "pictures are in [-1, 1]"
    for row in range(2):
        alone = inpainter.paint(conditions[row : row + 1], areas[row : row + 1], [row + 1], sampling)
        assert np.array_equal(alone[0], both[row]), "a picture depends on the rest of its batch"
    _check_cancel(lambda stop: inpainter.paint(conditions, areas, [1, 2], sampling, stop))


def check_segmenter(segmenter: Segmenter) -> None:
    """Clicks and boxes at any place of any picture: masks inside the frame, scores in [0, 1], the same for the same prompt."""
    check_plugin(segmenter)
    for size in (*ODD_SIZES, (96, 128)):
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        image.setflags(write=False)
        height, width = size
        embedded = segmenter.embed(image)
        for prompt in (
            Prompt.make(point=(width - 0.01, height - 0.01)),
            Prompt.make(box=(-5, -5, width + 5.5, height + 5.5)),
            Prompt.make(points=[(0, 0), (width - 0.5, height - 0.5)], labels=[1, 0], box=(0, 0, width, height)),
        ):
            try:
                found = segmenter.segment(embedded, prompt)
            except PromptError:
                continue  # it says that it does not understand this
            assert found, "segment() gives at least one proposal, or raises PromptError"
            for proposal in found:
                assert proposal.mask.clip(size) == proposal.mask, f"a mask leaves the frame {size}"
                assert proposal.score is None or 0 <= proposal.score <= 1, f"score {proposal.score} is not in [0, 1]"
            assert [each.mask for each in segmenter.segment(embedded, prompt)] == [each.mask for each in found]


def _model(method: Method) -> Model:
    return Model(method, registry.create_segmenter("grabcut"), registry.create_inpainter("classical"))


def _shapes() -> Iterator[tuple[str, Mask]]:
    """Visible masks that break careless code, on the example photo's frame."""
    holed = np.zeros((96, 128), bool)
    holed[20:60, 30:80] = True
    holed[35:45, 50:60] = False
    parts = np.zeros((96, 128), bool)
    parts[10:30, 10:30] = parts[60:80, 90:120] = True
    yield "one pixel", Mask.from_box((17, 9, 18, 10))
    yield "full frame", Mask.from_box((0, 0, 128, 96))
    yield "corner", Mask.from_box((0, 0, 25, 40))
    yield "a row", Mask.from_box((5, 50, 100, 51))
    yield "holed", Mask.from_array(holed)
    yield "two parts", Mask.from_array(parts)


def _check_promises(done: Completion, image: Image, title: str) -> None:
    assert done.amodal.contains(done.visible), f"{title}: visible is not inside amodal"
    assert np.array_equal(done.rgba[..., 3] > 0, done.amodal.bits), f"{title}: alpha is not the amodal mask"
    rows, columns = np.nonzero(done.visible.to_array(done.size))
    x0, y0 = done.amodal.origin
    assert np.array_equal(done.rgba[rows - y0, columns - x0, :3], image[rows, columns]), (
        f"{title}: visible pixels changed"
    )


def _check_cancel(work: Callable[[Callable[[str, int, int], None]], object]) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise Cancelled("stop")

    try:
        work(stop)
    except Cancelled:
        return
    raise AssertionError(
        "progress was never called; call it at least once per network evaluation, so that users can cancel"
    )
