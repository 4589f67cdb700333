"""Pairs: the depth rule on depths known in closed form, the layout, resuming, shards, bad folders."""

import json
import shutil

import cv2
import numpy as np
import pytest

from amodal.cli import run
from amodal.core.errors import DataError, OutputError
from amodal.core.image import encode_png, read
from amodal.core.mask import Mask
from amodal.data import dataset
from amodal.data.folder import FolderWriter
from amodal.data.pairs import FOLDERS
from amodal.data.sample import Sample
from amodal.engine.local import run_local
from amodal.engine.worker import Spec, done
from amodal.synthesis.pairs.at_scale import mapper
from amodal.synthesis.pairs.build import build_pairs
from amodal.synthesis.pairs.compose import cutout, paste, superimpose
from amodal.synthesis.pairs.source import PairsConfig, Source, Whole, find_wholes, on_backgrounds, wholes_of_dataset
from amodal.synthesis.pairs.wholes import Rule, closer_share, is_candidate, outline_map, whole_objects
from photo_sets import make_photos


def disc(centre: tuple[int, int], radius: int, size: tuple[int, int] = (96, 128)) -> Mask:
    rows, columns = np.indices(size)
    return Mask.from_array((columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 < radius**2)


def picture(mask: Mask, colour: tuple[int, int, int], size: tuple[int, int] = (96, 128)) -> np.ndarray:
    image = np.random.default_rng(mask.area).integers(60, 120, (*size, 3), dtype=np.uint8)
    image[mask.to_array(size)] = colour
    return image


@pytest.fixture
def wholes() -> list[Whole]:
    out = []
    for number, (x, radius) in enumerate([(50, 25), (70, 30), (60, 20)]):
        mask = disc((x, 48), radius)
        image = picture(mask, (200, 40 * number, 30))
        out.append(Whole(f"photo{number}", lambda image=image: image, mask))
    return out


def test_rule_of_depth():
    front, behind = disc((50, 48), 25), disc((85, 48), 22)
    nearness = np.linspace(0.1, 0.2, 96, dtype=np.float32)[:, None].repeat(128, 1)
    nearness[behind.to_array((96, 128))] = 0.5
    nearness[front.to_array((96, 128))] = 0.9
    visible = behind - front
    assert closer_share(nearness, front) == 1.0
    outline = outline_map(nearness, visible)
    rows, columns = np.indices((96, 128))
    touching = (outline != 0) & ((columns - 50) ** 2 + (rows - 48) ** 2 < 27**2)
    assert touching.sum() > 10 and (outline[touching] == -1).all()
    far = (outline != 0) & ((columns - 50) ** 2 + (rows - 48) ** 2 > 34**2)
    assert (outline[far] == 1).all()
    assert 0.5 < closer_share(nearness, visible) < 0.9
    assert whole_objects([front, visible], nearness, (96, 128)) == [front]
    # the rule does not depend on the unit or the offset of the depth
    assert closer_share(nearness * 1000 - 7, visible) == pytest.approx(closer_share(nearness, visible))


def test_candidates_by_shape():
    size, rule = (96, 128), Rule(smallest=0.02, largest=0.3)
    assert is_candidate(disc((60, 48), 20), size, rule)
    assert not is_candidate(disc((60, 48), 4), size, rule)  # tiny
    assert not is_candidate(disc((60, 48), 45), size, rule)  # huge
    assert not is_candidate(disc((10, 48), 20), size, rule)  # cut by the frame
    assert not is_candidate(disc((40, 48), 15) | disc((90, 48), 15), size, rule)  # two pieces


def test_superimpose(wholes):
    image, whole = wholes[0].image(), wholes[0].mask
    occluder = cutout(wholes[1].image(), wholes[1].mask)
    shares = []
    for seed in range(12):
        pair = superimpose(image, whole, occluder, np.random.default_rng(seed), occluded=(0.2, 0.6))
        assert pair is not None
        shares.append(pair.occluded)
        assert (pair.visible <= pair.amodal).all()
        assert np.array_equal(pair.amodal, whole.to_array((96, 128)))
        assert np.array_equal(pair.whole[pair.amodal], image[pair.amodal]) and (pair.whole[~pair.amodal] == 255).all()
        changed = (pair.occlusion != image).any(-1) & pair.visible  # only where a soft edge covers less than half
        assert changed.mean() < 0.02
        hidden = pair.amodal & ~pair.visible
        assert np.abs(pair.occlusion[hidden].astype(int) - (200, 40, 30)).mean() < 40  # the occluder's colours
    assert min(shares) >= 0.2 and max(shares) <= 0.6 and len(set(shares)) > 6
    assert superimpose(image, whole, occluder, np.random.default_rng(0), occluded=(0.999, 1.0), tries=3) is None


def test_paste_beyond_the_frame():
    image = np.zeros((10, 10, 3), np.uint8)
    out, covered = paste(image, np.full((4, 4, 4), 255, np.uint8), (-2, 8))
    assert covered.sum() == 4 and covered[8:, :2].all() and (out[covered] == 255).all() and not image.any()
    assert not paste(image, np.full((4, 4, 4), 255, np.uint8), (20, 0))[1].any()


def test_build_resume_and_read(tmp_path, wholes):
    config = PairsConfig(per_object=2, side=64)
    report = build_pairs(wholes, tmp_path / "a", config)
    assert (report.written, report.present, report.failures) == (6, 0, ())
    files = sorted(p for folder in FOLDERS for p in (tmp_path / "a" / folder).rglob("*.png"))
    assert len(files) == 24
    assert build_pairs(wholes, tmp_path / "a", config).present == 6
    with pytest.raises(OutputError, match="other settings"):
        build_pairs(wholes, tmp_path / "a", PairsConfig(per_object=2, side=64, seed=1))
    before = {file: file.read_bytes() for file in files}
    for file in files[1::4]:
        file.unlink()
    for folder in FOLDERS[::3]:  # a build that was killed: an input and a visible mask are not there
        next((tmp_path / "a" / folder).rglob("*.png")).unlink(missing_ok=True)
    again = build_pairs(wholes, tmp_path / "a", config)
    assert again.written + again.present == 6 and again.written > 0
    rest = {file: file.read_bytes() for file in files if file.exists()}
    assert all(before[file] == content for file, content in rest.items())
    build_pairs(wholes, tmp_path / "b", config)
    data = dataset("pix2gestalt", tmp_path / "b")
    assert len(data) == 6 and not data.missing()
    data_before = list(data)
    for sample in data:
        assert sample.size == (64, 64) and sample.amodal.contains(sample.visible) and sample.occlusion_rate > 0.03
        whole = read(sample.extra["whole"])
        assert (whole[~sample.amodal.to_array((64, 64))] > 100).mean() > 0.99
    assert (
        len(dataset("pix2gestalt", tmp_path / "b", "train")) == 5
        and len(dataset("pix2gestalt", tmp_path / "b", "val")) == 1
    )
    assert run(["data", "check", "pix2gestalt", "--root", str(tmp_path / "b")]) == 0
    for folder in FOLDERS:  # names of other sources: joined by their order, as the original training does
        for number, file in enumerate(sorted((tmp_path / "b" / folder).iterdir())):
            file.rename(file.with_name(f"{folder}-{number:03d}.png"))
    by_order = dataset("pix2gestalt", tmp_path / "b")
    assert [(s.amodal, s.visible) for s in by_order] == [(s.amodal, s.visible) for s in data_before]


def test_bad_folders(tmp_path, wholes):
    with pytest.raises(DataError, match="there is no folder .*occlusion; pairs need occlusion/, whole/"):
        dataset("pix2gestalt", tmp_path)
    build_pairs(wholes, tmp_path, PairsConfig(side=64))
    gone = next((tmp_path / "whole").rglob("*.png"))
    gone.unlink()
    with pytest.raises(DataError, match=r"no file in whole/ \(occlusion/ 3, whole/ 2, whole_mask/ 3"):
        dataset("pix2gestalt", tmp_path)
    skipping = dataset("pix2gestalt", tmp_path, skip_bad=True)
    assert len(skipping) == 2 and len(skipping.problems) == 1
    (tmp_path / "whole" / "zzz.png").write_text("no picture")  # the counts agree, the names do not
    with pytest.raises(DataError, match=r"no file in whole/"):
        dataset("pix2gestalt", tmp_path)
    (tmp_path / "whole" / "zzz.png").rename(gone)
    next((tmp_path / "whole_mask").rglob("*.png")).write_text("no picture")
    with pytest.raises(DataError, match="is not a picture"):
        list(dataset("pix2gestalt", tmp_path))
    for number, file in enumerate(sorted((tmp_path / "occlusion").iterdir())):
        file.rename(file.with_name(f"{number}.png"))
    next((tmp_path / "occlusion").iterdir()).unlink()
    with pytest.raises(DataError, match="nothing in common: occlusion/ 2, whole/ 3"):
        dataset("pix2gestalt", tmp_path)
    with pytest.raises(DataError, match="at least two are needed"):
        build_pairs(wholes[:1], tmp_path / "one", PairsConfig())


def test_photos_are_asked_once_and_sharded(tmp_path, wholes):
    photos = tmp_path / "photos"
    photos.mkdir()
    for whole in wholes:
        (photos / f"{whole.image_id}.png").write_bytes(encode_png(whole.image()))
    (photos / "broken.png").write_text("no picture")
    (photos / "._broken.png").write_text("what macOS leaves beside a file on a stick: hidden, no photograph")
    asked = []

    def find_red(row, seed_of):
        image = read(row.content["image"])
        asked.append(image)
        red = Mask.from_array(image[..., 0] > 150)
        nearness = np.where(red.to_array(image.shape[:2]), 1.0, 0.0).astype(np.float32)
        found = whole_objects([red], nearness, image.shape[:2])
        return done(row, {"masks": [mask.to_dict() for mask in found]})

    def find(shard=(0, 1)):
        config = PairsConfig(shard=shard)
        failures = find_wholes(photos, tmp_path / "out", mapper(run_local, Spec(find_red)), config)
        return Source(str(photos)).open(tmp_path / "out", config), failures

    found, failures = find()
    assert [whole.mask for whole in found] == [whole.mask for whole in wholes]
    assert len(failures) == 1 and "broken.png" in failures[0] and len(asked) == 3
    again, _ = find()
    assert [w.mask for w in again] == [w.mask for w in found] and len(asked) == 3
    parts = [find((k, 2))[0] for k in range(2)]
    assert sorted(w.image_id for part in parts for w in part) == sorted(w.image_id for w in found)
    with pytest.raises(DataError, match="shard 2/2 does not exist"):
        find((2, 2))
    with pytest.raises(DataError, match="holds no photographs"):
        Source(str(tmp_path / "out")).open(tmp_path / "x", PairsConfig())


def test_on_other_photos(tmp_path, wholes):
    (tmp_path / "ground.png").write_bytes(encode_png(np.full((50, 60, 3), (0, 90, 200), np.uint8)))
    moved = on_backgrounds(wholes, [tmp_path / "ground.png"], seed=0)
    for old, new in zip(wholes, moved, strict=True):
        image = new.image()
        inside = new.mask.to_array(image.shape[:2])
        assert new.mask.area == old.mask.area == inside.sum()
        assert (image[inside] == old.image()[old.mask.to_array((96, 128))]).all()
        assert (image[~inside] == (0, 90, 200)).all()


def test_command_line_from_given_masks(tmp_path, wholes, capsys):
    from amodal.data.folder import FolderWriter
    from amodal.data.sample import Sample

    with FolderWriter(tmp_path / "set", name="set") as writer:
        for w in wholes:
            writer.add([Sample(w.image_id, w.image_id, w.image(), (96, 128), w.mask, w.mask)])
    out = tmp_path / "pairs"
    command = ["data", "build", "pairs", "--dataset", "folder", "--root", str(tmp_path / "set"), "-o", str(out)]
    assert run([*command, "--side", "64", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 3, "present": 0, "wholes": 3, "failures": []}
    assert run([*command, "--side", "64", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["present"] == 3
    assert len(wholes_of_dataset(dataset("folder", tmp_path / "set"), PairsConfig(shard=(0, 2)))) == 2
    assert run([*command, "--shard", "1"]) == 2
    assert "is not --shard I/N" in capsys.readouterr().err
    assert run(["data", "build", "pairs", "-o", str(out)]) == 2


def test_command_line_from_photos_without_weights(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    rows, columns = np.indices((40, 52))
    for number, x in enumerate((24, 28)):
        image = np.random.default_rng(number).integers(40, 60, (40, 52, 3), dtype=np.uint8)
        image[(columns - x) ** 2 + (rows - 20) ** 2 < 11**2] = (220, 60 * number, 20)
        (photos / f"{number}.png").write_bytes(encode_png(image))
    out = tmp_path / "pairs"
    command = ["data", "build", "pairs", str(photos), "--depth", "none", "--segmenter", "grabcut", "--side", "0"]
    assert run([*command, "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] >= 2
    for sample in dataset("pix2gestalt", out):
        assert 0.03 < sample.occlusion_rate < 0.75
    shutil.copytree(out / "wholes", tmp_path / "pooled" / "wholes")  # so that the photos are not asked again
    shutil.copy(next(out.glob("build-*.json")), tmp_path / "pooled")
    assert run([*command, "-o", str(tmp_path / "pooled"), "--workers", "2"]) == 0  # the same bytes from two processes
    for file in out.rglob("*.png"):
        assert (tmp_path / "pooled" / file.relative_to(out)).read_bytes() == file.read_bytes()


def test_command_line_from_composites(tmp_path, capsys):
    root = make_photos(tmp_path / "set")
    config = root / "composites.toml"
    config.write_text(
        "count = 3\nseed = 4\n[targets]\nthing = 1.0\n[kinds]\none = 1.0\n"
        f'[library]\nphotos = "{root}/photos"\nbackgrounds = "{root}/backgrounds"\ninvented = 2\n'
    )
    command = ["data", "build", "pairs", str(config), "--json"]
    assert run([*command, "--side", "64", "-o", str(tmp_path / "a")]) == 0
    assert json.loads(capsys.readouterr().out) == {"written": 3, "present": 0, "wholes": 3, "failures": []}
    data = dataset("pix2gestalt", tmp_path / "a")
    assert len(data) == 3 and all(s.size == (64, 64) and s.amodal.contains(s.visible) for s in data)
    assert np.mean([s.occlusion_rate for s in data]) > 0.05
    longer = [*command, "--side", "64", "--set", "count=4", "-o", str(tmp_path / "a")]
    assert run(longer) == 0
    assert json.loads(capsys.readouterr().out)["present"] == 3
    assert run([*longer, "--set", "seed=5"]) == 1 and "--force begins anew" in capsys.readouterr().err
    for shard in ("0/2", "1/2"):  # at their own size, as `data build composites` writes them beside its set
        assert run([*command, "--side", "0", "--shard", shard, "-o", str(tmp_path / "b")]) == 0
    command = ["data", "build", "composites", str(config), "--set", "pix2gestalt=true", "-o", str(tmp_path / "c")]
    assert run(command) == 0
    pictures = [
        sorted(p.read_bytes() for p in (tmp_path / where).glob("**/*.png"))
        for where in ("b/whole", "b/occlusion", "c/pix2gestalt/whole", "c/pix2gestalt/occlusion")
    ]
    assert pictures[:2] == pictures[2:] and len(pictures[0]) == 3
    for sample in dataset("pix2gestalt", tmp_path / "c" / "pix2gestalt"):  # one history of exposure, noise and jpeg
        seen = cv2.erode(sample.visible.to_array(sample.size).astype(np.uint8), np.ones((17, 17))) > 0
        change = np.abs(sample.image.astype(int) - read(sample.extra["whole"]))[seen]
        assert seen.sum() > 100 and change.mean() < 3, "what is visible of the whole object is what the picture shows"


def test_command_line_tells_what_is_wrong_with_photos(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.png").write_text("no picture")
    command = [
        "data",
        "build",
        "pairs",
        str(tmp_path / "photos"),
        "--segmenter",
        "grabcut",
        "-o",
        str(tmp_path / "out"),
    ]
    assert run([*command, "--depth", "none"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "notes.png" in lines[0] and "is not a picture" in lines[0] and "0 whole objects" in lines[1]
    assert len(lines) == 2
    assert run([*command, "--depth", "nowhere"]) in (1, 2)
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        (["--segmenter", "grabcutt"], 2, "no segmenter named 'grabcutt'; did you mean 'grabcut'"),
        (["--segmenter", "grabcut", "--set", "segmenter.round=3"], 2, "no option named 'round'"),
        (["--segmenter", "sam"], 1, "run: amodal fetch sam-vit-h"),
        (["--segmenter", "sam", "--workers", "2"], 1, "run: amodal fetch sam-vit-h"),
    ],
)
def test_wrong_segmenter_is_told_once(tmp_path, wholes, monkeypatch, capsys, wrong, code, text):
    """Before any photo is opened: not once per photo, and nothing is written."""
    monkeypatch.setenv("AMODAL_HOME", str(tmp_path / "home"))
    (tmp_path / "photos").mkdir()
    for whole in wholes:
        (tmp_path / "photos" / f"{whole.image_id}.png").write_bytes(encode_png(whole.image()))
    command = ["data", "build", "pairs", str(tmp_path / "photos"), "--depth", "none", "-o", str(tmp_path / "out")]
    assert run([*command, *wrong]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
    assert not any(path.is_dir() for path in (tmp_path / "out").glob("*"))


def test_pictures_may_be_added(tmp_path, wholes):
    """Pairs keep their names and are made once, wherever the new picture stands in the order."""
    config = PairsConfig(side=64)
    twice = Whole("photo1", wholes[1].picture, wholes[1].mask)
    assert build_pairs([wholes[1], twice, wholes[2]], tmp_path, config).written == 3
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    report = build_pairs([wholes[0], wholes[1], twice, wholes[2]], tmp_path, config)
    assert (report.written, report.present) == (1, 3)
    assert len(dataset("pix2gestalt", tmp_path)) == 4
    assert all(path.read_bytes() == content for path, content in before.items())


def test_masks_of_a_picture_of_another_size_are_not_used(tmp_path, wholes):
    """A picture that was scaled since is told of, and is no occluder of others."""
    sized = [Whole(each.image_id, each.picture, each.mask, (96, 128)) for each in wholes]
    small = Whole("photo0", lambda: wholes[0].image()[::2, ::2], wholes[0].mask, (96, 128))
    report = build_pairs([small, *sized[1:]], tmp_path, PairsConfig(side=64))
    assert report.written == 2
    (line,) = report.failures
    assert "its masks are of a picture of 128 x 96 pixels, and the picture has 64 x 48" in line


def test_photos_that_were_scaled_after_they_were_asked(tmp_path, wholes):
    photos = tmp_path / "photos"
    photos.mkdir()
    for whole in wholes:
        (photos / f"{whole.image_id}.png").write_bytes(encode_png(whole.image()))

    def given(row, seed_of):
        return done(row, {"masks": [wholes[0].mask.to_dict()]})

    assert find_wholes(photos, tmp_path, mapper(run_local, Spec(given)), PairsConfig()) == []
    (photos / "photo0.png").write_bytes(encode_png(wholes[0].image()[::2, ::2]))
    first, second, _ = Source(str(photos)).open(tmp_path, PairsConfig())
    assert second.image().shape == (96, 128, 3)
    with pytest.raises(DataError, match=r"photo0\.png: its masks are of a picture of 128 x 96 pixels"):
        first.image()


def test_pictures_of_a_data_set_are_checked_against_its_masks(tmp_path, wholes):
    """And objects of one picture do not hide each other: occluders come from other pictures."""
    with FolderWriter(tmp_path, name="set") as writer:
        for whole in wholes[:2]:
            parts = {"a": whole.mask, "b": whole.mask.shift(2, 0)}
            samples = [
                Sample(f"{whole.image_id}-{key}", whole.image_id, whole.image(), (96, 128), mask, mask)
                for key, mask in parts.items()
            ]
            writer.add(samples)
    found = wholes_of_dataset(dataset("folder", tmp_path), PairsConfig())
    assert [each.image_id for each in found] == ["photo0", "photo0", "photo1", "photo1"]
    (tmp_path / "images" / "photo0.png").write_bytes(encode_png(wholes[0].image()[::2, ::2]))
    with pytest.raises(DataError, match="photo0: its masks are of a picture of 128 x 96 pixels"):
        found[0].image()
    with pytest.raises(DataError, match="2 whole objects in 1 pictures"):
        build_pairs(found[:2], tmp_path / "pairs", PairsConfig())
