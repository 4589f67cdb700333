"""Why the objects of a photo are whole or not (pix2gestalt, figure 4), and candidates from SA-1B's own mask files."""

import json
from dataclasses import asdict

import numpy as np
from PIL import Image

from amodal.core.image import encode_png, read
from amodal.core.mask import Mask
from amodal.data import dataset
from amodal.data.scene_masks import read_json_masks
from amodal.engine.local import run_local
from amodal.engine.worker import Row, done
from amodal.synthesis.pairs import at_scale
from amodal.synthesis.pairs.build import build_pairs, open_store
from amodal.synthesis.pairs.source import PairsConfig, Source, find_wholes
from amodal.synthesis.pairs.wholes import Rule, drawing

SIZE = (60, 80)


def test_green_where_nearer_and_red_where_not():
    image = np.full((*SIZE, 3), 90, np.uint8)
    mask = Mask.from_box((20, 15, 50, 45))
    nearness = np.zeros(SIZE, np.float32)
    nearness[15:45, 20:50] = 1
    nearness[:, 50:] = 2  # something nearer touches its right side
    panel = drawing(image, [mask], nearness, Rule())
    assert panel.shape == (60, 160, 3)
    photo, depth = panel[:, :80], panel[:, 80:]
    green, red = (np.abs(photo.astype(int) - colour).sum(-1) == 0 for colour in ((0, 190, 60), (230, 30, 30)))
    assert green[30, 20] and green[15, 30] and green[44, 30] and not red[30, 20]
    assert red[30, 49] and not green[30, 49]
    assert np.array_equal(photo[30, 35], (90, 90, 90)) and depth[30, 70, 0] == 255 and depth[5, 5, 0] == 0
    assert not (drawing(image, [Mask.from_box((0, 0, 80, 60))], nearness)[:, :80] != image).any(), "no candidate"


def sa1b(folder, number: int, x: int):
    """A photo with two objects and its file as SA-1B's shards have them."""
    image = np.random.default_rng(number).integers(40, 60, (*SIZE, 3), dtype=np.uint8)
    masks = [Mask.from_box((x, 20, x + 20, 44)), Mask.from_box((60, 5, 72, 20))]
    for mask in masks:
        image[mask.to_array(SIZE)] = (220, 60 * number, 20)
    Image.fromarray(image).save(folder / f"sa_{number}.jpg")
    entries = [{"segmentation": mask.to_rle(SIZE), "area": mask.area, "predicted_iou": 0.9} for mask in masks]
    told = {"image_id": number, "width": 80, "height": 60, "file_name": f"sa_{number}.jpg"}
    (folder / f"sa_{number}.json").write_text(json.dumps({"image": told, "annotations": entries}))
    return masks


def test_masks_beside_the_photos(tmp_path, monkeypatch):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    wanted = [mask for number, x in enumerate((10, 25)) for mask in sa1b(photos, number, x)]
    assert [mask for _, mask, _ in read_json_masks(photos / "sa_0.json", SIZE)] == wanted[:2]
    near = np.zeros(SIZE, np.float32)
    near[18:46, 8:50] = 1
    monkeypatch.setattr(at_scale, "DepthEstimator", lambda depth, device: lambda image: near)
    (photos / "alone.jpg").write_bytes((photos / "sa_0.jpg").read_bytes())
    config = PairsConfig(side=0, occluded=(0.02, 0.9))
    explain = tmp_path / "why"
    networks = at_scale.finding(run_local, at_scale.GIVEN, "toy", "cpu", Rule(), None, explain)
    with open_store(out, config.shard, asdict(config)):
        (failure,) = find_wholes(photos, out, networks, config, explain=explain)
    assert failure.startswith("alone.jpg: cannot read") and "alone.json" in failure
    assert sorted(read(path).shape for path in explain.iterdir()) == [(60, 160, 3)] * 2
    wholes = Source(photos=str(photos)).open(out, config)
    assert len(wholes) == 4 and {whole.mask.area for whole in wholes} == {480, 180}
    assert build_pairs(wholes, out, config).written > 0 and len(dataset("pix2gestalt", out)) > 0


def test_work_of_the_engine_keeps_drawings(tmp_path):
    class Draw:
        def __call__(self, row: Row, seed_of):
            return done(row, {"masks": []}, {"explain.png": encode_png(np.zeros((2, 2), bool))})

    from amodal.engine.worker import Spec

    mapped = at_scale.mapper(run_local, Spec(Draw()), tmp_path / "why")
    assert [answer for _, answer in mapped([tmp_path / "a.jpg"])] == [[]]
    assert len(list((tmp_path / "why").glob("*.png"))) == 1
