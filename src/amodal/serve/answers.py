"""What all routes share: whose request it is, photos unpacked in line, and every error as `{"error": text}`."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..core.errors import AmodalError
from .engine import Engine, OpenPhoto
from .jobs import Busy
from .schema import ErrorAnswer
from .shelf import Gone

__all__ = ["ERRORS", "engine_of", "handle_errors", "owner_of", "refuse", "safe_name", "unpacked"]

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorAnswer, "description": text}
    for code, text in {
        401: "the token is missing or wrong",
        403: "a page of another site asks",
        404: "no such thing (any more), or it is somebody else's",
        413: "too large",
        421: "another host name",
        422: "malformed, or does not fit the photo",
        429: "the queue is full; try again later",
    }.items()
}


def handle_errors(app: FastAPI) -> None:
    """Answer what goes wrong in a route with a status and a text; nothing of it is the service's own fault."""
    app.add_exception_handler(AmodalError, _known)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(ClientDisconnect, _cut)


def safe_name(name: str) -> str:
    """A file name out of whatever a client sent: no folders, no control characters, not hidden, not empty."""
    last = re.split(r"[\\/]", name)[-1]
    return re.sub(r"[^\w .()+-]+", "_", last).strip(" .")[:100] or "photo"


def engine_of(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


def owner_of(request: Request) -> str:
    return str(request.scope["owner"])


async def unpacked(request: Request, content: bytes, name: str) -> tuple[str, OpenPhoto]:
    """A photo decoded and kept, and its key; decoders are few, and wait in line."""
    engine, caller = engine_of(request), str(request.scope.get("caller", ""))
    future = engine.decoders.submit(engine.open, owner_of(request), content, safe_name(name), caller)
    return await asyncio.wrap_future(future)


def refuse(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as ASCII JSON: whatever was sent may be in the text."""
    more = {"retry-after": "2"} if status == 429 else {}
    return Response(json.dumps({"error": text}), status, {**more, **(headers or {})}, "application/json")


async def _known(request: Request, error: Exception) -> Response:
    return refuse(404 if isinstance(error, Gone) else 429 if isinstance(error, Busy) else 422, str(error))


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part)[:100] for part in first["loc"] if part != "body")
    return refuse(422, f"{where}: {first['msg']}" if where else str(first["msg"]))


async def _plain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refuse(error.status_code, str(error.detail), error.headers)


async def _cut(request: Request, error: Exception) -> Response:
    return refuse(400, "the request was cut off")  # nobody is there to read it
