"""`POST /api/complete`: picture and prompt in, result out, in one call; for scripts that complete one object of a photo."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from ..core.errors import AmodalError, ImageError, PromptError
from ..core.files import parse_json
from .answers import ERRORS, engine_of, owner_of, unpacked
from .config import Limits
from .engine import decode_mask
from .results import TYPES, file_of
from .schema import CompleteRequest
from .shelf import Gone

__all__ = ["router"]

router = APIRouter(prefix="/api", responses=ERRORS)
SEED = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "description": "same seed, same answer"}
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "the photo"},
                        "point": {"type": "string", "example": "350,70", "description": "one click x,y on the object"},
                        "box": {"type": "string", "description": "x0,y0,x1,y1"},
                        "mask": {"type": "string", "format": "binary", "description": "a picture of the visible mask"},
                        "samples": {"type": "integer", "minimum": 1, "maximum": Limits.samples},
                        "seed": SEED,
                    },
                },
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "additionalProperties": False,
                    "properties": {
                        "image": {"type": "string", "format": "byte", "description": "the photo's bytes in base64"},
                        **{
                            name: {"$ref": f"#/components/schemas/CompleteRequest/properties/{name}"}
                            for name in CompleteRequest.model_fields
                        },
                    },
                }
            },
        },
        "description": "the photo as `image` (a file, or base64 in JSON), and the fields of CompleteRequest",
    }
}


@router.post("/complete", response_class=Response, openapi_extra=FORM)
async def complete_at_once(
    request: Request, file: Annotated[str, Query(max_length=64, description="the answer: a file of the result")] = ""
) -> Response:
    """The whole object at a prompt, in one call: `curl -F image=@photo.jpg -F point=350,70 URL/api/complete?file=cutout.png`.

    `file` is a name of the result's files; without it the answer is `result.json`, or the cut-out where a picture is asked
    for (`Accept: image/png`). Nothing is kept.
    """
    file = file or ("cutout.png" if request.headers.get("accept", "").startswith("image/") else "result.json")
    content, name, fields, notes = await _read(request)
    try:
        body = CompleteRequest.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(
            error.errors(include_input=False, include_url=False, include_context=False)
        ) from error
    engine, owner = engine_of(request), owner_of(request)
    key, photo = await unpacked(request, content, name)
    photo.notes += notes
    job = None
    try:
        job = await run_in_threadpool(engine.complete, owner, photo, body)
        async for _ in job.watch(1.0):
            if await request.is_disconnected():
                engine.desk.cancel(job)
        if job.state != "done":
            raise AmodalError(job.error or f"the job is {job.state}")
        answer = await run_in_threadpool(file_of, job.result, file)
    finally:
        engine.photos.discard(key)
        if job is not None:
            engine.jobs.discard(job.id)
    if answer is None:
        raise Gone("the result has no file of this name; for instance result.json, cutout.png, amodal.png")
    told = {"X-Amodal-Notes": quote("; ".join(photo.notes), safe=" ;,:.()")} if photo.notes else {}
    return Response(answer, media_type=TYPES[file.rpartition(".")[2]], headers=told)


async def _read(request: Request) -> tuple[bytes, str, dict[str, Any], list[str]]:
    """The photo, its name, the other fields of a form or of JSON, and what was understood of a mask picture.

    Raises:
        ImageError, PromptError, HTTPException.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind != "application/json":
        raise ImageError(
            f"send multipart/form-data with the file 'image', or JSON with 'image' in base64; got {kind[:60]!r}"
        )
    body = await request.body()
    fields = await run_in_threadpool(_parsed, body)
    if not isinstance(fields, dict) or not isinstance(fields.get("image"), str):
        raise ImageError("the JSON has no text 'image'; send the photo's bytes in base64")
    try:
        content = base64.b64decode(fields.pop("image").rpartition(",")[2], validate=True)
    except ValueError as error:
        raise ImageError("'image' is not base64") from error
    return content, "photo", fields, []


async def _read_form(request: Request) -> tuple[bytes, str, dict[str, Any], list[str]]:
    engine = engine_of(request)
    limits = engine.config.limits
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=4, max_fields=32, max_part_size=limits.body_bytes
    )
    parser.spool_max_size = limits.upload_bytes + limits.body_bytes  # photos live in memory only
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise HTTPException(400, f"the form is malformed: {getattr(error, 'message', error)}") from error
    try:
        image, mask = form.get("image"), form.get("mask")
        _refuse_unclear(form.multi_items())
        if image is None:
            raise ImageError("the form has no file 'image'; send the photo as multipart/form-data")
        content = await image.read() if isinstance(image, UploadFile) else image.encode("latin-1", "replace")
        called = (image.filename if isinstance(image, UploadFile) else None) or "photo"
        fields = {name: _value(name, value) for name, value in form.items() if isinstance(value, str)}
        fields.pop("image", None)
        notes: list[str] = []
        if isinstance(mask, UploadFile):
            found = engine.decoders.submit(decode_mask, await mask.read(), engine.config.limits.pixels)
            drawn, size, notes = await asyncio.wrap_future(found)
            fields["mask"] = await run_in_threadpool(drawn.to_rle, size)
    finally:
        await form.close()
    return content, called, fields, notes


def _refuse_unclear(items: list[tuple[str, Any]]) -> None:
    """Raises PromptError: a field is there twice, or a file is no photo and no mask."""
    names = [name for name, _ in items]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PromptError(
            f"the form has the field {twice[:40]!r} {names.count(twice)} times; several clicks are points=[[350,70],[100,300]]"
        )
    for name, value in items:
        if isinstance(value, UploadFile) and name not in ("image", "mask"):
            raise PromptError(
                f"the form has a file {name[:40]!r}; files are the photo 'image' and the visible mask 'mask'"
            )


def _value(name: str, text: str) -> Any:
    """A form's text: words as they are, numbers with commas, or JSON."""
    if name == "text":
        return text
    bare = name in ("point", "box", "labels") and not text.lstrip().startswith("[")
    try:
        return _parsed(f"[{text}]" if bare else text)
    except PromptError:
        return text


def _parsed(text: str | bytes) -> Any:
    return parse_json(text, "the body", PromptError, finite=False)
