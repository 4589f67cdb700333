"""The composite builder: exact truth, no halos, reproducible streams, fixed sets, clear errors."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from amodal import dataset
from amodal.core.config import section
from amodal.core.errors import Cancelled, DataError, MaskError, OptionError, OutputError
from amodal.engine.local import run_local
from amodal.engine.worker import Worker
from amodal.synthesis.composites.build import LibraryConfig, open_library, open_rooms
from amodal.synthesis.composites.fixed import CompositesConfig, build
from amodal.synthesis.composites.library import Library, add_photos
from amodal.synthesis.composites.paint import paint, resize
from amodal.synthesis.composites.place import Layer, Layout, Placer, similarity
from amodal.synthesis.composites.sprites import cut_out, cut_plainly
from amodal.synthesis.composites.stream import AMODAL, GIVEN, INSIDE, OCCLUDER, VISIBLE, CropStream, StreamConfig
from amodal.synthesis.rooms import renders, rooms
from amodal.synthesis.rooms.renders import write_renders
from amodal.synthesis.rooms.rooms import build_rooms
from amodal.training.tasks.sets import whole_photos
from photo_sets import make_photos

ONE = np.ones(3)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> LibraryConfig:
    root = make_photos(tmp_path_factory.mktemp("set"))
    return LibraryConfig(photos=str(root / "photos"), backgrounds=str(root / "backgrounds"), invented=12)


@pytest.fixture(scope="module")
def library(config) -> Library:
    return open_library(config)


def square(colour: tuple[int, int, int], side: int = 40, cut=cut_out):
    """A square sprite of one colour, cut from a picture whose background is pure green."""
    image = np.zeros((side + 20, side + 20, 3), np.uint8)
    image[...] = (0, 255, 0)
    mask = np.zeros(image.shape[:2], bool)
    mask[10:-10, 10:-10] = True
    image[mask] = colour
    return cut(image, mask, "thing")


def shift(x: float, y: float, sprite) -> np.ndarray:
    return similarity(1.0, 0.0, False, 1.0, 0.0, sprite.centre, (x, y))


def test_truth_of_a_known_layout():
    back, front = square((200, 0, 0)), square((0, 0, 200))
    layers = (Layer(back, shift(60, 60, back), ONE), Layer(front, shift(80, 60, front), ONE))
    layout = Layout((120, 160), np.full((30, 40, 3), 90, np.uint8), np.array([[4.0, 0, 0], [0, 4.0, 0]]), layers, 0)
    painted = paint(layout)
    assert painted.amodal.sum() == pytest.approx(40 * 40, abs=8)
    assert painted.visible.sum() == pytest.approx(20 * 40, abs=8)
    assert painted.occluder.sum() == pytest.approx(40 * 40, abs=8)
    assert not (painted.visible & painted.occluder).any()
    assert (painted.visible <= painted.amodal).all()
    assert painted.image[60, 50].tolist() == [200, 0, 0]
    assert painted.image[60, 90].tolist() == [0, 0, 200]


def test_no_halo_of_the_old_background():
    red = square((200, 0, 0))
    layout = Layout((120, 160), np.zeros((30, 40, 3), np.uint8), np.array([[4.0, 0, 0], [0, 4.0, 0]]), (), 0)
    layers = (Layer(red, similarity(1.7, 0.3, True, 1.1, 0.1, red.centre, (80, 60)), ONE),)
    image = paint(Layout(layout.size, layout.background, layout.background_matrix, layers, 0)).image
    assert image[..., 1].max() <= 2, "the green of the photo that the object was cut from shines through"


def test_plain_pastes_have_hard_edges():
    back = np.full((30, 40, 3), 90, np.uint8)
    red = square((200, 0, 0), cut=cut_plainly)
    layers = (Layer(red, similarity(0.9, 0.4, False, 1.0, 0.0, red.centre, (80, 60)), ONE),)
    layout = Layout((120, 160), back, np.array([[4.0, 0, 0], [0, 4.0, 0]]), layers, 0)
    hard, soft = paint(layout, plain=True), paint(layout)
    red_there, grey_there = (
        np.abs(hard.image.astype(int) - colour).max(-1) <= 2 for colour in ([200, 0, 0], [90, 90, 90])
    )
    assert (red_there ^ grey_there).all(), "a pixel belongs to one thing alone"
    assert np.array_equal(hard.visible, red_there)
    assert (np.abs(soft.image.astype(int) - hard.image).max(-1) > 20).sum() > 30, "otherwise edges are soft"
    small = resize(hard, (60, 80))
    assert small.image.shape == (60, 80, 3) and small.visible.sum() == pytest.approx(hard.visible.sum() / 4, rel=0.05)
    assert (small.image[small.visible][:, 0] > 140).all()


def test_a_plain_cut_takes_the_rim_along():
    image = np.zeros((40, 40, 3), np.uint8)
    image[10:30, 10:30] = (0, 255, 0)
    image[12:28, 12:28] = (200, 0, 0)
    mask = np.zeros((40, 40), bool)
    mask[11:29, 11:29] = True
    greens = [int((cut(image, mask, "thing").levels[0][..., 1] > 60).sum()) for cut in (cut_plainly, cut_out)]
    assert greens[0] == 18 * 4 - 4 and greens[1] == 0


def test_plain_crops_hold_together(config):
    library = open_library(replace(config, plain=1.0))
    plain, soft = (CropStream(library, StreamConfig(size=64, mask_noise=0.0, plain=p), seed=1) for p in (1.0, 0.0))
    for number in range(12):
        image, truth = plain.sample(number)
        again = plain.sample(number)
        assert np.array_equal(image, again[0]) and np.array_equal(truth, again[1])
        visible, amodal, occluder = ((truth & bit) > 0 for bit in (VISIBLE, AMODAL, OCCLUDER))
        assert visible.sum() >= 12 and (visible <= amodal).all()
        assert not (visible & occluder).any()
        assert not np.array_equal(image, soft.sample(number)[0])


def test_a_view_is_a_crop_of_the_frame(library):
    layout = Placer(library, {"thing": 1.0}, {"one": 1.0}).draw(np.random.default_rng(3))
    whole = paint(layout)
    view = np.array([[1.0, 0, -40], [0, 1.0, -30]])
    crop = paint(layout, view, (100, 120))
    assert np.array_equal(crop.amodal & crop.inside, whole.amodal[30:130, 40:160])
    assert np.array_equal(crop.visible, whole.visible[30:130, 40:160])
    difference = np.abs(crop.image.astype(int) - whole.image[30:130, 40:160])
    assert np.median(difference) <= 1


def test_the_stream_is_the_same_for_the_same_number(library):
    a, b = (CropStream(library, StreamConfig(size=64), seed=5) for _ in range(2))
    for number in (0, 7, 3):
        for x, y in zip(a.sample(number), b.sample(number), strict=True):
            assert np.array_equal(x, y)
    assert not np.array_equal(a.sample(0)[0], a.sample(1)[0])
    images, truth = a.batch(2, 3)
    assert np.array_equal(images[1], a.sample(7)[0])
    assert truth.shape == (3, 64, 64)


def test_crops_hold_together(library):
    stream = CropStream(library, StreamConfig(size=64, mask_noise=0.0), seed=1)
    hidden = 0
    for number in range(40):
        _, truth = stream.sample(number)
        visible, amodal, occluder, inside = ((truth & bit) > 0 for bit in (VISIBLE, AMODAL, OCCLUDER, INSIDE))
        assert visible.sum() >= 12
        assert (visible <= (amodal & inside)).all()
        assert not (visible & occluder).any()
        assert np.array_equal((truth & GIVEN) > 0, visible)
        hidden += bool((amodal & ~visible & inside).sum() > 0.05 * amodal.sum())
    assert 10 < hidden < 40, "some objects are occluded, some are not"


def test_unoccluded_kinds_have_nothing_hidden(library):
    placer = Placer(library, {"thing": 1.0}, {"none": 1.0})
    for seed in range(15):
        painted = paint(placer.draw(np.random.default_rng(seed)))
        inside = painted.amodal & painted.inside
        assert (inside & ~painted.visible).sum() <= 0.01 * inside.sum()


def test_fixed_set_reads_back_and_resumes(config, tmp_path):
    targets = {"thing": 1.0, "photo": 1.0}
    recipe = CompositesConfig(count=3, seed=4, targets=targets, pix2gestalt=True, library=config)
    build(recipe, tmp_path / "set")
    samples = list(dataset("folder", tmp_path / "set"))
    assert len(samples) == 3
    for sample in samples:
        assert sample.amodal.contains(sample.visible)
        assert sample.image.shape[:2] == sample.size
    released = sorted(p.name for p in (tmp_path / "set" / "pix2gestalt" / "whole_mask").iterdir())
    assert released == [f"{i:06d}_whole_mask.png" for i in range(3)]
    again = CompositesConfig(count=4, seed=4, targets=targets, library=config)
    build(again, tmp_path / "set")
    longer = {s.id: s for s in dataset("folder", tmp_path / "set")}
    assert len(longer) == 4
    assert longer[samples[0].id].amodal == samples[0].amodal


def test_pairs_are_made_of_what_is_there_and_go_with_it(config, tmp_path):
    """The release layout is wanted later, then lost in part; begun anew, no pair of the old set is left."""
    recipe = CompositesConfig(count=3, seed=4, targets={"thing": 1.0, "photo": 1.0}, library=config)
    pairs = replace(recipe, pix2gestalt=True)
    build(pairs, tmp_path / "once")
    build(recipe, tmp_path / "set")
    before = (tmp_path / "set" / "annotations.json").read_bytes()
    build(pairs, tmp_path / "set")
    assert (tmp_path / "set" / "annotations.json").read_bytes() == before
    whole, again = (
        {path.name: path.read_bytes() for path in (tmp_path / name / "pix2gestalt").rglob("*.png")}
        for name in ("once", "set")
    )
    assert len(whole) == 12 and again == whole
    lost = next((tmp_path / "set" / "pix2gestalt").rglob("*.png"))
    lost.unlink()
    build(pairs, tmp_path / "set")
    assert lost.read_bytes() == whole[lost.name]
    build(replace(pairs, seed=5, count=1), tmp_path / "set", overwrite=True)
    assert len([*(tmp_path / "set" / "pix2gestalt").rglob("*.png")]) == 4


@pytest.mark.parametrize("change", [{"plain": 1.0}, {"cut_photos": True}, {"seed": 3}, {"renders": "x.npz"}])
def test_other_libraries_are_refused(change, config, tmp_path):
    recipe = CompositesConfig(count=1, seed=4, targets={"thing": 1.0}, library=config)
    build(recipe, tmp_path / "set")
    (name,) = change
    with pytest.raises(OutputError, match=f"it differs in settings.library.{name}"):
        build(replace(recipe, library=replace(config, **change)), tmp_path / "set")


def test_bad_libraries_are_told(tmp_path, config):
    root = make_photos(tmp_path / "bad")
    cv2.imwrite(str(root / "photos" / "things" / "masks" / "1.png"), np.zeros((10, 10), np.uint8))
    photos = LibraryConfig(photos=str(root / "photos"), backgrounds=str(root / "backgrounds"), invented=0)
    with pytest.raises(MaskError, match=r"masks.1\.png is 10 x 10 pixels, the image 100 x 80"):
        open_library(photos)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there are no pictures"):
        open_library(LibraryConfig(backgrounds=str(tmp_path / "empty")))
    with pytest.raises(
        DataError, match=r"cannot read .*absent\.npz: No such file or directory; make it with amodal data build renders"
    ):
        open_library(LibraryConfig(renders=str(tmp_path / "absent.npz")))
    (tmp_path / "cut.npz").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(DataError, match="cut.npz is not an .npz with rgba"):
        open_library(LibraryConfig(renders=str(tmp_path / "cut.npz")))
    (root / "photos" / "index.json").write_text(json.dumps([]))
    nothing = open_library(
        LibraryConfig(photos=str(root / "photos"), backgrounds=str(root / "backgrounds"), invented=0)
    )
    with pytest.raises(DataError, match="no target objects"):
        Placer(nothing, {"thing": 1.0}, {"one": 1.0})
    groundless = open_library(LibraryConfig(photos=config.photos))
    with pytest.raises(DataError, match="objects are laid on backgrounds, and the library has none; name a folder"):
        Placer(groundless, {"thing": 1.0, "photo": 1.0}, {"one": 1.0})
    with pytest.raises(DataError, match="known only in part"):
        build(CompositesConfig(targets={"scene": 1.0}, library=config), tmp_path / "set")
    with pytest.raises(OptionError, match="composites.seed = -1: input should be greater than or equal to 0"):
        section({"seed": -1}, CompositesConfig, "composites")


def test_a_share_of_nothing_needs_no_file(tmp_path, config):
    absent = replace(config, renders=str(tmp_path / "absent.npz"), rooms=str(tmp_path / "absent"))
    targets = {"person": 1.0, "thing": 1.0, "render": 0.0, "room": 0.0}
    library = open_library(absent, targets)
    assert library.photos and "render" not in library.wholes and open_rooms(absent, targets) is None
    assert build(CompositesConfig(count=1, targets=targets, library=absent), tmp_path / "set") == 1
    for some in ({**targets, "render": 0.1}, {"thing": 1.0}):
        with pytest.raises(DataError, match="absent.npz"):
            open_library(absent, some)
    with pytest.raises(DataError, match="no rendered rooms"):
        open_rooms(absent, {"room": 0.1})


@pytest.mark.parametrize(("name", "message"), [("cup.glb", "cup.glb .*is it whole"), ("cup.obj", "no .glb objects in")])
def test_objects_that_cannot_be_read_are_told(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"glTF\x02\x00\x00\x00 cut short")
    with pytest.raises(DataError, match=message):
        rooms.load_objects(tmp_path)


def test_renders_and_rooms_go_on_and_are_the_same_in_parts(config, tmp_path, monkeypatch):
    """Each part of a build depends on the seed alone: made whole, or by several workers that each make every other part."""
    backgrounds = Path(config.backgrounds)
    monkeypatch.setattr(renders, "PART", 2)
    monkeypatch.setattr(rooms, "SHARD", 1)

    def scattered(spec, rows):
        workers = Worker(spec), Worker(spec)
        for number, row in list(enumerate(rows))[::-1]:
            yield row, workers[number % 2]([row])[0]

    def stopped(spec, rows):
        yield next(iter(run_local(spec, rows)))
        raise Cancelled

    for name, run in (("whole", run_local), ("scattered", scattered)):
        write_renders(tmp_path / f"{name}.npz", None, backgrounds, 1, 5, run=run)
        build_rooms(tmp_path / name, backgrounds, None, None, 2, 0, run=run)
    with pytest.raises(Cancelled):
        write_renders(tmp_path / "stopped.npz", None, backgrounds, 1, 5, run=stopped)
    assert not (tmp_path / "stopped.npz").exists()
    left = []
    write_renders(tmp_path / "stopped.npz", None, backgrounds, 1, 5, progress=lambda *step: left.append(step))
    assert [step[1:] for step in left] == [(2, 3), (3, 3)]
    whole = (tmp_path / "whole.npz").read_bytes()
    assert whole == (tmp_path / "scattered.npz").read_bytes() == (tmp_path / "stopped.npz").read_bytes()
    assert len(list((tmp_path / "whole").glob("rooms-*.npz"))) == 2
    for again in (1, 2):  # the first goes on, which is nothing to do; other settings are refused
        try:
            write_renders(tmp_path / "whole.npz", None, backgrounds, again, 5)
            build_rooms(tmp_path / "whole", backgrounds, None, None, 2, again - 1)
            assert again == 1
        except OutputError as error:
            assert again == 2 and "other settings" in str(error)
    with pytest.raises(OutputError, match=r"seed \(0, now 1\)"):
        build_rooms(tmp_path / "whole", backgrounds, None, None, 2, 1)
    for file in (tmp_path / "whole").iterdir():
        assert file.read_bytes() == (tmp_path / "scattered" / file.name).read_bytes()
    files = {"whole", "whole.npz", "scattered", "scattered.npz", "stopped.npz"}
    assert {path.name for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    "read", [lambda root: add_photos(Library(), root, "train"), lambda root: whole_photos(root, "train")]
)
def test_a_list_of_photos_leads_nowhere_else_and_masks_fit(read, tmp_path):
    root = make_photos(tmp_path) / "photos"
    read(root)
    whole_photos.cache_clear()
    cv2.imwrite(str(root / "things" / "masks" / "0.png"), np.full((40, 50), 255, np.uint8))
    with pytest.raises(MaskError, match="is 50 x 40 pixels, the image 100 x 80"):
        read(root)
    rows = json.loads((root / "index.json").read_text())
    for odd in ({"name": "../../../backgrounds/0"}, {"set": "../.."}):
        (root / "index.json").write_text(json.dumps([{**rows[1], **odd}]))
        with pytest.raises(DataError, match="leads out of"):
            read(root)
