"""A batch's records for other programs: `coco.json` (pycocotools) and `objects.parquet` (pandas, datasets; needs pyarrow)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..files import atomic_write

if TYPE_CHECKING:
    from .output import Output

__all__ = ["write_exports"]


def write_exports(output: Output) -> None:
    """Write what can be written from the shards; streams them, so that memory does not grow with the batch."""
    _write_coco(output)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return
    _write_parquet(output)


def _write_coco(output: Output) -> None:
    """COCO instances: `segmentation`, `bbox` and `area` are the amodal mask's within the frame; `visible` is beside it."""
    images: dict[str, dict[str, Any]] = {}
    names = sorted({record.get("category") or "object" for record in output.records()})
    categories = {name: number for number, name in enumerate(names, 1)}
    with atomic_write(output.folder / "coco.json") as file:
        file.write(b'{"annotations":[')
        number = 0
        for record in output.records():
            if record["status"] != "done":
                continue
            size = {"width": record["width"], "height": record["height"]}
            image = images.setdefault(record["image"], {"id": len(images) + 1, "file_name": record["image"], **size})
            entry = _annotation(record, number + 1, image, categories[record.get("category") or "object"])
            file.write((b",\n" if number else b"\n") + json.dumps(entry).encode())
            number += 1
        rest = {
            "images": list(images.values()),
            "categories": [{"id": number, "name": name} for name, number in categories.items()],
        }
        file.write(b"\n]," + json.dumps(rest).encode()[1:] + b"\n")


def _annotation(record: dict[str, Any], number: int, image: dict[str, Any], category: int) -> dict[str, Any]:
    x0, y0, x1, y1 = record["amodal_box"]
    x0, y0, x1, y1 = max(0, x0), max(0, y0), min(image["width"], x1), min(image["height"], y1)
    return {
        "id": number,
        "image_id": image["id"],
        "category_id": category,
        "segmentation": record["amodal"],
        "visible": record["visible"],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": record["amodal_area"],
        "iscrowd": 0,
        "occlusion_rate": record["occlusion_rate"],
        "amodal_id": record["id"],
    }


def _write_parquet(output: Output) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rle = pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string())])
    whole = pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string()), ("origin", pa.list_(pa.int64()))])
    texts = ("id", "image", "category", "status", "error", "prompt", "cutout")
    numbers = ("object", "width", "height", "visible_area", "amodal_area", "samples", "seed")
    types = {
        **dict.fromkeys(texts, pa.string()),
        **dict.fromkeys(numbers, pa.int64()),
        **dict.fromkeys(("visible", "amodal"), rle),
        **dict.fromkeys(("visible_box", "amodal_box"), pa.list_(pa.int64())),
        **dict.fromkeys(("occlusion_rate", "score"), pa.float64()),
        "beyond_frame": whole,
    }
    from .complete import FIELDS

    schema = pa.schema([(name, types[name]) for name in FIELDS])
    with atomic_write(output.folder / "objects.parquet") as file, parquet.ParquetWriter(file, schema) as writer:
        block: list[dict[str, Any]] = []
        for record in output.records():
            block.append(record)
            if len(block) == 4096:
                writer.write_table(pa.Table.from_pylist(block, schema))
                block = []
        writer.write_table(pa.Table.from_pylist(block, schema))
