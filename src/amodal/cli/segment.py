"""`amodal segment`: the main job on one or more pictures."""

from __future__ import annotations

import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.completion import Edge, planned_files
from ..core.errors import AmodalError, DataError, ImageError, UsageError
from ..core.prompt import Prompt
from ..pipeline.choice import PARTS, ModelChoice, Values, options_field
from .common import Force, ModelOptions, hint, print_json, progress_bar, useless, word
from .prompts import Boxes, Points, gather_prompts

if TYPE_CHECKING:
    from ..core.completion import Completion
    from ..core.mask import Mask
    from ..pipeline import Model


MAX_STDIN = 1 << 29
"""Bytes of a picture on stdin."""
Images = Annotated[list[Path] | None, typer.Argument(metavar="IMAGE...", help="Pictures; - reads one from stdin.")]
Masks = Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Visible mask; repeat it for several objects.")]
Words = Annotated[str | None, typer.Option(metavar="WORDS", help="Words for the object (needs --segmenter sam3).")]
Invert = Annotated[bool, typer.Option("--invert-mask", help="White marks the background in --mask.")]
Hides = Annotated[Path | None, typer.Option(metavar="FILE", help="Mask of what hides the object; none: nothing does.")]
Samples = Annotated[
    int | None, typer.Option(min=1, max=256, help="Predictions per object; the mask is their majority.")
]
Seed = Annotated[int | None, typer.Option(help="Same seed, same answer.")]
Like = Annotated[Path | None, typer.Option(metavar="FILE.json", help="Repeat a result, but for what is given.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the results; default: amodal-out.")]
EdgeOption = Annotated[
    Edge | None, typer.Option("--edge", help="Of the cut-out; soft fades inwards, for other backgrounds.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the records on stdout; without -o no file is written.")]


