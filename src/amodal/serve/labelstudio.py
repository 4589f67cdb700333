"""Label Studio's ML-backend protocol: annotators get amodal pre-annotations as brush masks or polygons.

The address for Label Studio is `http://HOST:PORT/label-studio`. Photos come as data URIs or from the folder of local files
that the operator names (`--media`); nothing is fetched from a URL.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from .. import __version__
from ..core.completion import Completion
from ..core.errors import MALFORMED, AmodalError, DataError, PromptError
from ..core.files import read_bytes
from ..core.image import Image
from ..core.mask import Mask, Size
from ..data.annotations import from_polygon
from ..pipeline import Model
from .brush import decode_brush, encode_brush, polygons
from .config import Config
from .engine import Engine, decode

__all__ = ["router"]

router = APIRouter(prefix="/label-studio")
FARTHEST = 1e6
"""No place, size or angle of a region is larger."""
VERSION = f"amodal-{__version__}"


class Loose(BaseModel):
    """Label Studio sends more than is needed, and more with each version."""

    model_config = ConfigDict(extra="ignore")


class SetupRequest(Loose):
    """What Label Studio sends when the backend is connected."""

    project: str | int | None = None
    label_config: str | None = Field(default=None, alias="schema", max_length=200_000)


class Task(Loose):
    """One picture to annotate."""

    id: int | str | None = None
    data: dict[str, Any]


class PredictRequest(Loose):
    """Tasks, the labelling interface, and what the annotator has drawn so far."""

    tasks: list[Task] = Field(max_length=64)
    label_config: str | None = Field(default=None, max_length=200_000)
    params: dict[str, Any] | None = None
    context: dict[str, Any] | None = None


@router.get("/health")
@router.get("/")
async def health() -> dict[str, str]:
    """Whether the backend is up."""
    return {"status": "UP", "model_class": "amodal"}


@router.post("/setup")
async def setup(body: SetupRequest) -> dict[str, str]:
    """The backend is being connected: tells its version; complains about an interface that it cannot fill."""
    if body.label_config:
        _control(body.label_config)
    return {"model_version": VERSION}


@router.post("/webhook", status_code=201)
async def webhook() -> dict[str, str]:
    """Label Studio tells of annotations; nothing is learned from them here."""
    return {"status": "ignored"}


@router.post("/predict")
async def predict(request: Request, body: PredictRequest) -> dict[str, Any]:
    """The whole object at what the annotator has clicked, boxed or brushed, per task; no result where nothing is drawn."""
    engine: Engine = request.app.state.engine
    control = _control(body.label_config or "")
    context = body.context or (body.params or {}).get("context") or {}
    drawn = context.get("result") if isinstance(context, dict) else None
    results = []
    for task in body.tasks:
        regions: list[dict[str, Any]] = []
        score: float | None = 0.0
        if isinstance(drawn, list) and drawn:
            content = await run_in_threadpool(load_picture, _picture_of(task, control), engine.config)
            pixels = engine.config.limits.pixels
            image, _ = await asyncio.wrap_future(engine.decoders.submit(decode, content, pixels))
            drawing = await run_in_threadpool(read_drawing, drawn, (image.shape[0], image.shape[1]), control.picture)
            done: Completion = await asyncio.wrap_future(engine.now(partial(_complete, image, drawing)))
            regions = await run_in_threadpool(regions_of, done, control, drawing.label)
            score = done.score
        results.append({"result": regions, "score": score, "model_version": VERSION})
    return {"results": results, "model_version": VERSION}


def _picture_of(task: Task, control: Control) -> Any:
    """The task's field that the Image tag names; without a labelling interface the only one."""
    if control.field is not None:
        return task.data.get(control.field)
    return next(iter(task.data.values())) if len(task.data) == 1 else task.data.get("image")


def _complete(image: Image, drawing: Drawing, model: Model) -> Completion:
    """Complete what was drawn; as on the page, clicks and boxes beside a brush add what they find, or take it away."""
    scene = model.open(image)
    if drawing.brush is None:
        points, labels = [point for point, _ in drawing.clicks], [label for _, label in drawing.clicks]
        return scene.complete(points=points or None, labels=labels or None, box=drawing.box)
    mask = drawing.brush
    if drawing.box is not None:
        mask = mask | scene.segment(box=drawing.box)[0].mask
    for point, label in drawing.clicks:
        found = scene.segment(point=point)[0].mask
        mask = mask | found if label else mask - found
    if not mask:
        raise PromptError("the negative clicks take away all of the brush; nothing is marked")
    return scene.complete(mask=mask)


