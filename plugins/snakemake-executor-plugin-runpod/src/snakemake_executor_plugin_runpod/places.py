"""How many jobs an endpoint may have at once, and when submissions may be under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Places:
    """Of one endpoint. `most` is set before the first is taken."""

    def __init__(self) -> None:
        self.most = 0
        self._changed = asyncio.Condition()
        self._taken = 0
        self._sending = 0
        self._held = False
        self._stopped = False

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places in flight; waits for one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken < self.most)
            self._taken += 1
        try:
            yield
        finally:
            await self._give_back()

    @contextlib.asynccontextmanager
    async def place_of_old(self) -> AsyncIterator[None]:
        """The place a job of an earlier run has already."""
        self._taken += 1
        try:
            yield
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        async with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Held while a submission is under way."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._held)
            self._sending += 1
        try:
            yield
        finally:
            async with self._changed:
                self._sending -= 1
                self._changed.notify_all()

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Held while nothing is submitted."""
        async with self._changed:
            # Once the queue is stopped nothing is submitted any more, and nobody gives it free.
            await self._changed.wait_for(lambda: not self._held or self._stopped)
            self._held = True
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._sending)
            yield
        finally:
            async with self._changed:
                self._held = self._stopped
                self._changed.notify_all()

    async def stop(self) -> None:
        """Let submissions that are under way end, and none begin."""
        async with self._changed:
            self._held = self._stopped = True
            self._changed.notify_all()
            await self._changed.wait_for(lambda: not self._sending)
