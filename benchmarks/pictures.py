"""`python -m benchmarks.pictures [NAME...]`: all pictures of the documentation, from real outputs on the sample set.

Those of pages need Chromium and its driver (`benchmarks.screens`); where they, or an extra, are absent the picture is left as it is.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import amodal
from amodal import Prompt, cli
from amodal.core.drawing import checkerboard
from amodal.core.errors import MissingExtraError
from amodal.core.image import Image
from amodal.synthesis.sample import write_sample
from amodal.synthesis.sample.content import annotated
from benchmarks import gallery, picture, screens
from benchmarks.drawing import COLOURS, grid, marked, save, tile
from benchmarks.measure import Skip

PARTS = ("saucer", "cup", "spoon")
"""Objects of photo.jpg, from back to front."""


def command(line: str) -> None:
    """A line of the command line, in this process. Raises Skip where it fails."""
    if code := cli.run(line.split()[1:]):
        raise Skip(f"{line} ended with {code}")


def sample() -> Image:
    """The eight photographs with their masks."""
    masks: dict[str, list[np.ndarray]] = {}
    for file, _, mask in annotated():
        masks.setdefault(file, []).append(mask)
    return grid([tile(marked(amodal.read(f"photos/{file}"), found), file) for file, found in sorted(masks.items())], 4)


def prompts() -> Image:
    """The same object by a click, by clicks, by a box and by a mask: the prompt above its answer."""
    image, columns = amodal.read("photo.jpg"), []
    scene = amodal.load().open(image)
    asked = {
        "a click": Prompt.make(point=(350, 70)),
        "clicks, one of them not on it": Prompt.make(points=[(350, 70), (370, 285)], labels=[1, 0]),
        "a box": Prompt.make(box=(170, 15, 415, 310)),
        "a visible mask": Prompt.make(mask="visible.png"),
    }
    for title, prompt in asked.items():
        shown = image.copy()
        if prompt.mask is not None:
            shown = marked(image, [prompt.mask.to_array(scene.size)])
        if prompt.box is not None:
            x0, y0, x1, y1 = map(round, prompt.box)
            cv2.rectangle(shown, (x0, y0), (x1, y1), (0, 200, 0), 4)
        for (x, y), label in zip(prompt.points or (), prompt.labels or (), strict=True):
            cv2.circle(shown, (round(x), round(y)), 11, (0, 200, 0) if label else (220, 0, 0), -1)
            cv2.circle(shown, (round(x), round(y)), 11, (255, 255, 255), 2)
        columns.append(np.vstack([tile(shown, title), tile(scene.complete(prompt=prompt).overlay())]))
    return grid(columns, 4)


def occluder() -> Image:
    """What hides the object: found by the network, given, said to be none."""
    scene = amodal.load().open(amodal.read("photo.jpg"))
    nothing = np.zeros(scene.size, bool)
    tiles = []
    for title, given in (("left to the method", None), ("given", "occluder.png"), ("none", nothing)):
        result = scene.complete(mask="visible.png", occluder=given)
        tiles += [tile(result.overlay(), f"occluder: {title}", 320), tile(checkerboard(result.rgba), "", 320)]
    return grid([*tiles[::2], *tiles[1::2]], 3)


def take_apart() -> Image:
    """A photo as layers: background, then each object complete, from back to front."""
    scene = amodal.load().open(amodal.read("photo.jpg"))
    layers = scene.layers([Prompt.make(mask=f"masks/{name}.png") for name in PARTS], names=PARTS)
    tiles = [tile(scene.image, "photo"), tile(layers.background, "what lies behind")]
    for name, result in zip(layers.names, layers.objects, strict=True):
        tiles.append(tile(checkerboard(result.rgba), name))
    return grid(tiles, 5)


def order() -> Image:
    """Who hides whom: an arrow from the object in front to the one behind."""
    scene = amodal.load().open(amodal.read("photo.jpg"))
    masks = [amodal.read_mask(f"masks/{name}.png") for name in PARTS]
    graph = scene.order(masks)
    shown = marked(scene.image, [mask.to_array(scene.size) for mask in masks])
    middle = [
        (round((x0 + x1) / 2), round(y0 + (y1 - y0) * (0.9 if name == "saucer" else 0.6)))
        for name, (x0, y0, x1, y1) in zip(PARTS, (mask.box for mask in masks), strict=True)
    ]
    for front, behind in np.argwhere(graph == 1):
        cv2.arrowedLine(shown, middle[front], middle[behind], (255, 255, 255), 5, tipLength=0.12)
        cv2.arrowedLine(shown, middle[front], middle[behind], (20, 20, 20), 2, tipLength=0.12)
    for name, (x, y), colour in zip(PARTS, middle, COLOURS, strict=False):
        cv2.circle(shown, (x, y), 9, colour, -1)
        cv2.putText(shown, name, (x + 12, y + 6), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
    return shown


def truth(reader: str, folder: str, count: int, columns: int, split: str | None = None) -> Image:
    """Objects of a data set: visible blue, whole red outline."""
    tiles = []
    for each in list(amodal.dataset(reader, folder, split))[:count]:
        seen, whole = each.visible.to_array(each.size), each.amodal.to_array(each.size)
        shown = marked(each.image, [seen])
        lines, _ = cv2.findContours(whole.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(shown, lines, -1, (255, 40, 40), 2)
        tiles.append(tile(shown, "", 200, 160))
    return grid(tiles, columns)


def scenes() -> Image:
    """A built scene: the views with all their objects above single objects with both masks."""
    command("amodal data build scenes room.toml -o rooms")
    pictures: dict[str, tuple[Image, list[np.ndarray]]] = {}
    for each in amodal.dataset("folder", "rooms", "eval"):
        pictures.setdefault(each.image_id, (each.image, []))[1].append(each.visible.to_array(each.size))
    views = grid([tile(marked(*found), "", 250, 190) for found in list(pictures.values())[:4]], 4)
    return np.vstack([views, truth("folder", "rooms", 10, 5, "eval")])


def piles() -> Image:
    """Piles of objects that fell, and their truth."""
    command("amodal data build piles data/objects -o piles --count 4 --seed 1")
    return truth("folder", "piles", 8, 4)


def rooms() -> Image:
    """Invented rooms that training mixes in."""
    from amodal.synthesis.rooms.room_store import RoomStore

    command(
        "amodal data build rooms -o rooms-made --backgrounds data/backgrounds/train --objects data/objects --scene room.glb --count 6"
    )
    tiles = []
    for room in RoomStore(Path("rooms-made")).rooms[:6]:
        owners = [room.owner == number + 1 for number in range(len(room.masks))]
        tiles += [tile(room.image), tile(marked(room.image, [mask for mask in owners if mask.any()]))]
    return grid(tiles, 4)


def reconstruction() -> Image:
    """Photo, completed object, and its mesh from around."""
    command("amodal reconstruct photo.jpg --mask visible.png -o lifted --seed 0")
    cut = amodal.load()(amodal.read("photo.jpg"), mask="visible.png")
    views = [
        tile(amodal.read(path), path.stem.split(".")[1]) for path in sorted(Path("lifted").glob("*.view*.png"))[:6]
    ]
    return grid([tile(amodal.read("photo.jpg"), "photo.jpg"), tile(checkerboard(cut.rgba), "completed"), *views], 4)


def frames() -> Image:
    """Every frame of a walk with a click at the same place: each frame is asked by itself."""
    model = amodal.load()
    tiles = []
    for path in sorted(Path("frames").glob("*.jpg")):
        scene = model.open(amodal.read(path))
        tiles.append(tile(scene.complete(point=(160, 200)).overlay(), path.name, 240, 200))
    return grid(tiles, 4)


def samples() -> Image:
    """Four samples of a method that draws, their vote, and how far they agree."""
    result = amodal.load("tuning-free")(amodal.read("photo.jpg"), mask="visible.png", samples=4, seed=0)
    tiles = [
        tile(marked(amodal.read("photo.jpg"), [each.amodal.to_array(result.size)]), f"sample {number}")
        for number, each in enumerate(result.samples, 1)
    ]
    heat = cv2.applyColorMap(np.rint(255 * result.probability.to_array(result.size)).astype(np.uint8), 2)
    tiles += [tile(result.overlay(), "their vote"), tile(heat[..., ::-1].copy(), "agreement: blue 0, red 1")]
    return grid(tiles, 3)


def recognition() -> Image:
    """What the classifier is shown, and its best answer."""
    from amodal.downstream.recognition.embedded import EmbeddedClassifier
    from amodal.downstream.recognition.recognition import recognize, view

    image, names = amodal.read("photo.jpg"), ("circle", "visible-crop", "completed-crop")
    rankings, done = recognize(
        amodal.load(), EmbeddedClassifier(), image, Prompt.make(mask="masks/cup.png"), views=names
    )
    titles = [f"{name}: {rankings[name].labels[0]}" for name in names]
    return grid([tile(view(n, image, done.visible, done), t, 320) for n, t in zip(names, titles, strict=True)], 3)


def comparison() -> Image:
    """`amodal compare --png` of three methods."""
    command(
        "amodal evaluate --method embedded --method hull --method visible --dataset masks --root data/composites_dev -o runs/three"
    )
    command("amodal compare runs/three --root data/composites_dev --png compare.png --html compare.html --cases 1")
    return amodal.read("compare.png")


MAKERS: dict[str, Callable[[], Image]] = {
    "sample": sample,
    "prompts": prompts,
    "occluder": occluder,
    "take-apart": take_apart,
    "order": order,
    "composites": lambda: truth("masks", "data/composites_dev", 15, 5),
    "scenes": scenes,
    "piles": piles,
    "rooms": rooms,
    "reconstruction": reconstruction,
    "frames": frames,
    "samples": samples,
    "recognition": recognition,
    "comparison": comparison,
    **screens.MAKERS,
}


def main(wanted: list[str]) -> None:
    """Make the named pictures, or all of them with the gallery and the README's first picture."""
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder) / "sample")
        os.chdir(Path(folder) / "sample")
        for name, make in MAKERS.items():
            if wanted and name not in wanted:
                continue
            try:
                save(name, make())
            except (Skip, MissingExtraError) as error:
                print(f"{name}: left as it is: {error}", flush=True)
        os.chdir(Path(__file__).parent)
    if not wanted:
        picture.main()
        gallery.main()


if __name__ == "__main__":
    main(sys.argv[1:])
