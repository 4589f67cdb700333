"""Small objects in large photographs: two fixed sets that are made when they are asked for, from development pictures alone.

`pasted`: held-out whole objects, 3 to 20 % of the longer side, several in a background of 2,000 pixels, some over others.
`mosaic`: objects of held-out COCO photographs of 400 pixels, 25 of them side by side.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from amodal.synthesis.composites.build import LibraryConfig, held_out, open_library
from amodal.synthesis.composites.library import Library, add_visible
from amodal.training.tasks.sets import Item

WIDTH, HEIGHT = 2000, 1500
SHARES = (0.03, 0.2)
"""An object's longer side over the picture's."""
PASTED, ASKED = 12, 3
"""Objects in a picture, and how many of them are asked for."""
TILE, ACROSS = 400, 5


def pasted(data: Path, pictures: int = 20) -> list[Item]:
    """Objects pasted into large backgrounds; of each at least 60 % is visible."""
    folders = LibraryConfig(photos=str(data / "photos"), backgrounds=str(data / "backgrounds" / "dev"), split="dev")
    library = open_library(folders)
    rng = np.random.default_rng(3)
    sprites = [s for group in ("person", "thing") for s in library.wholes[group]]
    items = []
    for number in range(pictures):
        ground = library.backgrounds[int(rng.integers(len(library.backgrounds)))]
        image = cv2.resize(ground, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        owner = np.zeros((HEIGHT, WIDTH), np.uint8)
        areas = [0]
        for k in range(1, PASTED + 1):
            sprite = sprites[int(rng.integers(len(sprites)))]
            side = WIDTH * float(np.exp(rng.uniform(*np.log(SHARES))))
            scale = side / sprite.size
            to = rng.uniform((side / 2, side / 2), (WIDTH - side / 2, HEIGHT - side / 2))
            matrix = np.column_stack([np.eye(2) * scale, to - scale * np.array(sprite.centre)])
            rgba = sprite.warp(matrix, (HEIGHT, WIDTH)).astype(np.float32)
            image = image * (1 - rgba[..., 3:] / 255) + rgba[..., :3]
            owner[rgba[..., 3] > 127] = k
            areas.append(int((rgba[..., 3] > 127).sum()))
        seen = np.bincount(owner.ravel(), minlength=PASTED + 1)
        asked = [k for k in range(1, PASTED + 1) if seen[k] >= max(100, 0.6 * areas[k])][:ASKED]
        whole = np.clip(image, 0, 255).astype(np.uint8)
        items += [Item(f"{number}-{k}", whole, owner == k, owner == k) for k in asked]
    return items


def mosaic(data: Path, asked: int = 60) -> list[Item]:
    """Objects of cluttered photographs, 25 photographs a picture; each object 3 to 20 % of the picture's longer side."""
    library = Library()
    add_visible(library, data / "coco_visible", held_out, min_area=0.01)
    rng = np.random.default_rng(5)
    scenes = [library.scenes[i] for i in rng.permutation(len(library.scenes))[:asked]]
    items = []
    for target in scenes:
        side = TILE * ACROSS
        image = np.zeros((side, side, 3), np.uint8)
        mask = np.zeros((side, side), bool)
        others = list({id(s.image): s for s in library.scenes if s.image is not target.image}.values())
        tiles = [others[i] for i in rng.choice(len(others), ACROSS**2, replace=False)]
        place = int(rng.integers(ACROSS**2))
        tiles[place] = target
        for k, tile in enumerate(tiles):
            y, x = TILE * (k // ACROSS), TILE * (k % ACROSS)
            image[y : y + TILE, x : x + TILE] = cv2.resize(tile.image, (TILE, TILE), interpolation=cv2.INTER_AREA)
            if k == place:
                small = cv2.resize((tile.mask > 0).astype(np.uint8), (TILE, TILE), interpolation=cv2.INTER_NEAREST)
                mask[y : y + TILE, x : x + TILE] = small > 0
        items.append(Item(target.name, image, mask, mask))
    return items
