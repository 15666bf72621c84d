"""What stands before every route: size, time and form of requests, names of hosts, pages of other sites."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from snakefold.service.logs import new_request
from snakefold.service.refusals import DEFAULTS, HEADERS, problem
from snakefold.service.settings import ServiceSettings
from snakefold.service.strict import NotStrict, check_json

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
log = logging.getLogger(__name__)

_LOOPBACK = {"localhost", "testserver"}
#: Largest body of somebody who gives no token that is known: enough for a form that asks for one.
_UNKNOWN = 64_000
#: Bodies from this size on are checked in a thread, so that others need not wait.
_LARGE = 100_000
_LONGEST_PATH = 2000
_MOST_HEADERS = 200
_DEFAULTS = [(name.encode(), value.encode()) for name, value in DEFAULTS.items()]


class _Refused(Exception):
    def __init__(self, code: int, detail: str) -> None:
        self.code, self.detail = code, detail


@dataclass
class _Exchange:
    """One request, and how far its answer is."""

    send: Send
    status: int = 0
    complete: bool = False
    refused: _Refused | None = None

    async def pass_on(self, message: Message) -> None:
        """Send a message of the application, with the headers that every answer has."""
        if self.refused and not self.status:
            return  # what the application makes of a body that was cut off
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in _DEFAULTS if each[0] not in given)]
        elif message["type"] == "http.response.body":
            self.complete = not message.get("more_body", False)
        await self.send(message)

    async def refuse(self, code: int, detail: str) -> None:
        """Answer in place of the application, and close the connection: the rest of a body is not read."""
        self.status, self.complete = code, True
        body = problem(detail)
        extra = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        if code == 503:
            extra.append((b"retry-after", b"5"))
        await self.send({"type": "http.response.start", "status": code, "headers": [*HEADERS, *extra]})
        await self.send({"type": "http.response.body", "body": body})


class Guard:
    """An ASGI application around another.

    Args:
        uploads: whether a path takes sets, which may be larger than other requests.
        pages: whether a path shows a page and does nothing else: other sites may link to it.
        knows: whether a request has a token that is known; others get no memory for large bodies.
        answered: is told of every answer: its status, and seconds until it was complete.
    """

    def __init__(
        self,
        app: Any,
        settings: ServiceSettings,
        uploads: Callable[[str], bool] = lambda _: False,
        *,
        pages: Callable[[str], bool] = lambda path: path == "/",
        knows: Callable[[Scope], bool] = lambda _: True,
        answered: Callable[[int, float], None] = lambda _status, _seconds: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._uploads, self._pages, self._knows, self._answered = uploads, pages, knows, answered
        self._names = _LOOPBACK | {settings.host.lower()} | {name.lower() for name in settings.names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it; and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.monotonic()
        new_request()
        exchange = _Exchange(send)
        try:
            await self._exchange(scope, receive, exchange)
        finally:
            seconds = time.monotonic() - begun
            self._answered(exchange.status, seconds)
            log.info(
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"][:_LONGEST_PATH],  # never the query: it may hold a signature
                    "status": exchange.status or None,
                    "milliseconds": round(seconds * 1000, 1),
                },
            )

    async def _exchange(self, scope: Scope, receive: Receive, exchange: _Exchange) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            self._check(scope, headers)
            limited = self._limited(scope, headers, receive, exchange)
            if _is_json(scope, headers):
                limited = await _checked(limited, receive)
            await self._app(scope, limited, exchange.pass_on)
        except _Refused as refused:
            exchange.refused = refused
        except Exception:
            if not exchange.status:
                log.exception("failed")
                exchange.refused = _Refused(500, "The service failed at this request; its log says how.")
            elif not exchange.complete:
                raise  # it is cut off in the middle: uvicorn closes the connection
        if exchange.refused and not exchange.status:
            await exchange.refuse(exchange.refused.code, exchange.refused.detail)

    def _check(self, scope: Scope, headers: dict[str, str]) -> None:
        if len(scope.get("state", {}).get("connections", ())) > self._settings.limits.connections:
            raise _Refused(503, "The service has too many connections. Try again in some seconds.")
        if len(scope["headers"]) > _MOST_HEADERS:
            raise _Refused(431, f"A request has {_MOST_HEADERS} headers at most.")
        host = headers.get("host", "")
        if not self._is_ours(_name(host)):
            # Else a page of anybody could call a service on loopback by a name of its own.
            raise _Refused(421, "This service does not go by that host name. Whoever runs it sets `names`.")
        if len(scope["path"]) > _LONGEST_PATH or not scope["path"].startswith("/"):
            raise _Refused(404, "There is nothing of this name.")
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
            if not (link and self._pages(scope["path"])):
                raise _Refused(403, "Pages of other sites may not call this service.")
        elif origin is not None:
            theirs = origin.partition("://")[2].lower()
            if theirs != host.lower() and _name(theirs) not in self._settings.names:
                raise _Refused(403, "Pages of other sites may not call this service.")

    def _is_ours(self, name: str) -> bool:
        """Whether a name in a request's head may mean this service; a number is nobody's to give away."""
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _limited(
        self, scope: Scope, headers: dict[str, str], receive: Receive, exchange: _Exchange
    ) -> Receive:
        """`receive`, until a body is too large or too slow."""
        limits = self._settings.limits
        most = round((limits.upload_mb if self._uploads(scope["path"]) else limits.body_mb) * 1e6)
        refusal = _Refused(413, f"The request is larger than {most / 1e6:g} MB.")
        said = headers.get("content-length", "")
        has_body = "transfer-encoding" in headers or (said.isdigit() and int(said) > _UNKNOWN)
        if has_body and not self._knows(scope):
            most = min(most, _UNKNOWN)
            refusal = _Refused(401, "Give a token of this service: Authorization: Bearer TOKEN.")
        if said.isdigit() and int(said) > most:
            raise refusal
        until = time.monotonic() + limits.body_seconds
        size, complete = 0, False

        def refuse(refused: _Refused) -> _Refused:
            exchange.refused = refused
            return refused

        async def limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()  # the client leaves, whenever
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0)):
                    message = await receive()
            except TimeoutError as error:
                raise refuse(
                    _Refused(408, f"The request took longer than {limits.body_seconds:g} s to arrive.")
                ) from error
            size += len(message.get("body", b""))
            if size > most:
                raise refuse(refusal)
            complete = not message.get("more_body", False)
            return message

        return limited


def _name(host: str) -> str:
    """The name of `name:port`."""
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdigit() or not port) else host).lower()


def _is_json(scope: Scope, headers: dict[str, str]) -> bool:
    if scope["method"] in ("GET", "HEAD"):
        return False
    kind = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


async def _checked(limited: Receive, receive: Receive) -> Receive:
    """Read a body of JSON whole, and give it on if it is strict."""
    parts: list[bytes] = []
    while True:
        message = await limited()
        if message["type"] != "http.request":  # the client has left
            return receive
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            break
    body = b"".join(parts)
    if body:
        try:
            await asyncio.to_thread(check_json, body) if len(body) >= _LARGE else check_json(body)
        except NotStrict as error:
            raise _Refused(400, str(error)) from error
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
