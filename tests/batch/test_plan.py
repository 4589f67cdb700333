"""What a batch consists of: sources of any kind and size, each bad item told beside the good ones."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amodal import cli
from amodal.batch.complete import request_of
from amodal.batch.plan import Planned, read_plan, told
from amodal.core.errors import AmodalError, DataError
from amodal.core.files import read_json
from amodal.core.mask import Mask
from amodal.data.coco import framed

PARTS = ("--method", "hull", "--segmenter", "grabcut", "--inpainter", "classical")
SIZE = (60, 80)
MASK = Mask.from_box((20, 15, 50, 45))
RLE = MASK.to_rle(SIZE)


@pytest.fixture
def photos(tmp_path) -> Path:
    image = np.full((*SIZE, 3), 40, np.uint8)
    image[15:45, 20:50] = (220, 90, 60)
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/b.png"):
        Image.fromarray(image).save(tmp_path / name)
    return tmp_path


def coco(folder: Path, *annotations: object, **more: object) -> Path:
    """A COCO file with a good annotation (id 1) before the given ones (2, 3, ...)."""
    good = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": RLE, "bbox": [20, 15, 30, 30], "iscrowd": 0}
    rest = [
        {"image_id": 1, "category_id": 1, "id": number, **entry} if isinstance(entry, dict) else entry
        for number, entry in enumerate(annotations, 2)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
        "categories": [{"id": 1, "name": "thing"}],
        **{"annotations": [good, *rest]},
        **more,
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(content))
    return path


def batch(source: Path, *more: str) -> tuple[int, dict[str, dict[str, object]]]:
    """The exit code, and the records by id."""
    out = source.parent / "out" if source.is_file() else source.parent / f"{source.name}-out"
    code = cli.run(["batch", str(source), "-o", str(out), *PARTS, *more])
    shards = sorted((out / "shards").glob("*.jsonl")) if (out / "shards").exists() else []
    records = [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]
    return code, {record["id"]: record for record in records}


BAD = {
    "two points": {"segmentation": [[40, 30, 60, 30]]},
    "odd count": {"segmentation": [[40, 30, 60, 30, 60, 50, 40]]},
    "empty box": {"segmentation": [], "bbox": [40, 30, 0, 5]},
    "huge": {"segmentation": [[-164, -221, 2.08e8, 3.5e8, 225, 236, 272, 384]]},
    "base64": {"segmentation": {"size": [60, 80], "counts": "bmY0bTFrMTAwMDAwMDAwMDAw"}},
    "other size": {"segmentation": Mask.from_box((5, 5, 9, 9)).to_rle((30, 40))},
    "text for numbers": {"segmentation": [["a", "b", "c", "d", "e", "f"]]},
    "box of text": {"segmentation": None, "bbox": "20,15,30,30"},
    "no box": {"segmentation": None},
    "nan": {"segmentation": [[float("nan"), 1, 5, 5, 9, 1]]},
    "a number": {"segmentation": 7},
    "image unknown": {"image_id": 99, "segmentation": RLE},
    "image a list": {"image_id": [1], "segmentation": RLE},
    "no record": "annotation",
    "category a list": {"category_id": 2, "segmentation": RLE},
    "nothing visible": {"segmentation": RLE, "visible_mask": []},
    "id twice": {"id": 1, "segmentation": RLE},
    "digits": {"segmentation": {"size": [60, 80], "counts": [int("9" * 4000), 1]}},
}


def test_one_bad_annotation_never_ends_the_rest(photos):
    names = [{"id": 1, "name": "thing"}, {"id": 2, "name": ["a", "b"]}, "cat", {"id": 3}]
    path = coco(photos, *BAD.values(), {"segmentation": [20, 15, 50, 15, 50, 45, 20, 45]}, categories=names)
    path.write_text(path.read_text().replace("9" * 4000, "9" * 5000))  # more digits than Python reads
    code, records = batch(path)
    assert code == 3 and len(records) == len(BAD) + 1  # the second of an id has it too
    done = {name for name, record in records.items() if record["status"] == "done"}
    assert done == {str(len(BAD) + 2)}
    failures = [record["error"] for record in records.values() if record["status"] == "failed"]
    assert all(error and "Traceback" not in error for error in failures)
    assert records["5"]["error"].endswith("has a coordinate of 3.5e+08 pixels")


def test_a_flat_polygon_and_a_bom_are_read(photos):
    path = coco(photos, {"segmentation": [20, 15, 50, 15, 50, 45, 20, 45]})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    code, records = batch(path)
    assert code == 0
    assert records["1"]["visible"] == records["2"]["visible"] == RLE


def test_windows_names_are_found_and_names_that_leave_the_folder_are_refused(photos):
    images = [
        {"id": number, "file_name": name, "width": 80, "height": 60}
        for number, name in enumerate(("sub\\b.png", "../secret.png", "/etc/passwd", "x" * 5000, "n\0ul", 7), 1)
    ]
    path = coco(photos, *({"segmentation": RLE, "image_id": number} for number in range(2, 7)), images=images)
    code, records = batch(path)
    assert code == 3 and records["1"]["status"] == "done"
    assert all("leads out of" in records[key]["error"] for key in ("2", "3"))
    assert {record["status"] for key, record in records.items() if key != "1"} == {"failed"}


def test_a_photo_of_another_size_than_its_file_says_is_refused(photos):
    images = [
        {"id": 1, "file_name": "a.png", "width": 160, "height": 120},
        {"id": 2, "file_name": "sub/b.png", "width": 60, "height": 80},
        {"id": 3, "file_name": "sub/b.png", "width": 80, "height": 60},
    ]
    polygon = [[20, 15, 50, 15, 50, 45, 20, 45]]
    path = coco(photos, *({"segmentation": polygon, "image_id": number} for number in (1, 2, 3)), images=images)
    code, records = batch(path)
    assert code == 3 and records["4"]["status"] == "done"
    assert "160 x 120, but it is 80 x 60" in records["1"]["error"] and "160 x 120" in records["2"]["error"]
    assert "turned by its EXIF" in records["3"]["error"]


def test_the_visible_mask_is_meant_and_crowds_are_no_objects(photos, capsys):
    part = Mask.from_box((20, 15, 35, 45)).to_rle(SIZE)
    fields = ("visible_mask", "visible", "inmodal_seg", "i_segm")
    crowd = {"segmentation": RLE, "iscrowd": 1, "bbox": [20, 15, 30, 30], "area": 900}
    path = coco(photos, *({"segmentation": RLE, field: part} for field in fields), crowd)
    code, records = batch(path)
    assert code == 0 and set(records) == {"1", "2", "3", "4", "5"}
    assert all(records[key]["visible"] == part for key in "2345") and records["1"]["visible"] == RLE
    assert "1 crowd region" in capsys.readouterr().err


def test_ids_survive_and_results_fit_the_source(photos):
    from reference import COCO

    images = [{"id": 70, "file_name": "a.png", "width": 80, "height": 60, "license": 4}, {"id": 8, "file_name": "b"}]
    kinds = [{"id": 33, "name": "cup", "supercategory": "kitchen"}, {"id": 5, "name": "cat"}]
    things = [
        {"id": 500, "image_id": 70, "category_id": 33, "segmentation": RLE, "area": 900, "bbox": [0, 0, 9, 9]},
        {
            "id": 7,
            "image_id": 70,
            "category_id": 5,
            "segmentation": RLE,
            "iscrowd": 1,
            "area": 900,
            "bbox": [0, 0, 9, 9],
        },
    ]
    told = {"info": {"year": 2017}, "licenses": [{"id": 4}]}
    path = coco(photos, images=images, categories=kinds, annotations=things, **told)
    assert batch(path)[0] == 0
    made = COCO(str(photos / "out" / "coco.json"))
    assert made.dataset["images"] == images and made.dataset["categories"] == kinds
    assert made.dataset["licenses"] == told["licenses"] and made.dataset["info"]["year"] == 2017
    assert {key: (entry["category_id"], entry["iscrowd"]) for key, entry in made.anns.items()} == {
        500: (33, 0),
        7: (5, 1),
    }
    entry = made.anns[500]
    assert made.annToMask(entry).sum() == entry["area"] == 900 and entry["bbox"] == [20, 15, 30, 30]
    loaded = COCO(str(path)).loadRes(str(photos / "out" / "results.json"))
    assert [(each["image_id"], each["category_id"]) for each in loaded.dataset["annotations"]] == [(70, 33)]


def test_boxes_are_of_what_is_seen(photos):
    """Where `segmentation` is the whole object, `bbox` is around it: no prompt for what is seen."""
    whole, ring = {"segmentation": RLE, "bbox": [20, 15, 30, 30]}, [22.0, 16, 30, 16, 30, 40, 22, 40]
    seen = Mask.from_box((22, 16, 30, 40)).to_rle(SIZE)
    marks = [
        {"inmodal_bbox": [22, 16, 8, 24]},
        {"i_bbox": [22, 16, 8, 24]},
        {"visible_mask": seen},
        {"inmodal_seg": [ring]},
        {"visible": ring},
    ]
    path = coco(photos, annotations=[{"image_id": 1, "id": k, **whole, **mark} for k, mark in enumerate([{}, *marks])])
    given = [thing["given"]["box"] for thing in read_plan(path, boxes=True)[0].content["objects"]]
    assert given == [[20, 15, 50, 45], *[[22, 16, 30, 40]] * 5]


def test_ids_that_are_none_take_free_numbers_and_no_export_fails(photos):
    """NaN is no id; 1.0 is the number 1; two regions of COCO-A share an id that neither has alone."""
    nan = float("nan")
    things = [
        {"id": nan, "image_id": 1.0, "category_id": float("inf"), "segmentation": RLE},
        {"id": 40, "image_id": 1, "regions": [{"segmentation": RLE, "name": "cup"}, {"segmentation": RLE}]},
        {"id": 9, "image_id": 1, "segmentation": RLE, "iscrowd": 1, "bbox": [nan, 0, 1, 1]},
    ]
    images = [{"id": 1.0, "file_name": "a.png", "width": 80, "height": 60, "gps": nan}]
    code, records = batch(coco(photos, images=images, annotations=things, info={"x": nan}))
    assert code == 0 and [records[f"40/{k}"]["category"] for k in (1, 2)] == ["cup", None]
    made = read_json(photos / "out" / "coco.json")
    assert [entry["id"] for entry in made["annotations"]] == [41, 42, 43, 9]
    assert made["images"][0]["gps"] is None and made["info"]["x"] is None
    results = read_json(photos / "out" / "results.json")
    assert [entry["amodal_id"] for entry in results][1:] == ["40/1", "40/2"]
    assert not any("annotation_id" in entry for entry in results)


LINES = {
    '{"image": "a.png", "point": [1]}': "point",
    '{"image": "a.png"}': "no prompt",
    '{"point": [1, 2]}': 'line 3: the field "image" must name',
    '{"image": "a.png", "pt": [1, 2]}': "no field named 'pt'",
    "[1, 2": "line 5: it is not JSON",
    "[1, 2]": "line 6: a line is one JSON object",
    '{"image": "a.png", "mask": {"size": [60, 80], "counts": "~"}}': "RLE",
    '{"image": "a.png", "mask": {"size": [30, 40], "counts": [1200]}}': "40 x 30 pixels, the image 80 x 60",
    '{"image": "a.png", "point": [640, 3]}': "outside of the image",
    '{"image": "a.png", "box": "all"}': "",
    '{"image": "a.png", "box": [1, 2, 1e400, 4]}': "",
    "[" * 100_000: "line 12: it is not JSON",
    '{"image": "a\\ud800.png", "point": [3, 3]}': "",
    '{"image": "pipe.png", "point": [3, 3]}': "",
    '{"image": "a.png", "id": "good", "point": [3, 3]}': "occurs twice",
    '{"image": "a.png", "id": ["x"], "point": [3, 3]}': "\"id\" is a text or a number, got ['x']",
    '{"image": "a.png", "category": ["x"], "point": [3, 3]}': "\"category\" is a text or a number, got ['x']",
}


def test_a_bad_line_is_a_failed_record(photos):
    os.mkfifo(photos / "pipe.png")
    path = photos / "prompts.jsonl"
    latin = '{"image": "a.png", "text": "caf\xe9"}'.encode("latin-1")
    good = b'{"image": "a.png", "id": "good", "box": [20, 15, 50, 45], "category": "x"}'
    path.write_bytes(b"\n".join([*(line.encode() for line in LINES), latin, good]))
    code, records = batch(path)
    assert code == 3 and len(records) == len(LINES) + 1
    errors = [record["error"] for record in records.values() if record["status"] == "failed"]
    for text in LINES.values():
        assert any(text in error for error in errors), text
    assert any("line 18: it is not JSON: the line is not a UTF-8" in error for error in errors)


def test_one_good_line_among_bad_ones(photos):
    path = photos / "prompts.jsonl"
    path.write_text('{"image": "a.png", "box": [20, 15, 50, 45]}\n{"image": "a.png", "point": [90, 3]}\nnothing\n')
    code, records = batch(path)
    assert code == 3
    assert {key: record["status"] for key, record in records.items()} == {
        "a.png#0": "done",
        "a.png#1": "failed",
        "prompts.jsonl, line 3": "failed",
    }


def test_names_of_prompts_without_an_id_are_free(photos):
    path = photos / "prompts.jsonl"
    prompt = '"image": "a.png", "box": [20, 15, 50, 45]'
    path.write_text(f'{{"id": "a.png#1", {prompt}}}\n{{{prompt}}}\n{{{prompt}}}\n')
    code, records = batch(path)
    assert code == 0 and set(records) == {"a.png#1", "a.png#1+", "a.png#2"}


def test_a_folder_takes_what_can_be_read_and_counts_the_rest(photos):
    Image.open(photos / "a.png").save(photos / "sub" / "c.jpg")
    (photos / "notes.txt").write_text("x")
    os.mkfifo(photos / "pipe.png")
    plan = read_plan(photos)
    assert [row.id for row in plan] == ["a.png", "sub/b.png", "sub/c.jpg"]
    assert told(plan.passed) == "; passed over: 1 .txt, 1 .png"
    with pytest.raises(DataError, match=r"no photo.*passed over: 1 \.txt"):
        (photos / "texts").mkdir()
        (photos / "notes.txt").rename(photos / "texts" / "notes.txt")
        read_plan(photos / "texts")


def test_names_that_are_not_utf8(photos):
    """From the plan of a folder to every file of the output."""
    pandas = pytest.importorskip("pandas")

    name = os.fsdecode(b"caf\xe9.png")
    (photos / "a.png").rename(photos / name)
    assert name in [row.id for row in read_plan(photos)]
    path = photos / "prompts.jsonl"
    path.write_text(json.dumps({"image": name, "box": [20, 15, 50, 45]}))
    code, records = batch(path, "--cutouts")
    assert code == 0 and [record["image"] for record in records.values()] == [name]
    assert "caf\\udce9.png" in set(pandas.read_parquet(photos / "out" / "objects.parquet")["image"])


def test_sources_that_are_none(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "cut.json").write_text('{"images": [], "annotations": [{"id": 1,')
    (tmp_path / "other.json").write_text("[1, 2]")
    (tmp_path / "no.json").write_text('{"images": []}')
    (tmp_path / "deep.json").write_text('{"info": ' + "[" * 100_000)
    (tmp_path / "void.json").write_text("")
    (tmp_path / "wide.json").write_text('{"images": [], "annotations": []}', "utf-16")
    (tmp_path / "wide.jsonl").write_text('{"image": "a.png", "point": [3, 3]}', "utf-16")
    for name, text in {
        "empty.jsonl": "is empty",
        "cut.json": "not complete JSON.*cut short",
        "other.json": "not a COCO file",
        "no.json": "not a COCO file",
        "deep.json": "too deeply",
        "void.json": "empty",
        "wide.json": "it is UTF-16.; save it as UTF-8",
        "wide.jsonl": "it is UTF-16.; save it as UTF-8",
        "absent": "no folder or file",
    }.items():
        with pytest.raises(DataError, match=text):
            read_plan(tmp_path / name)


def test_coco_masks_boxes_and_polygons(tmp_path):
    shapes = (RLE, [[20, 15, 50, 15, 50, 45, 20, 45]], None)
    boxed = ({"segmentation": shape, "bbox": [20, 15, 30, 30]} for shape in shapes)
    path = coco(tmp_path, *boxed)
    plan = read_plan(path)
    assert plan.root == tmp_path and plan[0].parts == ("1", "2", "3", "4") and len(plan) == 1
    things = [Planned(**each) for each in plan[0].content["objects"]]
    assert things[0].category == "thing"
    assert request_of(things[1], SIZE)[0].mask == request_of(things[2], SIZE)[0].mask == MASK
    assert request_of(things[3], SIZE)[0].box == (20.0, 15.0, 50.0, 45.0)
    for each in read_plan(path, boxes=True)[0].content["objects"]:
        assert request_of(Planned(**each), SIZE)[0].box == (20.0, 15.0, 50.0, 45.0)
    with pytest.raises(AmodalError, match="for|photo"):
        request_of(things[1], (61, 80))


def test_a_hundred_thousand_photos_are_planned_in_little_memory(tmp_path):
    """Names and places, but no prompt: a photo costs the same however many masks it has."""
    path = tmp_path / "prompts.jsonl"
    mask = json.dumps(Mask.from_array(np.indices((40, 40)).sum(0) % 2 == 0).to_dict())
    path.write_text("".join(f'{{"image": "{number}.jpg", "mask": {mask}}}\n' for number in range(2_000)))
    tracemalloc.start()
    plan = read_plan(path)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert used < 300 * len(plan), f"{used / len(plan):.0f} bytes a photo"
    assert plan[1_999].content["image"] == "1999.jpg" and len(read_plan(path, limit=7)) == 7


def test_lvis_names_photos_by_their_address(photos, capsys):
    """LVIS has `coco_url` in place of `file_name`, RLEs beside polygons, and more fields."""
    image = {"id": 7, "width": 80, "height": 60, "neg_category_ids": [3], "not_exhaustive_category_ids": []}
    listed = {
        "images": [
            {**image, "coco_url": "http://images.cocodataset.org/sub/b.png"},
            {**image, "id": 8, "coco_url": "http://images.cocodataset.org/train2017/a.png"},
            {**image, "id": 9, "coco_url": "http://images.cocodataset.org/../../etc/passwd"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [[20, 15, 50, 15, 50, 45, 20, 45]]},
            {"id": 2, "image_id": 8, "category_id": 1, "segmentation": {"size": list(SIZE), "counts": RLE["counts"]}},
            {"id": 3, "image_id": 9, "category_id": 1, "segmentation": RLE},
        ],
        "categories": [{"id": 1, "name": "thing", "synset": "thing.n.01", "frequency": "f", "def": "a thing"}],
    }
    (photos / "lvis.json").write_text(json.dumps(listed))
    code, records = batch(photos / "lvis.json")
    assert "the first that failed: 3: " in capsys.readouterr().err
    assert code == 3 and [records[name]["image"] for name in "12"] == ["sub/b.png", "a.png"]
    assert records["1"]["visible"] == records["2"]["visible"] == RLE and "passwd" in str(records["3"]["error"])


@pytest.mark.parametrize(
    ("stated", "right"),
    [
        ({"width": 64.0, "height": "48"}, (48, 64)),
        ({}, None),
        ({"width": 64}, DataError),
        ({"width": None, "height": 48}, DataError),
        ({"width": [64], "height": 48}, DataError),
        ({"width": 64.5, "height": 48}, DataError),
        ({"width": float("nan"), "height": True}, DataError),
    ],
)
def test_a_header_says_the_frame_or_is_refused(stated, right):
    if right is DataError:
        with pytest.raises(DataError, match="give both in pixels, or neither"):
            framed(stated)
    else:
        assert framed(stated) == right
