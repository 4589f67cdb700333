"""Say what hides the object: it then grows there and nowhere else within the photo."""

from pathlib import Path

import amodal

PHOTOS = Path(amodal.__file__).parent / "_demo"


def main() -> None:
    """Complete the saucer, freely, behind the cup, and with nothing in front of it."""
    scene = amodal.load().open(PHOTOS / "coffee.jpg")
    saucer = PHOTOS / "coffee.saucer.png"  # the visible part, drawn by hand
    cup = scene.segment(point=(300, 150))[0].mask
    for name, occluder in (("free", None), ("behind the cup", cup), ("nothing in front", cup - cup)):
        result = scene.complete(mask=saucer, occluder=occluder)
        print(f"{name}: {result.occlusion_rate:.0%} occluded")


if __name__ == "__main__":
    main()
