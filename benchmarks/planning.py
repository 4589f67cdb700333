"""What a batch costs beside its objects: planning many photos, decoding a polygon, and keeping the records of each photo."""

from __future__ import annotations

import json
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from amodal.batch.plan import read_plan
from amodal.core.mask import Mask
from amodal.data.annotations import from_polygon
from amodal.engine.output import Output
from amodal.engine.worker import Result
from benchmarks.measure import side_by_side

PHOTOS = 10_000
OBJECTS = 4
RECORDS = 500


def polygon(number: int) -> list[float]:
    """A star of 40 corners."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = 60 + 30 * np.cos(7 * angle + number)
    return [
        round(float(value), 1)
        for point in zip(200 + reach * np.cos(angle), 200 + reach * np.sin(angle), strict=True)
        for value in point
    ]


def coco(folder: Path) -> Path:
    """A COCO file of so many photos with four polygons each."""
    path = folder / "coco.json"
    shapes = [json.dumps([polygon(number)]) for number in range(100)]
    images = ",".join(f'{{"id":{n},"file_name":"{n:09d}.jpg","width":640,"height":480}}' for n in range(PHOTOS))
    notes = ",".join(
        f'{{"id":{n},"image_id":{n // OBJECTS},"category_id":1,"segmentation":{shapes[n % 100]},"bbox":[110,110,180,180]}}'
        for n in range(PHOTOS * OBJECTS)
    )
    path.write_text(f'{{"images":[{images}],"categories":[{{"id":1,"name":"x"}}],"annotations":[{notes}]}}')
    return path


def lines(folder: Path) -> Path:
    """The same as prompts, a mask a line."""
    mask = json.dumps(Mask.from_box((20, 30, 200, 300)).to_rle((480, 640)))
    path = folder / "prompts.jsonl"
    path.write_text("".join(f'{{"image":"{n // OBJECTS:09d}.jpg","mask":{mask}}}\n' for n in range(PHOTOS * OBJECTS)))
    return path


def plan(path: Path) -> dict[str, Any]:
    """Seconds of processor until the first and the last row can be had, and bytes that the plan keeps a photo."""
    begin = time.process_time()
    rows = read_plan(path)
    first = rows[0]
    ready = time.process_time() - begin
    assert len(rows) == PHOTOS and len(first.content["objects"]) == len(rows[PHOTOS - 1].content["objects"]) == OBJECTS
    begin = time.process_time()
    for number in range(0, PHOTOS, 100):
        _ = rows[number]
    each = (time.process_time() - begin) / (PHOTOS / 100)
    del rows
    tracemalloc.start()
    kept = read_plan(path)
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "first_row_s": round(ready, 2),
        "row_us": round(1e6 * each, 1),
        "bytes_a_photo": round(memory / len(kept)),
    }


def keeping(folder: Path) -> dict[str, Any]:
    """Seconds of processor, and bytes on disk, that a photo's four records cost: journal, shard, manifest."""
    rle = Mask.from_box((20, 30, 200, 300)).to_rle((480, 640))
    rows = read_plan(lines(folder), limit=RECORDS)
    begin = time.process_time()
    with Output(folder / "out", {}, rows, digest=rows.digest) as out:
        for row in out.missing():
            records = [
                {"id": part, "image": row.content["image"], "status": "done", "visible": rle, "amodal": rle}
                for part in row.parts
            ]
            out.add(row, [Result(record) for record in records])
        out.finish()
    seconds = time.process_time() - begin
    size = sum(file.stat().st_size for file in (folder / "out" / "shards").iterdir())
    return {"photos": RECORDS, "ms_a_photo": round(1e3 * seconds / RECORDS, 3), "bytes_a_photo": round(size / RECORDS)}


def polygons() -> dict[str, Any]:
    """Stars to masks on a frame of 640 x 480: ours, whose tight crop is all that is made, beside pycocotools' full frames."""
    from pycocotools import mask as tools

    shapes = [polygon(number) for number in range(100)]

    def ours() -> list[Mask]:
        return [from_polygon(shape, (480, 640)) for shape in shapes]

    def theirs() -> list[Any]:
        return [tools.decode(tools.frPyObjects([shape], 480, 640)) for shape in shapes]

    same = all(np.array_equal(a.to_array((480, 640)), b[..., 0]) for a, b in zip(ours(), theirs(), strict=True))
    return {"polygons": len(shapes), "same": same, **side_by_side(ours, theirs, clock=time.process_time)}


def run() -> dict[str, object]:
    """All of it."""
    out: dict[str, object] = {"photos": PHOTOS, "objects_a_photo": OBJECTS, "ours_over_pycocotools": polygons()}
    with tempfile.TemporaryDirectory() as folder:
        out["coco"] = plan(coco(Path(folder)))
        out["prompts"] = plan(lines(Path(folder)))
    with tempfile.TemporaryDirectory() as folder:
        out["keeping"] = keeping(Path(folder))
    return out