def load_picture(picture: Any, config: Config) -> bytes:
    """A task's picture file: a data URI, or a file below the operator's media folder.

    Raises:
        DataError: a URL, a path that leaves the folder, no folder, or too large.
    """
    if not isinstance(picture, str):
        raise DataError("the task names no picture; its data must have the field that the Image tag's value names")
    if not picture.startswith("data:"):
        return _local_file(picture, config)
    try:
        return base64.b64decode(picture.partition(",")[2], validate=True)
    except ValueError as error:
        raise DataError("the task's data URI is not base64") from error


def _local_file(picture: str, config: Config) -> bytes:
    try:
        parts = urlsplit(picture)
        if config.media is None or parts.scheme or parts.netloc:
            raise DataError(
                "pictures are not fetched from URLs; the operator names the folder of Label Studio's local files when the "
                "service is started, or tasks hold data URIs"
            )
        query = parse_qs(parts.query).get("d")
        name = query[0] if query else unquote(parts.path).removeprefix("/data/upload/").lstrip("/")
        root = config.media.resolve()
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise DataError("there is no such picture in the media folder")
        return read_bytes(path, DataError, limit=config.limits.upload_bytes)
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise DataError("there is no such picture in the media folder") from error


@dataclass(frozen=True)
class Control:
    """What of a labelling interface is filled.

    Attributes:
        name: of the control.
        picture: of its Image tag.
        field: of the tasks' data that holds the picture; None without an interface.
        kind: "brushlabels" or "polygonlabels".
        labels: that the control has.
    """

    name: str = "tag"
    picture: str = "image"
    field: str | None = None
    kind: str = "brushlabels"
    labels: tuple[str, ...] = ("object",)

    def label(self, drawn: str | None) -> list[str]:
        """The drawn label if the control has it, else its only one; else none: the annotator chooses."""
        if drawn in self.labels:
            return [str(drawn)]
        return list(self.labels) if len(self.labels) == 1 else []


def _control(config: str) -> Control:
    """The control to fill: BrushLabels before PolygonLabels.

    Raises:
        DataError: no such control, or not XML.
    """
    if not config.strip():
        return Control()
    if "<!DOCTYPE" in config or "<!ENTITY" in config:
        raise DataError("the labelling interface must be plain XML without a DOCTYPE")
    try:
        root = ET.fromstring(config)
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"the labelling interface is not XML: {error}") from error
    for kind in ("BrushLabels", "PolygonLabels"):
        for control in root.iter(kind):
            name, target = control.get("name"), control.get("toName")
            picture = next((tag for tag in root.iter("Image") if tag.get("name") == target), None)
            if name and target and picture is not None:
                labels = tuple(str(tag.get("alias") or tag.get("value")) for tag in control.iter("Label"))
                field = (picture.get("value") or "$image").lstrip("$")
                return Control(name, target, field, kind.lower(), labels or ("object",))
    raise DataError("the labelling interface has no BrushLabels (or PolygonLabels) for its Image; add one")


@dataclass
class Drawing:
    """What the annotator drew, in pixels: clicks with their labels, the box around all boxes, all brush strokes together."""

    clicks: list[tuple[tuple[float, float], int]] = field(default_factory=list)
    box: tuple[float, float, float, float] | None = None
    brush: Mask | None = None
    label: str | None = None


def read_drawing(drawn: list[Any], size: Size, picture: str = "") -> Drawing:
    """All regions of a request (percent of the picture) together.

    Args:
        drawn: Label Studio's regions; what is no region (choices, texts) is passed over.
        size: (H, W) of the picture.
        picture: name of the Image tag; regions of other ones are passed over.

    Raises:
        PromptError: a region that cannot be read, or no region.
    """
    out = Drawing()
    for entry in drawn:
        value = entry.get("value") if isinstance(entry, dict) else None
        if not isinstance(value, dict) or (picture and entry.get("to_name", picture) != picture):
            continue
        kind = str(entry.get("type", ""))
        try:
            if not _add_region(out, kind.removesuffix("labels"), entry, value, size):
                continue
        except AmodalError:
            raise
        except MALFORMED as error:
            raise PromptError(f"a {kind} of the drawing is malformed ({type(error).__name__}: {error})") from error
        names = value.get(kind)
        out.label = str(names[0]) if isinstance(names, list) and names else out.label
    if not out.clicks and out.box is None and out.brush is None:
        raise PromptError("nothing is drawn that can be read; click, box or brush the object")
    return out


