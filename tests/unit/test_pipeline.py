"""The promises, with a method that lies about everything."""

import threading

import numpy as np
import pytest

import amodal
from amodal.core.errors import AmodalError, Cancelled, ImageError, PromptError
from amodal.core.mask import Mask
from amodal.core.prompt import Prompt
from amodal.core.scaling import Levels
from amodal.core.soft_mask import SoftMask
from amodal.pipeline import Model
from amodal.pipeline.painting import paint_occluded
from amodal.pipeline.patches import retouched
from amodal.plugins.protocols import Method, Prediction, Proposal, Segmenter
from amodal.plugins.registry import create_inpainter, create_segmenter


class Liar(Method):
    """Forgets the visible pixels, paints over them, leaves the frame, changes the image if it can."""

    name = "liar"
    summary = "lies"

    def complete(self, embedded, image, requests, context):
        context.progress("step", 1, 1)
        out = []
        for request in requests:
            rng = np.random.default_rng(request.seed)
            predictions = []
            for k in range(request.samples):
                mask = Mask.from_array(np.ones((30, 30 + k), bool), (-10, -5))
                picture = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
                predictions.append(Prediction(mask, picture, (-20, -20), score=1.0 / (k + 1)))
            out.append(predictions)
        return out


def model_of(method: Method) -> Model:
    return Model(method, create_segmenter("grabcut"), create_inpainter("classical"))


def check_promises(result, image):
    assert result.amodal.contains(result.visible)
    for shape in (result, *result.samples):
        rgba = shape.rgba
        assert rgba.shape == (*shape.amodal.bits.shape, 4)
        assert np.array_equal(rgba[..., 3] == 255, shape.amodal.bits)
        assert set(np.unique(rgba[..., 3])) <= {0, 255}
        dx, dy = -shape.amodal.origin[0], -shape.amodal.origin[1]
        rows, columns = np.nonzero(result.visible.to_array(image.shape[:2]))
        assert np.array_equal(rgba[rows + dy, columns + dx, :3], image[rows, columns])
        assert not rgba[~shape.amodal.bits].any()


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_promises_hold_for_a_lying_method(photo, disc_visible, samples):
    before = photo.copy()
    result = model_of(Liar())(photo, mask=disc_visible, samples=samples, seed=3)
    check_promises(result, before)
    assert np.array_equal(photo, before)
    assert len(result.samples) == samples
    assert result.beyond_frame
    again = model_of(Liar())(photo, mask=disc_visible, samples=samples, seed=3)
    assert again.rgba.tobytes() == result.rgba.tobytes()
    other = model_of(Liar())(photo, mask=disc_visible, samples=samples, seed=4)
    assert other.rgba.tobytes() != result.rgba.tobytes()


def test_a_method_cannot_change_the_photo(photo, disc_visible):
    class Vandal(Liar):
        def complete(self, embedded, image, requests, context):
            embedded[:] = 0

    with pytest.raises(ValueError, match="read-only"):
        model_of(Vandal())(photo, mask=disc_visible)
    assert photo.any()


def test_no_guess_is_a_bug_with_a_name(photo, disc_visible):
    class Mute(Liar):
        def complete(self, embedded, image, requests, context):
            return [[] for _ in requests]

    with pytest.raises(AmodalError, match="method 'liar' returned no prediction"):
        model_of(Mute())(photo, mask=disc_visible)


def test_what_the_user_says_of_the_occluder_holds(photo, disc_visible):
    bar = np.zeros(photo.shape[:2], bool)
    bar[:, 66:82] = True
    visible, frame = Mask.from_array(disc_visible), Mask.from_box((0, 0, 128, 96))
    hull = amodal.load("hull").open(photo)
    named = hull.complete(mask=visible, occluder=Mask.from_array(bar))
    assert (visible | Mask.from_array(bar)).contains(named.amodal & frame)
    assert named.amodal.area > visible.area
    assert named.occluder == Mask.from_array(bar)
    nothing = model_of(Liar())(photo, mask=visible, occluder=Mask.from_array([[False]]))
    assert nothing.amodal == visible
    assert nothing.occlusion_rate == 0


def test_vote_and_agreement(photo, disc_visible):
    result = model_of(Liar())(photo, mask=disc_visible, samples=3)
    stack = np.stack([s.amodal.crop(result.probability.box) for s in result.samples])
    assert np.allclose(result.probability.values, stack.mean(axis=0))
    assert np.array_equal(result.amodal.crop(result.probability.box), stack.mean(axis=0) >= 0.5)


