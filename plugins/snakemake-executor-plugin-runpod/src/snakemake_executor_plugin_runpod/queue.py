"""One endpoint's jobs: where they stand, which live too long, and which may be there unknown to us."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from typing import Any

from . import ledger as states
from .client import Client
from .diagnosis import why_waiting, workers_max
from .doubt import Doubts
from .errors import AccessError, NotFoundError, RejectedError, RunpodError, UnavailableError
from .flight import QUEUED, Flight
from .ledger import Ledger, Row
from .outcome import bill, progress_of, seconds
from .places import Places
from .policy import LONGEST

STUCK = "STUCK"
_ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
#: RunPod's default for new accounts, where the management API cannot be asked.
_WORKERS = 5
_CHUNK = 32
_FULL_SWEEP = 10
#: How often, and after how many seconds each, /status is asked whether a cancelled job has ended.
_CONFIRMATIONS = 4
_BETWEEN = 0.5


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
        overtime: float,
        warn: Callable[[str], None],
        fatal: Callable[[RunpodError], None],
    ) -> None:
        self.endpoint = endpoint
        self._client = client
        self._ledger = ledger
        self._interval = interval
        self._most = most  # 0: as its workersMax has it
        self._queue_timeout = queue_timeout
        self._overtime = overtime
        self._warn = warn
        self._fatal = fatal
        self._flights: dict[str, Flight] = {}
        self._strangers: dict[str, Row] = {}
        self.doubts = Doubts(self._surplus, ledger, interval)
        self.places = Places()
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
        self.places.most = self._most
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

    # Jobs

    def add(self, submission: int, job: str, *, limit: float, ttl: float) -> Flight:
        """Look after a job from now on. `limit`: its execution timeout; seconds."""
        self._strangers.pop(job, None)
        ended = asyncio.get_running_loop().create_future()
        now = time.monotonic()
        flight = Flight(submission, job, QUEUED, ended, now, now, limit=limit, ttl=ttl)
        self._flights[job] = flight
        return flight

    def live_ids(self) -> list[str]:
        """Jobs that are not known to have ended, those of earlier runs included.

        Those that wait come first: a worker whose job is cancelled takes up the next one.
        """
        flights = sorted(self._flights.values(), key=lambda flight: flight.state != QUEUED)
        return [*(flight.job for flight in flights), *self._strangers]

    def strangers(self) -> list[Row]:
        """Live jobs of earlier runs that nobody has asked for yet."""
        return list(self._strangers.values())

    async def cancel(self, job: str) -> dict[str, Any]:
        """Cancel one job and see that it has ended; returns its last answer, its seconds are in the ledger.

        Raises:
            RunpodError: it could not be done, or RunPod still calls the job live.
        """
        now = time.monotonic()
        flight, stranger = self._flights.get(job), self._strangers.get(job)
        ran = flight.at_work(now) if flight else stranger.seen_at_work() if stranger else None
        if flight is not None:
            flight.ending = True
        try:
            answer = await self._client.cancel(self.endpoint, job)
            answer = await self._confirmed(job, answer)
        except NotFoundError:
            answer = {"status": states.LOST}
        except RunpodError:
            if flight is not None:
                flight.ending = False
            raise
        self._flights.pop(job, None)
        self._strangers.pop(job, None)
        row = flight.submission if flight else stranger.id if stranger else None
        if row is not None:
            state = str(answer.get("status"))
            state = state if state in states.FINAL else "CANCELLED"
            worked = flight.worked if flight else stranger.worked if stranger else 0.0
            self.note_end(row, answer, state, ran=ran, worked=worked, message="cancelled by this run")
        return answer

    async def _confirmed(self, job: str, answer: dict[str, Any]) -> dict[str, Any]:
        """What /status says once a cancel was answered: its seconds, and whether the job has ended.

        Raises:
            UnavailableError: the job is still live.
        """
        seen = answer
        for number in range(_CONFIRMATIONS):
            await asyncio.sleep(_BETWEEN * number)
            try:
                seen = await self._client.status(self.endpoint, job)
            except NotFoundError:
                return {"status": "CANCELLED"}
            except RunpodError:
                break  # /cancel has answered: its word must do
            if seen.get("status") in _ENDED:
                return seen
        if answer.get("status") in _ENDED and seen is answer:
            return answer
        raise UnavailableError(f"it was cancelled, and RunPod still calls it {seen.get('status')}")

    def note_end(
        self,
        row: int,
        answer: dict[str, Any],
        state: str,
        *,
        ran: float | None,
        worked: float = 0.0,
        message: str = "",
    ) -> None:
        """The end of a submission and its seconds, into the ledger.

        Args:
            ran: seconds that it was seen at work; None: nobody looked.
            worked: those of them in executions whose worker died.
        """
        found = bill(answer, ran, worked)
        self._ledger.ended(
            row,
            state,
            queued=found.queued,
            billed=found.billed,
            start=found.start,
            gpu=found.gpu,
            message=message,
        )

    async def resume(self, row: Row, *, limit: float, ttl: float) -> Flight | dict[str, Any]:
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
        flight = self.add(row.id, job, limit=limit, ttl=ttl)
        # What it had been at work before counts for its bill; the clock that ends it begins anew, for that of
        # the machine may have jumped meanwhile.
        flight.worked = row.worked
        if answer.get("status") != QUEUED:
            flight.head = (row.seen_at_work() or 0.0) - row.worked
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
            if not flight.ending:
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
        if not isinstance(state, str) or answer.get("id", flight.job) != flight.job or flight.ending:
            return
        now = time.monotonic()
        if state in _ENDED:
            self._end(flight, answer)
            return
        if state != flight.state:
            if flight.state == QUEUED:
                flight.begin(now, seconds(answer.get("delayTime")))
                self._moved = now
            elif state == QUEUED:
                flight.requeue(now)
            flight.state = state
            began = flight.running_since
            started = None if began is None else time.time() - (now - began) - flight.head
            self._ledger.at_work(flight.submission, state, started, flight.worked)
        if (told := progress_of(answer)) and told != flight.progress:
            flight.progress = told
            self._ledger.progress(flight.submission, *told)
        flight.looked = now
        if why := flight.overdue(now, self._overtime):
            flight.ending = True
            self._start(self._end_overdue(flight, why))

    async def _end_overdue(self, flight: Flight, why: str) -> None:
        """Cancel a job that RunPod has not ended at its limits."""
        job = f"job {flight.job} of endpoint {self.endpoint}"
        self._warn(f"{job} {why}, and calls it {flight.state}: it is cancelled")
        answer: dict[str, Any] = {"status": states.OVERDUE, "error": why}
        try:
            last = await self.cancel(flight.job)
        except RunpodError as error:
            self._warn(f"{job} could not be cancelled, and may go on to cost money: {error}")
            # The end of the run tries again, and lists it if that is in vain.
            self._flights.pop(flight.job, None)
            self._strangers[flight.job] = self._ledger.row(flight.submission)
            self._end(flight, {**answer, "live": True})
            return
        if last.get("status") == "COMPLETED":
            self._end(flight, last)  # it ended just now
            return
        self._end(flight, {**last, **answer})

    def _end(self, flight: Flight, answer: dict[str, Any]) -> None:
        self._moved = time.monotonic()
        flight.state = str(answer["status"])
        self._flights.pop(flight.job, None)
        if not answer.get("live"):
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
                    answer = await self.cancel(flight.job)
                    if answer.get("status") == "COMPLETED":
                        self._end(flight, answer)  # it ended just now
                    else:
                        self._end(flight, {**answer, "status": STUCK, "error": why})
        longest = max((now - flight.since for flight in waiting), default=0.0)
        if min(longest, now - self._moved) > patience and now - self._warned > patience:
            self._warned = now
            why = await why_waiting(self._client, self.endpoint)
            self._warn(f"jobs wait ({len(waiting)}), none has started for {now - self._moved:.0f} s: {why}")

    # Submissions whose answer was lost

    async def _surplus(self) -> int | None:
        """Jobs in the endpoint that are not ours as far as we know; None: it does not say."""
        async with self.places.quiet():
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
