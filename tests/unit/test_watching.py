"""What passes between an executor plugin, a scheduler and Snakemake, and what is written down of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.iocontainers import Wildcards

from snakefold.clusters.watching import Watch
from snakefold.kernel.errors import Reason
from snakefold.run import attempts
from snakefold.run.attempts import INTERRUPTED, Ended, read
from snakefold.run.queued import RUNNING, WAITING, Queued, read_queue
from snakefold.run.unfinished import why_unfinished


class Scheduler:
    """Says what it is told to."""

    name = "SLURM"

    def __init__(self) -> None:
        self.ordinary, self.endless = {"Resources", "Priority"}, {"PartitionTimeLimit"}
        self.ends: dict[str, Ended | None] = {}
        self.jobs: list[Queued] = []
        self.broken = False

    def queue(self, ids: Iterable[str]) -> list[Queued]:
        if self.broken:
            raise RuntimeError("no answer")
        return [job for job in self.jobs if job.id in set(ids)]

    def ended(self, job: str, rule: str) -> Ended | None:
        if self.broken:
            raise RuntimeError("no answer")
        return self.ends.get(job)

    def refused(self, said: str) -> Ended | None:
        return (
            Ended("REFUSED", Reason.SUBMISSION_REFUSED, said, "Put it right.") if "refused" in said else None
        )


class Executor:
    """As much of a plugin as is stood between."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active_jobs: list[Any] = []
        self.reported: list[tuple[str, Any, dict[str, Any]]] = []
        self.cancelled: list[str] = []

    def report_job_submission(self, info: Any, register_job: bool = True) -> None:
        self.reported.append(("submitted", info, {}))

    def report_job_success(self, info: Any) -> None:
        self.reported.append(("done", info, {}))

    def report_job_error(self, info: Any, msg: str | None = None, **options: Any) -> None:
        self.reported.append(("failed", info, {"msg": msg, **options}))

    def cancel_jobs(self, jobs: list[Any]) -> None:
        self.cancelled += [info.external_jobid for info in jobs]

    def cancel(self) -> None:
        self.cancel_jobs(self.active_jobs)


class Site:
    def __init__(self, folder: Path) -> None:
        self.results = folder / "results"
        self.scheduler, self.executor = Scheduler(), Executor()
        self.said: list[str] = []
        self.warned: list[str] = []
        self.watch = Watch(
            self.results,
            self.scheduler,
            say=self.said.append,
            warn=self.warned.append,
            stages=["design/", ""],
        )
        self.watch.attach(self.executor)

    def submit(self, job: str, rule: str = "predict", name: str = "b0001-l0070") -> Any:
        info = SimpleNamespace(job=work(rule, name), external_jobid=job)
        self.executor.report_job_submission(info)
        return info

    def record(self, name: str = "b0001-l0070") -> dict[str, Any]:
        return dict(json.loads((self.results / "executions" / f"{name}.json").read_text()))


class Job(SimpleNamespace):
    __hash__ = object.__hash__