def _add_region(out: Drawing, kind: str, entry: dict[str, Any], value: dict[str, Any], size: Size) -> bool:
    """Add one region to the drawing; False if it is none that marks an object."""
    if kind in ("bitmask", "vector"):
        raise PromptError(f"a {kind} of the drawing cannot be read; draw a click, box, ellipse, polygon or brush")
    if kind not in ("keypoint", "rectangle", "ellipse", "brush", "polygon"):
        return False
    _check_frame(entry, size)
    scale = np.array([size[1], size[0]]) / 100
    if kind == "keypoint":
        x, y = np.array([_finite(value["x"]), _finite(value["y"])]) * scale
        out.clicks.append(((float(x), float(y)), int(bool(entry.get("is_positive", True)))))
    elif kind in ("rectangle", "ellipse"):
        corners = _corners(kind, value, scale)
        known = [] if out.box is None else [out.box[:2], out.box[2:]]
        every = np.concatenate([corners, np.reshape(known, (-1, 2))])
        out.box = (*map(float, every.min(axis=0)), *map(float, every.max(axis=0)))  # type: ignore[assignment]
    elif kind == "polygon":
        points = np.asarray(value["points"], float).reshape(-1, 2) * scale
        outlined = from_polygon(points.ravel(), size)
        out.brush = outlined if out.brush is None else out.brush | outlined
    elif value.get("format") == "rle":
        stroke = Mask.from_array(decode_brush(value["rle"], size))
        out.brush = stroke if out.brush is None else out.brush | stroke
    else:
        raise PromptError("a brush of the drawing is not in the format 'rle'")
    return True


def _check_frame(entry: dict[str, Any], size: Size) -> None:
    """Refuse a region that was drawn on another picture, or on a turned one. Raises PromptError."""
    width, height, turned = (entry.get(key) for key in ("original_width", "original_height", "image_rotation"))
    if turned:
        raise PromptError("the picture is turned in Label Studio; turn it back before drawing")
    if width and height and abs(float(width) / float(height) * size[0] / size[1] - 1) > 0.01:
        raise PromptError(f"a region was drawn on {width} x {height} pixels, the picture has {size[1]} x {size[0]}")


def _corners(kind: str, value: dict[str, Any], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (N, 2) in pixels around which a region's box lies; Label Studio turns clockwise, rectangles about their corner."""
    angle = np.deg2rad(_finite(value.get("rotation") or 0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows are points (x, y), y down
    start = np.array([_finite(value["x"]), _finite(value["y"])]) * scale
    if kind == "rectangle":
        reach = np.array([_finite(value["width"]), _finite(value["height"])]) * scale
        shape = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * reach
    else:
        reach = np.array([_finite(value["radiusX"]), _finite(value["radiusY"])]) * scale
        around = np.linspace(0, 2 * np.pi, 64)
        shape = np.stack([np.cos(around), np.sin(around)], axis=1) * reach
    return np.asarray(shape @ turn + start, np.float64)


def _finite(value: Any) -> float:
    """A place, size or angle in percent or degrees. Raises PromptError, TypeError, ValueError."""
    number = float(value)
    if not abs(number) <= FARTHEST:
        raise PromptError(
            f"a region of the drawing has a place or a size of {number:g}; they are in percent of the picture"
        )
    return number


def regions_of(done: Completion, control: Control, label: str | None) -> list[dict[str, Any]]:
    """The amodal mask, inside the photo, as Label Studio's regions: one brush, or a polygon a piece."""
    height, width = done.size
    bits = done.amodal.to_array(done.size)
    if control.kind == "brushlabels":
        values: list[dict[str, Any]] = [{"format": "rle", "rle": encode_brush(bits)}]
    else:
        percent = 100 / np.array([width, height])
        values = [{"points": (ring * percent).tolist(), "closed": True} for ring in polygons(bits)]
    shared = {
        "from_name": control.name,
        "to_name": control.picture,
        "type": control.kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": done.score,
        "meta": {"occlusion_rate": round(done.occlusion_rate, 4)},
    }
    labels = {control.kind: control.label(label)}
    return [{**shared, "id": secrets.token_hex(5), "value": {**value, **labels}} for value in values]
