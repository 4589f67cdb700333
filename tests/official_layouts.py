"""Every data set small, in its official layout, with its traps: two boxes, one behind the other."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from amodal.core.image import encode_png
from amodal.core.mask import Mask
from amodal.data.annotations import from_polygon
from reference import coco_mask

SIZE = (40, 60)
FRONT = [10, 10, 30, 10, 30, 30, 10, 30]
REAR = [20, 5, 50, 5, 50, 25, 20, 25]


def photo(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(np.full((*size, 3), 90, np.uint8)))


def polygon(points: list[float]) -> Mask:
    return from_polygon(points, SIZE)


def rle(mask: Mask) -> dict[str, Any]:
    return mask.to_rle(SIZE)


def raw(mask: Mask) -> dict[str, Any]:
    """An RLE as pycocotools returns it: byte counts."""
    return dict(coco_mask.encode(np.asfortranarray(mask.to_array(SIZE).astype(np.uint8))))


def image(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]}


def regions() -> list[dict[str, Any]]:
    """A region in front, one behind it (visible mask given), and stuff."""
    front, rear = polygon(FRONT), polygon(REAR)
    seen = rear - front
    return [
        {"segmentation": FRONT, "name": "cup", "order": 1, "isStuff": 0, "area": front.area},
        {
            "segmentation": REAR,
            "name": "box",
            "order": 2,
            "isStuff": 0,
            "visible_mask": rle(seen),
            "invisible_mask": rle(rear & front),
        },
        {"segmentation": [0, 30, 60, 30, 60, 40, 0, 40], "name": "floor", "order": 3, "isStuff": 1},
    ]


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        path.write_text(json.dumps(content))


def make_cocoa(root: Path) -> None:
    """The lists are in different orders, one image lies in train2014 although this is val, one has no depth constraint."""
    images = [image(7, "COCO_val2014_000000000007.jpg"), image(5, "COCO_train2014_000000000005.jpg")]
    annotations = [
        {"id": 1, "image_id": 5, "author": "a", "regions": regions(), "depth_constraint": "1-2"},
        {"id": 2, "image_id": 7, "author": "a", "regions": regions()[:1], "depth_constraint": ""},
    ]
    write(root / "annotations" / "COCO_amodal_val2014.json", {"images": images, "annotations": annotations})
    photo(root / "val2014" / images[0]["file_name"])
    photo(root / "train2014" / images[1]["file_name"])


def make_bsdsa(root: Path) -> None:
    """Two annotators of one image; the image is listed twice, as positional readers need it."""
    images = [image(3, "3.jpg"), image(3, "3.jpg"), image(4, "4.jpg")]
    annotations = [
        {"id": 9, "image_id": 3, "author": "a", "regions": regions()},
        {"id": 9, "image_id": 3, "author": "b", "regions": regions()[:2]},
        {"id": 10, "image_id": 4, "author": "a", "regions": regions()[:1]},
    ]
    write(root / "BSDS_amodal_test.json", {"images": images, "annotations": annotations})
    photo(root / "BSR/BSDS500/data/images/val/3.jpg")
    photo(root / "BSR/BSDS500/data/images/test/4.jpg")


def flat(amodal_field: str, visible_field: str, first: dict[str, Any]) -> dict[str, Any]:
    front, rear = polygon(FRONT), polygon(REAR)
    rows = [
        {"id": 11, "image_id": 2, "category_id": 4, amodal_field: [FRONT], visible_field: rle(front), **first},
        {"id": 12, "image_id": 2, "category_id": 1, amodal_field: rle(rear), visible_field: rle(rear - front)},
    ]
    return {"images": [image(2, "000002.png")], "annotations": rows, "categories": [{"id": 4, "name": "car"}]}


def make_cocoa_cls(root: Path) -> None:
    content = flat("segmentation", "visible_mask", {})
    del content["annotations"][0]["visible_mask"]  # absent: nothing is occluded
    write(root / "COCO_amodal_val2014_with_classes.json", content)
    photo(root / "val2014" / "000002.png")


def make_kins(root: Path, *, old: bool = False) -> None:
    """KITTI's training and testing images have the same names."""
    names = ("segmentation", "inmodal_seg") if old else ("a_segm", "i_segm")
    content = flat(*names, {"inmodal_bbox": [10, 10, 20, 20], "oco_id": 1})
    name = "instances_test.json" if old else "update_test_2020.json"
    write(root / "annotations" / name, content)
    photo(root / "training" / "image_2" / "000002.png", (5, 5))
    photo(root / "testing" / "image_2" / "000002.png")


