"""A batch's records for other programs: COCO's `coco.json` and `results.json`, and `objects.parquet` (needs pyarrow).

All are streamed from the shards, so that memory does not grow with the batch. Where the source is a COCO file, its ids, categories,
images, crowd regions and `info` survive.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..core.completion import coco_object
from ..core.errors import DataError
from ..core.files import atomic_write, parse_json
from ..core.mask import Mask
from ..data.annotations import number_of
from ..data.coco import CocoFile, category_names, is_crowd

if TYPE_CHECKING:
    from ..engine.output import Output

__all__ = ["write_exports"]


def write_exports(output: Output, source: CocoFile | None = None) -> None:
    """Write what can be written.

    Args:
        output: with all its shards.
        source: the COCO file that the batch was made from, if it was.
    """
    ids = Ids(output, source)
    with atomic_write(output.folder / "coco.json") as file:
        file.write(b'{"info":' + _json(ids.info()))
        if source is not None and "licenses" in source.rest:
            file.write(b',"licenses":' + _json(source.rest["licenses"]))
        file.writelines(_list("categories", ids.categories))
        file.writelines(_list("images", ids.images()))
        file.writelines(_list("annotations", ids.annotations()))
        file.write(b"}\n")
    with atomic_write(output.folder / "results.json") as file:
        file.writelines(_elements(ids.results()))
        file.write(b"\n")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return
    _write_parquet(output)


def source_ids(record: Mapping[str, Any]) -> dict[str, Any]:
    """The ids of a record's object in the COCO file that the batch was made from; empty for another source."""
    told: dict[str, Any] = {}
    if record.get("source"):
        told = parse_json(str(record["source"]), "a record's source", DataError)
    return told


class Ids:
    """How COCO files call the images, categories and objects of a batch: as the source does, else by running numbers."""

    def __init__(self, output: Output, source: CocoFile | None) -> None:
        self.output, self.source = output, source
        self._numbers: dict[str, int] = {}
        used = (
            (number_of(entry.get("id")) for _, entry in source.annotations() if isinstance(entry, dict))
            if source
            else ()
        )
        self._last = max((number for number in used if number is not None), default=0)
        if source is not None and isinstance(source.rest.get("categories"), list):
            self.categories = source.rest["categories"]
            self._classes: dict[str, Any] = {
                str(name): number for number, name in category_names(source.rest)[0].items()
            }
        else:
            names = sorted({record.get("category") or "object" for record in self.done()})
            self._classes = {name: number for number, name in enumerate(names, 1)}
            self.categories = [{"id": number, "name": name} for name, number in self._classes.items()]

    def done(self) -> Iterator[dict[str, Any]]:
        """The records that are completed objects."""
        return (record for record in self.output.records() if record["status"] == "done")

    def info(self) -> dict[str, Any]:
        """The source's, with what made the file."""
        told = self.source.rest.get("info") if self.source is not None else None
        settings = {key: self.output.settings.get(key) for key in ("amodal", "settings", "seed")}
        made = {"description": "amodal masks by amodal batch", "version": str(settings["amodal"]), "amodal": settings}
        return {**made, **(told if isinstance(told, dict) else {})}

    def images(self) -> Iterator[Any]:
        """The source's entries; else one for each photo with a completed object."""
        if self.source is not None:
            yield from self.source.images()
            return
        for record in self.done():
            if record["image"] not in self._numbers:
                number = self._numbers[record["image"]] = len(self._numbers) + 1
                size = {"width": record["width"], "height": record["height"]}
                yield {"id": number, "name": record["image"], "file_name": record["image"], **size}

    def of(self, record: dict[str, Any], number: int) -> dict[str, Any]:
        """`id`, `image_id` and `category_id` of a completed object, the `number`-th."""
        told = source_ids(record)
        category = self._classes.get(record.get("category") or "object")
        return {
            "id": self._last + number if told.get("id") is None else told["id"],
            "image_id": told["image_id"] if told else self._numbers[record["image"]],
            "category_id": category if told.get("category_id") is None else told["category_id"],
        }

    def annotations(self) -> Iterator[dict[str, Any]]:
        """The completed objects, and the source's crowd regions as they are."""
        for number, record in enumerate(self.done(), 1):
            amodal, visible = (Mask.from_rle(record[what]) for what in ("amodal", "visible"))
            entry = coco_object(amodal, visible, (record["height"], record["width"]), record["occlusion_rate"])
            yield {**self.of(record, number), **entry, "score": record.get("score"), "amodal_id": record["id"]}
        if self.source is not None:
            yield from (entry for _, entry in self.source.annotations() if is_crowd(entry))

    def results(self) -> Iterator[dict[str, Any]]:
        """As COCO's results have them, for `loadRes` of the source (of `coco.json`, where the source is not a COCO file)."""
        for number, record in enumerate(self.done(), 1):
            ids = self.of(record, number)
            yield {
                "image_id": ids["image_id"],
                **({} if source_ids(record) else {"file_name": record["image"]}),
                "category_id": ids["category_id"],
                **({} if source_ids(record).get("id") is None else {"annotation_id": ids["id"]}),
                "amodal_id": record["id"],
                "segmentation": record["amodal"],
                "score": 1.0 if record.get("score") is None else record["score"],
            }


def _list(name: str, entries: Iterable[Any]) -> Iterator[bytes]:
    yield f',\n"{name}":'.encode()
    yield from _elements(entries)


def _elements(entries: Iterable[Any]) -> Iterator[bytes]:
    yield b"["
    for number, entry in enumerate(entries):
        yield (b",\n" if number else b"\n") + _json(entry)
    yield b"\n]"


def _json(entry: Any) -> bytes:
    """As JSON. What a source holds that JSON cannot (NaN, infinity) becomes null, so that the file can be read."""
    try:
        return json.dumps(entry, allow_nan=False).encode()
    except ValueError:
        return json.dumps(_finite(entry)).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_parquet(output: Output) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    from .complete import FIELDS

    rle = pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string())])
    whole = pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string()), ("origin", pa.list_(pa.int64()))])
    texts = ("id", "image", "category", "status", "error", "prompt", "cutout", "source")
    numbers = ("object", "width", "height", "visible_area", "amodal_area", "samples", "seed")
    types = {
        **dict.fromkeys(texts, pa.string()),
        **dict.fromkeys(numbers, pa.int64()),
        **dict.fromkeys(("visible", "amodal"), rle),
        **dict.fromkeys(("visible_box", "amodal_box"), pa.list_(pa.int64())),
        **dict.fromkeys(("occlusion_rate", "score"), pa.float64()),
        "beyond_frame": whole,
    }
    schema = pa.schema([(name, types[name]) for name in FIELDS])
    with atomic_write(output.folder / "objects.parquet") as file, parquet.ParquetWriter(file, schema) as writer:
        block: list[dict[str, Any]] = []
        for record in output.records():
            # File names that are not UTF-8 hold lone surrogates, which Parquet's text cannot: they are written as \\udce9.
            block.append({name: _plain(value) if name in texts else value for name, value in record.items()})
            if len(block) == 4096:
                writer.write_table(pa.Table.from_pylist(block, schema))
                block = []
        writer.write_table(pa.Table.from_pylist(block, schema))


def _plain(text: str | None) -> str | None:
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()
