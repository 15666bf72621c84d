"""CPU seconds of a run of the workflow, by step: for benchmarks/steps.py and benchmarks/demo.py.

Snakemake starts a shell for every job. Each shell notes at its end what its processes took (bash's `times`),
so a figure covers a step from its start to the end of its interpreter, and every process that it started.
What is left of the whole is Snakemake's own process.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SNAKEMAKE = "snakemake"
PREDICT = "predict"
#: Rules in the order in which they run, for tables.
ORDER = (
    *(SNAKEMAKE, "configure", "plan", "msa", "request", PREDICT, "restore", "collect", "metrics", "report"),
    *("publish", "summary"),
)
#: bash reads this file before a command. The command follows the times, which are four in two lines.
_NOTE = """trap '{{ times; printf "%s" "$BASH_EXECUTION_STRING"; }} > "{folder}/$$"' EXIT\n"""
_TIME = re.compile(r"(\d+)m([\d.]+)s")
_COMMAND = re.compile(r"\bsnakefold (\w+)")
#: Commands that are called otherwise than their rule.
_RULES = {"task": PREDICT}


@dataclass(frozen=True)
class Taken:
    """What a run took.

    Attributes:
        seconds: wall seconds.
        cpu: CPU seconds of all processes.
        steps: CPU seconds by rule, summed over jobs; `snakemake` is the main process.
        jobs: number of jobs by rule.
        load: load averages of the last minute, before and after.
    """

    seconds: float
    cpu: float
    steps: dict[str, float]
    jobs: dict[str, int]
    load: tuple[float, float]

    @property
    def without_prediction(self) -> float:
        """CPU seconds of everything but the rule `predict`."""
        return round(self.cpu - self.steps.get(PREDICT, 0.0), 2)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Taken:
    """Run a command in `folder` and count.

    Raises:
        SystemExit: the command failed; the end of its output is shown.
    """
    with tempfile.TemporaryDirectory() as notes:
        hook = Path(notes, "hook")
        hook.write_text(_NOTE.format(folder=notes))
        before, start = os.getloadavg()[0], time.monotonic()
        with Path(notes, "output").open("w+b") as output:
            process = subprocess.Popen(
                command, cwd=folder, env={**environment, "BASH_ENV": str(hook)}, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{' '.join(command)}:\n{Path(output.name).read_text()[-3000:]}")
        steps: dict[str, float] = {}
        jobs: dict[str, int] = {}
        for path in Path(notes).iterdir():
            if path.name.isdecimal():
                rule, cpu = _read(path)
                steps[rule] = steps.get(rule, 0.0) + cpu
                jobs[rule] = jobs.get(rule, 0) + 1
    whole = usage.ru_utime + usage.ru_stime
    steps[SNAKEMAKE] = whole - sum(steps.values())
    names = sorted(steps, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return Taken(
        round(seconds, 1),
        round(whole, 2),
        {name: round(steps[name], 2) for name in names},
        {name: jobs.get(name, 1) for name in names},
        (round(before, 1), round(os.getloadavg()[0], 1)),
    )


def median_of(runs: Sequence[Taken]) -> dict[str, Any]:
    """Medians of CPU seconds, by step and in all; jobs are those of the first run."""
    names = [name for name in ORDER if any(name in one.steps for one in runs)]
    steps = {name: statistics.median(one.steps.get(name, 0.0) for one in runs) for name in names}
    return {
        "jobs": runs[0].jobs,
        "steps": {name: round(seconds, 2) for name, seconds in steps.items()},
        "cpu": round(statistics.median(one.cpu for one in runs), 2),
        "without_prediction": round(statistics.median(one.without_prediction for one in runs), 2),
    }


def _read(path: Path) -> tuple[str, float]:
    """Rule and CPU seconds of a job's shell."""
    *times, command = path.read_text().split("\n", 2)
    found = _COMMAND.search(command)
    name = found[1] if found else "other"
    return _RULES.get(name, name), sum(
        60 * int(minutes) + float(rest) for minutes, rest in _TIME.findall(" ".join(times))
    )
