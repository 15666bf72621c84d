"""The thread that carries jobs: reads, submits, waits, collects. Snakemake's own only hand over and ask."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from . import ledger as states
from . import outcome
from .budget import Budget
from .carrier import Carrier
from .client import Client
from .ending import Left, allowed, cancel_jobs
from .errors import (
    AccessError,
    JobError,
    NotFoundError,
    RejectedError,
    RunpodError,
    SpentError,
    UnavailableError,
)
from .ledger import Ledger
from .payload import Task
from .queue import Queue
from .settings import Configuration
from .transfer import Transfer
from .trip import Trip

T = TypeVar("T")
_SECONDS_FOR_DOUBTS = 10.0


class Engine:
    """One per run. `warn` is called with texts for people; `fatal` once, with what ends the run."""

    def __init__(
        self,
        configuration: Configuration,
        ledger: Ledger,
        transfer: Transfer,
        *,
        warn: Callable[[str], None],
        fatal: Callable[[RunpodError], None],
    ) -> None:
        self._settings = configuration
        self._ledger = ledger
        self._transfer = transfer
        self._warn = warn
        self._report_fatal = fatal
        self._queues: dict[str, Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._trips: set[Trip] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runpod", daemon=True)
        self._thread.start()
        self._closed = False
        self.call(self._start())

    async def _start(self) -> None:
        settings = self._settings
        self.client = Client(settings.api_key, settings.base_url, settings.management_url, settings.patience)
        self.budget = Budget(settings.budget, self._ledger.dollars, billed=bool(settings.management_url))
        self._carrier = Carrier(
            *(settings, self._ledger, self._transfer, self.client, self.budget),
            queue_of=self._queue,
            warn=self._warn,
        )

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the engine's loop, and wait for it."""
        return self.begin(work).result()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Do something in the engine's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def carry(self, task: Task) -> Trip:
        """Take a job over; returns at once."""
        trip = Trip(task)

        def begin() -> None:
            self._trips.add(trip)
            work = self._loop.create_task(self._travel(trip))
            self._tasks.add(work)
            work.add_done_callback(self._tasks.discard)

        self._loop.call_soon_threadsafe(begin)
        return trip

    def seen(self, trip: Trip) -> None:
        """Snakemake has the outputs on its books: nothing is left to re-attach to."""
        if trip.submission and not self._closed:
            self._loop.call_soon_threadsafe(self._note, trip.submission, states.DONE)

    def close(self) -> None:
        """End the thread. What is live stays live; see `cancel_all`."""
        if self._closed:
            return
        self._closed = True
        self.call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._ledger.close()

    async def _close(self) -> None:
        for work in list(self._tasks):
            work.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for queue in self._queues.values():
            await queue.close()
        await self.client.close()

    # A job

    async def _travel(self, trip: Trip) -> None:
        try:
            await self._carrier.carry(trip)
        except JobError as error:
            trip.error = error
        except UnavailableError as error:
            self._carrier.away = True
            trip.error = JobError(str(error), "unavailable")
        except NotFoundError as error:
            trip.error = JobError(str(error), "endpoint")
        except SpentError as error:
            trip.error = JobError(str(error), "quota_spent")
        except RejectedError as error:
            trip.error = JobError(str(error), "service")
        except AccessError as error:
            self._fatal(error)
            trip.error = JobError(str(error), "service")
        except sqlite3.Error as error:
            trip.error = JobError(
                f"{self._ledger.path}: {error}; no job is sent that cannot be noted", "disk"
            )
        except Exception as error:  # an error of one job, whatever it is, must not become that of all
            trip.error = JobError(f"{type(error).__name__}: {error}")
        if trip.error is not None:
            trip.tell(f"failed: {trip.error}")
            self._carrier.write(
                trip, lambda: outcome.write_log(trip.task, trip.story, trip.error.log if trip.error else "")
            )
        self._trips.discard(trip)
        trip.finished = True

    def _queue(self, endpoint: str) -> Queue:
        queue = self._queues.get(endpoint)
        if queue is None:
            settings = self._settings
            queue = self._queues[endpoint] = Queue(
                endpoint,
                self.client,
                self._ledger,
                interval=settings.poll_interval,
                most=settings.max_in_flight,
                queue_timeout=settings.queue_timeout,
                overtime=settings.overtime,
                warn=self._warn,
                fatal=self._fatal,
            )
        return queue

    def _note(self, submission: int, state: str) -> None:
        try:
            self._ledger.state(submission, state)
        except sqlite3.Error as error:
            self._warn(f"{self._ledger.path}: {error}")

    def _fatal(self, error: RunpodError) -> None:
        if self._carrier.stopped is None:
            self._carrier.stopped = error
            self._report_fatal(error)

    # The end

    async def check(self, endpoint: str) -> None:
        """Whether an endpoint answers, with our key.

        Raises:
            RunpodError: it does not.
        """
        await self.client.persist(lambda: self.client.health(endpoint), most=30.0)

    async def left(self) -> list[Left]:
        """All that is live, as far as is known here; what earlier runs left included."""
        return [Left(queue.endpoint, job) for queue in self._queues.values() for job in queue.live_ids()]

    async def in_doubt(self) -> int:
        """Submissions whose answer was lost, and that may be at work still."""
        for queue in self._queues.values():
            if len(queue.doubts):
                # The service may be away; whatever it says, it must not keep a run from its end.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(queue.doubts.look(), _SECONDS_FOR_DOUBTS)
        return sum(len(queue.doubts) for queue in self._queues.values())

    def close_account(self) -> None:
        async def close() -> None:
            self._ledger.close_account()

        self.call(close())

    async def cancel_all(self, *, strangers_only: bool = False) -> tuple[int, list[Left]]:
        """Cancel what is live; returns how many jobs were, and those of which it is not certain.

        It takes no longer than `cancel_timeout` seconds and a ninth of a second for each job.
        """
        timeout = self._settings.cancel_timeout
        queues = list(self._queues.values())
        if strangers_only:
            jobs = [(queue, row.job or "") for queue in queues for row in queue.strangers()]
        else:
            before = asyncio.get_running_loop().time()
            await self._stop_sending(timeout / 2)
            timeout -= asyncio.get_running_loop().time() - before
            jobs = [(queue, job) for queue in queues for job in queue.live_ids()]
        left = await cancel_jobs(jobs, allowed(len(jobs), timeout))
        if not strangers_only:
            for trip in self._trips:
                self._carrier.record(trip)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._transfer.uploads.remove_read(), self._settings.cancel_timeout)
        return len(jobs) - len(left), left

    async def _stop_sending(self, seconds: float) -> None:
        """No submission starts any more; those under way are waited for, or their jobs would be nameless."""
        self._carrier.stopped = self._carrier.stopped or RunpodError("the run was interrupted")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for queue in self._queues.values():
                    await queue.places.stop()
        for work in list(self._tasks):
            work.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
