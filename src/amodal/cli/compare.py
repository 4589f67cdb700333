"""`amodal compare`: runs side by side, as differences, as a table of methods by data sets, and as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import AmodalError, UsageError
from .common import AsJson, Force, hint, new_file, show, useless, word

Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Also write it here.")]


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Folders of amodal evaluate, or that hold some; or of amodal batch."),
    ],
    output: Output = None,
    metric: Annotated[
        str, typer.Option(help="Of the table: iou, iou_pooled, iou_occluded, iou_occluded_pooled.")
    ] = "iou",
    table: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the table of methods by data sets: .md, .csv or .tex.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with pictures; needs --root.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the pictures as one; needs --root.")
    ] = None,
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", metavar="DIR", help="The folder of each data set."),
    ] = None,
    cases: Annotated[int, typer.Option(min=1, max=100, help="Pictures of each kind, for --html and --png.")] = 4,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs on the same objects: differences with intervals; methods by data sets; pictures side by side; or batches."""
    from ..core.files import write_json
    from ..evaluation.compare import compare as compare_runs
    from ..evaluation.compare import comparison_text
    from ..evaluation.matrix import WRITERS, find_runs, matrix, matrix_rows, write_table
    from ..evaluation.predictions import batch_shards
    from ..evaluation.tables import table as as_text

    for file, endings in ((output, [".json"]), (table, WRITERS), (html, [".html", ".htm"]), (png, [".png"])):
        new_file(file, force, *endings)
    if any(map(batch_shards, runs)):
        if html or png or table is not None or not all(map(batch_shards, runs)):
            raise UsageError(
                "batches are compared with each other, in one table; to score one, evaluate it with --predictions"
            )
        useless("for batches", "metric", "root", "cases")
        _batches(runs, output, force, as_json)
        return
    if not (html or png):
        useless("without --html or --png", "root", "cases")
    folders = find_runs(runs)
    content = matrix(folders)
    rows = matrix_rows(content, metric)
    one_set = len(content["sets"]) == 1
    result = compare_runs(folders) if one_set else content
    if html or png:
        _pictures(folders, content, root or [], (html, png), cases, force)
    if table is not None:
        write_table(rows, table, overwrite=force)
    if output is not None:
        write_json(output, result, overwrite=force)
    show(as_json, result, comparison_text(result) if one_set else as_text(rows))
    if not html:
        hint("next: add --html page.html --root DIR for pictures side by side")


def _batches(folders: Sequence[Path], output: Path | None, force: bool, as_json: bool) -> None:
    """Print how far batches agree."""
    from ..core.files import write_json
    from ..evaluation.agreement import agreement, agreement_text

    result = agreement(folders)
    if output is not None:
        write_json(output, result, overwrite=force)
    show(as_json, result, agreement_text(result))
    hint(
        f"next: amodal evaluate --predictions {word(folders[0])} --dataset NAME --root DIR  scores one against a truth"
    )


def _pictures(
    folders: Sequence[Path],
    content: Mapping[str, Any],
    roots: Sequence[Path],
    files: tuple[Path | None, Path | None],
    count: int,
    force: bool,
) -> None:
    """Write the page and the picture of a comparison."""
    from ..core.files import write_bytes, write_text
    from ..core.image import encode_png
    from ..data import dataset
    from ..evaluation.matrix import read_runs
    from ..evaluation.pictures import choose_cases, compare_page, compare_picture

    names = list(content["sets"])
    if len(roots) != len(names):
        raise UsageError(f"the pictures need the folder of each data set: give --root for {', then '.join(names)}")
    runs = read_runs(folders)
    chosen = {}
    for place, name in enumerate(names):
        of_set = [run for run in runs if run.data == name]
        about = of_set[0].settings["data"]
        problems = []
        for where in [roots[place], *roots[:place], *roots[place + 1 :]]:  # its own first; else whichever holds it
            try:
                data = dataset(about["name"], where, about.get("split"), options=about.get("options"), skip_bad=True)
                chosen[name] = choose_cases(of_set, data, count)
                break
            except AmodalError as error:
                problems.append(error)
        else:
            raise problems[0]
    html, png = files
    if html is not None:
        write_text(html, compare_page(content, chosen), overwrite=force)
    if png is not None:
        write_bytes(png, encode_png(compare_picture(chosen)), overwrite=force)
