"""One endpoint's jobs: how many there may be, where each one stands, and which may be there unknown to us."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from . import ledger as states
from .client import Client
from .diagnosis import why_waiting, workers_max
from .doubt import Doubts
from .errors import AccessError, NotFoundError, RejectedError, RunpodError, UnavailableError
from .ledger import Ledger, Row
from .policy import LONGEST

QUEUED = "IN_QUEUE"
STUCK = "STUCK"
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
#: RunPod's default for new accounts, where the management API cannot be asked.
_WORKERS = 5
_CHUNK = 32
_FULL_SWEEP = 10
_SLOWEST = 30.0


@dataclass(eq=False)
class Flight:
    """A submission from its acceptance to its end. `ended` has the last answer of /status."""

    submission: int
    job: str
    state: str
    ended: asyncio.Future[dict[str, Any]]
    since: float = field(default_factory=time.monotonic)
    running_since: float | None = None
    looked: float = 0.0

    def due(self, interval: float) -> float:
        """When to look again: jobs that have run for long are looked at less often."""
        running = 0.0 if self.running_since is None else self.looked - self.running_since
        return self.looked + min(max(interval, running / 20), max(interval, _SLOWEST))


class Queue:
    """The jobs of one endpoint. Everything runs in the engine's loop."""

    def __init__(
        self,
        endpoint: str,
        client: Client,
        ledger: Ledger,
        *,
        interval: float,
        most: int,
        queue_timeout: float,
        warn: Callable[[str], None],
        fatal: Callable[[RunpodError], None],
    ) -> None:
        self.endpoint = endpoint
        self._client = client
        self._ledger = ledger
        self._interval = interval
        self._most = most
        self._queue_timeout = queue_timeout
        self._warn = warn
        self._fatal = fatal
        self._flights: dict[str, Flight] = {}
        self._strangers: dict[str, Row] = {}
        self.doubts = Doubts(self._surplus, ledger, interval)
        self._changed = asyncio.Condition()
        self._taken = 0
        self._sending = 0
        self._held = False
        self._opened: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeps = 0
        self._moved = time.monotonic()
        self._warned = 0.0
        self._failing_since: float | None = None

    async def open(self) -> None:
        """Look up what earlier runs left, and how much the endpoint takes; once."""
        if self._opened is None:
            self._opened = asyncio.create_task(self._open())
        await asyncio.shield(self._opened)

    async def _open(self) -> None:
        for row in self._ledger.live(self.endpoint):
            if row.job is not None:
                self._strangers[row.job] = row
            elif row.submitted < time.time() - LONGEST:
                self._ledger.state(row.id, states.LOST, "its answer was lost, too long ago to be live")
            else:
                self.doubts.add(row.id)
        if not self._most:
            found = await workers_max(self._client, self.endpoint)
            if found == 0:
                self._warn(await why_waiting(self._client, self.endpoint))
            self._most = 3 * (found or _WORKERS)
        self._start(self._watch())

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.doubts.close()

    # Places

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One of the places in flight; waits for one."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken < self._most)
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
            await self._changed.wait_for(lambda: not self._held)
            self._held = True
        try:
            async with self._changed:
                await self._changed.wait_for(lambda: not self._sending)
            yield
        finally:
            async with self._changed:
                self._held = False
                self._changed.notify_all()

    async def stop(self) -> None:
        """Let submissions that are under way end, and none begin."""
        async with self._changed:
            self._held = True
            await self._changed.wait_for(lambda: not self._sending)

    # Jobs

    def add(self, submission: int, job: str, state: str = QUEUED) -> Flight:
        """Look after a job from now on."""
        self._strangers.pop(job, None)
        flight = Flight(submission, job, state, asyncio.get_running_loop().create_future())
        self._flights[job] = flight
        return flight

    def live_ids(self) -> list[str]:
        """Jobs that are not known to have ended, those of earlier runs included."""
        return [*self._flights, *self._strangers]

    def strangers(self) -> list[Row]:
        """Live jobs of earlier runs that nobody has asked for yet."""
        return list(self._strangers.values())

    async def cancel(self, job: str) -> str:
        """Cancel one job; returns its state.

        Raises:
            RunpodError: it could not be done.
        """
        try:
            state = str((await self._client.cancel(self.endpoint, job)).get("status", "CANCELLED"))
        except NotFoundError:
            state = states.LOST
        flight, stranger = self._flights.pop(job, None), self._strangers.pop(job, None)
        row = flight.submission if flight else stranger.id if stranger else None
        if row is not None:
            self._ledger.state(row, state if state in states.FINAL else "CANCELLED", "cancelled by this run")
        return state

    async def resume(self, row: Row) -> Flight | dict[str, Any]:
        """A submission of an earlier try: looked after from now on, or its last answer if it has ended."""
        job = row.job or ""
        if job in self._flights:
            return self._flights[job]
        try:
            answer = await self._client.persist(lambda: self._client.status(self.endpoint, job))
        except NotFoundError:
            answer = {"status": states.LOST}
        if answer.get("status") in (*_ENDED, states.LOST):
            self._strangers.pop(job, None)
            return answer
        flight = self.add(row.id, job)
        self._note(flight, answer)
        return flight

    # Where they stand

    async def _watch(self) -> None:
        took = 0.0
        while True:
            await asyncio.sleep(max(self._interval / 10, self._interval - took))
            began = time.monotonic()
            try:
                await self._sweep()
                await self._look_at_waiting()
            except Exception as error:  # nothing a sweep meets may end the sweeps
                self._warn(
                    f"endpoint {self.endpoint}: while looking at its jobs: {type(error).__name__}: {error}"
                )
            took = time.monotonic() - began

    async def _sweep(self) -> None:
        """Look at what runs, and at the head of the queue: jobs are taken in the order they were submitted.

        Every tenth time at all of them, for that order is not promised and jobs may be cancelled or expire.
        """
        self._sweeps += 1
        now = time.monotonic()
        flights = list(self._flights.values())
        waiting = [flight for flight in flights if flight.state == QUEUED]
        running = [
            f for f in flights if f.state != QUEUED and f.due(self._interval) <= now + self._interval / 4
        ]
        if self._sweeps % _FULL_SWEEP == 0:
            await self._look(running + waiting)
            return
        await self._look(running)
        for first in range(0, len(waiting), _CHUNK):
            chunk = waiting[first : first + _CHUNK]
            await self._look(chunk)
            if all(flight.state == QUEUED for flight in chunk):
                return

    async def _look(self, flights: Iterable[Flight]) -> bool:
        """Whether all of them could be seen."""
        return all(await asyncio.gather(*(self._look_at(flight) for flight in flights)))

    async def _look_at(self, flight: Flight) -> bool:
        try:
            answer = await self._client.status(self.endpoint, flight.job)
        except NotFoundError:
            self._end(flight, {"status": states.LOST})
        except AccessError as error:
            self._fatal(error)
            return False
        except (UnavailableError, RejectedError) as error:
            self._note_failure(error)
            return False
        else:
            self._failing_since = None
            self._note(flight, answer)
        return True

    def _note(self, flight: Flight, answer: dict[str, Any]) -> None:
        state = answer.get("status")
        if not isinstance(state, str) or answer.get("id", flight.job) != flight.job:
            return
        now = flight.looked = time.monotonic()
        if state in _ENDED:
            self._end(flight, answer)
        elif state != flight.state:
            if flight.state == QUEUED:
                flight.running_since = now
                self._moved = now
            elif state == QUEUED:
                # Its worker died, and the platform starts it again.
                flight.running_since, flight.since = None, now
            flight.state = state
            self._ledger.state(flight.submission, state)

    def _end(self, flight: Flight, answer: dict[str, Any]) -> None:
        self._moved = time.monotonic()
        flight.state = str(answer["status"])
        self._flights.pop(flight.job, None)
        self._strangers.pop(flight.job, None)
        if not flight.ended.done():
            flight.ended.set_result(answer)

    def _note_failure(self, error: RunpodError) -> None:
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        elif now - self._failing_since > 60 and now - self._warned > 60:
            self._warned = now
            self._warn(f"the state of jobs cannot be seen for {now - self._failing_since:.0f} s: {error}")

    async def _look_at_waiting(self) -> None:
        now = time.monotonic()
        waiting = [flight for flight in self._flights.values() if flight.state == QUEUED]
        patience = min(300.0, self._queue_timeout / 2)
        for flight in waiting:
            if now - flight.since > self._queue_timeout:
                why = await why_waiting(self._client, self.endpoint)
                with contextlib.suppress(UnavailableError, RejectedError):
                    state = await self.cancel(flight.job)
                    if state == "COMPLETED":
                        self._flights[flight.job] = flight  # it ended just now: the next sweep has its result
                    else:
                        self._end(flight, {"status": STUCK, "error": why})
        longest = max((now - flight.since for flight in waiting), default=0.0)
        if min(longest, now - self._moved) > patience and now - self._warned > patience:
            self._warned = now
            why = await why_waiting(self._client, self.endpoint)
            self._warn(f"jobs wait ({len(waiting)}), none has started for {now - self._moved:.0f} s: {why}")

    # Submissions whose answer was lost

    async def _surplus(self) -> int | None:
        """Jobs in the endpoint that are not ours as far as we know; None: it does not say."""
        async with self.quiet():
            if not await self._look(list(self._flights.values())):
                return None
            for job, row in list(self._strangers.items()):
                await self._look_at_stranger(job, row)
            health = (await self._client.health(self.endpoint)).get("jobs")
            known = len(self._flights) + len(self._strangers)
        if not isinstance(health, dict):
            return None
        queued, running = health.get("inQueue"), health.get("inProgress")
        if not isinstance(queued, int) or not isinstance(running, int):
            return None
        return queued + running - known

    async def _look_at_stranger(self, job: str, row: Row) -> None:
        try:
            state = (await self._client.status(self.endpoint, job)).get("status")
        except NotFoundError:
            state = states.LOST
        if state in (*_ENDED, states.LOST):
            self._ledger.state(row.id, str(state))
            self._strangers.pop(job, None)
