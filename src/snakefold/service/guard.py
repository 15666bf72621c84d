"""What stands before every route: size and time of requests, names of hosts, headers of answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from snakefold.service.settings import ServiceSettings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "testserver"}
#: Pages of reports bring scripts and styles of their own; nothing of them comes from elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class _Refused(Exception):
    def __init__(self, code: int, detail: str) -> None:
        self.code, self.detail = code, detail


class Guard:
    """An ASGI application around another."""

    def __init__(
        self, app: Any, settings: ServiceSettings, uploads: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._app = app
        self._settings = settings
        self._uploads = uploads
        self._names = _LOOPBACK | {settings.host} | set(settings.names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        begun = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {name for name, _ in message["headers"]}
                own = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *((n, v) for n, v in own if n not in given)]
            await send(message)

        try:
            self._check(headers)
            await self._app(scope, self._limited(scope, headers, receive), guarded)
        except _Refused as refused:
            if begun:
                raise
            await _answer(guarded, refused.code, refused.detail)

    def _check(self, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name.lower() not in self._names:
            # Else a page of anybody could call a service on loopback by a name of its own.
            raise _Refused(421, "This service does not go by that host name. Whoever runs it sets `names`.")
        if headers.get("sec-fetch-site", "same-origin") == "cross-site":
            raise _Refused(403, "Pages of other sites may not call this service.")

    def _limited(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
        limits = self._settings.limits
        most = round((limits.upload_mb if self._uploads(scope["path"]) else limits.body_mb) * 1e6)
        too_large = _Refused(413, f"The request is larger than {most / 1e6:g} MB.")
        said = headers.get("content-length", "")
        if said.isdigit() and int(said) > most:
            raise too_large
        until = time.monotonic() + limits.body_seconds
        size, complete = 0, False

        async def limited() -> MutableMapping[str, Any]:
            nonlocal size, complete
            if complete:
                return await receive()  # the client leaves, whenever
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError as error:
                raise _Refused(
                    408, f"The request took longer than {limits.body_seconds:g} s to arrive."
                ) from error
            size += len(message.get("body", b""))
            if size > most:
                raise too_large
            complete = not message.get("more_body", False)
            return message

        return limited


async def _answer(send: Send, code: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