def test_probability_of_a_method_is_one_where_visible(photo, disc_visible):
    class Unsure(Method):
        name, summary = "unsure", ""

        def complete(self, embedded, image, requests, context):
            soft = SoftMask(np.full(photo.shape[:2], 0.25, np.float32))
            return [[Prediction(request.visible, probability=soft)] for request in requests]

    result = model_of(Unsure())(photo, mask=disc_visible)
    values = result.probability.to_array(photo.shape[:2])
    assert np.array_equal(values, np.where(disc_visible, 1, 0.25).astype(np.float32))


def test_batch_equals_single(photo, disc_visible):
    scene = amodal.load().open(photo)
    prompts = [Prompt.make(mask=disc_visible), Prompt.make(box=(60, 10, 90, 90))]
    both = scene.complete_all(prompts, seeds=[1, 2])
    for prompt, seed, result in zip(prompts, (1, 2), both, strict=True):
        alone = scene.complete(prompt=prompt, seed=seed)
        assert alone.to_dict() == result.to_dict()
        assert alone.rgba.tobytes() == result.rgba.tobytes()


def test_the_image_is_embedded_once_for_all_threads(photo, disc_visible):
    class Counting(Segmenter):
        name, summary, count = "counting", "", 0

        def embed(self, image):
            type(self).count += 1
            return image

        def segment(self, embedded, prompt):
            return [Proposal(Mask.from_array(disc_visible))]

    scene = Model(Liar(), Counting(), create_inpainter("classical")).open(photo)
    threads = [threading.Thread(target=lambda: scene.complete(point=(50, 50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counting.count == 1


def test_cancel(photo, disc_visible):
    def stop(what: str, done: int, total: int) -> None:
        raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        model_of(Liar())(photo, mask=disc_visible, progress=stop)


def test_bad_calls(photo):
    with pytest.raises(ImageError, match=r"got \(96, 128\) uint8"):
        amodal.load()(photo[..., 0], point=(1, 1))
    with pytest.raises(PromptError, match="outside"):
        amodal.load()(photo, point=(500, 1))
    with pytest.raises(PromptError, match="samples is a whole number from 1 to 4096, got 0"):
        amodal.load()(photo, point=(5, 1), samples=0)


def test_every_tiny_shape_can_be_painted():
    """The window around an object covers its box, whatever the rounding."""
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    model = amodal.load()
    boxes = [(x, y, x + w, y + h) for x, y in ((0, 0), (13, 7), (30, 31)) for w in range(1, 10) for h in (1, 4, 7)]
    for x0, y0, x1, y1 in boxes:
        amodal_mask = Mask.from_box((x0, y0, x1, y1))
        visible = Mask.from_box((x0, y0, x0 + 1, y0 + 1))
        (picture,) = paint_occluded(Levels(image), [(visible, amodal_mask)], model.inpainter, [0])
        assert picture.shape == (y1 - y0, x1 - x0, 3)


@pytest.mark.parametrize("scale", [1, 3])
def test_what_is_painted_is_made_of_the_objects_own_pixels(scale):
    """Stripes stay stripes of their two colours, which the network alone blends, also where the part is made in a smaller picture."""
    size = 120 * scale
    image = np.empty((size, size, 3), np.uint8)
    image[:] = np.where(np.arange(size) // 10 % 2, 220, 60)[:, None] * (1, 0.5, 0.25)
    bar = Mask.from_box((size * 2 // 5, 0, size * 3 // 5, size))
    bar_box = np.s_[:, bar.box[0] : bar.box[2]]
    image[bar_box] = (0, 0, 255)
    whole = Mask.from_box((0, 0, size, size))
    (picture,) = paint_occluded(Levels(image), [(whole - bar, whole)], create_inpainter("painter"), [0])
    made = picture[bar_box].astype(int)
    assert (made[..., 2] < 90).all()
    own = [np.abs(made - np.array(colour) * (1, 0.5, 0.25)).max(axis=2) < 40 for colour in (60, 220)]
    assert (own[0] | own[1]).mean() > 0.9


def test_a_painting_stays_where_hardly_a_patch_is_known():
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    part = np.ones((40, 40), bool)
    part[:9, :9] = False
    assert np.array_equal(retouched(picture, ~part, part), picture)
    part[:, :20] = False
    done = retouched(picture, ~part, part)
    assert np.array_equal(done[~part], picture[~part]) and not np.array_equal(done, picture)


def test_clicks_beside_a_mask_are_refused(photo, disc_visible):
    """A mask is its own answer: they changed nothing, and nobody was told."""
    scene = amodal.load("visible").open(photo)
    for beside in ({"point": (60, 45)}, {"box": (10, 10, 90, 90)}):
        with pytest.raises(PromptError, match="a mask says itself what is visible"):
            scene.complete(mask=disc_visible, **beside)
