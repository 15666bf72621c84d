"""Jobs whose failure no further attempt can heal: no `retries` are spent on them, and no money.

Three can say so. A job notes it beside its output (`note_final`: the disk is full). An executor knows it
(`give_up`: the scheduler refuses a submission for good). Where a job fails for whatever cause and nothing can
be written into the results folder, the next attempt could not keep what it computes either.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import DiskError, Reason, disk_error
from snakefold.kernel.store.atomic import write_atomically

#: Bytes that must fit into the results folder after a failure: no job leaves less behind.
_PROBE = 1 << 16
_LONGEST = 2000
_NOWHERE_TO_WRITE = (Reason.NO_SPACE, Reason.NOT_WRITABLE)

Log = Callable[[str], None]


@dataclass(frozen=True)
class Final:
    """Why a job failed for good: a reason of failures.tsv, what happened, and what to do."""

    reason: Reason
    message: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.advice}".strip()


def note_final(output: Path, final: Final) -> None:
    """Say beside a job's output, which is not there, that the job failed for good.

    A note that cannot be written is left out: on a full disk the main process finds out by itself.
    """
    told = {**asdict(final), "message": final.message[:_LONGEST], "advice": final.advice[:_LONGEST]}
    try:
        write_atomically(_note(output), json.dumps(told).encode())
    except OSError:
        return


def read_final(output: Path) -> Final | None:
    """Why the job of an output failed for good; None where nothing says so."""
    try:
        found = json.loads(_note(output).read_bytes())
        return Final(Reason(found["reason"]), str(found["message"]), str(found["advice"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(output: Path) -> None:
    """Remove the note of an earlier attempt or run: its cause may be gone."""
    try:
        _note(output).unlink(missing_ok=True)
    except OSError:
        return


def forget_all(results: Path) -> None:
    """Remove the notes of an earlier run."""
    for pattern in ("msa/{}", "predictions/{}", "requests/*/{}", "tables/{}"):
        for note in results.glob(pattern.format(".*.final.json")):
            note.unlink(missing_ok=True)


#: Jobs of this process that failed for good.
_GIVEN_UP: dict[Any, Final] = {}


def give_up(job: Any, reason: Reason, message: str, advice: str = "") -> None:
    """For executors, before they report a job's error: it failed for good.

    The reason becomes that of the job's targets in failures.tsv.

    Args:
        job: Snakemake's, or a group of them.
    """
    final = Final(reason, message, advice)
    for single in getattr(job, "jobs", [job]):
        _GIVEN_UP[single] = final
        if single.output:
            note_final(Path(single.output[0]), final)


def honour(results: Path, log: Log) -> None:
    """Let the scheduler of this process start no job again that failed for good, and say why.

    Where nothing can be written any more, no other job is started either: what runs comes to its end.
    """
    # All that the scheduler asks when a job has failed; it has no hook of its own.
    from snakemake.jobs import Job

    asked = Job.restart_times.fget
    if hasattr(asked, "__wrapped__"):
        return

    @functools.wraps(asked)
    def restart_times(job: Any) -> int:
        final = _GIVEN_UP.get(job) or _found(job, results)
        if final is None:
            return int(asked(job))
        _GIVEN_UP[job] = final
        # The stage of a run with several is a folder.
        named = (str(value).rstrip("/") for value in job.wildcards)
        log(f"{' '.join([job.rule.name, *filter(None, named)])}: {final} It is not tried again.")
        if final.reason in _NOWHERE_TO_WRITE:
            job.dag.workflow.scheduler.keepgoing = False
        return 0

    Job.restart_times = property(restart_times)


def stopped() -> Final | None:
    """Why this run had to end early: nothing can be written any more."""
    return next((each for each in _GIVEN_UP.values() if each.reason in _NOWHERE_TO_WRITE), None)


def check_writable(folder: Path, size: int = _PROBE) -> None:
    """See that `size` bytes can be written into a folder, which is made if it is not there.

    Raises:
        DiskError: they cannot; the text names the folder, what is free, and what to do.
    """
    probe = folder / f".room.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with probe.open("wb") as stream:
                stream.write(bytes(size))
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        told = disk_error(error, folder)
        if told is None:
            raise
        raise told from error


def _found(job: Any, results: Path) -> Final | None:
    noted = read_final(Path(job.output[0])) if job.output else None
    if noted is not None:
        return noted
    try:
        check_writable(results)
    except DiskError as error:
        return Final(error.reason, str(error))
    except OSError:  # the folder is away altogether, and may come back
        return None
    return None


def _note(output: Path) -> Path:
    return output.with_name(f".{output.name}.final.json")
