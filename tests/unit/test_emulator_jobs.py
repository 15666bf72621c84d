"""The emulated queue: no random sequence of events breaks the rules of jobs, workers and bills."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from snakefold.clusters.emulator import Job, ManualClock, Policy, Scaling, State, StubWorkers
from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.worker import Load, billed_seconds, workers_to_start

ALLOWED = {
    State.IN_QUEUE: {State.IN_PROGRESS, State.CANCELLED, State.TIMED_OUT, State.FAILED},
    State.IN_PROGRESS: {State.COMPLETED, State.FAILED, State.CANCELLED, State.TIMED_OUT, State.IN_QUEUE},
}


async def work(job):
    kind = job["input"]["kind"]
    if kind == "raise":
        raise ValueError("broken")
    return {
        "ok": {"n": 1},
        "error": {"error": "bad"},
        "set": {1, 2},
        "big": "x" * (11 * 2**20),
        "refresh": {"refresh_worker": True},
    }.get(kind)


class EndpointMachine(RuleBasedStateMachine):
    """One endpoint of stub workers under submissions, cancellations, crashes and passing time."""

    @initialize(most=st.integers(1, 4), start=st.integers(0, 40), idle=st.integers(1, 30))
    def begin(self, most: int, start: int, idle: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.known: dict[str, State] = {}
        self.retriable: set[str] = set()
        self.submitted = 0

        async def build() -> Endpoint:
            scaling = Scaling(workers_max=most, start_seconds=start, idle_timeout=idle)
            workers = StubWorkers(work, seconds=lambda job: job["input"]["seconds"])
            return Endpoint("e", self.clock, workers, scaling=scaling)

        self.endpoint = self.loop.run_until_complete(build())
        inner = self.endpoint.jobs.changed

        def changed(job: Job, before: State | None) -> None:
            if before is not None:
                retried = before in (State.FAILED, State.TIMED_OUT) and job.id in self.retriable
                assert job.state in ALLOWED.get(before, set()) or (retried and job.state is State.IN_QUEUE)
                self.retriable.discard(job.id)
            inner(job, before)

        self.endpoint.jobs.changed = changed

    def do(self, action) -> None:
        async def inside() -> None:
            action()
            await self.clock.advance(0)

        self.loop.run_until_complete(inside())

    def pick(self, index: int) -> Job | None:
        jobs = list(self.endpoint.jobs.records.values())
        return jobs[index % len(jobs)] if jobs else None

    @rule(
        kind=st.sampled_from(["ok", "ok", "error", "raise", "set", "big", "refresh", "nothing"]),
        seconds=st.integers(0, 100),
        timeout=st.integers(5, 200),
        ttl=st.integers(10, 1000),
        low=st.booleans(),
        sync=st.booleans(),
    )
    def submit(self, *, kind: str, seconds: int, timeout: int, ttl: int, low: bool, sync: bool) -> None:
        policy = Policy(timeout, ttl, low)
        given = {"kind": kind, "seconds": seconds}
        self.do(lambda: self.endpoint.submit(given, "runsync" if sync else "run", policy))
        self.submitted += 1

    @rule(seconds=st.one_of(st.floats(0, 30), st.integers(0, 4000)))
    def advance(self, seconds: float) -> None:
        self.loop.run_until_complete(self.clock.advance(seconds))

    @rule(index=st.integers(0, 1000))
    def cancel(self, index: int) -> None:
        if (job := self.pick(index)) is not None:
            self.do(lambda: self.endpoint.jobs.end(job, State.CANCELLED))

    @rule(index=st.integers(0, 1000))
    def retry(self, index: int) -> None:
        if (job := self.pick(index)) is not None:
            allowed = not job.deleted and job.state in (State.FAILED, State.TIMED_OUT)
            self.retriable.add(job.id) if allowed else None
            done: list[bool] = []
            self.do(lambda: done.append(self.endpoint.jobs.retry(job)))
            assert done == [allowed]

    @rule()
    def purge(self) -> None:
        self.do(self.endpoint.jobs.purge)

    @rule(index=st.integers(0, 10))
    def kill_a_worker(self, index: int) -> None:
        if workers := self.endpoint.live_workers():
            self.do(lambda: self.endpoint.stop(workers[index % len(workers)], "killed", kill=True))

    @rule(index=st.integers(0, 1000), worker=st.integers(0, 10), error=st.booleans())
    def a_result_nobody_waits_for(self, index: int, worker: int, error: bool) -> None:
        job, workers = self.pick(index), list(self.endpoint.workers)
        if job is not None and job.state is not State.IN_PROGRESS and workers:
            body = {"error": "late"} if error else {"output": "late"}
            counted: list[bool] = []
            self.do(
                lambda: counted.append(self.endpoint.done(workers[worker % len(workers)], job.id, body, 20))
            )
            assert counted == [False]

    @rule(capacity=st.sampled_from([None, 0, 1]), loop=st.booleans())
    def weather(self, capacity: int | None, loop: bool) -> None:
        self.endpoint.capacity, self.endpoint.crash_loop = capacity, loop
        self.do(self.endpoint.scale)

    @invariant()
    def jobs_are_conserved(self) -> None:
        if not hasattr(self, "endpoint"):
            return
        jobs = list(self.endpoint.jobs.records.values())
        assert len(jobs) == self.submitted
        queued = {job.id for job in jobs if job.state is State.IN_QUEUE and not job.deleted}
        assert queued == set(self.endpoint.jobs.queue)
        counts = self.endpoint.health()["jobs"]
        assert counts["inQueue"] == len(queued)
        assert counts["inProgress"] == sum(j.state is State.IN_PROGRESS and not j.deleted for j in jobs)
        assert counts["completed"] == sum(job.state is State.COMPLETED for job in jobs)

    @invariant()
    def final_states_stay(self) -> None:
        if not hasattr(self, "endpoint"):
            return
        for job in self.endpoint.jobs.records.values():
            before = self.known.get(job.id)
            if before is not None and before.final and job.state is not before:
                assert before in (State.FAILED, State.TIMED_OUT)
            self.known[job.id] = job.state

    @invariant()
    def workers_and_bills(self) -> None:
        if not hasattr(self, "endpoint"):
            return
        live = self.endpoint.live_workers()
        assert len([worker for worker in live if not worker.stopping]) <= self.endpoint.scaling.workers_max
        now = self.clock.now()
        for worker in self.endpoint.workers.values():
            assert len(worker.busy) <= 1
            ran = sum(
                (now if attempt.ended is None else attempt.ended) - attempt.started
                for attempt in self.endpoint.attempts()
                if attempt.worker == worker.id
            )
            assert worker.billed_seconds(now) >= ran - 1e-5
        assert self.endpoint.billed_seconds() >= self.endpoint.execution_seconds() - 1e-4

    def teardown(self) -> None:
        if hasattr(self, "endpoint"):
            self.loop.run_until_complete(self.endpoint.close())
            self.loop.run_until_complete(self.clock.close())
            self.loop.close()


TestEndpointMachine = EndpointMachine.TestCase
TestEndpointMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def run_batch(jobs: int, seconds: float, scaling: Scaling) -> Endpoint:
    """An endpoint after a batch of equal jobs, all submitted at once, has come to rest."""

    async def batch() -> Endpoint:
        clock = ManualClock()
        workers = StubWorkers(seconds=seconds)
        endpoint = Endpoint("e", clock, workers, scaling=scaling, execution_timeout=10_000)
        for number in range(jobs):
            endpoint.submit(number)
        await clock.advance(80_000)  # within the time-to-live
        return endpoint

    return asyncio.run(batch())


@settings(max_examples=25, deadline=None)
@given(
    workers=st.integers(1, 6),
    each=st.integers(1, 5),
    seconds=st.integers(5, 60),
    start=st.integers(0, 90),
    idle=st.integers(1, 20),
)
def test_bill_of_a_batch_is_start_execution_and_idle(workers, each, seconds, start, idle):
    """Workers after the first start when jobs have waited for the queue delay; each does its equal share."""
    scaling = Scaling(workers_max=workers, start_seconds=start, idle_timeout=idle, queue_delay=4)
    endpoint = run_batch(workers * each, seconds, scaling)
    done = endpoint.jobs.count(State.COMPLETED)
    assert done == workers * each
    used = endpoint.workers.values()
    assert endpoint.execution_seconds() == pytest.approx(done * seconds)
    assert endpoint.billed_seconds() == len(used) * (start + idle) + done * seconds + sum(
        gaps(endpoint, worker.id) for worker in used
    )


def gaps(endpoint: Endpoint, worker: str) -> float:
    """Idle seconds of a worker between two of its jobs."""
    runs = sorted((a.started, a.ended) for a in endpoint.attempts() if a.worker == worker)
    return sum(later[0] - earlier[1] for earlier, later in pairwise(runs))


def test_batch_of_long_jobs_takes_the_time_of_the_closed_form():
    scaling = Scaling(workers_max=5, start_seconds=20, idle_timeout=5, queue_delay=4)
    endpoint = run_batch(20, 30, scaling)
    first = min(worker.started for worker in endpoint.workers.values())
    assert sorted(worker.started - first for worker in endpoint.workers.values()) == [0, 4, 4, 4, 4]
    assert max(job.finished for job in endpoint.jobs.records.values()) - first == 4 + 20 + 4 * 30
    assert endpoint.billed_seconds() == 5 * (20 + 4 * 30 + 5)


def test_workers_start_for_jobs_that_have_waited_only():
    async def starts() -> list[float]:
        clock = ManualClock()
        endpoint = Endpoint(
            "e", clock, StubWorkers(seconds=100), scaling=Scaling(workers_max=9, queue_delay=4)
        )
        begun = clock.now()
        for wait in (0, 0, 3, 0, 20):
            await clock.advance(wait)
            endpoint.submit("x")
        await clock.advance(60)
        return [worker.placed - begun for worker in endpoint.workers.values()]

    assert asyncio.run(starts()) == [0, 4, 7, 7, 27]


def test_request_count_starts_workers_at_once():
    scaling = Scaling(workers_max=10, request_count=4, start_seconds=7, idle_timeout=5)
    endpoint = run_batch(10, 30, scaling)
    assert len(endpoint.workers) == math.ceil(10 / 4)
    assert len({worker.started for worker in endpoint.workers.values()}) == 1


def test_one_fast_job_is_billed_as_one_started_second_more_than_nothing():
    endpoint = run_batch(1, 0.2, Scaling(start_seconds=0.1, idle_timeout=5))
    assert endpoint.billed_seconds() == 6  # 0.1 + 0.2 + 5, rounded up


def test_minimum_workers_are_always_billed():
    async def hour() -> tuple[int, int]:
        clock = ManualClock()
        endpoint = Endpoint("e", clock, StubWorkers(), scaling=Scaling(workers_min=2))
        endpoint.scale()
        await clock.advance(3600)
        return endpoint.billed_seconds(), len(endpoint.workers)

    assert asyncio.run(hour()) == (7200, 2)


@pytest.mark.parametrize(
    ("load", "wanted"),
    [
        (Load(), 0),
        (Load(queued=1), 1),
        (Load(queued=9, overdue=9, live=1), 2),
        (Load(queued=9, overdue=1, live=1), 1),
        (Load(queued=9, overdue=9, live=2, starting=2), 1),
        (Load(queued=9, overdue=2, live=2, starting=2), 0),
        (Load(queued=9, overdue=9, live=3), 0),
    ],
)
def test_queue_delay_starts(load: Load, wanted: int):
    assert workers_to_start(Scaling(workers_max=3), load) == wanted


def test_pull_is_not_billed():
    endpoint = run_batch(1, 10, Scaling(pull_seconds=300, start_seconds=20, idle_timeout=5))
    assert endpoint.billed_seconds() == 35
    assert billed_seconds(None, None, 100.0) == 0


def test_low_priority_jobs_start_no_worker_but_use_one():
    async def scenario() -> tuple[int, State]:
        clock = ManualClock()
        endpoint = Endpoint("e", clock, StubWorkers(seconds=1))
        low = endpoint.submit("x", policy=Policy(low_priority=True))
        await clock.advance(3600)
        workers = len(endpoint.workers)
        endpoint.submit("y")
        await clock.advance(60)
        return workers, low.state

    assert asyncio.run(scenario()) == (0, State.COMPLETED)
