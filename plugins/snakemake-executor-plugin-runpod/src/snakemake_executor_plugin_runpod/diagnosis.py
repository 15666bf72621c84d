"""Why jobs wait, and why they ended TIMED_OUT: what endpoint, workers and their logs say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from .client import Client
from .errors import JobError, RunpodError

#: What the SDK prints where RunPod has refused a result, which it then drops.
_DROPPED = re.compile(r"Failed to return job results|Error while returning job result")
#: Share of its execution timeout after which a job has run into it.
_NEARLY = 0.9


async def workers_max(client: Client, endpoint: str) -> int | None:
    """workersMax of an endpoint; None where the management API cannot be asked."""
    try:
        workers = (await client.endpoint(endpoint)).get("workers")
        return int(workers["max"]) if isinstance(workers, dict) else None
    except (RunpodError, KeyError, TypeError, ValueError):
        return None


async def why_waiting(client: Client, endpoint: str) -> str:
    """One sentence: why jobs of an endpoint stay in its queue, as far as RunPod tells."""
    most = await workers_max(client, endpoint)
    if most == 0:
        return (
            f"endpoint {endpoint} may start no workers: its workersMax is 0 (RunPod lowers it when an "
            "endpoint was not used for days, and does not raise it again); raise it in RunPod's console"
        )
    states = await _states(client, endpoint)
    if states is None:
        return f"RunPod does not tell the state of the workers of endpoint {endpoint}"
    running = states["RUNNING"] + states["IDLE"]
    if running:
        return f"workers of endpoint {endpoint} are busy ({running}); the jobs wait for their turn"
    if states["UNHEALTHY"]:
        return (
            f"workers of endpoint {endpoint} are UNHEALTHY ({states['UNHEALTHY']}): they die when they "
            "start. Look at their logs in RunPod's console (image, command, missing environment variables)"
        )
    if states["THROTTLED"]:
        return (
            f"no capacity: workers of endpoint {endpoint} are THROTTLED ({states['THROTTLED']}), RunPod has "
            "no such GPU free. Allow it more GPU types or data centres, or wait"
        )
    if states["INITIALIZING"]:
        return f"workers of endpoint {endpoint} are starting ({states['INITIALIZING']}): pulling their image"
    return f"endpoint {endpoint} has no workers, and RunPod does not tell why"


async def _states(client: Client, endpoint: str) -> Counter[str] | None:
    try:
        return Counter(str(worker.get("status")) for worker in await client.workers(endpoint))
    except RunpodError:
        pass
    try:
        workers: Any = (await client.health(endpoint)).get("workers")
    except RunpodError:
        return None
    if not isinstance(workers, dict):
        return None
    return Counter({str(name).upper(): int(n) for name, n in workers.items() if isinstance(n, int)})


async def timed_out(client: Client, endpoint: str, answer: Mapping[str, Any], limit: float) -> JobError:
    """What TIMED_OUT means for a job, for RunPod calls three things so, and what helps.

    Args:
        answer: the last of /status; `ran`: seconds that the job was seen at work, None: nobody looked.
        limit: its execution timeout, seconds.
    """
    ran = _figure(answer.get("executionTime"))
    ran = answer.get("ran") if ran is None else ran / 1000
    worker = answer.get("workerId")
    if not ran and not worker:
        return JobError(
            "the job expired before a worker took it (TIMED_OUT, never IN_PROGRESS); nothing was computed or "
            f"paid: {await why_waiting(client, endpoint)}",
            "queue_timeout",
        )
    log = await _log(client, endpoint, worker)
    line = _dropped(log or "", str(answer.get("id", "")))
    if line:
        return JobError(
            f"the worker had finished, but RunPod refused its answer (over 10 MB, most likely), and the job "
            f"ended TIMED_OUT. The worker's log: {line}. More `runtime` does not help: have results go "
            "through storage (--runpod-bucket, or --runpod-volume with --runpod-datacenter)",
            "result_too_large",
        )
    if ran is None or ran >= _NEARLY * limit:
        unseen = (
            ""
            if log is not None
            else (
                " Its worker's log cannot be read: an answer over 10 MB, which RunPod drops, looks the same."
            )
        )
        return JobError(
            f"RunPod stopped the job at its execution timeout of {limit:.0f} s (TIMED_OUT). Give the rule "
            f"more `runtime` (minutes).{unseen}",
            "timeout",
        )
    return JobError(
        f"the worker stopped reporting: RunPod ended the job after {ran:.0f} s at work, before its execution "
        f"timeout of {limit:.0f} s (TIMED_OUT). Look at the worker's log in RunPod's console; more `runtime` "
        "does not help",
        "worker_lost",
    )


async def _log(client: Client, endpoint: str, worker: Any) -> str | None:
    """A worker's log; None where it cannot be read."""
    if not isinstance(worker, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", worker):
        return None
    try:
        return await client.worker_log(endpoint, worker)
    except RunpodError:
        return None


def _dropped(log: str, job: str) -> str:
    """The line that says that the answer of a job was dropped, shortened."""
    lines = [line for line in log.splitlines() if _DROPPED.search(line) and (not job or job in line)]
    return lines[-1].strip()[:300] if lines else ""


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
