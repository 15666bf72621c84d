"""A thousand jobs in flight: what the RunPod executor costs, and how soon it sees that a job has ended.

    python benchmarks/runpod_executor.py --out benchmarks/runpod_executor.json

Snakemake runs in a process of its own, whose CPU seconds are counted; the emulated service
(snakefold.clusters.emulator) with its documented rate limits runs in this one. Both share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins/snakemake-executor-plugin-runpod/tests")]

from running import command, environment, prepare, said, start  # noqa: E402
from workers import SmallWorker  # noqa: E402

from snakefold.clusters.emulator import EmulatorThread, Scaling, StubWorkers  # noqa: E402


def cpu_seconds(folder: Path, arguments: list[str]) -> tuple[float, float, int]:
    """CPU and wall seconds of a Snakemake, and its exit code."""
    began = time.monotonic()
    process = start(folder, arguments, environment(folder))
    _, status, usage = os.wait4(process.pid, 0)
    return usage.ru_utime + usage.ru_stime, time.monotonic() - began, os.waitstatus_to_exitcode(status)


def measure(jobs: int, workers: int, shortest: float, longest: float, poll: float) -> dict[str, Any]:
    """One run of `jobs` jobs of `shortest` to `longest` seconds on `workers` workers, all in flight."""
    worker = SmallWorker()
    durations = random.Random(1)
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=workers, workers_max=workers),
    }
    with (
        tempfile.TemporaryDirectory() as name,
        EmulatorThread({"fold": endpoint}) as service,
    ):
        folder = Path(name)
        prepare(folder, jobs)
        for i in range(jobs):
            request = {"i": i, "seconds": durations.uniform(shortest, longest)}
            (folder / f"in/{i}.json").write_text(json.dumps(request))
        options = ("--quiet", "all", "--runpod-max-in-flight", str(jobs))
        arguments = command(folder, service.url, jobs, *options, poll=poll)
        idle, _, _ = cpu_seconds(folder, [*arguments, "--dry-run"])
        cpu, wall, code = cpu_seconds(folder, arguments)
        if code:
            raise SystemExit(said(folder))
        ends = {job.input["request"]["i"]: job.finished for job in service.jobs if job.input}
        seen = sorted((folder / f"out/{i}.bin").stat().st_mtime - end for i, end in ends.items())
        calls = service.calls
        delays = statistics.quantiles(seen, n=100)
        most = max(live_at_once(service.jobs))
        return {
            "jobs": jobs,
            "workers": workers,
            "job_seconds": [shortest, longest],
            "poll_seconds": poll,
            "most_in_flight": most,
            "wall_seconds": round(wall, 1),
            "cpu_ms_per_job": round(1000 * cpu / jobs, 2),
            "cpu_ms_per_job_without_start": round(1000 * (cpu - idle) / jobs, 2),
            "start_cpu_seconds": round(idle, 2),
            "status_calls_per_job": round(sum(c.operation == "status" for c in calls) / jobs, 2),
            "answers_429": sum(c.status == 429 for c in calls),
            "end_to_output_seconds": {f"p{p}": round(delays[p - 1], 2) for p in (50, 95, 99)},
        }


def live_at_once(jobs: list[Any]) -> list[int]:
    changes = sorted([(job.created, 1) for job in jobs] + [(job.finished, -1) for job in jobs])
    level, levels = 0, []
    for _, change in changes:
        level += change
        levels.append(level)
    return levels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--jobs", type=int, default=1000)
    options = parser.parse_args()
    runs = {
        "all at work": measure(options.jobs, options.jobs, 30, 60, 5.0),
        "60 workers": measure(options.jobs, 60, 2, 4, 5.0),
    }
    report = {"machine": f"{os.cpu_count()} cores, Python {platform.python_version()}", "runs": runs}
    text = json.dumps(report, indent=1) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
