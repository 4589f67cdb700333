"""What an operator can set: where the service listens, who may use it, and how much anyone may take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError

__all__ = ["LOOPBACK", "Config", "Limits"]

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")


@dataclass(frozen=True)
class Limits:
    """Bounds that keep the service up: whatever clients do, memory and queue stay within them.

    Attributes:
        upload_bytes: size of an uploaded photo.
        body_bytes: size of any other request.
        pixels: of a photo.
        scenes: open photos; the one not used for longest gives way.
        scene_bytes: of all open photos together.
        results: finished jobs kept; the oldest gives way.
        keep_s: seconds after which an unused scene or result is removed.
        queue: waiting jobs; the next one is answered 429.
        session_jobs: waiting and running jobs of one session.
        job_s: seconds that a job may run.
        upload_s: seconds that an upload may take.
        samples: guesses per job.
        models: loaded models kept.
    """

    upload_bytes: int = 32 << 20
    body_bytes: int = 8 << 20
    pixels: int = 24_000_000
    scenes: int = 32
    scene_bytes: int = 1 << 30
    results: int = 128
    keep_s: float = 1800.0
    queue: int = 64
    session_jobs: int = 16
    job_s: float = 600.0
    upload_s: float = 120.0
    samples: int = 64
    models: int = 2


@dataclass(frozen=True)
class Config:
    """One service.

    Attributes:
        host: where it listens; anything but this machine needs a token.
        port: 0 takes a free one.
        token: what callers must show; None lets everyone on this machine in.
        model: arguments of `amodal.load` for requests that name nothing else.
        media: the folder that Label Studio's local files lie in; None refuses them.
        limits: bounds.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    media: Path | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise UsageError(
                f"serving on {self.host} lets other machines in, which needs a token; add --token, or set AMODAL_TOKEN"
            )
        if self.token is not None and len(self.token) < 16:
            raise UsageError("the token is shorter than 16 characters; make one with: openssl rand -hex 24")
