"""`Complete`: the work of `amodal batch`: every object of a photo to its masks and, if wanted, its cut-out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AmodalError, Cancelled
from .worker import Result, Row

if TYPE_CHECKING:
    from ..completion import Completion
    from ..pipeline import Scene

__all__ = ["FIELDS", "Complete"]

FIELDS = (
    *("id", "image", "object", "category", "status", "error", "width", "height"),
    *("visible", "amodal", "beyond_frame", "visible_box", "amodal_box", "visible_area", "amodal_area"),
    *("occlusion_rate", "score", "samples", "seed", "prompt", "cutout"),
)
"""The columns of the output; a failed row has None where it knows nothing."""


class Complete:
    """Photo and prompts to records. A row's content: `image` (path below `root`) and `objects`, each with `id`, `prompt` and
    perhaps `occluder` and `category`; without `objects`, all that the segmenter finds."""

    def __init__(
        self, root: str, model: Mapping[str, Any], samples: int = 1, cutouts: bool = False, largest: int = 50
    ) -> None:
        """
        Args:
            root: the folder that the rows' image paths start from.
            model: the arguments of `amodal.load`.
            samples: guesses per object.
            cutouts: whether to make the RGBA pictures too.
            largest: without prompts: at most so many objects a photo, the largest ones.
        """
        from ..pipeline import load

        self.root = Path(root)
        self.model = load(**model)
        self.samples = samples
        self.cutouts = cutouts
        self.largest = largest

    def __call__(self, row: Row, seed: Callable[[str], int]) -> list[Result]:
        from ..image import read

        image = read(self.root / row.content["image"])
        scene = self.model.open(image)
        objects = row.content.get("objects")
        if objects is None:
            objects = self._find(scene, row.id)
        return self._complete(scene, row.content["image"], objects, seed)

    def _find(self, scene: Scene, row: str) -> list[dict[str, Any]]:
        from ..everything import find_objects
        from ..prompt import Prompt

        found = find_objects(scene)[: self.largest]
        return [
            {"id": f"{row}#{number}", "prompt": Prompt(mask=proposal.mask).to_dict()}
            for number, proposal in enumerate(found)
        ]

    def _complete(
        self, scene: Scene, image: str, objects: list[dict[str, Any]], seed: Callable[[str], int]
    ) -> list[Result]:
        """All objects as one batch; if one of them is bad, each alone (a batch equals its singles), so that only it fails."""
        try:
            done = self._batch(scene, objects, seed)
        except Cancelled:
            raise
        except AmodalError as error:
            if len(objects) == 1:
                record = {**_about(image, 0, objects[0], scene.image.shape), "status": "failed", "error": str(error)}
                return [Result({name: record.get(name) for name in FIELDS})]
            results = []
            for number, thing in enumerate(objects):
                single = self._complete(scene, image, [thing], seed)[0]
                results.append(Result({**single.record, "object": number}, single.files))
            return results
        return [
            self._result(completion, image, number, thing)
            for number, (completion, thing) in enumerate(zip(done, objects, strict=True))
        ]

    def _batch(self, scene: Scene, objects: list[dict[str, Any]], seed: Callable[[str], int]) -> list[Completion]:
        from ..mask import Mask
        from ..prompt import Prompt

        hides = [thing.get("occluder") for thing in objects]
        return scene.complete_all(
            [Prompt.from_dict(thing["prompt"]) for thing in objects],
            samples=self.samples,
            seeds=[seed(thing["id"]) for thing in objects],
            occluders=[None if mask is None else Mask.from_dict(mask) for mask in hides],
        )

    def _result(self, done: Completion, image: str, number: int, thing: dict[str, Any]) -> Result:
        from ..image import encode_png

        full = done.to_dict()
        record = {
            **_about(image, number, thing, done.image.shape),
            "status": "done",
            **{name: full[name] for name in FIELDS if name in full and name not in ("image", "samples")},
            "samples": len(done.samples),
            "seed": done.provenance["seed"],
        }
        files = {}
        if self.cutouts:
            record["cutout"] = cutout_name(thing["id"])
            files[record["cutout"]] = encode_png(done.rgba)
        return Result({name: record.get(name) for name in FIELDS}, files)


def cutout_name(identity: str) -> str:
    """A file name that no id can turn into a path elsewhere, and that two ids never share."""
    digest = hashlib.sha256(identity.encode()).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", identity).strip("._")[-60:]
    return f"cutouts/{digest[:2]}/{readable}-{digest[:12]}.png"


def _about(image: str, number: int, thing: dict[str, Any], shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "id": thing["id"],
        "image": image,
        "object": number,
        "category": thing.get("category"),
        "width": shape[1],
        "height": shape[0],
        "prompt": json.dumps(thing["prompt"], sort_keys=True),
    }
