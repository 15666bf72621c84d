"""One serverless endpoint: its jobs, its workers, and what moves the one to the other."""

from __future__ import annotations

import asyncio
import functools
import json
import secrets
from collections.abc import Callable
from itertools import islice
from typing import Any

from snakefold.clusters.emulator import transport
from snakefold.clusters.emulator.clock import Clock, Timer, resolve
from snakefold.clusters.emulator.faults import Faults
from snakefold.clusters.emulator.jobs import Attempt, Job, JobTable, Policy, State
from snakefold.clusters.emulator.limits import PAYLOAD, Limiter
from snakefold.clusters.emulator.worker import Backend, Load, Scaling, Worker, WorkerState, workers_to_start

STOP_GRACE = 5.0
CRASH_BACKOFF = 30.0
LOST_RETRIES = 3
SCALE_DOWN = ((3 * 86_400.0, 2), (7 * 86_400.0, 0))


class TooLarge(Exception):
    """A payload or a result over the documented size."""


class Endpoint:
    """An endpoint id with its queue, scaling, limits and bill.

    Tests may set `capacity` (workers that can be placed; None: enough) and `crash_loop` at any time, then
    call `scale`; faults do the same.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        backend: Backend,
        *,
        scaling: Scaling | None = None,
        faults: Faults | None = None,
        pool: str = "ADA_24",
        execution_timeout: float = 600.0,
        lost_retries: int = LOST_RETRIES,
    ) -> None:
        self.id = name
        self.clock = clock
        self.backend = backend
        self.scaling = scaling or Scaling()
        self.faults = faults or Faults()
        self.pool = pool
        self.execution_timeout = execution_timeout
        self.lost_retries = lost_retries
        self.limiter = Limiter(clock)
        self.jobs = JobTable(clock)
        self.jobs.changed = self._changed
        self.jobs.removed = self._removed
        self.workers: dict[str, Worker] = {}
        self.capacity: int | None = None
        self.crash_loop = False
        self.closed = False
        self.on_final: Callable[[Endpoint, Job], None] = lambda *_: None
        self._live: dict[str, Worker] = {}
        self._throttled: list[Worker] = []
        self._asking: dict[str, tuple[int, Callable[[list[Job]], None]]] = {}
        self._watchers: dict[str, list[asyncio.Future[None]]] = {}
        self._last_request = clock.now()
        self._idle_check: Timer | None = None
        self._check_idle_endpoint()

    # Jobs

    def submit(
        self,
        given: Any,
        operation: str = "run",
        policy: Policy | None = None,
        *,
        webhook: str | None = None,
        s3_config: Any = None,
    ) -> Job:
        policy = policy or Policy(execution_timeout=self.execution_timeout)
        self._last_request = self.clock.now()
        if self._idle_check is None:
            self._check_idle_endpoint()
        return self.jobs.submit(
            given,
            operation,
            policy,
            webhook=webhook,
            s3_config=s3_config,
            prepare=lambda job: transport.on_submit(self, job),
        )

    def done(self, worker_id: str, job_id: str, body: dict[str, Any], size: int) -> bool:
        """A result or progress that a worker posted; whether it counted.

        Raises:
            KeyError: no such job. TooLarge: over the limit, the job stays as it was.
        """
        job = self.jobs.records[job_id]
        if size > PAYLOAD[job.operation]:
            raise TooLarge(f"result of {size} bytes is over the limit of {PAYLOAD[job.operation]}")
        if body.get("status") == State.IN_PROGRESS:
            self.jobs.progress(job, body.get("output"))
            return True
        if job.endless and job.live:
            return False  # the worker stays busy with it
        worker = self.workers.get(worker_id)
        refresh = bool(body.get("stopPod"))
        if worker is not None:
            worker.busy.pop(job_id, None)
        result = self.faults.spoil(job_id, body)
        error = result.get("error")
        if error is not None and not isinstance(error, str):
            error = json.dumps(error)
        counted = self.jobs.finish(job, worker_id, output=result.get("output"), error=error)
        if worker is not None:
            if refresh:
                self.stop(worker, "refresh_worker")
            else:
                self._rest(worker)
        return counted

    def watch(self, job: Job) -> asyncio.Future[None]:
        """Done when the job is in a final state, or deleted."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if job.live:
            self._watchers.setdefault(job.id, []).append(future)
        else:
            future.set_result(None)
        return future

    def attempts(self) -> list[Attempt]:
        return [attempt for job in self.jobs.records.values() for attempt in job.attempts]

    def billed_seconds(self) -> int:
        """Sum over workers of start, execution and idle timeout, each worker rounded up."""
        now = self.clock.now()
        return sum(worker.billed_seconds(now) for worker in self.workers.values())

    def execution_seconds(self) -> float:
        """Sum over all executions, repeated, cancelled and lost ones included."""
        now = self.clock.now()
        return sum((now if a.ended is None else a.ended) - a.started for a in self.attempts())

    def health(self) -> dict[str, Any]:
        states = [worker.state for worker in self._live.values()]
        count = self.jobs.count
        return {
            "jobs": {
                "completed": count(State.COMPLETED),
                "failed": count(State.FAILED),
                "inProgress": count(State.IN_PROGRESS),
                "inQueue": count(State.IN_QUEUE),
                "retried": self.jobs.retried,
            },
            "workers": {
                "idle": states.count(WorkerState.IDLE),
                "initializing": states.count(WorkerState.INITIALIZING),
                "ready": states.count(WorkerState.IDLE) + states.count(WorkerState.RUNNING),
                "running": states.count(WorkerState.RUNNING),
                "throttled": states.count(WorkerState.THROTTLED),
                "unhealthy": states.count(WorkerState.UNHEALTHY),
            },
        }

    # Workers: what backends report

    def ask(self, worker: Worker, most: int, give: Callable[[list[Job]], None]) -> None:
        """A worker wants up to `most` jobs; `give` is called once, now or later."""
        if not worker.stopping and not worker.gone:
            self._asking[worker.id] = (most, give)
            self.dispatch()

    def withdraw(self, worker: Worker) -> None:
        self._asking.pop(worker.id, None)

    def ready(self, worker: Worker) -> None:
        if worker.starting and not worker.stopping:
            worker.ready = self.clock.now()
            self._rest(worker)

    def gave_up(self, worker: Worker, job_id: str) -> None:
        """The worker no longer runs a job it was told to stop, or whose result was dropped."""
        job = worker.busy.pop(job_id, None)
        if job is not None:
            self.jobs.stopped(job, worker.id, "DROPPED" if job.live else None)
            self._rest(worker)

    def crashed(self, worker: Worker, reason: str) -> None:
        """Died while starting: unhealthy, and started again after a while."""
        # UNHEALTHY workers are documented as not billed; so is a start that ends in that state.
        worker.started, worker.state, worker.reason = None, WorkerState.UNHEALTHY, reason
        worker.crashes += 1
        if worker.stopping or self.closed:
            self.gone(worker, reason)
        else:
            self.clock.call_later(CRASH_BACKOFF, lambda: self._begin(worker))

    def gone(self, worker: Worker, reason: str) -> None:
        """The worker has fully stopped; what it ran waits again, or has failed too often."""
        if worker.gone:
            return
        worker.state, worker.stopped = WorkerState.STOPPED, self.clock.now()
        worker.reason = worker.reason or reason
        self._live.pop(worker.id, None)
        self._asking.pop(worker.id, None)
        if worker.idle_timer is not None:
            worker.idle_timer.cancel()
        for job in list(worker.busy.values()):
            if len(job.attempts) > self.lost_retries:
                self.jobs.stopped(job, worker.id)
                self.jobs.end(job, State.FAILED, f"job was lost with its worker {len(job.attempts)} times")
            else:
                self.jobs.release(job, worker.id)
        worker.busy.clear()
        self.scale()

    # What the endpoint decides

    def dispatch(self) -> None:
        """Give what waits to those who ask."""
        while self._asking and not self.closed and next(self.jobs.waiting(), None) is not None:
            worker_id = next(iter(self._asking))
            self.hand(worker_id, list(islice(self.jobs.waiting(), self._asking[worker_id][0])))

    def hand(self, worker_id: str, jobs: list[Job]) -> None:
        """Give jobs to a worker that asks."""
        _, give = self._asking.pop(worker_id)
        worker = self.workers[worker_id]
        if worker.idle_timer is not None:
            worker.idle_timer.cancel()
            worker.idle_timer = None
        # Both before anything else happens: starting a job may scale, finish or cancel.
        worker.state = WorkerState.RUNNING
        worker.busy.update({job.id: job for job in jobs})
        for job in jobs:
            self.jobs.start(job, worker_id)
            transport.on_take(self, worker, job)
        give(jobs)

    def asking(self) -> list[str]:
        """Ids of the workers that wait for a job."""
        return list(self._asking)

    def live_workers(self) -> list[Worker]:
        return list(self._live.values())

    def scale(self) -> None:
        """Start the workers that the load asks for now; workersMin are kept."""
        if self.closed:
            return
        throttled, self._throttled = self._throttled, []
        for worker in throttled:
            self._begin(worker)
        for _ in range(workers_to_start(self.scaling, self._load())):
            self.add_worker()

    def add_worker(self) -> None:
        worker = Worker(secrets.token_hex(7), self.clock.now())
        self.workers[worker.id] = self._live[worker.id] = worker
        self._begin(worker)

    def stop(self, worker: Worker, reason: str, *, kill: bool = False) -> None:
        if worker.gone or (worker.stopping and not kill):
            return
        worker.stopping, worker.reason = True, reason
        worker.leaving.set()
        self._asking.pop(worker.id, None)
        if worker.started is None:
            self.gone(worker, reason)
        else:
            self.backend.stop(self, worker, kill=kill)

    def _load(self) -> Load:
        live = [worker for worker in self._live.values() if not worker.stopping]
        starting = sum(worker.starting for worker in live)
        now, delay = self.clock.now(), self.scaling.queue_delay
        # More than can be started need not be counted.
        enough = self.scaling.workers_max * (self.scaling.request_count or 1) + starting
        waiting = list(islice((j for j in self.jobs.waiting() if not j.policy.low_priority), enough))
        overdue = sum(now >= job.queued + delay for job in waiting)
        return Load(len(waiting), overdue, self.jobs.count(State.IN_PROGRESS), starting, len(live))

    def _begin(self, worker: Worker) -> None:
        if worker.gone or worker.stopping:
            return
        placed = sum(w is not worker and w.state is not WorkerState.THROTTLED for w in self._live.values())
        if self.capacity is not None and placed >= self.capacity:
            worker.state = WorkerState.THROTTLED
            self._throttled.append(worker)
            return
        worker.state = WorkerState.INITIALIZING
        self.clock.call_later(self.scaling.pull_seconds, lambda: self._place(worker))

    def _place(self, worker: Worker) -> None:
        if worker.gone or worker.stopping or self.closed:
            return
        worker.started = self.clock.now()
        if self.crash_loop:
            self.clock.call_later(
                self.scaling.start_seconds, lambda: self.crashed(worker, "exited with code 1 while starting")
            )
        else:
            self.backend.start(self, worker)

    def _rest(self, worker: Worker) -> None:
        if worker.busy or worker.gone or worker.stopping:
            return
        worker.state = WorkerState.IDLE
        if worker.idle_timer is not None:
            worker.idle_timer.cancel()
        worker.idle_timer = self.clock.call_later(self.scaling.idle_timeout, lambda: self._idle_out(worker))

    def _idle_out(self, worker: Worker) -> None:
        live = sum(not w.stopping for w in self._live.values())
        if worker.state is WorkerState.IDLE and not worker.busy and live > self.scaling.workers_min:
            self.stop(worker, "idle timeout")

    def _changed(self, job: Job, before: State | None) -> None:
        if job.state is State.IN_QUEUE:
            self.clock.call_at(job.queued + self.scaling.queue_delay, lambda: self._overdue(job))
            if not self._live or self.scaling.request_count is not None:
                self.scale()
            self.dispatch()
        elif job.state.final:
            if before is State.IN_PROGRESS and job.state in (State.CANCELLED, State.TIMED_OUT):
                self._tell_to_stop(job, timed_out=job.state is State.TIMED_OUT)
            self._notify(job)
            self.on_final(self, job)

    def _overdue(self, job: Job) -> None:
        if job.state is State.IN_QUEUE:
            self.scale()

    def _removed(self, job: Job, running_on: str | None) -> None:
        if running_on is not None:
            self._tell_to_stop(job, timed_out=True)
        self._notify(job)

    def _tell_to_stop(self, job: Job, *, timed_out: bool) -> None:
        for worker in [w for w in self._live.values() if job.id in w.busy]:
            self.backend.cancel(self, worker, job)
            if timed_out:
                # The documentation says that the worker stops; one that obeys has its grace to do so itself.
                self.clock.call_later(STOP_GRACE, functools.partial(self._stop_if_busy, worker, job))

    def _stop_if_busy(self, worker: Worker, job: Job) -> None:
        if worker.busy.get(job.id) is job and not job.live:
            self.stop(worker, "job over its time")

    def _notify(self, job: Job) -> None:
        for future in self._watchers.pop(job.id, ()):
            resolve(future, None)

    def _check_idle_endpoint(self) -> None:
        idle = self.clock.now() - self._last_request
        for after, most in SCALE_DOWN:
            if idle >= after:
                self.scaling.workers_max = min(self.scaling.workers_max, most)
        due = next((after for after, _ in SCALE_DOWN if idle < after), None)
        self._idle_check = (
            None if due is None else self.clock.call_later(due - idle, self._check_idle_endpoint)
        )

    async def close(self) -> None:
        self.closed = True
        for worker in list(self._live.values()):
            self.stop(worker, "the service stopped", kill=True)
        await self.backend.close()
