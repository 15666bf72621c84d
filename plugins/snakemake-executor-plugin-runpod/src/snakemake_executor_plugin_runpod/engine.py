"""The thread that carries jobs: reads, submits, waits, collects. Snakemake's own only hand over and ask."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from . import ledger as states
from . import outcome
from .budget import Budget
from .client import Client
from .errors import AccessError, JobError, NotFoundError, RejectedError, RunpodError, UnavailableError
from .ledger import Ledger
from .limits import Backoff
from .payload import Task, Work, read
from .policy import policy, seconds
from .queue import STUCK, Flight, Queue
from .settings import Configuration
from .transfer import Transfer
from .trip import Trip

T = TypeVar("T")
#: How often a job that the service has lost is sent again before it counts as failed.
_RESENDS = 2
_READERS = 4


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
        self._fatal_error: RunpodError | None = None
        self._queues: dict[str, Queue] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="runpod", daemon=True)
        self._thread.start()
        self._closed = False
        self._away = False
        self.call(self._start())

    async def _start(self) -> None:
        settings = self._settings
        self.client = Client(settings.api_key, settings.base_url, settings.management_url, settings.patience)
        self.budget = Budget(settings.budget, self._ledger.dollars)
        self._readers = asyncio.Semaphore(_READERS)

    def call(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Do something in the engine's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def carry(self, task: Task) -> Trip:
        """Take a job over; returns at once."""
        trip = Trip(task)

        def begin() -> None:
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
            await self._carry(trip)
        except JobError as error:
            trip.error = error
        except UnavailableError as error:
            self._away = True
            trip.error = JobError(str(error), "unavailable")
        except NotFoundError as error:
            trip.error = JobError(str(error), "endpoint")
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
            self._write(
                trip, lambda: outcome.write_log(trip.task, trip.story, trip.error.log if trip.error else "")
            )
        trip.finished = True

    async def _carry(self, trip: Trip) -> None:
        if self._fatal_error is not None:
            raise JobError(str(self._fatal_error), "service")
        settings, task = self._settings, trip.task
        endpoint = settings.endpoint_of(task.endpoint, task.gpu_class)
        queue = self._queue(endpoint)
        async with self._readers:
            work = await asyncio.to_thread(read, task)
        async with self._transfer.uploads.held(work):
            await queue.open()
            answer = await self._resume(trip, work, queue)
            if answer is not None and answer["status"] == "CANCELLED":
                # The run that sent it had asked for that, and ended before it came through.
                trip.tell("it was cancelled, as the run that submitted it had asked: submitted again")
                answer = None
            answer = answer or await self._submit(trip, work, queue)
            for _ in range(_RESENDS):
                if answer["status"] != states.LOST:
                    break
                trip.tell(
                    "RunPod no longer knows the job: its ttl is over, or the 30 minutes that results are kept"
                )
                answer = await self._submit(trip, work, queue)
            await self._conclude(trip, work, answer)

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
                warn=self._warn,
                fatal=self._fatal,
            )
        return queue

    async def _resume(self, trip: Trip, work: Work, queue: Queue) -> dict[str, Any] | None:
        """The last answer about a submission of this work by an earlier run or try; None: there is none."""
        row = self._ledger.find(work.digest, map(str, trip.task.outputs.values()))
        if row is None or row.endpoint != queue.endpoint:
            return None
        if row.job is None:
            trip.tell(
                "an earlier submission of this job got no answer: waiting until RunPod has surely none of it"
            )
            await queue.doubts.settled(row.id, self._doubt(trip.task))
            return None
        trip.submission, trip.job = row.id, row.job
        trip.tell(f"re-attached to job {row.job}, submitted by an earlier run or try")
        found = await queue.resume(row)
        if isinstance(found, dict):
            self._note_end(trip, found, None)
            return None if found["status"] == states.LOST else found
        self.budget.in_flight += 1
        try:
            async with queue.place_of_old():
                return await self._wait(trip, found)
        finally:
            await self.budget.settle()

    async def _submit(self, trip: Trip, work: Work, queue: Queue) -> dict[str, Any]:
        """Send the work and wait for its end; returns the last answer of /status."""
        task, settings = trip.task, self._settings
        limits = policy(task.runtime, settings.execution_timeout, settings.queue_timeout)
        reserved = task.reserved(limits["executionTimeout"] / 1000)
        # Where jobs may run elsewhere, one that has waited for the service in vain has waited for all.
        backoff = Backoff(0.0 if self._away and settings.fallback else settings.patience)
        while True:
            async with queue.place():
                await self.budget.admit(
                    f"{task.rule} (job {task.jobid})",
                    reserved,
                    lambda: self._prepare(trip, work, queue, reserved),
                )
                try:
                    body = await self._transfer.send(work, trip.submission, limits)
                    flight = await self._send(trip, queue, body, backoff)
                    if flight is not None:
                        del body
                        return await self._wait(trip, flight)
                finally:
                    await self._settle(trip)

    def _prepare(self, trip: Trip, work: Work, queue: Queue, reserved: float | None) -> None:
        trip.submission = self._ledger.prepare(
            digest=work.digest,
            outputs=map(str, trip.task.outputs.values()),
            rule=trip.task.rule,
            endpoint=queue.endpoint,
            dollars_per_second=trip.task.dollars_per_second or 0.0,
            reserved=reserved or 0.0,
        )

    async def _settle(self, trip: Trip) -> None:
        """No longer in flight; a submission that never left costs nothing."""
        if trip.submission and trip.job is None:
            self._ledger.drop_prepared(trip.submission)
        await self.budget.settle()

    async def _send(self, trip: Trip, queue: Queue, body: bytes, backoff: Backoff) -> Flight | None:
        """Submit; None where an answer was lost and the job may have been there: it is over by then.

        Raises:
            RunpodError: it was not taken, and will not be.
        """
        submission = trip.submission
        while True:
            if self._fatal_error is not None:
                raise JobError(str(self._fatal_error), "service")
            async with queue.sending():
                self._ledger.state(submission, states.SENDING)
                try:
                    answer = await self.client.run(queue.endpoint, body)
                except UnavailableError as error:
                    failure = error
                    if not error.taken:
                        self._ledger.state(submission, states.PREPARED, str(error))
                except RunpodError as error:
                    self._ledger.state(submission, states.REFUSED, str(error))
                    raise
                else:
                    self._away = False
                    trip.job = answer["id"]
                    state = str(answer.get("status", "IN_QUEUE"))
                    self._ledger.accepted(submission, answer["id"], "IN_QUEUE")
                    trip.tell(f"submitted as job {trip.job} to endpoint {queue.endpoint} ({state})")
                    return queue.add(submission, answer["id"])
            trip.tell(f"submission: {failure}")
            if failure.taken:
                await queue.doubts.settled(submission, self._doubt(trip.task))
            if backoff.spent():
                raise failure
            await backoff.wait()
            if failure.taken:
                return None

    async def _wait(self, trip: Trip, flight: Flight) -> dict[str, Any]:
        answer = await asyncio.shield(flight.ended)
        ran = None if flight.running_since is None else time.monotonic() - flight.running_since
        self._note_end(trip, answer, ran)
        return answer

    def _note_end(self, trip: Trip, answer: dict[str, Any], ran: float | None) -> None:
        state = answer["status"]
        if state == states.LOST:
            trip.job = None
            self._ledger.state(trip.submission, state)
            return
        bill = outcome.bill(answer, ran, seconds(trip.task.runtime, self._settings.execution_timeout))
        self._ledger.ended(
            trip.submission,
            "CANCELLED" if state == STUCK else state,
            queued=bill.queued,
            billed=bill.billed,
            start=bill.start,
            gpu=bill.gpu,
        )

    async def _conclude(self, trip: Trip, work: Work, answer: dict[str, Any]) -> None:
        """Collect a result, or raise what went wrong; leaves log, benchmark and execution record."""
        task, submission, state = trip.task, trip.submission, answer["status"]
        if state == states.LOST:
            raise JobError("RunPod has lost the job, each time it was sent", "lost")
        try:
            if state != states.COMPLETED:
                raise outcome.failure(answer)
            try:
                told = await self._transfer.receive(work, submission, answer.get("output"))
            except JobError as error:
                if error.reason not in ("disk", "storage"):
                    self._ledger.state(submission, states.SPOILED, str(error))
                raise
            self._ledger.state(submission, states.COLLECTED)
            bill = outcome.bill(answer, None, 0.0)
            trip.tell(
                f"COMPLETED: {bill.queued or 0:.1f} s in the queue, {bill.billed or 0:.1f} s on the worker"
            )
            self._write(trip, lambda: outcome.write_log(task, trip.story, str(told.get("log", ""))))
            self._write(trip, lambda: outcome.write_benchmark(task, bill.billed or 0.0))
        finally:
            attempts = self._ledger.attempts(work.digest, map(str, task.outputs.values()))
            self._write(trip, lambda: outcome.write_record(task, attempts))

    def _write(self, trip: Trip, call: Callable[[], None]) -> None:
        try:
            call()
        except JobError as error:
            self._warn(f"rule {trip.task.rule}, job {trip.task.jobid}: {error}")

    def _doubt(self, task: Task) -> float:
        return seconds(task.runtime, self._settings.execution_timeout) + self._settings.patience

    def _note(self, submission: int, state: str) -> None:
        try:
            self._ledger.state(submission, state)
        except sqlite3.Error as error:
            self._warn(f"{self._ledger.path}: {error}")

    def _fatal(self, error: RunpodError) -> None:
        if self._fatal_error is None:
            self._fatal_error = error
            self._report_fatal(error)

    # The end

    async def check(self, endpoint: str) -> None:
        """Whether an endpoint answers, with our key.

        Raises:
            RunpodError: it does not.
        """
        await self.client.persist(lambda: self.client.health(endpoint), most=30.0)

    async def left(self, *, strangers_only: bool = False) -> list[str]:
        """`job of endpoint` for all that is live, or for what earlier runs left and nobody asked for."""
        found = []
        for name, queue in self._queues.items():
            await queue.open()
            jobs = [row.job or "" for row in queue.strangers()] if strangers_only else queue.live_ids()
            found += [f"{job} of endpoint {name}" for job in jobs]
        return found

    async def in_doubt(self) -> int:
        """Submissions whose answer was lost, and that may be at work still."""
        for queue in self._queues.values():
            if len(queue.doubts):
                await queue.doubts.look()
        return sum(len(queue.doubts) for queue in self._queues.values())

    def close_account(self) -> None:
        async def close() -> None:
            self._ledger.close_account()

        self.call(close())

    async def cancel_all(self, *, strangers_only: bool = False) -> tuple[int, list[str]]:
        """Cancel what is live; returns how many jobs, and one line for each that could not be."""
        if not strangers_only:
            await self._stop_sending()
        failures: list[str] = []

        async def cancel(queue: Queue, job: str) -> None:
            try:
                await queue.cancel(job)
            except (RunpodError, sqlite3.Error) as error:
                failures.append(f"{job} of endpoint {queue.endpoint}: {error}")

        work = []
        for queue in self._queues.values():
            jobs = [row.job or "" for row in queue.strangers()] if strangers_only else queue.live_ids()
            work += [cancel(queue, job) for job in jobs]
        await asyncio.gather(*work)
        await self._transfer.uploads.remove_read()
        return len(work) - len(failures), failures

    async def _stop_sending(self) -> None:
        """No submission starts any more; those under way are waited for, or their jobs would be nameless."""
        self._fatal_error = self._fatal_error or RunpodError("the run was interrupted")
        for queue in self._queues.values():
            await queue.stop()
        for work in list(self._tasks):
            work.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