def segment(
    images: Images = None,
    point: Points = None,
    box: Boxes = None,
    mask: Masks = None,
    text: Words = None,
    invert_mask: Invert = False,
    occluder: Hides = None,
    model: ModelOptions = ModelOptions(),
    samples: Samples = None,
    seed: Seed = None,
    like: Like = None,
    edge: EdgeOption = None,
    output: Output = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Complete objects: photo and prompt in; amodal mask, cut-out, overlay and JSON out."""  # fmt: skip
    record = read_record(like) if like else Record()
    images = images or photo_of(record, like)
    if not images:
        raise UsageError("no picture given; name one or more, or - for stdin")
    prompts = gather_prompts(point or [], box or [], text)
    if not mask:
        useless("without --mask", "invert_mask")
    if prompts and mask:
        raise UsageError("--mask says what is visible and takes no --point, --box or --text beside it; leave one out")
    prompts = prompts or ([] if mask else record.asked())
    if not prompts and not mask:
        raise UsageError("no prompt: mark the object with --point X,Y, --box X0,Y0,X1,Y1, --mask FILE or --text WORDS")
    folder = None if as_json and output is None else output or Path("amodal-out")
    if folder is not None:
        refuse_one_name(images)
    target = Target(folder, force, edge or record.edge)
    ready = target.ready(images, len(mask or prompts))
    if not ready:
        raise typer.Exit(1)
    chosen = load_like(record, model)
    chosen.warm_up(ask=bool(prompts))
    wanted = Wanted(
        prompts,
        mask or [],
        invert_mask,
        occluder,
        samples if samples is not None else record.samples,
        seed if seed is not None else record.seed,
        record,
    )
    records, failures = run_images(chosen, ready, wanted, target, quiet=as_json, alone=len(images) == 1)
    failures += len(images) - len(ready)
    if as_json:
        print_json(records)
    if records and folder is not None:
        photo = "PHOTO " if str(images[-1]) == "-" else ""  # what came from stdin has no name in the record
        hint(f"next: amodal segment {photo}--like {word(records[-1]['files']['json'])}  repeats the last result")
    if failures:
        raise typer.Exit(3 if failures < len(images) else 1)


def photo_of(record: Record, like: Path | None) -> list[Path]:
    """The photo that a record names, as a list; empty if it names none. Raises UsageError: it is not there."""
    file = record.image.file
    if file and file != "-" and not os.path.isfile(file):  # noqa: PTH113  no text, however odd, raises
        raise UsageError(
            f"the photo of {like} is not there: {file}, seen from this folder; name it, as in "
            f"amodal segment PHOTO --like {word(like)}"
        )
    return [Path(file)] if file else []


def refuse_one_name(images: list[Path]) -> None:
    """Raises UsageError: two pictures would be written under one name."""
    first: dict[str, Path] = {}
    for path in images:
        stem = stem_of(path)
        if first.setdefault(stem, path) is not path:
            raise UsageError(
                f"{first[stem]} and {path} would both be written as {stem}.json; "
                "ask for them one by one, each with its own -o, or use amodal batch"
            )


def stem_of(path: Path) -> str:
    """How the names of a picture's results begin."""
    return "stdin" if str(path) == "-" else path.stem


@dataclass(frozen=True)
class Wanted:
    """What is asked of every picture."""

    prompts: list[Prompt]
    masks: list[Path]
    invert: bool
    occluder: Path | None
    samples: int
    seed: int
    record: Record


@dataclass(frozen=True)
class Target:
    """Where results go (None: nowhere), whether they replace what is there, and the edge of their cut-outs."""

    folder: Path | None
    force: bool
    edge: Edge

    def ready(self, images: list[Path], count: int) -> list[Path]:
        """The pictures whose results can be written, of `count` objects each; the others are told. To be asked before a model is
        loaded. Raises OutputError: the only picture's cannot."""
        if self.folder is None:
            return images
        ready = []
        for path in images:
            try:
                for name in names_of(path, count):
                    planned_files(self.folder, name, self.force)
                ready.append(path)
            except AmodalError as error:
                tell_or_raise(path, error, len(images) == 1)
        return ready


def run_images(
    model: Model, images: list[Path], wanted: Wanted, target: Target, *, quiet: bool, alone: bool
) -> tuple[list[dict[str, Any]], int]:
    """Complete and save picture by picture; the records of what was made, and the number of pictures that failed."""
    records: list[dict[str, Any]] = []
    failures = 0
    for path in images:
        try:
            start = time.perf_counter()
            results = complete_image(model, path, wanted)
            saved = save_all(results, path, target)
            records += saved
            for result, one in zip(results, saved, strict=True):
                if not quiet:
                    typer.echo(f"{one['files']['amodal']}  {result.occlusion_rate:.1%} occluded")
            hint(f"{path}: {len(results)} object(s) in {time.perf_counter() - start:.2f} s")
        except AmodalError as error:
            tell_or_raise(path, error, alone)
            failures += 1
    return records, failures


def tell_or_raise(path: Path, error: AmodalError, alone: bool) -> None:
    """One bad picture among several does not stop the rest."""
    if alone:
        raise error
    hint(f"amodal: {path}: {error}")


def complete_image(model: Model, path: Path, wanted: Wanted) -> list[Completion]:
    """All objects of one picture as one batch."""
    from ..core.image import as_mask, read, read_mask
    from ..core.mask import Mask

    source: Any = read_stdin() if str(path) == "-" else path
    scene = model.open(read(source))
    record = wanted.record
    if record.image.sha256_pixels not in (None, scene.digest):
        warnings.warn(f"{path} is not the picture of the record; the result will differ", stacklevel=2)
    drawn = [read_mask(file, scene.size, invert=wanted.invert) for file in wanted.masks]
    prompts = [Prompt.make(mask=mask) for mask in drawn] or wanted.prompts
    hides: Mask | None = None
    if wanted.occluder is not None:
        nothing = str(wanted.occluder) == "none"
        hides = Mask.from_array([[False]]) if nothing else read_mask(wanted.occluder, scene.size)
    elif record.occluder is not None:
        hides = as_mask(record.occluder, scene.size, "the recorded occluder")
    with progress_bar(path.name) as progress:
        if record.repainted is not None and len(prompts) == 1 and prompts[0].mask is not None:
            whole = as_mask(record.repainted, scene.size, "the recorded whole object")
            results = [scene.repaint(prompts[0].mask, whole, seed=wanted.seed, progress=progress)]
        else:
            results = scene.complete_all(
                prompts,
                samples=wanted.samples,
                seeds=[wanted.seed] * len(prompts),
                occluders=[hides] * len(prompts),
                progress=progress,
            )
    for result in results:
        result.provenance["image"]["file"] = str(path)
    return results


def read_stdin() -> bytes:
    """A picture's file from stdin. Raises ImageError: it does not end."""
    content = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(content) > MAX_STDIN:
        raise ImageError(f"stdin gives more than {MAX_STDIN >> 20} MB, which no picture that is read has; give a file")
    return content


def names_of(path: Path, count: int) -> list[str]:
    """What the results of a picture are called: `<stem>` for one object, `<stem>.N` for several."""
    stem = stem_of(path)
    return [stem] if count == 1 else [f"{stem}.{number}" for number in range(count)]


def save_all(results: list[Completion], path: Path, to: Target) -> list[dict[str, Any]]:
    """Write every result, unless there is no folder; the records with their files."""
    records = []
    for name, result in zip(names_of(path, len(results)), results, strict=True):
        files = {} if to.folder is None else result.save(to.folder, name, overwrite=to.force, edge=to.edge)
        records.append({**result.to_dict(to.edge), "files": {what: str(file) for what, file in files.items()}})
    return records


class Part(BaseModel):
    """A method, inpainter or segmenter of a record."""

    name: str = Field(min_length=1, max_length=4096)
    options: Values = {}
    weights: dict[str, str] = {}


class Picture(BaseModel):
    """The picture of a record."""

    file: str | None = None
    sha256_pixels: str | None = None


class Record(BaseModel):
    """What is repeated of a result: its provenance, checked field by field. Masks and prompt are checked when they are used."""

    model_config = ConfigDict(strict=True)
    method: Part | None = None
    inpainter: Part | None = None
    segmenter: Part | None = None
    prompt: dict[str, Any] | None = None
    samples: int = Field(default=1, ge=1, le=256)
    seed: int = Field(default=0, ge=-(2**63), lt=2**63)
    occluder: dict[str, Any] | None = None
    repainted: dict[str, Any] | None = None
    image: Picture = Picture()
    edge: Edge = "hard"

    def asked(self) -> list[Prompt]:
        """Its prompt, if it has one: of a mask the mask alone, for older records may hold what stood beside it and was not used."""
        told = self.prompt or {}
        told = {key: told[key] for key in ("mask", "frame") if key in told} if told.get("mask") else told
        return [Prompt.from_dict(told)] if told else []

    def choice(self) -> ModelChoice:
        """The model that it was made with."""
        parts: dict[str, Any] = {}
        for part in PARTS:
            if (known := getattr(self, part)) is not None:
                parts |= {part: name_now(known) if part == "method" else known.name, options_field(part): known.options}
        return ModelChoice.of(**parts)


def read_record(path: Path) -> Record:
    """The provenance of a result's JSON.

    Raises:
        DataError: not a result of amodal, or one whose fields were damaged.
    """
    from ..core.files import read_json

    content = read_json(path, DataError)
    if not isinstance(content, dict) or not isinstance(content.get("provenance"), dict):
        raise DataError(f"{path} is not a result of amodal segment; give the .json beside a .amodal.png")
    try:
        return Record.model_validate(content["provenance"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(step) for step in first["loc"])
        raise DataError(f"{path} cannot be repeated: provenance.{place}: {first['msg'].lower()}") from error


def load_like(record: Record, wanted: ModelOptions) -> Model:
    """The model of a record, changed by what is given on the command line."""
    given, recorded = wanted.choice(), record.choice()
    made = given.over(recorded).load(wanted.device)
    for part in PARTS:
        known: Part | None = getattr(record, part)
        if known is None or given.name_of(part) not in (None, recorded.name_of(part)):
            continue
        if sorted(known.weights.values()) != sorted(made.provenance()[part]["weights"].values()):
            warnings.warn(f"the {part}'s weights are not those of the record; the result may differ", stacklevel=2)
    return made


def name_now(method: Part) -> str:
    """The name of a recorded method. Once `occamodal` was what `embedded` is now; its options and weights tell.

    Raises:
        DataError: they do not.
    """
    if method.name != "occamodal" or "input_size" in method.options:
        return method.name
    if "occamodal" in method.weights or "factors" in method.options:
        return "embedded"
    raise DataError(
        "the record's method occamodal may be the one that is called embedded now, or the paper's; "
        "write the one that was meant as provenance.method.name"
    )
