"""What a batch costs beside its objects: planning many photos, decoding a polygon, and keeping the records of each photo."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from amodal.batch.plan import read_plan
from amodal.core.mask import Mask
from amodal.data.annotations import from_polygon
from amodal.engine.output import Output
from amodal.engine.worker import Result
from benchmarks.measure import side_by_side

PHOTOS = 100_000
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


def folder_of_photos(folder: Path) -> Path:
    """A folder of so many photos, a thousand in each of its own; nothing looks into them."""
    path = folder / "photos"
    for number in range(PHOTOS):
        if number % 1000 == 0:
            (path / f"{number // 1000:04d}").mkdir(parents=True)
        (path / f"{number // 1000:04d}" / f"{number:09d}.jpg").touch()
    return path


def plan(path: Path) -> dict[str, Any]:
    """Seconds of processor until the first row can be had and for each later one, and the memory that the plan takes: bytes a
    photo once it is made, and what all rows add to that when they are asked for one after the other."""
    before, begin = own_memory(), time.process_time()
    rows = read_plan(path)
    first = rows[0]
    ready, kept = time.process_time() - begin, own_memory() - before
    assert len(rows) == PHOTOS and len(first.parts) == len(rows[PHOTOS - 1].parts)
    begin = time.process_time()
    for number in range(0, PHOTOS, 10):
        _ = rows[number]
    return {
        "file_mb": round(path.stat().st_size / 1e6, 1) if path.is_file() else None,
        "first_row_s": round(ready, 2),
        "row_us": round(1e7 * (time.process_time() - begin) / PHOTOS, 1),
        "bytes_a_photo": round(kept / PHOTOS),
        "more_after_all_rows_mb": round((own_memory() - before - kept) / 1e6, 1),
    }


def own_memory() -> int:
    """Bytes of memory that this process has for itself; pages of the files that it looks into are the system's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def planned(make: Callable[[Path], Path]) -> dict[str, Any]:
    """`plan` of what `make` writes, in a process that has done nothing else."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, get_context("spawn")) as alone:
        return alone.submit(plan, make(Path(folder))).result()


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
    for make in (coco, lines, folder_of_photos):
        out[make.__name__] = planned(make)
    with tempfile.TemporaryDirectory() as folder:
        out["keeping"] = keeping(Path(folder))
    return out
