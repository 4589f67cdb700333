"""`amodal demo`: the main job on the bundled photographs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.image import read
from ..core.prompt import Prompt
from .common import hint

if TYPE_CHECKING:
    from ..core.completion import Completion
    from ..core.mask import Mask
    from ..pipeline import Model, Scene

PHOTOS = Path(__file__).parent.parent / "_demo"


@dataclass(frozen=True)
class Example:
    """A bundled photograph and what is asked of it: an object, by its visible mask or a prompt, and what is in front of it."""

    file: str
    about: str
    mask: str = ""
    prompt: Prompt | None = None
    occluder: Prompt | None = None

    def open(self, model: Model) -> Scene:
        """The photograph."""
        return model.open(read(PHOTOS / self.file))

    def visible(self, scene: Scene) -> Mask:
        """The object's visible mask."""
        return scene.segment(mask=PHOTOS / self.mask if self.mask else None, prompt=self.prompt)[0].mask

    def complete(self, scene: Scene, visible: Mask) -> Completion:
        """The object completed under what it says is in front."""
        occluder = scene.segment(prompt=self.occluder)[0].mask - visible if self.occluder else None
        return scene.complete(mask=visible, occluder=occluder)


EXAMPLES = (
    Example("coffee.jpg", "visible mask of the saucer; the cup hides its middle", mask="coffee.saucer.png"),
    Example(
        "astronaut.jpg",
        "clicks and a box on the astronaut and on the helmet that hides her arm",
        prompt=Prompt.make(
            points=[
                *((220, 210), (100, 350), (225, 60), (165, 388), (252, 395)),
                *((72, 180), (408, 210), (380, 430), (460, 370), (330, 460)),
            ],
            labels=[1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
            box=(20, 10, 470, 511),
        ),
        occluder=Prompt.make(points=((400, 450), (220, 210), (150, 330)), labels=(1, 0, 0), box=(275, 345, 512, 512)),
    ),
)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("amodal-demo"),
) -> None:
    """Run the main job on bundled photographs and say where the results are."""
    start = time.perf_counter()
    from ..pipeline import load

    model = load()
    typer.echo(
        f"load {model.method.name} + {model.segmenter.name} + {model.inpainter.name}: {time.perf_counter() - start:.2f} s"
    )
    for example in EXAMPLES:
        start = time.perf_counter()
        scene = example.open(model)
        opened = time.perf_counter()
        visible = example.visible(scene)
        seen = time.perf_counter()
        result = example.complete(scene, visible)
        done = time.perf_counter()
        files = result.save(output, Path(example.file).stem, overwrite=True)
        typer.echo(
            f"{example.file} ({example.about}): read {opened - start:.2f} s, visible mask {seen - opened:.2f} s "
            f"({visible.area} px), whole object {done - seen:.2f} s ({result.occlusion_rate:.0%} occluded), "
            f"written {time.perf_counter() - done:.2f} s"
        )
        for path in files.values():
            typer.echo(f"  {path}")
    hint(f"next: look at {output}/*.overlay.png, then: amodal segment YOUR.jpg --point X,Y")
