"""Submissions whose answer was lost: the service may have them, and there is no way to ask for them by name.

RunPod knows no idempotency key and lists no jobs, but it counts those in queue and at work. More of them
than are known here means that a lost one is among them. Sending it again then would be paid twice; once it
has ended, the worker finds the finished work by its digest and returns it. Where others use the endpoint
too, that count may never fall to ours: then a job's longest time passes before it is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from . import ledger as states
from .errors import RunpodError
from .ledger import Ledger


@dataclass(eq=False)
class Doubt:
    """One such submission. `longest`: seconds to wait for its end; None: nobody waits."""

    longest: float | None = None
    seen: bool = False
    since: float = field(default_factory=time.monotonic)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Doubts:
    """Those of one endpoint. `surplus` counts its jobs that are not known here (None: it cannot tell)."""

    def __init__(self, surplus: Callable[[], Awaitable[int | None]], ledger: Ledger, interval: float) -> None:
        self._surplus = surplus
        self._ledger = ledger
        self._interval = interval
        self._doubts: dict[int, Doubt] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._doubts)

    def add(self, submission: int) -> None:
        self._doubts[submission] = Doubt()

    async def settled(self, submission: int, longest: float) -> None:
        """Wait until a submission has ended or has turned out not to be there, `longest` seconds at most."""
        doubt = self._doubts.setdefault(submission, Doubt())
        doubt.longest = longest
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._settle())
        await doubt.over.wait()

    async def look(self) -> None:
        """Strike those off that are not there, as far as the endpoint's count of jobs tells."""
        with contextlib.suppress(RunpodError, sqlite3.Error):
            self._decide(set(self._doubts), await self._surplus())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _settle(self) -> None:
        while any(doubt.longest is not None for doubt in self._doubts.values()):
            asked = set(self._doubts)
            # A submission cut off a moment ago may still be on its way into the queue.
            await asyncio.sleep(self._interval)
            try:
                self._decide(asked, await self._surplus())
            except RunpodError:
                self._decide(asked, None)
            except sqlite3.Error:
                continue  # a full disk may have room again the next time

    def _decide(self, asked: set[int], surplus: int | None) -> None:
        now = time.monotonic()
        there = surplus is None or surplus > 0
        for submission in asked:
            doubt = self._doubts[submission]
            doubt.seen = doubt.seen or (surplus or 0) > 0
            if there and (doubt.longest is None or now - doubt.since < doubt.longest):
                continue
            state = states.LOST if doubt.seen or there else states.REFUSED
            self._ledger.state(submission, state, "its answer was lost")
            del self._doubts[submission]
            doubt.over.set()
