"""Label Studio's ML-backend protocol: annotators get amodal pre-annotations as brush masks or polygons.

The address for Label Studio is `http://HOST:PORT/label-studio`. Photos come as data URIs or from the folder of local files
that the operator names (`--media`); nothing is fetched from a URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from .. import __version__
from ..completion import Completion
from ..errors import AmodalError, DataError, PromptError
from ..image import Image, read
from ..mask import Mask
from ..pipeline import Model
from ..prompt import Prompt
from .config import Config
from .engine import Engine, check_size

__all__ = ["decode_brush", "encode_brush", "router"]

router = APIRouter(prefix="/label-studio")
VERSION = f"amodal-{__version__}"
SIZES = (3, 4, 8, 16)
"""Bit widths of run lengths in Label Studio's brush format (thi.ng's rle-pack)."""


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
        _tags(body.label_config)
    return {"model_version": VERSION}


@router.post("/webhook", status_code=201)
async def webhook() -> dict[str, str]:
    """Label Studio tells of annotations; nothing is learned from them here."""
    return {"status": "ignored"}


@router.post("/predict")
async def predict(request: Request, body: PredictRequest) -> dict[str, Any]:
    """The whole object at what the annotator has clicked, boxed or brushed, per task; no result where nothing is drawn."""
    engine: Engine = request.app.state.engine
    tags = _tags(body.label_config or "")
    context = body.context or (body.params or {}).get("context") or {}
    drawn = context.get("result") if isinstance(context, dict) else None
    results = []
    for task in body.tasks:
        answer: list[dict[str, Any]] = []
        if isinstance(drawn, list) and drawn:
            picture = task.data.get(tags["value"]) or next(iter(task.data.values()), None)
            image = await run_in_threadpool(load_picture, picture, engine.config)
            prompt, label = read_drawing(drawn, (image.shape[0], image.shape[1]))
            done: Completion = await asyncio.wrap_future(engine.now(partial(_complete, image, prompt)))
            answer = [region(done, tags, label)]
        results.append({"result": answer, "score": 1.0, "model_version": VERSION})
    return {"results": results, "model_version": VERSION}


def _complete(image: Image, prompt: Prompt, model: Model) -> Completion:
    return model.open(image).complete(prompt=prompt)


def load_picture(picture: Any, config: Config) -> Image:
    """A task's picture: a data URI, or a file below the operator's media folder.

    Raises:
        DataError: a URL, a path that leaves the folder, or no folder.
        ImageError: not a picture.
    """
    if not isinstance(picture, str):
        raise DataError("the task names no picture; its data must have the field that the Image tag's value names")
    if picture.startswith("data:"):
        try:
            content = base64.b64decode(picture.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise DataError("the task's data URI is not base64") from error
    else:
        content = _local_file(picture, config.media)
    check_size(content, config.limits.pixels)
    return read(content)


def _local_file(picture: str, media: Path | None) -> bytes:
    parts = urlsplit(picture)
    if media is None or parts.scheme or parts.netloc:
        raise DataError(
            "pictures are not fetched from URLs; start the service with --media FOLDER (the folder of Label Studio's local "
            "files), or use data URIs"
        )
    query = parse_qs(parts.query).get("d")
    name = query[0] if query else unquote(parts.path).removeprefix("/data/upload/").lstrip("/")
    root = media.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise DataError("there is no such picture in the media folder")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise DataError("there is no such picture in the media folder") from error


def _tags(config: str) -> dict[str, str]:
    """The control to fill (BrushLabels before PolygonLabels), its picture and first label.

    Raises:
        DataError: no such control, or not XML.
    """
    out = {"from": "tag", "to": "image", "value": "image", "kind": "brushlabels", "label": "object"}
    if not config.strip():
        return out
    if "<!DOCTYPE" in config or "<!ENTITY" in config:
        raise DataError("the labelling interface must be plain XML without a DOCTYPE")
    try:
        root = ET.fromstring(config)
    except ET.ParseError as error:
        raise DataError(f"the labelling interface is not XML: {error}") from error
    for kind in ("BrushLabels", "PolygonLabels"):
        for control in root.iter(kind):
            name, target = control.get("name"), control.get("toName")
            picture = next((tag for tag in root.iter("Image") if tag.get("name") == target), None)
            if name and target and picture is not None:
                label = next((str(tag.get("value")) for tag in control.iter("Label")), "object")
                value = (picture.get("value") or "$image").lstrip("$")
                return {"from": name, "to": target, "value": value, "kind": kind.lower(), "label": label}
    raise DataError("the labelling interface has no BrushLabels (or PolygonLabels) for its Image; add one")


def read_drawing(drawn: list[Any], size: tuple[int, int]) -> tuple[Prompt, str | None]:
    """What the annotator drew (percent of the picture) as a prompt, and its label.

    Raises:
        PromptError: nothing that can be read.
    """
    height, width = size
    points, labels, box, mask, label = [], [], None, None, None
    for entry in drawn:
        value = entry.get("value") if isinstance(entry, dict) else None
        if not isinstance(value, dict):
            continue
        kind = str(entry.get("type", ""))
        names = value.get(kind)
        label = str(names[0]) if isinstance(names, list) and names else label
        try:
            if kind.startswith("keypoint"):
                points.append((float(value["x"]) * width / 100, float(value["y"]) * height / 100))
                labels.append(int(entry.get("is_positive", True)))
            elif kind.startswith("rectangle"):
                x, y = float(value["x"]) * width / 100, float(value["y"]) * height / 100
                box = (x, y, x + float(value["width"]) * width / 100, y + float(value["height"]) * height / 100)
            elif kind.startswith("brush") and value.get("format") == "rle":
                mask = Mask.from_array(decode_brush(value["rle"], size))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, AmodalError):
                raise
            raise PromptError(f"a {kind} of the drawing is malformed ({type(error).__name__}: {error})") from error
    last = {"mask": mask} if mask else {"points": points or None, "labels": labels or None, "box": box}
    return Prompt.make(**last), label


def region(done: Completion, tags: dict[str, str], label: str | None) -> dict[str, Any]:
    """The amodal mask as a region of Label Studio."""
    height, width = done.size
    bits = done.amodal.to_array(done.size)
    if tags["kind"] == "brushlabels":
        value: dict[str, Any] = {"format": "rle", "rle": encode_brush(bits)}
    else:
        value = {"points": outline(bits), "closed": True}
    return {
        "id": secrets.token_hex(5),
        "from_name": tags["from"],
        "to_name": tags["to"],
        "type": tags["kind"],
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": done.score if done.score is not None else 1.0,
        "meta": {"occlusion_rate": round(done.occlusion_rate, 4)},
        "value": {**value, tags["kind"]: [label or tags["label"]]},
    }


def outline(bits: NDArray[np.bool_]) -> list[list[float]]:
    """The longest outline of a mask, in percent of its sides, corners within a pixel."""
    import cv2

    contours, _ = cv2.findContours(bits.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = cv2.approxPolyDP(max(contours, key=cv2.contourArea), 1.0, True).reshape(-1, 2) + 0.5
    return [[float(x) * 100 / bits.shape[1], float(y) * 100 / bits.shape[0]] for x, y in longest]


def encode_brush(bits: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) bool in Label Studio's brush format: the RGBA picture (255 where set), run-length packed into bytes."""
    flat = np.repeat(bits.ravel(), 4)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    lengths = np.diff(np.append(-1, ends))
    out = [f"{flat.size:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in SIZES)]
    for length, end in zip(lengths.tolist(), ends.tolist(), strict=True):
        word = "11111111" if flat[end] else "00000000"
        while length:
            part = min(length, 1 << 16)
            index = next(k for k, size in enumerate(SIZES) if part <= 1 << size)
            out.append(f"1{index:02b}{part - 1:0{SIZES[index]}b}{word}")
            length -= part
    text = "".join(out)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode_brush(packed: list[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The inverse of `encode_brush` for a picture of `size` (H, W).

    Raises:
        PromptError: malformed, or of another size.
    """
    try:
        raw = bytes(packed)
    except (TypeError, ValueError) as error:
        raise PromptError("the brush's rle must be a list of bytes") from error
    text = bin(int.from_bytes(b"\x01" + raw, "big"))[3:]
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(text):
            raise PromptError("the brush's rle is cut short")
        place += count
        return int(text[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if total != 4 * size[0] * size[1]:
        raise PromptError(f"the brush has {total // 4} pixels, the picture {size[0] * size[1]}; they must be equal")
    out = np.zeros(total, bool)
    at = 0
    while at < total:
        same = take(1)
        length = take(sizes[take(2)]) + 1
        values = [take(word)] if same else [take(word) for _ in range(length)]
        out[at : at + length] = np.array(values[0] > 127) if same else (np.array(values) > 127)[: total - at]
        at += length
    return np.asarray(out.reshape(*size, 4)[..., 3])
