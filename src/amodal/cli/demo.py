"""`amodal demo`: the main job on the bundled photographs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import hint

if TYPE_CHECKING:
    from ..mask import Mask
    from ..pipeline import Scene

EXAMPLES: list[dict[str, Any]] = [
    {
        "file": "coffee.jpg",
        "mask": "coffee.saucer.png",
        "about": "visible mask of the saucer; the cup hides its middle",
    },
    {
        "file": "astronaut.jpg",
        "points": [
            *((220, 210), (100, 350), (225, 60), (165, 388), (252, 395)),
            *((72, 180), (405, 60), (380, 430), (460, 370), (330, 460)),
        ],
        "labels": [1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        "box": (20, 10, 470, 511),
        "occluder": {
            "points": ((400, 450), (220, 210), (150, 330)),
            "labels": (1, 0, 0),
            "box": (275, 345, 512, 512),
        },
        "about": "clicks and a box on the astronaut and on the helmet that hides her arm",
    },
]


def named_occluder(scene: Scene, example: dict[str, Any], visible: Mask) -> Mask | None:
    """What the example says is in front; None if it says nothing."""
    named = example.get("occluder")
    return scene.segment(**named)[0].mask - visible if named else None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("amodal-demo"),
) -> None:
    """Run the main job on bundled photographs and say where the results are."""
    start = time.perf_counter()
    from ..image import read, read_mask
    from ..pipeline import load
    from ..prompt import Prompt

    folder = Path(__file__).parent.parent / "_demo"
    model = load()
    typer.echo(
        f"load {model.method.name} + {model.segmenter.name} + {model.inpainter.name}: {time.perf_counter() - start:.2f} s"
    )
    for example in EXAMPLES:
        start = time.perf_counter()
        image = read(folder / example["file"])
        mask = read_mask(folder / example["mask"], image.shape[:2]) if "mask" in example else None
        parts = {name: example.get(name) for name in ("points", "labels", "box")}
        prompt = Prompt.make(mask=mask, **parts)
        scene = model.open(image)
        opened = time.perf_counter()
        visible = scene.segment(prompt=prompt)[0].mask
        seen = time.perf_counter()
        result = scene.complete(mask=visible, occluder=named_occluder(scene, example, visible))
        done = time.perf_counter()
        files = result.save(output, Path(example["file"]).stem, overwrite=True)
        typer.echo(
            f"{example['file']} ({example['about']}): read {opened - start:.2f} s, visible mask {seen - opened:.2f} s "
            f"({visible.area} px), whole object {done - seen:.2f} s ({result.occlusion_rate:.0%} occluded), "
            f"written {time.perf_counter() - done:.2f} s"
        )
        for what in ("amodal", "cutout", "overlay", "json"):
            typer.echo(f"  {files[what]}")
    hint(f"next: look at {output}/*.overlay.png, then: amodal segment YOUR.jpg --point X,Y")
