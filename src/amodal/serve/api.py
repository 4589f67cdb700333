"""The HTTP service: photos opened once, prompts answered at once, completions as jobs with progress. OpenAPI at /openapi.json."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from .. import __version__
from ..core.errors import ImageError
from ..core.image import encode_png
from ..core.picture import FORMATS
from ..plugins.protocols import Proposal
from . import at_once, labelstudio, metrics
from .access import Guard
from .answers import ERRORS, engine_of, handle_errors, owner_of, unpacked
from .config import Config
from .engine import Engine, OpenPhoto, catalogue
from .jobs import Busy, Job
from .results import TYPES, describe, file_of
from .schema import (
    CompleteRequest,
    JobAnswer,
    LayersRequest,
    RepaintRequest,
    SceneAnswer,
    Visible,
    VisibleAnswer,
    VisibleRequest,
)
from .shelf import Gone

__all__ = ["create_app"]

PAGE = Path(__file__).parent / "page"
PHOTOS = Path(__file__).parent.parent / "_demo"
ANSWER_S = 120.0
T = TypeVar("T")

Id = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_-]{8,64}$", description="as the service gave it")]
PICTURE = {
    "requestBody": {
        "required": True,
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
        "description": f"the picture's bytes: {', '.join(FORMATS)}; HEIC where pillow-heif is installed",
    }
}
router = APIRouter(prefix="/api", responses=ERRORS)


def create_app(config: Config) -> Guard:
    """The service as an ASGI application (the FastAPI one is its `app`); loads the default model."""
    engine = Engine(config)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(engine))
        yield
        sweeper.cancel()
        await run_in_threadpool(engine.close)

    app = FastAPI(
        title="amodal",
        version=__version__,
        summary="Sees the whole object: amodal masks and completed pictures from a photo and a prompt.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.engine = engine
    app.include_router(router)
    app.include_router(at_once.router)
    app.include_router(metrics.router)
    app.include_router(labelstudio.router)
    app.mount("/samples", StaticFiles(directory=PHOTOS))
    app.mount("/swagger", StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    handle_errors(app)
    guard = Guard(app, config)
    app.state.guard = guard
    return guard


@router.get("/health")
async def health() -> dict[str, str]:
    """Whether the service is up; open to all."""
    return {"status": "ok", "version": __version__}


@router.get("/about")
async def about(request: Request) -> dict[str, Any]:
    """What can be chosen, with the JSON schema of its options; the limits; the bundled photos. Opens a session."""
    config = engine_of(request).config
    limits = {**dataclasses.asdict(config.limits), "samples": config.limits.samples}
    samples = sorted(path.name for path in PHOTOS.glob("*.jpg"))
    return {"version": __version__, "limits": limits, "samples": samples, **await run_in_threadpool(catalogue, config)}


@router.post("/scenes", status_code=201, openapi_extra=PICTURE)
async def open_scene(request: Request, name: Annotated[str, Query(max_length=200)] = "photo") -> SceneAnswer:
    """Upload a photo once; prompt it many times. The body is the file itself. Nothing is ever fetched from a URL."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and not kind.startswith("image/") and kind != "application/octet-stream":
        raise ImageError(f"the body must be the photo itself (Content-Type image/*), got {kind[:60]}")
    content = await request.body()
    key, photo = await unpacked(request, content, name)
    return _scene_answer(key, photo)


@router.get("/scenes/{scene}")
async def scene_info(request: Request, scene: Id) -> SceneAnswer:
    """Whether a photo is still open."""
    return _scene_answer(scene, _photo(request, scene))


def _scene_answer(key: str, photo: OpenPhoto) -> SceneAnswer:
    height, width = photo.size
    return SceneAnswer(
        id=key, width=width, height=height, sha256_pixels=photo.sha256, orientation=photo.orientation, notes=photo.notes
    )


@router.get("/scenes/{scene}/photo.png", response_class=Response)
async def scene_photo(request: Request, scene: Id) -> Response:
    """The photo as the models see it: upright, RGB."""
    content = await run_in_threadpool(encode_png, _photo(request, scene).image)
    return Response(content, media_type="image/png")


@router.delete("/scenes/{scene}", status_code=204, response_class=Response)
async def close_scene(request: Request, scene: Id) -> Response:
    """Forget a photo."""
    engine_of(request).photos.drop(scene, owner_of(request))
    return Response(status_code=204)


@router.post("/scenes/{scene}/visible")
async def visible(request: Request, scene: Id, body: VisibleRequest) -> VisibleAnswer:
    """The visible mask of a prompt, at once; the photo is embedded by the first one."""
    photo = _photo(request, scene)
    engine = engine_of(request)
    seen = await _soon(await run_in_threadpool(engine.visible, photo, body))
    asked = body.others and not body.glance and seen.prompt.single_click
    others = await _soon(engine.others(seen)) if asked else []
    best, *rest = await run_in_threadpool(lambda: [_visible(proposal, photo) for proposal in (seen.proposal, *others)])
    return VisibleAnswer(**best.model_dump(), others=rest)


