"""Jobs that outlive their limits, and what TIMED_OUT means: each told apart, with the advice that fits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flying import Flying, flying, wait
from workers import SmallWorker

from snakefold.clusters.emulator import Clock, Fault
from snakemake_executor_plugin_runpod import carrier, queue
from snakemake_executor_plugin_runpod.executor import retry_text
from snakemake_executor_plugin_runpod.flight import Flight
from snakemake_executor_plugin_runpod.ledger import Ledger
from snakemake_executor_plugin_runpod.outcome import bill
from snakemake_executor_plugin_runpod.payload import Task
from snakemake_executor_plugin_runpod.trip import Trip


class Jumping:
    """The module `time`, whose monotonic clock a test moves on."""

    def __init__(self) -> None:
        self.by = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.by

    def time(self) -> float:
        return time.time() + self.by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jumping]:
    jumping = Jumping()
    monkeypatch.setattr(queue, "time", jumping)
    monkeypatch.setattr(carrier, "time", jumping)
    yield jumping


def at_work(found: Flying, jobs: int = 1) -> bool:
    """Whether so many jobs were sent, and the run has seen the last of them at work."""
    return len(found.service.jobs) == jobs and [row.state for row in found.engine._ledger.live()] == [
        "IN_PROGRESS"
    ]


def test_a_job_that_outlives_its_limits_is_cancelled_and_sent_again(tmp_path: Path, clock: Jumping) -> None:
    with flying(tmp_path, Fault("endless", nth=1), overtime=60.0) as found:
        trip = found.engine.carry(found.task())
        wait(lambda: at_work(found))
        clock.by += 60 + 60  # its executionTimeout is a minute
        wait(lambda: trip.finished)
        assert trip.error is None and found.good()
        assert [str(job.state) for job in found.service.jobs] == ["CANCELLED", "COMPLETED"]
        assert any("executionTimeout" in text and "is cancelled" in text for text in found.warnings)
        record = json.loads((tmp_path / "record/0.json").read_text())
        assert record["attempts"] == 2
        assert "sent again" in (tmp_path / "logs/0.log").read_text()


def test_a_job_that_outlives_its_limits_again_fails_and_is_not_sent_for_ever(
    tmp_path: Path, clock: Jumping
) -> None:
    with flying(tmp_path, Fault("endless"), overtime=60.0) as found:
        for jobs in ([1, 2], [3]):  # a second try of Snakemake's gets one job only
            trip = found.engine.carry(found.task())
            for number in jobs:
                wait(lambda: at_work(found, number))  # noqa: B023
                clock.by += 120
            wait(lambda: trip.finished)  # noqa: B023
            assert trip.error is not None and trip.error.reason == "overdue", trip.error
            assert "has run for" in str(trip.error)
        assert found.service.live_jobs() == [] and len(found.service.jobs) == 3


def test_an_overdue_job_that_cannot_be_cancelled_is_listed_and_not_sent_again(
    tmp_path: Path, clock: Jumping
) -> None:
    faults = Fault("endless"), Fault("status", call="cancel", status=503)
    with flying(tmp_path, *faults, overtime=60.0, patience=0.0, cancel_timeout=1.0) as found:
        trip = found.engine.carry(found.task())
        wait(lambda: at_work(found))
        clock.by += 120
        wait(lambda: trip.finished)
        assert trip.error is not None and "could not be cancelled" in str(trip.error)
        (job,) = found.service.jobs
        assert [item.job for item in found.engine.call(found.engine.left())] == [job.id]
        found.service.call(lambda emulator: emulator.faults.clear())
        assert found.engine.call(found.engine.cancel_all(strangers_only=True)) == (1, [])
        assert found.service.live_jobs() == []


def flight(**more: Any) -> Flight:
    return Flight(*(1, "a-1", "IN_QUEUE", None, 100.0, 100.0), **more)  # type: ignore[arg-type]


def test_the_clock_of_a_job() -> None:
    job = flight(limit=60.0, ttl=1000.0)
    job.looked = 110.0
    job.begin(120.0, None)
    assert job.running_since == 120.0
    job.running_since = None
    job.begin(120.0, 15.0)  # RunPod's delayTime: between the last look and this one
    assert job.running_since == 115.0
    assert job.overdue(115 + 60 + 10, 10.0) == "" and "executionTimeout" in job.overdue(186.0, 10.0)
    job.requeue(135.0)
    assert job.at_work(150.0) == 20.0 and job.overdue(1100.0, 10.0) == ""
    assert "ttl" in job.overdue(1111.0, 10.0)
    job.begin(150.0, None)
    assert job.at_work(160.0) == 30.0


def test_bills_have_the_time_at_work() -> None:
    assert bill({"status": "CANCELLED"}, 12.5).billed == 12.5
    assert bill({"status": "CANCELLED"}, 0.0).billed == 0.0  # watched, and never at work
    assert bill({"status": "LOST"}, None).billed is None  # nobody looked
    assert bill({"status": "TIMED_OUT", "executionTime": 60_000}, 61.0).billed == 60.0
    assert bill({"status": "COMPLETED", "executionTime": 60_000}, 99.0, before=30.0).billed == 90.0


def test_a_job_counts_with_the_time_it_has_been_at_work_where_that_is_more_than_was_put_by(
    tmp_path: Path,
) -> None:
    book = Ledger(tmp_path / "ledger.sqlite")
    row = book.prepare(
        digest="d", outputs=["o"], rule="r", endpoint="e", dollars_per_second=0.5, reserved=10.0
    )
    book.accepted(row, "a-1", "IN_QUEUE")
    assert book.dollars() == 10.0
    book.at_work(row, "IN_PROGRESS", time.time() - 100, 20.0)
    assert book.dollars() == pytest.approx(60.0, abs=1.0)
    book.ended(row, "CANCELLED", queued=None, billed=0.0, start=None, gpu="")
    assert book.dollars() == 0.0
    book.close()


def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.sqlite")
    row = book.prepare(
        digest="d", outputs=["o"], rule="r", endpoint="e", dollars_per_second=0.5, reserved=10.0
    )
    book.accepted(row, "a-1", "IN_QUEUE")
    for name in ("started", "worked"):
        book._db.execute(f"ALTER TABLE submissions DROP COLUMN {name}")
    book.close()
    again = Ledger(tmp_path / "ledger.sqlite")
    assert again.dollars() == 10.0
    (found,) = again.live()
    assert (found.job, found.started, found.worked) == ("a-1", None, 0.0)
    again.close()


class TooMuch(SmallWorker):
    """Answers with more than RunPod takes."""

    async def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        return {**await super().__call__(job), "more": "x" * (11 * 2**20)}


@pytest.mark.parametrize(
    ("faults", "worker", "reason", "says"),
    [
        ([Fault("expired", seconds=5)], SmallWorker(), "queue_timeout", "never IN_PROGRESS"),
        ([], TooMuch(), "result_too_large", "Failed to return job results"),
        ([], SmallWorker(seconds=600), "timeout", "execution timeout of 60 s"),
        ([Fault("timed_out", seconds=6)], SmallWorker(seconds=50), "worker_lost", "stopped reporting"),
    ],
    ids=["expired", "answer dropped", "too long", "worker lost"],
)
def test_what_timed_out_means(
    tmp_path: Path, faults: list[Fault], worker: SmallWorker, reason: str, says: str
) -> None:
    with flying(tmp_path, *faults, worker=worker, clock=Clock(speed=60)) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is not None and trip.error.reason == reason, trip.error
        assert says in str(trip.error)
        ran = found.service.execution_seconds("fold") if reason == "timeout" else None
        assert (found.engine._ledger.dollars() == 0.0) == (reason == "queue_timeout")
        if ran is not None:
            assert found.engine._ledger.dollars() == pytest.approx(60 * 0.001, rel=0.2)


def test_a_dropped_answer_is_thought_of_where_the_workers_log_cannot_be_read(tmp_path: Path) -> None:
    with flying(tmp_path, worker=TooMuch(), clock=Clock(speed=60)) as found:
        found.service.call(lambda e: e.account.refused.add("/serverless/{id}/workers/{worker}/logs"))
        (trip,) = found.carry(found.task())
        assert trip.error is not None and trip.error.reason == "timeout"
        assert "over 10 MB, which RunPod drops" in str(trip.error)


def test_a_retry_says_why_which_one_it_is_and_what_it_costs() -> None:
    from snakemake_executor_plugin_runpod.errors import JobError

    task = Task(*("fold", 11, 1, "fold", {}, {}), dollars_per_second=0.001, expected_seconds=60.0)
    trip = Trip(task, error=JobError("the job FAILED (internal): CUDA error\nand more " + "x" * 5000))
    trip.dollars = 0.0123
    text = retry_text(trip, 1, 3, 600.0)
    assert text.startswith("rule fold, job 11: try 1 of 3 failed: the job FAILED (internal): CUDA error and")
    assert "cost $0.0123 so far" in text and "$0.0600 expected, $0.6000 at most" in text and len(text) < 700
    assert "it is not tried again" in retry_text(trip, 3, 3, 600.0)
    assert "not known" in retry_text(Trip(Task(*("f", 1, 1, "f", {}, {})), error=JobError("x")), 1, 2, 600.0)
