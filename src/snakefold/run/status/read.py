"""What is done, what runs and what is left of a run, by the plan and by the files that are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from snakefold.config import Config, read_recorded
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import BatchRow, Kind, State, part_of
from snakefold.plan.quote.timing import asked_workers
from snakefold.run.benchmarks import last_job
from snakefold.run.bill.execution import ExecutionRecord, read_answer, read_record
from snakefold.run.failures import read_failures
from snakefold.run.progress import Failure, Progress, read_progress
from snakefold.run.queued import RUNNING, WAITING, Queue, read_ledger, read_queue
from snakefold.run.status.folder import RunFolder, read_run_folder
from snakefold.run.status.model import AtWork, Status, Step
from snakefold.run.status.planned import Planned, read_planned
from snakefold.run.status.stages import (
    at_work,
    failed_before,
    folders_of,
    is_over,
    other_seconds,
    run_of,
)
from snakefold.run.status.time_left import Part, pace, seconds_left, with_alignments

Read = TypeVar("Read")

#: Failed targets that are named; all are counted.
_MOST_FAILURES = 20


@dataclass(frozen=True)
class _Outcomes:
    """Targets that are decided: how many, and some that failed."""

    done: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()

    def __add__(self, other: _Outcomes) -> _Outcomes:
        failures = (self.failures + other.failures)[:_MOST_FAILURES]
        return _Outcomes(self.done + other.done, self.failed + other.failed, failures)


class Reader:
    """Reads a results folder again and again; files that have not changed are read once."""

    def __init__(self, results: Path) -> None:
        self.results = self._asked = results
        self._place = results.resolve()
        self._known: dict[Path, tuple[int, Any]] = {}

    def read(self) -> Status:
        """How the run stands now.

        Raises:
            SnakefoldError: the folder holds no run, or a file of its plan is damaged.
        """
        run = run_of(self._asked)
        self.results = at_work(run) if run == self._asked else self._asked
        self._place = self.results.resolve()
        config_file = self.results / "config.yaml"
        folder = read_run_folder(run)
        is_first = self.results == folders_of(run)[0] != run
        if is_first and is_over(self.results):  # whoever asks for it is not told of the other
            folder = replace(folder, alive=False, ended=True)
        elapsed = time.time() - folder.started if folder.alive and folder.started else None
        if not config_file.is_file():
            if folder.alive:
                return Status(self.results, "planning", elapsed=elapsed, errors=folder.errors)
            raise SnakefoldError(
                f"{self.results}: not the results folder of a run (config.yaml is missing). Give one."
            )
        config = self._once(config_file, lambda _: read_recorded(self.results))
        table = self.results / "plan" / "batches.tsv"
        if not table.is_file() or table.resolve() in folder.unfinished:
            return Status(self.results, _state(folder, "planning"), elapsed=elapsed, errors=folder.errors)
        plan, outcomes = self._planned(table)
        queue = self._queue(folder)
        steps = self._steps(plan, config, folder, queue)
        records = self._records(plan.batches)
        # Not every executor knows how long its workers were idle.
        watched = [record for record in records if "idle_seconds" in record.model_fields_set]
        paid = sum(record.billed_seconds for record in watched)
        reported = all(step.done == step.total for step in steps if step.name == "report")
        finished = (self.results / "metrics.tsv").is_file() and reported
        finished = finished and (not is_first or is_over(self.results))
        others, before = other_seconds(self.results, run), failed_before(self.results, run)
        if finished and not folder.alive:  # targets of jobs that failed for good are in no table of a batch
            outcomes = replace(outcomes, **_failures(self.results))
        whole = finished and all(step.done == step.total for step in steps)
        state = _state(folder, "running", finished=finished, whole=whole and not outcomes.failed + before)
        alive, quote = state == "running", plan.quote
        working = self._progress(plan.batches, folder) if alive else {}
        left = self._remaining(plan, config, folder, queue, working) if alive else None
        # Workers of another disk tell their executor.
        jobs = queue.jobs if queue else ()
        reported_jobs = [job for job in jobs if job.state == RUNNING and job.total]
        running = sum(job.dollars for job in jobs)
        if alive:
            elsewhere = [
                job for job in reported_jobs if job.name not in working and part_of(job.name) is None
            ]
            outcomes += _Outcomes(sum(job.done for job in elsewhere))
        return Status(
            results=self.results,
            state=state,
            steps=steps,
            chains=sum(plan.chains.values()),
            aligned=sum(
                number for chunk, number in plan.chains.items() if self._is_done(f"msa/{chunk}.json", folder)
            ),
            targets=sum(count for name, count in plan.states.items() if name != State.REFUSED),
            done=outcomes.done,
            failed=outcomes.failed,
            failed_before=before,
            refused=plan.states.get(State.REFUSED, 0),
            failures=outcomes.failures,
            at_work=tuple(_at_work(batch, found) for batch, found in working.items())
            or tuple(AtWork(job.name, done=job.done, total=job.total) for job in reported_jobs),
            errors=folder.errors,
            retries=folder.retries,
            warnings=plan.warnings,
            rehearsal=plan.rehearsal,
            rehearsals=tuple(plan.quote.rehearsals) if plan.quote else (),
            elapsed=elapsed if alive else None,
            silent=time.time() - folder.heard if state == "stopped" and folder.heard else None,
            remaining=left + others if left is not None and is_first else left,
            planned=quote.wall_hours.expected * 3600 + others if quote and quote.batches else None,
            busy=1 - sum(record.idle_seconds for record in watched) / paid if paid else None,
            dollars=sum(record.billed_seconds * record.dollars_per_second for record in records) + running
            if records or running
            else None,
            quoted=quote.dollars.expected if quote else None,
            executor=queue.executor if queue else "",
            waiting=tuple(job for job in queue.jobs if job.state == WAITING) if queue else (),
            looked=queue.at if queue else None,
        )

    def _planned(self, table: Path) -> tuple[Planned, _Outcomes]:
        """The plan, and what became of its targets."""
        plan = table.parent
        try:
            planned: Planned = self._once(table, lambda _: read_planned(plan))
            return planned, self._outcomes(planned.batches)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise SnakefoldError(
                f"{plan}: is not as this version writes a plan, or a table is damaged ({error!r}). Run again."
            ) from error

    def _once(self, path: Path, read: Callable[[Path], Read]) -> Read:
        """What `read` makes of a file, read again only if the file was replaced.

        Raises:
            OSError: there is no such file.
        """
        changed = path.stat().st_mtime_ns
        if self._known.get(path, (0, None))[0] != changed:
            self._known[path] = changed, read(path)
        found: Read = self._known[path][1]
        return found

    def _took(self, rule: str, name: str) -> float | None:
        """Seconds of a job by Snakemake's clock."""
        try:
            return self._once(
                self.results / "benchmarks" / rule / f"{name}.tsv", lambda path: last_job(path).wall
            )
        except OSError:
            return None

    def _queue(self, folder: RunFolder) -> Queue | None:
        """Jobs in a queue, if this run has one."""
        if not folder.alive or folder.place is None:
            return None
        started = folder.started or 0.0
        queue = read_queue(run_of(self.results))
        if queue is not None and queue.at >= started:
            return queue
        return read_ledger(folder.place, started)

    def _steps(self, plan: Planned, config: Config, folder: RunFolder, queue: Queue | None) -> list[Step]:
        names = [row.batch for row in plan.batches if row.part is None]
        asked = [row.batch for row in plan.batches if row.kind != Kind.RESTORE]
        steps = [
            self._step("msa", [f"msa/{chunk}.json" for chunk in plan.chunks], folder),
            self._step("request", [f"requests/{name}/request.json" for name in asked], folder),
        ]
        for rule in Kind:
            own = [f"predictions/{row.batch}.tar.zst" for row in plan.batches if row.kind == rule]
            steps.append(self._step(rule, own, folder))
        steps.append(self._step("collect", [f"tables/{name}.parquet" for name in names], folder))
        steps.append(self._step("metrics", ["metrics.tsv"], folder))
        steps.append(self._step("report", ["report/index.html"], folder))
        if config.publish:
            steps.append(self._step("publish", ["published.txt"], folder))
        for step in steps:
            if queue and step.name in queue.rules:
                # Snakemake calls a job running from its submission on.
                step.running = min(queue.count(step.name, RUNNING), step.total - step.done)
                step.queued = min(queue.count(step.name, WAITING), step.waiting)
        return [step for step in steps if step.total]

    def _step(self, name: str, outputs: list[str], folder: RunFolder) -> Step:
        done = sum(self._is_done(output, folder) for output in outputs)
        running = sum(self._place / output in folder.unfinished for output in outputs)
        return Step(name, len(outputs), done, running if folder.alive else 0)

    def _is_done(self, output: str, folder: RunFolder) -> bool:
        """Whether an output is whole: one that a job is writing, or left when it was killed, is not."""
        path = self._place / output
        return path not in folder.unfinished and path.exists()

    def _outcomes(self, batches: Iterable[BatchRow]) -> _Outcomes:
        """Targets that are decided: by a batch's table, its archive, or what its job says so far."""
        total = _Outcomes()
        for row in batches:
            if row.part is not None:  # its targets are decided when all parts are there
                continue
            archive = self.results / "predictions" / f"{row.batch}.tar.zst"
            try:
                total += self._once(self.results / "tables" / f"{row.batch}.parquet", _counted)
            except OSError:
                try:
                    total += self._once(archive, _answered)
                except OSError:
                    total += _told(read_progress(archive))
        return total

    def _records(self, batches: Iterable[BatchRow]) -> list[ExecutionRecord]:
        paths = (self.results / "executions" / f"{row.batch}.json" for row in batches)
        return [record for record in map(_record, paths) if record is not None]

    def _progress(self, batches: Iterable[BatchRow], folder: RunFolder) -> dict[str, Progress]:
        """How far the jobs that run are, where they say so."""
        running = {path.name.partition(".")[0] for path in folder.unfinished if path.suffix == ".zst"}
        found = {
            row.batch: read_progress(self.results / "predictions" / f"{row.batch}.tar.zst")
            for row in batches
            if row.batch in running
        }
        return {batch: progress for batch, progress in found.items() if progress is not None}

    def _remaining(
        self,
        plan: Planned,
        config: Config,
        folder: RunFolder,
        queue: Queue | None,
        at_work: Mapping[str, Progress],
    ) -> float | None:
        """What is left by the plan's seconds, as wrong as those of finished targets were.

        While jobs wait in a queue, as many work at a time as work now; if none does, nobody knows.
        """
        waits = queue is not None and any(job.state == WAITING for job in queue.jobs)
        if queue is not None and waits and not any(job.state == RUNNING for job in queue.jobs):
            return None
        workers = config.gpu.workers
        together = (
            workers
            if isinstance(workers, int)
            else sum(asked_workers(config.gpu, config.gpu.classes).values())
        )
        if queue is not None and queue.count("predict", WAITING):
            together = min(together, queue.count("predict", RUNNING))
        parts = {row.batch: self._batch_part(row, folder, queue, at_work) for row in plan.batches}
        chunks = self._chunk_parts(plan, folder, queue)
        waiting = [
            parts[row.batch].planned
            for row in plan.batches
            if any(chunk in chunks and chunks[chunk].done < 1 for chunk in row.chunks.split(","))
        ]
        corrected = pace(list(parts.values()))
        left = with_alignments(
            seconds_left(list(parts.values()), together),
            seconds_left(list(chunks.values())),
            min(waiting, default=0.0) * corrected,
        )
        unfinished = any(part.done < 1 for part in (*parts.values(), *chunks.values()))
        return left if left >= 1 or not unfinished else None

    def _batch_part(
        self, row: BatchRow, folder: RunFolder, queue: Queue | None, at_work: Mapping[str, Progress]
    ) -> Part:
        now, output = time.time(), f"predictions/{row.batch}.tar.zst"
        if self._is_done(output, folder):
            took = self._took("predict", row.batch)
            return Part(row.seconds, 1.0, took)
        progress = at_work.get(row.batch)
        if progress is None:
            # Jobs of a queue are unfinished from their submission on.
            started = None if queue else folder.unfinished.get(self._place / output)
            return Part(row.seconds, running=max(0.0, now - started) if started else 0.0)
        done = (progress.done + progress.failed) / max(1, progress.total)
        # What an earlier process finished took nobody knows how long.
        only = progress.computed == progress.done + progress.failed > 0
        took = max(0.0, progress.decided - progress.started) if only else None
        return Part(row.seconds, min(done, 0.99), took, max(0.0, now - progress.decided))

    def _chunk_parts(self, plan: Planned, folder: RunFolder, queue: Queue | None) -> dict[str, Part]:
        """Chunks, one after the other; without a quote as long as those that are done."""
        now, chunks, parts = time.time(), plan.chunks, {}
        took = {chunk: self._took("msa", chunk) for chunk in chunks}
        known = [seconds for seconds in took.values() if seconds is not None]
        mean = sum(known) / len(known) if known else 0.0
        planned = plan.quote.msa_wall_hours.expected * 3600 if plan.quote else 0.0
        each = planned / len(chunks) if chunks and planned else mean
        for chunk in chunks:
            output = f"msa/{chunk}.json"
            started = None if queue else folder.unfinished.get(self._place / output)
            done = float(self._is_done(output, folder))
            running = max(0.0, now - started) if started else 0.0
            parts[chunk] = Part(each, done, took[chunk] if done else None, running)
        return parts


