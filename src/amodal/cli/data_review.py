"""`amodal data review`: yes or no to every object of a built data set, in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import hint, print_json, useless, word

if TYPE_CHECKING:
    from ..synthesis.review import Review

__all__ = ["review"]

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A data set in the project's own format.")]
Round = Annotated[int, typer.Option("--round", min=1, max=2, help="2 shows what the first round accepted.")]
Reviewer = Annotated[str, typer.Option(help="Your name; the page asks for it otherwise.")]
Policy = Annotated[str, typer.Option(help="How several answers become one: majority, any, all.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")]
Report = Annotated[bool, typer.Option("--report", help="Print progress and agreement as JSON, serve nothing.")]
Export = Annotated[
    Path | None, typer.Option("--export", metavar="OUT", help="Write the accepted objects as a data set.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")]


def review(
    folder: Folder,
    number: Round = 1,
    reviewer: Reviewer = "",
    policy: Policy = "majority",
    host: Host = "127.0.0.1",
    port: Port = 8017,
    report: Report = False,
    export: Export = None,
    force: Force = False,
) -> None:
    """Review a built data set by eye: y, n, undo; every answer is on the disk at once (docs/review.md)."""
    from ..synthesis import review as reviews

    if export is not None:
        useless("with --export", "number", "reviewer", "host", "port", "report")
        count = reviews.export(folder, export, policy, overwrite=force)
        hint(f"{count} accepted objects; next: amodal data check folder --root {word(export)}")
        return
    useless("without --export", "force")
    if report:
        useless("with --report", "reviewer", "host", "port")
    current = reviews.Review(folder, number, policy)
    if report:
        summary(current, policy)
        return
    from ..synthesis.review.server import make_server

    if outdated := current.outdated():
        hint(f"{outdated} answers are of objects that are no longer there, or have other masks now; they do not count")
    server = make_server(current, host, port, reviewer)
    hint(f"round {number}: {len(current.ids)} objects at http://{host}:{server.server_address[1]}/  (Ctrl+C ends)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        hint(f"all answers are in {folder / 'review'}; next: amodal data review {word(folder)} --report")
    finally:
        server.server_close()


def summary(current: Review, policy: str) -> None:
    """Print progress, agreement and how many objects are accepted so far."""
    from ..synthesis.review import accepted, agreement

    answers = current.everybody()
    print_json(
        {
            "round": current.round,
            "objects": len(current.ids),
            "reviewers": {
                who: {"answered": len(given), "yes": sum(value == "yes" for value in given.values())}
                for who, given in answers.items()
            },
            "agreement": agreement(answers),
            "policy": policy,
            "accepted": len(accepted(answers, policy)),
            "outdated": current.outdated(),
        }
    )
