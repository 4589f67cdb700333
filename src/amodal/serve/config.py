"""What an operator can set: where the service listens, who may use it, and how much anyone may take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..core.errors import UsageError
from ..pipeline.choice import ModelChoice

__all__ = ["LOOPBACK", "Config", "Limits"]

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True)
class Limits:
    """Bounds that keep the service up: whatever clients do, memory and queue stay within them.

    Attributes:
        upload_bytes: size of an uploaded photo.
        body_bytes: size of any other request.
        incoming_bytes: of all requests that are being received.
        pixels: of a photo.
        canvas: pixels of a mask that leaves its photo, and of a Label Studio brush.
        decoders: pictures unpacked at the same time.
        scenes: open photos; of whoever has most, the one not used for longest gives way.
        scene_bytes: of all open photos together, with what models keep of them.
        results: finished jobs kept; they give way as photos do.
        result_bytes: of all kept results together.
        keep_s: seconds after which an unused scene or result is removed.
        queue: waiting jobs; the next one is answered 429.
        session_jobs: waiting and running jobs of one session.
        job_s: seconds that a job may run.
        upload_s: seconds that a request may take to arrive.
        stall_s: seconds that it may pause.
        models: loaded models kept.
        sample_pixels: of a job's samples or objects together.
        samples: guesses per job; the same for every service, because the API's document states it.
    """

    samples: ClassVar[int] = 64

    upload_bytes: int = 32 << 20
    body_bytes: int = 8 << 20
    incoming_bytes: int = 256 << 20
    pixels: int = 24_000_000
    canvas: int = 36_000_000
    decoders: int = 2
    scenes: int = 32
    scene_bytes: int = 1 << 30
    results: int = 128
    result_bytes: int = 1 << 29
    keep_s: float = 1800.0
    queue: int = 64
    session_jobs: int = 16
    job_s: float = 600.0
    upload_s: float = 120.0
    stall_s: float = 15.0
    models: int = 2
    sample_pixels: int = 96_000_000


@dataclass(frozen=True)
class Config:
    """One service.

    Attributes:
        host: where it listens; anything but this machine needs a token.
        port: 0 takes a free one.
        token: what callers must show; None lets everyone on this machine in.
        model: for requests that name nothing else.
        device: where models run.
        media: the folder that Label Studio's local files lie in; None refuses them.
        limits: bounds.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    model: ModelChoice = field(default_factory=ModelChoice)
    device: str = "auto"
    media: Path | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise UsageError(
                f"serving on {self.host} lets other machines in, which needs a token; give one, or set AMODAL_TOKEN"
            )
        if self.token is not None and len(self.token) < 16:
            raise UsageError("the token is shorter than 16 characters; make one with: openssl rand -hex 24")