def _at_work(batch: str, progress: Progress) -> AtWork:
    since = progress.since if progress.target else progress.decided
    return AtWork(
        batch=batch,
        target=progress.target,
        length=progress.length,
        stage=progress.stage,
        done=progress.done + progress.failed,
        total=progress.total,
        seconds=max(0.0, time.time() - since),
    )


def _told(progress: Progress | None) -> _Outcomes:
    if progress is None:
        return _Outcomes()
    return _Outcomes(progress.done, progress.failed, progress.failures[:_MOST_FAILURES])


def _state(folder: RunFolder, while_alive: str, *, finished: bool = False, whole: bool = False) -> str:
    """`finished`: there is a report; `whole`: of everything. A job that failed may have been tried again."""
    if folder.alive:
        return while_alive
    if finished or folder.ended:
        return "finished" if whole else "failed"
    return "stopped"


def _failures(results: Path) -> dict[str, Any]:
    """Targets in failures.tsv that were not refused, as `_Outcomes` has them."""
    if not (results / "failures.tsv").is_file():
        return {"failed": 0, "failures": ()}
    rows = [row for row in read_failures(results) if row.state != State.REFUSED]
    named = tuple(Failure(row.id, row.reason, row.message) for row in rows[:_MOST_FAILURES])
    return {"failed": len(rows), "failures": named}


def _answered(archive: Path) -> _Outcomes:
    try:
        outcomes = read_answer(archive.parents[1], archive.name.partition(".")[0]).outcomes
    except SnakefoldError:  # `collect` will say so
        return _Outcomes()
    failed = [each for each in outcomes if each.state != "done"]
    failures = [Failure(each.id, str(each.reason or ""), each.message) for each in failed]
    return _Outcomes(len(outcomes) - len(failed), len(failed), tuple(failures[:_MOST_FAILURES]))


def _counted(path: Path) -> _Outcomes:
    from pyarrow import parquet

    states = parquet.read_table(path, columns=["state"]).column("state").to_pylist()
    failed = sum(state == "failed" for state in states)
    failures: tuple[Failure, ...] = ()
    if failed:
        rows = parquet.read_table(path).to_pylist()
        failures = tuple(
            Failure(str(row.get("id", "")), str(row.get("reason") or ""), str(row.get("message") or ""))
            for row in rows
            if row["state"] == "failed"
        )
    return _Outcomes(states.count("done"), failed, failures[:_MOST_FAILURES])


def _record(path: Path) -> ExecutionRecord | None:
    try:
        return read_record(path)
    except SnakefoldError:  # the bill will say so
        return None
