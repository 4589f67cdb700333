"""`Server`: uvicorn with what it leaves open: a time limit for request heads, and watchers that hear of a shutdown."""

from __future__ import annotations

import asyncio
import socket

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .access import Guard

__all__ = ["Server"]

HEAD_S = 20.0
"""Seconds that a connection may take to send a request's first line and headers."""


class PromptHeads(H11Protocol):
    """Closes connections that do not finish a request's head in time: they would be kept for ever."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Head and body are sent apart: without this the body waits, by 40 ms, until the client has acknowledged the head. asyncio
        # sees to it itself only for sockets that were made with TCP spelled out.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._late = self.loop.call_later(HEAD_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._late is None and (self.cycle is None or self.cycle.response_complete):
            self._late = self.loop.call_later(HEAD_S, self.transport.abort)
        super().data_received(data)
        if self._late is not None and self.cycle is not None and not self.cycle.response_complete:
            self._late.cancel()
            self._late = None

    def _should_upgrade(self) -> bool:
        return False  # a request that asks for a WebSocket or HTTP/2 is answered as any other

    def connection_lost(self, exc: Exception | None) -> None:
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)


class Server(uvicorn.Server):
    """Serves a `Guard`. At the end the jobs are stopped first, so that those who watch them are told before the lines close."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        super().__init__(
            uvicorn.Config(
                guard,
                log_config=None,
                access_log=False,
                server_header=False,
                http=PromptHeads,
                ws="none",
                timeout_graceful_shutdown=5,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.guard.app.state.engine.desk.stop()  # type: ignore[attr-defined]
        await super().shutdown(sockets)
