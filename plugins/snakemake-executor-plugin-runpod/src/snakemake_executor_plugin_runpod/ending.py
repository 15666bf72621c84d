"""The end of a run: live jobs are cancelled within a deadline, and what could not be confirmed is listed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import RunpodError
from .queue import Queue

#: Cancels a second, below RunPod's limit of 100 in 10 s.
CANCELS_A_SECOND = 9.0


@dataclass(frozen=True)
class Left:
    """A job that may still be at work, and why that is not known better."""

    endpoint: str
    job: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.job} of endpoint {self.endpoint}" + (f": {self.why}" if self.why else "")


def allowed(jobs: int, seconds: float) -> float:
    """Seconds within which so many jobs are cancelled, or given up."""
    return seconds + jobs / CANCELS_A_SECOND


async def cancel_jobs(jobs: Sequence[tuple[Queue, str]], seconds: float) -> list[Left]:
    """Cancel jobs, and see that they have ended; returns those of which that is not certain.

    Args:
        seconds: for all of them together, by `allowed`.
    """
    left: list[Left] = []

    async def cancel(queue: Queue, job: str) -> None:
        try:
            async with asyncio.timeout_at(until):
                await queue.cancel(job)
        except TimeoutError:
            left.append(Left(queue.endpoint, job, f"not confirmed within {seconds:.0f} s"))
        except (RunpodError, sqlite3.Error) as error:
            left.append(Left(queue.endpoint, job, str(error)))

    until = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(cancel(queue, job) for queue, job in jobs))
    return left


def how_to_end(left: Iterable[Left], address: str, most: int = 1000) -> str:
    """A list of jobs, and the commands that end them.

    Args:
        address: of the jobs API, below which endpoints are.
    """
    found = list(left)
    lines = [f"  {item}" for item in found[:most]] + (["  …"] if len(found) > most else [])
    for endpoint in sorted({item.endpoint for item in found}):
        jobs = " ".join(item.job for item in found if item.endpoint == endpoint)
        lines += [
            "To end them:",
            f'  for job in {jobs}; do curl -sS -X POST -H "Authorization: Bearer $RUNPOD_API_KEY" '
            f"{address}/{endpoint}/cancel/$job; done",
            f"or in RunPod's console: https://console.runpod.io/serverless/user/endpoint/{endpoint}, "
            "Requests. The next run of this folder attaches to them again, or cancels what it does not want.",
        ]
    return "\n".join(lines)
