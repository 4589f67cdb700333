"""`/metrics` in Prometheus's text format.

Written without prometheus_client: the counters live where the work is done, and a collector of them would be as long as the text.
"""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import APIRouter, Request, Response

from ..core.files import read_text

__all__ = ["resident_bytes", "router"]

router = APIRouter()


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Counters and gauges: requests by status, jobs by end, queue, open photos, kept jobs, busy seconds, memory."""
    engine, guard = request.app.state.engine, request.app.state.guard
    desk = engine.desk
    families = [
        ("amodal_requests_total", "counter", {f'{{status="{k}"}}': v for k, v in sorted(guard.requests.items())}),
        ("amodal_jobs_total", "counter", {f'{{end="{k}"}}': v for k, v in desk.counts.items()}),
        ("amodal_busy_seconds_total", "counter", {"": round(desk.busy_s, 3)}),
        ("amodal_jobs_waiting", "gauge", {"": desk.waiting}),
        ("amodal_jobs_kept", "gauge", {"": len(engine.jobs)}),
        ("amodal_scenes_open", "gauge", {"": len(engine.photos)}),
        ("process_resident_memory_bytes", "gauge", {"": resident_bytes()}),
    ]
    lines = []
    for name, kind, values in families:
        lines.append(f"# TYPE {name} {kind}")
        lines += [f"{name}{labels} {value}" for labels, value in values.items()]
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    path = Path("/proc/self/statm")
    return int(read_text(path).split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0
