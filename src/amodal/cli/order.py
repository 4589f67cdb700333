"""`amodal order`: who hides whom, from the visible masks of a picture's objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..core.errors import DataError, PromptError, UsageError
from .common import AsJson, Device, Force, hint, print_json, progress_bar, split_settings

if TYPE_CHECKING:
    from ..core.image import Image
    from ..core.mask import Mask
    from ..pipeline.order import Order
    from ..plugins.protocols import Prediction


Rule = Literal["hull", "area", "larger", "y-axis", "deocclusion", "asbu"]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write visible masks that were found, and amodal ones of a network, here."),
]
RULES = "hull, area (smaller in front), larger, y-axis (lower in front), or a network: deocclusion, asbu."


def order(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture.")],
    masks: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Visible masks: pictures, a folder of them, a label picture, or JSON (COCO, COCO-A, amodal's own). "
            "Default: the objects that the segmenter finds.",
        ),
    ] = None,
    by: Annotated[Rule, typer.Option(help=RULES)] = "hull",
    widen: Annotated[int, typer.Option(min=0, max=50, help="Grow masks first; 3 to 5 bridge gaps between them.")] = 0,
    segmenter: Annotated[
        str | None, typer.Option(help="Without --masks. See: amodal list segmenters; or a hub name or folder.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Option of the network, such as weights=FILE; segmenter.KEY."),
    ] = None,
    device: Device = "auto",
    output: Output = None,
    force: Force = False,
    as_json: AsJson = False,
    dot: Annotated[bool, typer.Option("--dot", help="Print as a Graphviz graph.")] = False,
) -> None:
    """Print the occlusion graph: which objects hide which, and the layers from front to back."""
    network = by in ("deocclusion", "asbu")
    parts = split_settings(settings)
    if as_json and dot:
        raise UsageError("--json and --dot are two forms of the same; give one of them")
    check_use(by, network, bool(masks), segmenter, parts, output)
    from ..core.image import read
    from ..data.scene_masks import read_scene
    from ..pipeline.order import dilate, to_dot

    picture = read(image)
    if masks:
        names, visible, categories = read_scene(masks, picture.shape[:2], str(image))
    else:
        mask_files(output, ["object-1"], ["visible"], force)
        names, visible = find_masks(picture, segmenter, parts["segmenter"], device)
        categories = [None] * len(visible)
    kinds = [kind for kind, made in (("visible", not masks), ("amodal", network)) if made]
    files = mask_files(output, names, kinds, force)
    predictions: list[Prediction] = []
    if network:
        chosen, objects = {"widen": str(widen), **parts["method"]}, list(zip(visible, categories, strict=True))
        matrix, predictions = by_network(by, chosen, device, picture, objects, complete=output is not None)
    else:
        matrix = by_rule(by, [dilate(mask, widen) for mask in visible])
    write_masks(files, visible, predictions, picture, force)
    if dot:
        typer.echo(to_dot(matrix, names), nl=False)
    elif as_json:
        print_json(as_record(matrix, names, visible, by))
    else:
        print_table(matrix, names)
    hint("next: amodal order ... --dot | dot -Tsvg > order.svg  draws it" if not dot else f"{len(names)} objects")


def check_use(
    by: str, network: bool, masks: bool, segmenter: str | None, parts: dict[str, dict[str, str]], output: Path | None
) -> None:
    """Refuse options that do not go together."""
    if output and masks and not network:
        raise UsageError(f"-o writes amodal masks, which --by {by} does not make; use --by deocclusion or --by asbu")
    if masks and (segmenter or parts["segmenter"]):
        raise UsageError("--masks says where the objects are; leave out --segmenter and segmenter.KEY")
    if parts["inpainter"] or (parts["method"] and not network):
        raise UsageError(
            f"--by {by} has no options; --set goes with --by deocclusion or --by asbu, or is segmenter.KEY"
        )


def find_masks(
    picture: Image, segmenter: str | None, settings: dict[str, str], device: str
) -> tuple[list[str], list[Mask]]:
    """Names and visible masks of what the segmenter finds, largest first."""
    from ..pipeline import load
    from ..pipeline.layers import visible_objects

    model = load("visible", segmenter=segmenter, device=device, segmenter_options=settings)
    with progress_bar(model.segmenter.name) as progress:
        visible = visible_objects(model.open(picture), progress=progress)
    if not visible:
        raise PromptError(f"{model.segmenter.name} finds no object in this photo; give their masks with --masks")
    hint(f"{len(visible)} objects found by {model.segmenter.name}; -o writes their masks")
    return [f"object-{number}" for number in range(1, len(visible) + 1)], visible


def by_rule(by: str, visible: list[Mask]) -> Order:
    """The order by a rule that needs no network."""
    from ..pipeline import order as ordering

    if by == "area":
        return ordering.order_by_area(visible)
    if by == "larger":
        return ordering.order_by_area(visible, front="larger")
    return ordering.order_by_y(visible) if by == "y-axis" else ordering.order_by_hull(visible)


def by_network(
    by: str,
    settings: dict[str, str],
    device: str,
    picture: Image,
    objects: list[tuple[Mask, int | None]],
    complete: bool,
) -> tuple[Order, list[Prediction]]:
    """The order of objects (visible mask, category number or None) by a network of the deocclusion family, and the objects
    completed under what hides them if wanted."""
    from ..plugins.protocols import Request
    from ..plugins.registry import create_method

    method: Any = create_method(by, settings, device)
    requests = [Request(mask, category=category) for mask, category in objects]
    with progress_bar("order") as progress:
        if complete:
            found: tuple[Order, list[Prediction]] = method.complete_scene(picture, requests, progress)
            return found
        return method.order(requests, progress), []


def mask_files(folder: Path | None, names: list[str], kinds: list[str], force: bool) -> dict[str, list[Path]]:
    """Each kind to the file `NAME.KIND.png` of each object; none without a folder. To be asked before long work.

    Raises:
        DataError: two names make one.
        ExistsError: one is there and may not be replaced.
    """
    from ..core.files import check_targets

    if folder is None:
        return {}
    stems = ["".join(c if c.isalnum() or c in "-_. " else "." for c in name) for name in names]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        alike = ", ".join(repr(name) for name, stem in zip(names, stems, strict=True) if stem == twice)
        raise DataError(f"the objects {alike[:200]} would all be written as {twice}.{kinds[0]}.png; rename them")
    files = {kind: [folder / f"{stem}.{kind}.png" for stem in stems] for kind in kinds}
    check_targets([file for each in files.values() for file in each], force)
    return files


def write_masks(
    files: dict[str, list[Path]], visible: list[Mask], predictions: list[Prediction], picture: Image, force: bool
) -> None:
    """Write the mask of each object, as far as there are some."""
    from ..core.files import write_bytes
    from ..core.image import encode_png

    masks = {"visible": visible, "amodal": [prediction.amodal for prediction in predictions]}
    for kind, paths in files.items():
        for path, mask in zip(paths, masks[kind], strict=True):
            write_bytes(path, encode_png(mask.to_array(picture.shape[:2])), overwrite=force)


def as_record(matrix: Order, names: list[str], visible: list[Mask], by: str) -> dict[str, Any]:
    """JSON-ready: names, boxes (x0, y0, x1, y1) of the visible masks, matrix (1: row in front of column), pairs, layers, rings."""
    import numpy as np

    from ..pipeline.order import cycles, layers

    return {
        "by": by,
        "objects": names,
        "boxes": [list(mask.box) for mask in visible],
        "matrix": matrix.tolist(),
        "pairs": [{"front": names[i], "behind": names[j]} for i, j in np.argwhere(matrix == 1).tolist()],
        "layers": [[names[i] for i in layer] for layer in layers(matrix)],
        "rings": [[names[i] for i in ring] for ring in cycles(matrix)],
    }


def print_table(matrix: Order, names: list[str]) -> None:
    """One line per pair, then the layers."""
    import numpy as np

    from ..pipeline.order import cycles, layers

    pairs = np.argwhere(matrix == 1).tolist()
    width = max((len(names[i]) for i, _ in pairs), default=0)
    for i, j in pairs:
        typer.echo(f"{names[i]:<{width}}  hides  {names[j]}")
    if not pairs:
        typer.echo("no object hides another")
    for number, layer in enumerate(layers(matrix), 1):
        typer.echo(f"layer {number}: {', '.join(names[i] for i in layer)}")
    for ring in cycles(matrix):
        hint(f"these hide each other in a ring: {', '.join(names[i] for i in ring)}")