async def _soon(future: Future[T]) -> T:
    """The answer, which is given up after a while. Raises Busy."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_S)
    except asyncio.TimeoutError as error:
        raise Busy("the service is busy; try again in a moment") from error


def _visible(proposal: Proposal, photo: OpenPhoto) -> Visible:
    mask = proposal.mask
    return Visible(mask=mask.to_rle(photo.size), score=proposal.score, area=mask.area, box=list(mask.box))


@router.post("/scenes/{scene}/mask", openapi_extra=PICTURE)
async def read_mask(request: Request, scene: Id) -> Visible:
    """The visible mask that a picture of the photo's size marks, read as `amodal segment --mask` does; send it as `mask`."""
    photo, engine = _photo(request, scene), engine_of(request)
    mask, notes = await asyncio.wrap_future(engine.decoders.submit(engine.mask, photo, await request.body()))
    found = await run_in_threadpool(_visible, Proposal(mask, None), photo)
    return found.model_copy(update={"notes": notes})


@router.post("/scenes/{scene}/completions", status_code=202)
async def complete(request: Request, scene: Id, body: CompleteRequest) -> JobAnswer:
    """Complete the object at a prompt: a job."""
    engine = engine_of(request)
    photo = _photo(request, scene)
    return _job_answer(engine, await run_in_threadpool(engine.complete, owner_of(request), photo, body))


@router.post("/scenes/{scene}/repaints", status_code=202)
async def repaint(request: Request, scene: Id, body: RepaintRequest) -> JobAnswer:
    """Paint the occluded pixels of an object whose masks are given, for instance corrected by hand: a job."""
    engine = engine_of(request)
    photo = _photo(request, scene)
    return _job_answer(engine, await run_in_threadpool(engine.repaint, owner_of(request), photo, body))


@router.post("/scenes/{scene}/layers", status_code=202)
async def layers(request: Request, scene: Id, body: LayersRequest) -> JobAnswer:
    """Take the scene apart into ordered layers: a job."""
    engine = engine_of(request)
    photo = _photo(request, scene)
    return _job_answer(engine, await run_in_threadpool(engine.take_apart, owner_of(request), photo, body))


@router.get("/jobs/{job}")
async def job_state(request: Request, job: Id) -> JobAnswer:
    """Where a job is."""
    return _job_answer(engine_of(request), _job(request, job))


@router.get("/jobs/{job}/events", response_class=StreamingResponse)
async def job_events(request: Request, job: Id) -> StreamingResponse:
    """Server-sent events: each is a JobAnswer; the last one tells how it ended."""
    engine, found = engine_of(request), _job(request, job)

    async def events() -> AsyncIterator[str]:
        async for _ in found.watch():
            yield f"data: {_job_answer(engine, found).model_dump_json()}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.delete("/jobs/{job}")
async def cancel_job(request: Request, job: Id) -> JobAnswer:
    """Stop a job: at once if it waits, within a step if it runs."""
    engine, found = engine_of(request), _job(request, job)
    engine.desk.cancel(found)
    return _job_answer(engine, found)


@router.get("/jobs/{job}/result")
async def job_result(request: Request, job: Id) -> Response:
    """The result as JSON: masks as COCO RLE, boxes, scores, provenance."""
    result = _result(request, job)
    content = await run_in_threadpool(lambda: json.dumps(describe(result)).encode())
    return Response(content, media_type="application/json")


@router.get("/jobs/{job}/files/{name}", response_class=Response)
async def job_file(request: Request, job: Id, name: Annotated[str, InPath(max_length=64)]) -> Response:
    """A file of the result. Completions: amodal.png, visible.png, occluded.png, cutout.png, cutout-soft.png, overlay.png,
    probability.png, certainty.png (the same as small as it was made, for `probability_box`), sample-0.png ..., result.json,
    coco.json, bundle.zip. Layers: layers.ora, layers.zip, background.png, object-1.png ..., rest.png, result.json."""
    result = _result(request, job)
    content = await run_in_threadpool(file_of, result, name)
    if content is None:
        raise Gone("the result has no file of this name")
    disposition = {"content-disposition": "attachment"}  # no file name: the page names it after the photo
    return Response(content, media_type=TYPES[name.rpartition(".")[2]], headers=disposition)


def _photo(request: Request, key: str) -> OpenPhoto:
    return engine_of(request).photos.get(key, owner_of(request))


def _job(request: Request, key: str) -> Job:
    return engine_of(request).jobs.get(key, owner_of(request))


def _result(request: Request, key: str) -> Any:
    job = _job(request, key)
    if job.state != "done":
        reason = f": {job.error}" if job.error else ""
        raise Gone(f"the job is {job.state}{reason}; it has no result")
    return job.result


def _job_answer(engine: Engine, job: Job) -> JobAnswer:
    return JobAnswer.model_validate(
        {
            **{name: getattr(job, name) for name in ("id", "kind", "state", "what", "done", "total", "error")},
            "place": engine.desk.place(job),
            "seconds": round(job.seconds, 3),
        }
    )


async def _sweep(engine: Engine) -> None:
    while True:
        await asyncio.sleep(min(30.0, engine.config.limits.keep_s))
        engine.photos.sweep()
        engine.jobs.sweep()