def make_d2sa(root: Path) -> None:
    write(
        root / "d2s_amodal_annotations_v1" / "D2S_amodal_validation.json",
        flat("segmentation", "visible_mask", {"occl_depth": 0}),
    )
    photo(root / "d2s_amodal_images_v1" / "images" / "000002.png")


def make_fishbowl(root: Path) -> None:
    """NumPy numbers in the pickle, masks in lists of one, objects of videos interleaved, frames sorted by name."""
    front, rear = polygon(FRONT), polygon(REAR)
    box = [np.int64(1), np.int64(2), 3, 4]
    content = {
        "8_1": {t: {"VM": [raw(front)], "FM": [raw(front)], "VM_bx": box, "FM_bx": box} for t in (0, 1)},
        "7_2": {1: {"VM": [raw(rear - front)], "FM": [raw(rear)], "loss_mask_weight": [raw(rear)]}},
        "8_2": {1: {"VM": raw(rear - front), "FM": raw(rear), "area": np.float32(2.5), "list": np.arange(3)}},
    }
    write(root / "test_data" / "test_data.pkl", content)
    for video in ("7", "8"):
        for t in range(2):
            photo(root / "test_data" / "test_frames" / video / f"frame_{t:04d}.png")


def make_sailvos(root: Path) -> None:
    """Object 3 has no visible pixel; the folders camera/ and 2_car_mesh/ hold no masks; frame 1 lacks its picture."""
    scene = root / "tonya_mcs_1"
    front, rear = polygon(FRONT), polygon(REAR)
    owners = np.zeros(SIZE, np.int32)
    owners[rear.to_array(SIZE)] = 2
    owners[front.to_array(SIZE)] = 1
    for frame in ("000000", "000001"):
        (scene / "visible").mkdir(parents=True, exist_ok=True)
        np.save(scene / "visible" / f"{frame}.npy", owners)
        for folder, mask in (("1_player", front), ("2_car", rear), ("3_wall", front)):
            (scene / folder).mkdir(exist_ok=True)
            (scene / folder / f"{frame}.png").write_bytes(encode_png(mask.to_array(SIZE)))
    photo(scene / "images" / "000000.bmp")
    (scene / "camera").mkdir()
    np.save(scene / "visible_objects.npy", owners)


def make_mp3d(root: Path) -> None:
    """A pickle of protocol 2 with byte counts; labels instead of numbers; the lists are in different orders."""
    front, rear = polygon(FRONT), polygon(REAR)
    region = {"segmentation": raw(rear), "visible_mask": raw(rear - front), "category_id": "sofa chair", "isStuff": 0}
    content = {
        "images": [image(1, "scene/a.jpg"), image(0, "scene/b.jpg")],
        "annotations": [{"id": 0, "image_id": 0, "regions": [region]}, {"id": 1, "image_id": 1, "regions": [region]}],
    }
    write(root / "MP3D_seleted_eval_10.29.pkl", content)
    for name in ("a", "b"):
        photo(root / "mp3d_eval" / "scene" / f"{name}.jpg")


def make_pix2gestalt(root: Path) -> None:
    """The endings of the file names differ from the folder names."""
    front, rear = polygon(FRONT), polygon(REAR)
    base = root / "pix2gestalt_occlusions_release"
    for number in ("17", "5"):
        photo(base / "occlusion" / f"{number}_occlusion.png")
        photo(base / "whole" / f"{number}_whole.png")
        for folder, ending, mask in (
            ("visible_object_mask", "visible_mask", rear - front),
            ("whole_mask", "whole_mask", rear),
        ):
            (base / folder).mkdir(exist_ok=True)
            (base / folder / f"{number}_{ending}.png").write_bytes(encode_png(mask.to_array(SIZE)))


def make_occluded_coco(root: Path) -> None:
    """The same object number twice; byte counts."""
    row = ["000000000009.jpg", "cup", 8, [10.0, 10.0, 20.0, 20.0], raw(polygon(FRONT))]
    write(root / "occluded_coco.pkl", [row, row])
    photo(root / "val2017" / "000000000009.jpg")
