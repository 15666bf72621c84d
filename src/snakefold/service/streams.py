"""Answers that last: of one user as many at once as `limits.streams` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from fastapi.responses import JSONResponse, StreamingResponse
from sse_starlette import EventSourceResponse
from starlette.types import Receive, Scope, Send

from snakefold.service.users import User


class Streams:
    """How many answers of this server last, by user."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def place(self, user: User) -> Iterator[bool]:
        """Whether one more may begin; it counts for as long as the context is."""
        free = self._open[user.user] < self.most
        self._open[user.user] += free
        try:
            yield free
        finally:
            self._open[user.user] -= free
            if not self._open[user.user]:
                del self._open[user.user]


class _Lasting:
    """An answer that takes its place when it begins to be sent: one that never is takes none."""

    streams: Streams
    user: User

    def within(self, streams: Streams, user: User) -> Self:
        """The same, as one of a user's."""
        self.streams, self.user = streams, user
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or a refusal in its place."""
        with self.streams.place(self.user) as free:
            if free:
                await super().__call__(scope, receive, send)  # type: ignore[misc]
                return
        detail = (
            f"{self.streams.most} of your events and archives are being sent. Close some, or ask for the "
            "state of a set now and then."
        )
        await JSONResponse({"detail": detail}, 429, {"Retry-After": "10"})(scope, receive, send)


class Events(_Lasting, EventSourceResponse):
    """Server-sent events."""


class Archive(_Lasting, StreamingResponse):
    """A file that is made while it is sent."""
