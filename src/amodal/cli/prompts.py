"""Prompts on the command line: options for clicks, boxes and masks, and what they say together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from ..prompt import Prompt

if TYPE_CHECKING:
    from ..image import Image

__all__ = ["Boxes", "MaskFile", "Picture", "Points", "gather_prompts", "one_prompt"]

Picture = Annotated[Path | None, typer.Argument(metavar="[IMAGE]", help="The photo.")]
Points = Annotated[list[str] | None, typer.Option(metavar="X,Y[,0|1]", help="A click; 0 marks what is not the object.")]
Boxes = Annotated[list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1", help="A box; repeat it for several objects.")]
MaskFile = Annotated[Path | None, typer.Option("--mask", metavar="FILE", help="Visible mask of the object.")]


def gather_prompts(points: list[str], boxes: list[str], text: str | None) -> list[Prompt]:
    """The command line's points and one box are one object; several boxes are several objects."""
    clicks = [_numbers(item, (2, 3), "--point X,Y or X,Y,0") for item in points]
    frames = [_numbers(item, (4,), "--box X0,Y0,X1,Y1") for item in boxes]
    if len(frames) > 1 and (clicks or text):
        raise UsageError(
            "several boxes are several objects and take no points or text; run the command once per object"
        )
    parts: dict[str, Any] = {"text": text}
    if clicks:
        parts["points"] = [click[:2] for click in clicks]
        parts["labels"] = [int(click[2]) if len(click) == 3 else 1 for click in clicks]
    if len(frames) > 1:
        return [Prompt.make(box=frame) for frame in frames]
    return [Prompt.make(box=frames[0] if frames else None, **parts)] if clicks or frames or text else []


def one_prompt(picture: Image, points: list[str] | None, boxes: list[str] | None, mask: Path | None) -> Prompt:
    """The prompt for the one object that a command is about. Raises UsageError for none or several."""
    from ..image import read_mask

    prompts = gather_prompts(points or [], boxes or [], None)
    if mask is not None:
        prompts = [Prompt.make(mask=read_mask(mask, (picture.shape[0], picture.shape[1])))]
    if len(prompts) != 1:
        raise UsageError("mark one object with --point X,Y, --box X0,Y0,X1,Y1 or --mask FILE")
    return prompts[0]


def _numbers(text: str, counts: tuple[int, ...], form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in counts:
        raise UsageError(f"{text!r} is not {form}")
    return values
