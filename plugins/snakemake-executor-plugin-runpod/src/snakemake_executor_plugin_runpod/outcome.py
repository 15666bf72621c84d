"""What is left of a job here besides its outputs: log, benchmark and execution record, and what failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import JobError
from .files import write
from .ledger import COLLECTED, COMPLETED, OVERDUE, SPOILED, Row
from .payload import Task

_REASONS = ("invalid_input", "out_of_memory", "database_missing", "weights_missing", "timeout", "internal")
_HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


@dataclass(frozen=True)
class Bill:
    """Seconds of one submission, as far as the service told; None where it did not."""

    queued: float | None
    billed: float | None
    start: float | None = None
    gpu: str = ""


def bill(answer: Mapping[str, Any], ran: float | None, before: float = 0.0) -> Bill:
    """Seconds out of the last answer of /status.

    Args:
        ran: seconds for which the job was seen at work, for ends of which the service tells no executionTime;
            None: nobody looked.
        before: those of them in executions whose worker died, which the service's figure lacks.
    """
    output = answer.get("output")
    output = output if isinstance(output, dict) else {}
    worker, parts = output.get("worker"), output.get("seconds")
    told = seconds(answer.get("executionTime"))
    return Bill(
        queued=seconds(answer.get("delayTime")),
        billed=ran if told is None else told + before,
        start=_number(parts.get("start")) if isinstance(parts, dict) else None,
        gpu=str(worker.get("gpu", ""))[:80] if isinstance(worker, dict) else "",
    )


def seconds(milliseconds: Any) -> float | None:
    """Of a figure in ms; None where it is none."""
    number = _number(milliseconds)
    return None if number is None else number / 1000


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return float(value)


def progress_of(answer: Mapping[str, Any]) -> tuple[int, int] | None:
    """What a worker says is done, and of how many: until a job ends, its output may have `progress`."""
    output = answer.get("output")
    told = output.get("progress") if isinstance(output, dict) else None
    if not isinstance(told, dict):
        return None
    done, total = _number(told.get("done")), _number(told.get("of"))
    return (int(done), int(total)) if done is not None and total is not None and done <= total else None


def failure(answer: Mapping[str, Any]) -> JobError:
    """Why a job has ended without a result, of its typed reason where the worker gave one."""
    state = answer.get("status")
    error = answer.get("error")
    if state == "CANCELLED":
        return JobError("the job was cancelled, and not by this run (CANCELLED)", "cancelled")
    if state == "STUCK":
        return JobError(f"no worker took the job in time, so that it was cancelled: {error}", "queue_timeout")
    if state == OVERDUE:
        more = "; it could not be cancelled, and may go on to cost money" if answer.get("live") else ""
        return JobError(
            f"the job {error}. It was cancelled{more}. If it needs that long, give the rule more `runtime` "
            "(minutes); if not, its worker hung: look at its log in RunPod's console",
            "overdue",
        )
    details = _object(error)
    reason = str(details.get("reason", ""))
    message = details.get("message") or details.get("error_message") or error or "without saying why"
    log = details.get("log") or details.get("error_traceback") or ""
    named = reason if reason in _REASONS else "internal"
    return JobError(f"the job FAILED ({named}): {str(message).strip()[:2000]}", named, str(log))


def _object(error: Any) -> dict[str, Any]:
    if isinstance(error, dict):
        return error
    try:
        found = json.loads(error) if isinstance(error, str) else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def write_log(task: Task, lines: Sequence[str], worker_log: str) -> None:
    """The first log file of the rule: what happened to the job, the worker's last lines, and how it ended."""
    if task.logs:
        *told, end = (f"[runpod] {line}\n" for line in lines)
        worker = [worker_log.rstrip() + "\n"] if worker_log.strip() else []
        write(task.logs[0], "".join([*told, *worker, end]))


def write_benchmark(task: Task, seconds: float) -> None:
    """Snakemake's benchmark file with the seconds on the worker; its memory and load are not known here."""
    if task.benchmark is not None:
        minutes, left = divmod(int(seconds), 60)
        clock = f"{minutes // 60}:{minutes % 60:02}:{left:02}"
        write(task.benchmark, f"{_HEADER}\n{seconds:.4f}\t{clock}" + "\tNA" * 8 + "\n")


def execution_record(task: Task, attempts: Sequence[Row]) -> dict[str, Any]:
    """What all submissions of a job took together; docs/execution-record.md."""
    last = attempts[-1] if attempts else None
    where = {}
    if last is not None:
        where = {
            "endpoint": last.endpoint,
            "submitted": round(attempts[0].submitted, 3),
            "ended": round(max(row.changed for row in attempts), 3),
            "jobs": [row.job for row in attempts if row.job],
        }
    return {
        "executor": "runpod",
        "gpu": (last.gpu if last else "") or task.gpu_class,
        "dollars_per_second": task.dollars_per_second or 0.0,
        "queued_seconds": round(sum(row.queued_seconds or 0.0 for row in attempts), 3),
        "start_seconds": round(sum(row.start_seconds or 0.0 for row in attempts), 3),
        "billed_seconds": round(sum(row.billed_seconds or 0.0 for row in attempts), 3),
        "attempts": max(1, len(attempts)),
        "idle_seconds": 0.0,
        **where,
    }


def write_record(task: Task, attempts: Sequence[Row]) -> None:
    """Write the record of a job that RunPod has run; one that it never ran leaves none."""
    if task.execution_record is None:
        return
    if any(row.billed_seconds or row.state in (COMPLETED, COLLECTED, SPOILED) for row in attempts):
        write(task.execution_record, json.dumps(execution_record(task, attempts), indent=1) + "\n")
    else:
        task.execution_record.unlink(missing_ok=True)
