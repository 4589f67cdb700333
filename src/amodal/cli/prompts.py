"""Prompts on the command line: options for clicks, boxes and masks, and what they say together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.errors import UsageError
from ..core.prompt import Prompt
from ..plugins.protocols import frame_of

if TYPE_CHECKING:
    from ..core.image import Image

__all__ = ["Boxes", "Points", "PromptOptions", "gather_prompts", "numbers"]

Picture = Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="The photo.")]
Points = Annotated[list[str] | None, typer.Option(metavar="X,Y[,0|1]", help="A click; 0 marks what is not the object.")]
Boxes = Annotated[list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box; repeat it for several objects.")]
Box = Annotated[list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box around the object.")]
MaskFile = Annotated[Path | None, typer.Option("--mask", metavar="FILE", help="Visible mask of the object.")]


def gather_prompts(points: list[str], boxes: list[str], text: str | None) -> list[Prompt]:
    """The command line's points and one box are one object; several boxes are several objects."""
    clicks = [numbers(item, (2, 3), "--point X,Y or X,Y,0") for item in points]
    frames = [numbers(item, (4,), "--box X0,Y0,X1,Y1") for item in boxes]
    if len(frames) > 1 and (clicks or text):
        raise UsageError(
            "several boxes are several objects and take no points or text; run the command once per object"
        )
    parts: dict[str, Any] = {"text": text}
    if clicks:
        parts["points"] = [click[:2] for click in clicks]
        parts["labels"] = [click[2] if len(click) == 3 else 1 for click in clicks]
    if len(frames) > 1:
        return [Prompt.make(box=frame) for frame in frames]
    return [Prompt.make(box=frames[0] if frames else None, **parts)] if clicks or frames or text else []


@dataclass(frozen=True)
class PromptOptions:
    """A photo and the one object in it that a command is about."""

    image: Picture = None
    point: Points = None
    box: Box = None
    mask: MaskFile = None

    def read(self) -> tuple[Image, Prompt]:
        """The photo and the prompt. Raises ImageError; UsageError for no prompt or several."""
        from ..core.image import read, read_mask

        assert self.image is not None
        picture = read(self.image)
        prompts = gather_prompts(self.point or [], self.box or [], None)
        if self.mask is not None:
            prompts.append(Prompt.make(mask=read_mask(self.mask, frame_of(picture))))
        if len(prompts) != 1:
            raise UsageError("mark one object with --point X,Y, one --box X0,Y0,X1,Y1 or --mask FILE")
        return picture, prompts[0]


def numbers(text: str, counts: tuple[int, ...], form: str, sign: str = ",") -> list[float]:
    """As many numbers as `counts` allow, with a sign between. Raises UsageError."""
    try:
        values = [float(part) for part in text.split(sign)]
    except ValueError:
        values = []
    if len(values) not in counts:
        raise UsageError(f"{text!r} is not {form}")
    return values
