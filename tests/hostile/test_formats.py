"""Damaged meshes, data sets, lists, recipes and networks: an answer or an `AmodalError`, and nothing else."""

import contextlib
import json
import pickle
import random
import shutil
import struct

import pytest

import official_layouts
from amodal.batch.plan import read_plan
from amodal.core.files import read_csv
from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.data import dataset
from amodal.data.scene_masks import read_scene
from amodal.evaluation.predictions import Predictions
from amodal.evaluation.rows import read_rows, read_settings
from amodal.geometry.cameras import read_list
from amodal.geometry.readers import open_source
from amodal.synthesis.review.store import replay
from amodal.synthesis.scenes.config import read_config
from amodal.training.recipe import read_recipe
from mutants import COUNT, allowed, altered, damaged

pytestmark = pytest.mark.filterwarnings("ignore")
MASK = Mask.from_box((10, 5, 30, 20)).to_rle((40, 60))


def mutants(content: bytes, luck: random.Random, count: int = COUNT):
    """Mutants of a file: of its values where it is JSON, a pickle or a list of JSON lines, and of its bytes."""
    for number in range(count):
        made = None
        with contextlib.suppress(ValueError, pickle.UnpicklingError, UnicodeDecodeError):
            if number % 3 and content[:1] in b"{[":
                lines = [json.loads(line) for line in content.splitlines()]
                place = luck.randrange(len(lines))
                lines[place] = altered(lines[place], luck)
                made = b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"
            elif number % 3 and content[:1] == b"\x80":
                made = pickle.dumps(altered(pickle.loads(content), luck), protocol=2)  # noqa: S301  its own
        yield damaged(content, luck) if made is None else made


def square(kind: str) -> bytes:
    """Two triangles as a file of a kind."""
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
    if kind == "obj":
        lines = [
            "mtllib a.mtl",
            "o cup",
            *(f"v {x} {y} {z}" for x, y, z in corners),
            "vn 0 0 1",
            "usemtl a",
            "f 1 2 3",
            "f 1//1 3 -1",
        ]
        return "\n".join(lines).encode()
    if kind == "ply":
        head = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        head += "element face 2\nproperty list uchar int vertex_indices\nproperty int segment_id\nend_header\n"
        return (head + "".join(f"{x} {y} {z}\n" for x, y, z in corners) + "3 0 1 2 1\n3 0 2 3 1\n").encode()
    binary = struct.pack("<12f6H", *(value for corner in corners for value in corner), 0, 1, 2, 0, 2, 3)
    content = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "cup", "mesh": 0, "scale": [1, 1, 1]}, {"name": "eye", "camera": 0}],
        "cameras": [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.01}}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 12},
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    if kind == "gltf":
        content["buffers"] = [{"byteLength": len(binary), "uri": "square.bin"}]
        return json.dumps(content).encode()
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


@pytest.mark.parametrize("kind", ["obj", "ply", "gltf", "glb"])
def test_meshes(kind, tmp_path):
    pytest.importorskip("trimesh")
    luck, path = random.Random(kind), tmp_path / f"mutant.{kind}"
    (tmp_path / "square.bin").write_bytes(square("glb")[-60:])

    def read():
        source = open_source("gltf" if kind in ("gltf", "glb") else kind, path)
        return source.geometry(source.cameras[0] if source.cameras else None)

    path.write_bytes(square(kind))
    assert len(read().faces) == 2
    for mutant in mutants(square(kind), luck, 2 * COUNT):
        path.write_bytes(mutant)
        allowed(read)


SETS = {
    "cocoa": official_layouts.make_cocoa,
    "bsdsa": official_layouts.make_bsdsa,
    "cocoa-cls": official_layouts.make_cocoa_cls,
    "kins": official_layouts.make_kins,
    "d2sa": official_layouts.make_d2sa,
    "fishbowl": official_layouts.make_fishbowl,
    "mp3d-amodal": official_layouts.make_mp3d,
    "occluded-coco": official_layouts.make_occluded_coco,
}