def work(rule: str, name: str) -> Any:
    return Job(
        rule=SimpleNamespace(name=rule),
        is_group=lambda: False,
        wildcards=[name],
        resources={"gpu_class": "ampere_80", "dollars_per_second": "0.002"},
        output=[],
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterable[Site]:
    found = Site(tmp_path)
    yield found
    found.watch.stop()


TIMEOUT = Ended(
    "TIMEOUT", Reason.TIMEOUT, "SLURM job 1: TIMEOUT after 90 s.", "Give it more.", 90.0, 5.0, 100.0
)


def test_jobs_of_both_stages_are_written_down_with_their_own_results(site: Site) -> None:
    infos = []
    for stage, job in (("design/", "1"), ("", "2")):
        info = SimpleNamespace(job=work("predict", "b0001-l0070"), external_jobid=job)
        info.job.wildcards = Wildcards(fromdict={"stage": stage, "batch": "b0001-l0070"})
        site.executor.report_job_submission(info)
        infos.append(info)
    first = site.results / "design"
    assert [each.id for each in read(first, "predict", "b0001-l0070")] == ["1"]
    assert [each.id for each in read(site.results, "predict", "b0001-l0070")] == ["2"]
    site.scheduler.ends = {"1": Ended("COMPLETED", seconds=60.0), "2": TIMEOUT}
    site.executor.report_job_success(infos[0])
    site.watch.settle(over=True)
    assert json.loads((first / "executions" / "b0001-l0070.json").read_text())["billed_seconds"] == 60.0
    assert site.record()["billed_seconds"] == 90.0
    assert site.warned == []


def test_attempts_that_failed_count_with_the_one_that_did_not(site: Site) -> None:
    first = site.submit("1")
    site.scheduler.ends = {"1": TIMEOUT, "2": Ended("COMPLETED", seconds=60.0, queued=2.0)}
    site.executor.report_job_error(
        first, msg="SLURM-job '1' failed, SLURM status is: 'TIMEOUT'.", aux_logs=["x"]
    )
    (*_, (_, _, told)) = site.executor.reported
    assert told["msg"].startswith("SLURM job 1: TIMEOUT after 90 s. Give it more.") and told["aux_logs"] == [
        "x"
    ]
    assert site.record()["billed_seconds"] == 90.0
    site.executor.report_job_success(site.submit("2"))
    assert site.record() == {
        "executor": "slurm",
        "gpu": "ampere_80",
        "dollars_per_second": 0.002,
        "queued_seconds": 7.0,
        "billed_seconds": 150.0,
        "attempts": 2,
    }
    assert why_unfinished(site.results, "b0001-l0070").message == ""


def test_a_reason_reaches_the_targets_of_the_batch(site: Site) -> None:
    site.scheduler.ends["1"] = TIMEOUT
    site.executor.report_job_error(site.submit("1"))
    why = why_unfinished(site.results, "b0001-l0070")
    assert (why.reason, why.advice) == (Reason.TIMEOUT, "Give it more.")
    assert why.message == "predict b0001-l0070: SLURM job 1: TIMEOUT after 90 s."


def test_the_reason_of_a_chunk_reaches_the_batches_that_wait_for_it(site: Site) -> None:
    memory = Ended(
        "OUT_OF_MEMORY", Reason.OUT_OF_MEMORY, "SLURM job 2: OUT_OF_MEMORY.", "Raise msa.mem_mb.", 9.0
    )
    site.scheduler.ends = {"1": TIMEOUT, "2": memory}
    site.executor.report_job_error(site.submit("1", "msa", "m0001"))
    site.executor.report_job_error(site.submit("2", "msa", "m0001"))
    why = why_unfinished(site.results, "b0001-l0070", ["m0001"])
    assert (why.reason, why.advice) == (Reason.OUT_OF_MEMORY, "Raise msa.mem_mb.")
    assert why.message == "msa m0001: SLURM job 2: OUT_OF_MEMORY. (earlier tries: TIMEOUT)"
    assert not list((site.results / "executions").glob("*.json")), "no GPU is billed for an alignment"
    (site.results / "msa").mkdir()
    (site.results / "msa" / "m0001.json").touch()
    assert why_unfinished(site.results, "b0001-l0070", ["m0001"]).message == ""


def test_a_program_that_failed_is_told_by_its_log(site: Site) -> None:
    site.scheduler.ends["1"] = Ended("FAILED", None, "SLURM job 1: FAILED after 3 s, exit code 1.", "", 3.0)
    site.executor.report_job_error(site.submit("1"))
    log = site.results / "logs" / "predict" / "b0001-l0070.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("something\nsnakefold: the weights are damaged.\n\n")
    why = why_unfinished(site.results, "b0001-l0070")
    assert why.reason is Reason.LOST
    assert why.message == (
        "predict: snakefold: the weights are damaged. (SLURM job 1: FAILED after 3 s, exit code 1)"
    )


def test_a_refused_submission_is_given_up_and_costs_nothing(site: Site) -> None:
    info = SimpleNamespace(job=work("predict", "b0001-l0070"), external_jobid=None)
    site.executor.report_job_error(info, msg="sbatch refused it")
    ((_, _, told),) = site.executor.reported
    assert told["told"] is True, "giving up tells of it"
    why = why_unfinished(site.results, "b0001-l0070")
    assert (why.reason, why.advice) == (Reason.SUBMISSION_REFUSED, "Put it right.")
    assert not list((site.results / "executions").glob("*.json"))


def test_what_nobody_knows_is_absent_and_not_nothing(site: Site) -> None:
    site.executor.report_job_error(site.submit("1"))
    (attempt,) = attempts.read(site.results, "predict", "b0001-l0070")
    assert attempt.failed and attempt.seconds is None
    assert not list((site.results / "executions").glob("*.json"))


def test_our_own_clock_counts_where_the_scheduler_has_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = site.submit("1")
    for now, start in ((1000.0, 990.0), (1030.0, 990.0), (1100.0, 1060.0)):  # it went back into the queue
        monkeypatch.setattr("snakefold.clusters.watching.time.time", lambda now=now: now)
        site.scheduler.jobs = [Queued("1", RUNNING, "", start)]
        site.watch.look()
    site.executor.report_job_error(info)
    assert site.record()["billed_seconds"] == 80.0


def test_the_run_before_a_nodes_failure_counts_without_accounts(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = site.submit("1")
    for now, start in ((1030.0, 990.0), (1100.0, 1060.0)):
        monkeypatch.setattr("snakefold.clusters.watching.time.time", lambda now=now: now)
        site.scheduler.jobs = [Queued("1", RUNNING, "", start)]
        site.watch.look()
    # The controller tells the last run only.
    site.scheduler.ends["1"] = Ended("COMPLETED", seconds=70.0, started=1060.0, whole=False)
    site.executor.report_job_success(info)
    assert site.record()["billed_seconds"] == 110.0


def test_what_waits_is_written_for_status_and_told_once(site: Site) -> None:
    for number in ("1", "2", "3"):
        site.submit(number, name=f"b000{number}-l0070")
    drained = "ReqNodeNotAvail, UnavailableNodes:node2"
    site.scheduler.jobs = [
        Queued("1", RUNNING, "", 1.0),
        Queued("2", WAITING, "Priority", 2.0),
        Queued("3", WAITING, drained, 3.0),
        Queued("77", WAITING, "of another run", 3.0),
    ]
    site.watch.look()
    site.watch.look()
    queue = read_queue(site.results)
    assert queue is not None
    assert [(job.rule, job.name, job.state) for job in queue.jobs] == [
        ("predict", "b0001-l0070", RUNNING),
        ("predict", "b0002-l0070", WAITING),
        ("predict", "b0003-l0070", WAITING),
    ]
    (said,) = site.said
    assert "2 jobs wait in SLURM" in said and f"1 {drained}" in said


def test_an_ordinary_wait_is_told_when_nothing_runs(site: Site) -> None:
    site.submit("1")
    site.scheduler.jobs = [Queued("1", WAITING, "Resources", 1.0)]
    site.watch.look()
    assert len(site.said) == 1 and "1 job waits in SLURM" in site.said[0]
    site.watch.look()
    assert len(site.said) == 1


def test_an_interrupt_cancels_jobs_that_a_plugin_is_just_looking_at(site: Site) -> None:
    listed, unlisted = site.submit("1"), site.submit("2", name="b0002-l0070")
    site.executor.active_jobs = [listed]
    site.executor.cancel()
    assert sorted(site.executor.cancelled) == ["1", "2"]
    # What a plugin still reports is no failure.
    site.scheduler.ends["2"] = Ended("CANCELLED", Reason.LOST, "SLURM job 2: CANCELLED.", "Run again.", 4.0)
    site.executor.report_job_error(unlisted)
    (attempt,) = attempts.read(site.results, "predict", "b0002-l0070")
    assert (attempt.state, attempt.seconds) == (INTERRUPTED, 4.0)
    assert why_unfinished(site.results, "b0002-l0070").message == ""


def test_jobs_of_a_killed_run_are_billed_and_are_no_failures(site: Site, tmp_path: Path) -> None:
    site.submit("1")
    site.submit("2", name="b0002-l0070")
    cancelled = Ended("CANCELLED", Reason.LOST, "SLURM job 1: CANCELLED.", "Run again.", 40.0)
    later = Site(tmp_path)
    later.scheduler.ends = {"1": cancelled, "2": Ended("COMPLETED", seconds=30.0)}
    later.watch.settle()
    assert later.record()["billed_seconds"] == 40.0
    assert later.record("b0002-l0070")["billed_seconds"] == 30.0
    assert why_unfinished(later.results, "b0001-l0070").message == ""
    assert list(attempts.unsettled(later.results)) == []
    later.watch.settle()
    assert later.record()["attempts"] == 1
    later.watch.stop()


def test_what_a_scheduler_has_forgotten_is_asked_for_once(site: Site, tmp_path: Path) -> None:
    site.submit("1")
    site.watch.settle()
    assert [each.id for *_, each in attempts.unsettled(site.results)] == ["1"], "it may be about to end"
    Site(tmp_path).watch.settle(over=True)
    (attempt,) = attempts.read(site.results, "predict", "b0001-l0070")
    assert (attempt.state, attempt.seconds) == (INTERRUPTED, None)
    assert not list((site.results / "executions").glob("*.json")), "unknown is not nothing"


def test_a_wait_that_nothing_ends_is_told_with_what_to_do(site: Site) -> None:
    site.submit("1")
    site.submit("2", name="b0002-l0070")
    site.scheduler.jobs = [Queued("1", RUNNING, "", 1.0), Queued("2", WAITING, "PartitionTimeLimit", 1.0)]
    site.watch.look()
    (said,) = site.said
    assert "PartitionTimeLimit: these jobs would wait for ever" in said and "site.yaml" in said


def test_a_scheduler_that_does_not_answer_ends_nothing(site: Site) -> None:
    info = site.submit("1")
    site.scheduler.broken = True
    site.executor.report_job_success(info)
    assert [what for what, *_ in site.executor.reported] == ["submitted", "done"]
    assert any("no answer" in text for text in site.warned)
    (attempt,) = attempts.read(site.results, "predict", "b0001-l0070")
    assert not attempt.failed and attempt.seconds is None


def test_other_rules_and_groups_are_left_alone(site: Site) -> None:
    info = SimpleNamespace(job=work("collect", "b0001-l0070"), external_jobid="4")
    site.executor.report_job_submission(info)
    site.executor.report_job_error(info, msg="as it was")
    assert site.executor.reported[-1][2] == {"msg": "as it was"}
    assert not (site.results / "executions").exists()


def test_a_new_plan_begins_without_attempts(site: Site) -> None:
    site.scheduler.ends["1"] = replace(TIMEOUT, seconds=None)
    site.executor.report_job_error(site.submit("1"))
    attempts.forget(site.results)
    attempts.forget(site.results)
    assert attempts.read(site.results, "predict", "b0001-l0070") == []
