"""A connection that waits for nobody without end: not for a request's head, nor for who reads an answer.

uvicorn limits only the time between requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from snakefold.service.refusals import HEADERS, problem

#: Bytes a second of an answer that a client takes at least.
_SLOWEST = 1000


class Connection(H11Protocol):
    """uvicorn's connection, with limits that `limit` puts into its configuration."""

    _head: asyncio.TimerHandle | None = None
    _taken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        # The guard counts them. With a limit of 0 every byte that the system does not take starts the clock.
        self.app_state = {**self.app_state, "connections": self.connections}
        transport.set_write_buffer_limits(high=0)
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
        self._written()

    def pause_writing(self) -> None:
        """Wait for the client to take what is written."""
        super().pause_writing()
        if self._taken is None:
            self._look_again(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """All of it is taken."""
        super().resume_writing()
        self._written()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as everything else is answered, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = problem(msg)
            headers = [*HEADERS, (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
            events = (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            for event in events:
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def _wait(self) -> None:
        self._head = self.loop.call_later(self.config.head_seconds, self._give_up)  # type: ignore[attr-defined]
        waiting = self.config.waiting  # type: ignore[attr-defined]
        waiting[self] = None
        if len(waiting) > self.config.most_waiting:  # type: ignore[attr-defined]
            # Who opens connections and says nothing must not keep others out.
            next(iter(waiting))._give_up()

    def _unset(self) -> None:
        self.config.waiting.pop(self, None)  # type: ignore[attr-defined]
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._unset()
        self.transport.abort()

    def _look_again(self, left: int) -> None:
        seconds = self.config.send_seconds  # type: ignore[attr-defined]
        self._taken = self.loop.call_later(seconds, self._has_taken, left - round(_SLOWEST * seconds))

    def _has_taken(self, expected: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left > max(expected, 0):
            self._taken = None
            self.transport.abort()
        else:
            self._look_again(left)

    def _written(self) -> None:
        if self._taken is not None:
            self._taken.cancel()
            self._taken = None


def limit(config: Any, *, head_seconds: float, send_seconds: float, most_waiting: int) -> None:
    """Give the connections of a server their limits.

    Args:
        config: uvicorn's, which it hands to every connection.
        head_seconds: longest time until a head is there.
        send_seconds: time within which a client takes some of an answer.
        most_waiting: connections without a request at once; for one more the oldest is closed.
    """
    config.head_seconds, config.send_seconds, config.most_waiting = head_seconds, send_seconds, most_waiting
    config.waiting = {}
