"""One photo, many prompts: what depends on the photo alone is computed once."""

from pathlib import Path

import amodal

PHOTOS = Path(amodal.__file__).parent / "_demo"


def main() -> None:
    """Ask three times, by a click, by a box and with a correcting click."""
    scene = amodal.load().open(PHOTOS / "astronaut.jpg")
    for prompt in (
        {"point": (150, 350)},
        {"box": (90, 10, 400, 512)},
        {"points": [(150, 350), (440, 400)], "labels": [1, 0]},  # on the object; not on it
    ):
        result = scene.complete(**prompt)
        print(prompt, "->", result)


if __name__ == "__main__":
    main()
