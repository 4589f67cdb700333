"""Complete one object: a photo and a click in; mask, cut-out, overlay and JSON out."""

import sys
from pathlib import Path

import amodal

PHOTOS = Path(amodal.__file__).parent / "_demo"


def main(folder: str = "out") -> None:
    """Write the results into `folder` and say how much of the object is occluded."""
    model = amodal.load()  # the embedded default: no GPU, no download
    result = model(PHOTOS / "astronaut.jpg", point=(150, 350))
    print(f"{result.amodal.area} pixels, {result.occlusion_rate:.0%} of them occluded")
    result.save(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
