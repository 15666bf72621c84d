"""A connection that is closed if a request's head does not arrive in time: uvicorn would wait for good."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """uvicorn's connection, with a limit for the time until a head is there: `head_seconds` of `config`."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Go on waiting, unless the head is complete."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._unset()
        elif self._head is None and (self.cycle is None or self.cycle.response_complete):
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._unset()
        super().connection_lost(exc)

    def _wait(self) -> None:
        seconds = getattr(self.config, "head_seconds", 10.0)
        self._head = self.loop.call_later(seconds, self._give_up)

    def _unset(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if not self.transport.is_closing():
            self.transport.close()
