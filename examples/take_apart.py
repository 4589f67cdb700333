"""A photo as layers: whole objects over the restored background, for a picture editor."""

import sys
from pathlib import Path

import amodal
from amodal import Prompt

PHOTOS = Path(amodal.__file__).parent / "_demo"


def main(file: str = "astronaut.ora") -> None:
    """Write an OpenRaster file with two objects of the photo and what lies behind them."""
    scene = amodal.load().open(PHOTOS / "astronaut.jpg")
    prompts = [Prompt.make(point=(150, 350)), Prompt.make(box=(355, 340, 512, 512))]
    layers = scene.layers(prompts, names=["astronaut", "helmet"])
    print(" over ".join([*reversed(layers.names), "background"]))
    layers.save(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
