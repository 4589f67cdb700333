"""`Complete`: the work of `amodal batch`: every object of a photo to its masks and, if wanted, its cut-out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import AmodalError, Cancelled, DataError, PromptError
from ..core.image import read
from ..core.mask import Mask, Size
from ..core.prompt import Prompt
from ..data.annotations import inside, read_shape
from ..data.coco import check_stated
from ..engine.worker import Result, Row
from .plan import Planned

if TYPE_CHECKING:
    from ..core.completion import Completion
    from ..pipeline import Scene
    from ..pipeline.choice import ModelChoice

__all__ = ["FIELDS", "Complete", "request_of"]

FIELDS = (
    *("id", "image", "object", "category", "status", "error", "width", "height"),
    *("visible", "amodal", "beyond_frame", "visible_box", "amodal_box", "visible_area", "amodal_area"),
    *("occlusion_rate", "score", "samples", "seed", "prompt", "cutout", "source"),
)
"""The columns of the output; a failed row has None where it knows nothing. `prompt` and `source` (ids in a COCO source) are JSON."""
LINE_FIELDS = ("image", "point", "points", "labels", "box", "mask", "text", "id", "occluder", "category")
"""What a line of prompts may hold."""

MEMORY = 1 << 29
"""Bytes that the cut-outs of a photo's objects may take at once, were each as large as the photo."""
MOST = 64
"""Objects of one photo that are completed at once."""


class Complete:
    """Photo and prompts to records. A row's content: `image` (path below `root`) and `objects`, each the fields of a `Planned`;
    without `objects`, all that the segmenter finds."""

    def __init__(
        self,
        root: str,
        model: ModelChoice,
        device: str = "auto",
        samples: int = 1,
        cutouts: bool = False,
        largest: int = 50,
    ) -> None:
        """
        Args:
            root: the folder that the rows' image paths start from.
            model: or its fields: what it is made from.
            device: where it runs.
            samples: predictions per object.
            cutouts: whether to make the RGBA pictures too.
            largest: without prompts: at most so many objects a photo, the largest ones.
        """
        from ..pipeline.choice import ModelChoice

        self.root = Path(root)
        self.model = ModelChoice.model_validate(model).load(device)
        self.samples = samples
        self.cutouts = cutouts
        self.largest = largest

    def __call__(self, row: Row, seed: Callable[[str], int]) -> list[Result]:
        image = row.content["image"]
        things = [Planned(**told) for told in row.content.get("objects", ())]
        if image is None:
            return [failure(None, number, thing, thing.error) for number, thing in enumerate(things)]
        try:
            scene = self.model.open(read(inside(self.root, image)))
        except AmodalError as error:
            return [
                failure(image, number, thing, str(error)) for number, thing in enumerate(things or [Planned(row.id)])
            ]
        size = scene.size
        if "objects" not in row.content:
            things = self._find(scene, row.id)
        asked: list[Asked] = []
        failures: dict[int, Result] = {}
        for number, thing in enumerate(things):
            try:
                asked.append(Asked(number, thing, *request_of(thing, size)))
            except AmodalError as error:
                failures[number] = failure(image, number, thing, str(error), size)
        at_once = min(MOST, max(1, MEMORY // (4 * size[0] * size[1])))
        parts = (asked[first : first + at_once] for first in range(0, len(asked), at_once))
        done = {each.number: result for part in parts for each, result in self._complete(scene, image, part, seed)}
        return [(failures | done)[number] for number in range(len(things))]

    def _find(self, scene: Scene, row: str) -> list[Planned]:
        from ..pipeline.objects import find_objects

        found = find_objects(scene)[: self.largest]
        return [Planned(f"{row}#{number}", given={"mask": each.mask.to_dict()}) for number, each in enumerate(found)]

    def _complete(
        self, scene: Scene, image: str, asked: Sequence[Asked], seed: Callable[[str], int]
    ) -> Iterator[tuple[Asked, Result]]:
        """Some objects as one batch; if one of them is bad, each alone (a batch equals its singles), so that only it fails."""
        try:
            done = scene.complete_all(
                [each.prompt for each in asked],
                samples=self.samples,
                seeds=[seed(each.thing.id) for each in asked],
                occluders=[each.occluder for each in asked],
                categories=[each.thing.value for each in asked],
                paint=self.cutouts,
            )
        except Cancelled:
            raise
        except AmodalError as error:
            for each in asked:
                if len(asked) == 1:
                    yield each, failure(image, each.number, each.thing, str(error), scene.size)
                else:
                    yield from self._complete(scene, image, [each], seed)
            return
        for each, completion in zip(asked, done, strict=True):
            yield each, self._result(completion, image, each)

    def _result(self, done: Completion, image: str, each: Asked) -> Result:
        from ..core.image import encode_png

        full = done.to_dict()
        record = {
            **about(image, each.number, each.thing, done.size),
            "prompt": json.dumps(each.prompt.to_dict(), sort_keys=True),
            "status": "done",
            **{name: full[name] for name in FIELDS if name in full and name not in ("image", "samples")},
            "samples": len(done.samples),
            "seed": done.provenance["seed"],
        }
        files = {}
        if self.cutouts:
            record["cutout"] = cutout_name(each.thing.id)
            files[record["cutout"]] = encode_png(done.rgba)
        return Result({name: record.get(name) for name in FIELDS}, files)


@dataclass(frozen=True)
class Asked:
    """An object that can be completed: its place in the photo's list, what the plan says of it, and the prompt from it."""

    number: int
    thing: Planned
    prompt: Prompt
    occluder: Mask | None


def request_of(thing: Planned, size: Size) -> tuple[Prompt, Mask | None]:
    """The prompt and the occluder of an object of the plan, checked against the photo.

    Args:
        thing: of a row of the plan.
        size: (H, W) of the photo.

    Raises:
        AmodalError: what the plan says is wrong with it; or a field that is unknown, malformed, or for a photo of another size.
    """
    if thing.error:
        raise DataError(thing.error)
    check_stated(thing.header, size)
    given = thing.given or {}
    unknown = set(given) - {"point", "points", "labels", "box", "mask", "text", "occluder"}
    if unknown:
        raise DataError(f"no field named {min(unknown)!r}; all: {', '.join(sorted(LINE_FIELDS))}")
    try:
        masks = {
            name: None if given.get(name) is None else read_shape(given[name], size) for name in ("mask", "occluder")
        }
        words = {name: given.get(name) for name in ("point", "points", "labels", "box", "text")}
        return Prompt.make(mask=masks["mask"], **words), masks["occluder"]
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        if isinstance(error, AmodalError):
            raise
        raise PromptError(f"it is not a prompt ({type(error).__name__}: {error})") from error


def failure(image: str | None, number: int, thing: Planned, reason: str, size: Size | None = None) -> Result:
    """The record of an object that failed."""
    record = {**about(image, number, thing, size), "status": "failed", "error": reason}
    return Result({name: record.get(name) for name in FIELDS})


def cutout_name(identity: str) -> str:
    """A file name that no id can turn into a path elsewhere, and that two ids never share."""
    digest = hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", identity).strip("._")[-60:]
    return f"cutouts/{digest[:2]}/{readable}-{digest[:12]}.png"


def about(image: str | None, number: int, thing: Planned, size: Size | None) -> dict[str, Any]:
    """What a record says of its object, done or failed."""
    return {
        "id": thing.id,
        "image": image,
        "object": number,
        "category": thing.category,
        "width": size[1] if size else None,
        "height": size[0] if size else None,
        "source": None if thing.coco is None else json.dumps(thing.coco, sort_keys=True),
    }
