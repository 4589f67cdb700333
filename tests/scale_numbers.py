"""A work for the batch engine without pictures."""

from __future__ import annotations

import time

from amodal.engine.worker import Result


class Numbers:
    """A work without pictures: two records a row from its content and seeds; row 3 fails."""

    def __call__(self, row, seed):
        if row.content["n"] == 3:
            raise ValueError("three is refused")
        records = [done_record(part, seed(part)) for part in row.parts]
        return [Result(record, {f"cutouts/{record['seed']}.png": bytes([row.content["n"]])}) for record in records]


class Sleeper(Numbers):
    """The same, but only the first row is done soon."""

    def __call__(self, row, seed):
        if row.content["n"] not in (0, 4):
            time.sleep(120)
        return super().__call__(row, seed)


def done_record(part, seed):
    rle = {"size": [2, 2], "counts": "04"}
    numbers = dict.fromkeys(("object", "width", "height", "visible_area", "amodal_area", "samples"), 2)
    boxes = {"visible_box": [0, 0, 2, 2], "amodal_box": [0, 0, 2, 2]}
    return {
        **{"id": part, "image": "a.jpg", "category": None, "status": "done", "error": None, "seed": seed},
        **{**numbers, **boxes, "visible": rle, "amodal": rle, "beyond_frame": None},
        **{"occlusion_rate": 0.0, "score": None, "prompt": "{}", "cutout": None},
    }
