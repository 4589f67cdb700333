"""`Guard`: who may call, and how much they may send; runs before every route.

- On this machine, without a token, only requests to this machine's own names are answered (DNS rebinding), and none that a
  page of another site makes (cross-site requests).
- With a token, callers show it once as `Authorization: Bearer` (or as the password of Basic) and get a signed cookie.
- The cookie is the session: photos and jobs belong to it. It is random, signed with a key of this process, HttpOnly and
  SameSite=Strict. Tokens, cookies and query strings are in no log.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.exceptions import HTTPException

from .config import LOOPBACK, Config

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("amodal.serve")

OPEN = ("/api/health",)
GUARDED = ("/api/", "/label-studio", "/metrics", "/openapi.json", "/docs")
UPLOADS = ("/api/scenes", "/api/complete")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Guard:
    """ASGI middleware; sets `scope["owner"]`, the session's name, and for new sessions `scope["caller"]`, who opens them."""

    def __init__(self, app: App, config: Config) -> None:
        self.app = app
        self.config = config
        self.requests: Counter[str] = Counter()
        self.incoming = 0
        """Bytes of all request bodies under way."""
        self._key = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status = 0
        extra = list(HEADERS)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                taken = {name for name, _ in message.get("headers", [])}
                more = [pair for pair in extra if pair[0] not in taken]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        try:
            refusal = self._refuse(scope, headers, extra)
            if refusal:
                await _error(answer, *refusal)
            else:
                await self.app(scope, self._bounded(scope, receive), answer)
        finally:
            self.incoming -= scope.get("received", 0)
            self.requests[f"{status // 100}xx"] += 1
            if status == 429:
                self.requests["429"] += 1
            seconds = time.perf_counter() - begin
            log.info(
                "%s %s %d %.3f s", scope["method"], scope["path"].encode("unicode_escape").decode(), status, seconds
            )

    def _refuse(
        self, scope: Scope, headers: dict[str, str], extra: list[tuple[bytes, bytes]]
    ) -> tuple[int, str] | None:
        """Status and reason, or None to go on (then `scope["owner"]` is set)."""
        guarded = scope["path"].startswith(GUARDED) and scope["path"] not in OPEN
        host = headers.get("host", "")
        if self.config.token is None and _name(host) not in LOOPBACK:
            return 421, "this service answers to localhost and 127.0.0.1 only; to serve others start it with a token"
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        if guarded and (foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site")):
            return 403, "requests from pages of other sites are refused"
        if "\0" in scope["path"]:
            return 404, "no address holds a zero byte"
        size = headers.get("content-length", "0")
        if not size.isascii() or not size.isdigit() or len(size) > 15 or int(size) > self._limit(scope):
            return 413, self._too_large(scope)
        session = self._session(headers.get("cookie", ""))
        if session is None and guarded:
            if self.config.token is not None and not self._has_token(headers.get("authorization", "")):
                return 401, "this service needs its token: send the header 'Authorization: Bearer TOKEN'"
            session = secrets.token_urlsafe(24)
            scope["caller"] = f"new at {(scope.get('client') or ('',))[0]}"
            cookie = f"{self.cookie}={session}.{self._sign(session)}; Path=/; HttpOnly; SameSite=Strict"
            extra.append((b"set-cookie", cookie.encode()))
        scope["owner"] = "" if session is None else hashlib.sha256(session.encode()).hexdigest()
        return None

    @property
    def cookie(self) -> str:
        """Its name; browsers share cookies between the ports of a host."""
        return f"amodal_{self.config.port}"

    def _sign(self, session: str) -> str:
        return hmac.new(self._key, session.encode(), "sha256").hexdigest()

    def _session(self, header: str) -> str | None:
        try:
            morsel = SimpleCookie(header).get(self.cookie)
        except CookieError:
            return None
        session, _, signature = (morsel.value if morsel else "").rpartition(".")
        return session if session and _equal(signature, self._sign(session)) else None

    def _has_token(self, header: str) -> bool:
        kind, _, value = header.partition(" ")
        if kind.lower() == "basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[2]
            except ValueError:
                return False
        return kind.lower() in ("bearer", "basic") and _equal(value.strip(), self.config.token or "")

    def _limit(self, scope: Scope) -> int:
        limits = self.config.limits
        if scope["path"].startswith("/api/scenes/") and scope["path"].endswith("/mask"):
            return limits.upload_bytes
        if scope["path"] in UPLOADS:
            return limits.upload_bytes + (limits.body_bytes if scope["path"] == "/api/complete" else 0)
        return limits.body_bytes * (4 if scope["path"].startswith("/label-studio") else 1)

    def _too_large(self, scope: Scope) -> str:
        return f"the request is larger than {self._limit(scope) / 2**20:.0f} MB, the limit here; send a smaller photo"

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """The request's body, in bounds of size, of pace and of what all requests together may have under way."""
        limits = self.config.limits
        size, begin, ended = 0, time.monotonic(), False

        async def bounded() -> Message:
            nonlocal size, ended
            if ended:  # the body is complete: whoever waits now waits for the end of the line
                return await receive()
            wait = min(limits.stall_s, limits.upload_s - (time.monotonic() - begin))
            try:
                message = await asyncio.wait_for(receive(), max(0.0, wait))
            except asyncio.TimeoutError:
                raise HTTPException(
                    408, "the request came too slowly; send it again", {"connection": "close"}
                ) from None
            size += len(message.get("body", b""))
            self.incoming += len(message.get("body", b""))
            scope["received"] = size
            ended = not message.get("more_body", False)
            if size > self._limit(scope):
                raise HTTPException(413, self._too_large(scope))
            if self.incoming > limits.incoming_bytes:
                raise HTTPException(429, "too much is being uploaded; try again in a moment", {"retry-after": "2"})
            return message

        return bounded


def _equal(a: str, b: str) -> bool:
    return hmac.compare_digest(a.encode(), b.encode())


def _name(host: str) -> str:
    """The name in a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


async def _error(send: Send, status: int, text: str) -> None:
    body = json.dumps({"error": text}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="amodal"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