@pytest.mark.parametrize("name", SETS)
def test_data_sets(name, tmp_path):
    SETS[name](tmp_path)
    luck = random.Random(name)
    files = [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".pkl")]

    def read():
        data = dataset(name, tmp_path, skip_bad=True)
        return list(data), data.missing()

    assert read()[0]
    for path in files:
        content = path.read_bytes()
        for mutant in mutants(content, luck, COUNT // len(files)):
            path.write_bytes(mutant)
            allowed(read)
        path.write_bytes(content)


CAMERA = {"name": "v", "width": 64, "height": 48, "fx": 40.0, "fy": 40, "cx": 32, "cy": 24, "convention": "opencv"}
CAMERA["world_from_camera"] = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2.5], [0, 0, 0, 1]]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 60}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "segmentation": MASK, "bbox": [1, 2, 3, 4]}],
    "categories": [{"id": 2, "name": "cup"}],
}
ROW = {"id": "a", "image": "1", "category": None, "kind": None, "occlusion": 0.5, "iou": 0.5, "iou_occluded": None}
ROW |= {"counts": {name: [1, 2, 0, 0, 1, 2, 1] for name in ("method", "visible", "hull")}, "score": 0.5, "error": None}
ROW |= {"boundary_f": dict.fromkeys(("method", "visible", "hull"), 0.5), "overlaps": [["a", 0.5]], "mask": MASK}
PROMPTS = [{"image": "a.png", "box": [1, 2, 20, 30], "id": "x"}, {"image": "a.png", "mask": MASK, "category": "cup"}]
SCENE = '[[scene]]\nkind = "gltf"\npath = "a.glb"\nlimit = 3\n[scene.reader]\nscale = 1.5\n[select]\n'
RECIPE = 'task = "embedded"\n[run]\nsteps = 3\n[optimizer]\nlr = 1e-3\n[data]\nsizes = [[0, 64]]\n'


def lines(*records) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def planned(path):
    """All rows of a batch, as they are made for the workers."""
    return list(read_plan(path))


LISTS = {
    "cameras.json": (read_list, json.dumps([CAMERA]).encode()),
    "coco.json": (planned, json.dumps(COCO).encode()),
    "masks.json": (lambda path: read_scene(path, (40, 60), "a.png"), json.dumps(COCO).encode()),
    "prompts.jsonl": (planned, lines(*PROMPTS)),
    "results.json": (Predictions, json.dumps([{"image_id": 1, "segmentation": MASK, "score": 0.5}]).encode()),
    "rows.jsonl": (lambda path: list(read_rows(path)), lines(ROW)),
    "run.json": (
        read_settings,
        json.dumps({"data": {"name": "kins", "split": None}, "method": {"name": "hull"}}).encode(),
    ),
    "answers.jsonl": (replay, lines({"id": "a", "answer": "yes", "time": 1.5})),
    "labels.csv": (read_csv, b"id,answer\na,yes\n"),
    "scenes.toml": (read_config, SCENE.encode()),
    "recipe.toml": (read_recipe, RECIPE.encode()),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_and_settings(name, tmp_path):
    reader, content = LISTS[name]
    (tmp_path / "a.png").write_bytes(encode_png(Mask.from_box((0, 0, 60, 40)).bits))
    path, luck = tmp_path / name, random.Random(name)
    path.write_bytes(content)
    reader(path)
    for mutant in mutants(content, luck, 2 * COUNT):
        path.write_bytes(mutant)
        allowed(reader, path)


def test_networks(tmp_path):
    from amodal.networks.onnx_session import open_session
    from amodal.weights import catalogue

    luck, path = random.Random(5), tmp_path / "mutant.onnx"
    content = catalogue.embedded("image-classifier").read_bytes()
    for _ in range(COUNT // 10):
        path.write_bytes(damaged(content[:3000] + content[-3000:], luck))
        allowed(open_session, str(path))


def test_batch_folders(tmp_path):
    """What a batch wrote, damaged, then gone on with and read as predictions."""
    from amodal.cli import run

    (tmp_path / "a.png").write_bytes(encode_png(Mask.from_box((0, 0, 60, 40)).bits))
    (tmp_path / "coco.json").write_text(json.dumps(COCO))
    command = ["batch", str(tmp_path / "coco.json"), "-o", str(tmp_path / "out"), "--method", "hull"]
    assert run(command) == 0
    shutil.copytree(tmp_path / "out", tmp_path / "kept")
    luck = random.Random(6)
    files = sorted(
        path.relative_to(tmp_path / "kept") for path in (tmp_path / "kept").rglob("*.json*") if path.stat().st_size
    )
    for name in files:
        for mutant in mutants((tmp_path / "kept" / name).read_bytes(), luck, COUNT // 10):
            shutil.rmtree(tmp_path / "out")
            shutil.copytree(tmp_path / "kept", tmp_path / "out")
            (tmp_path / "out" / name).write_bytes(mutant)
            allowed(Predictions, tmp_path / "out")
            assert run(command) in (0, 1, 2, 3)
