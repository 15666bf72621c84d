"""What slurmdbd wrote down."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tests.servers.slurm import Slurm

_FIELDS = ("JobIDRaw", "State", "Account", "Partition", "NodeList", "AllocTRES", "Start", "End")
_RUNNING = {"PENDING", "RUNNING", "REQUEUED"}


@dataclass(frozen=True)
class Attempt:
    """A job, or one of its attempts; times are seconds since 1970, 0 for none."""

    id: str
    state: str
    account: str
    partition: str
    node: str
    gpus: int
    start: float
    end: float


def attempts(slurm: Slurm) -> list[Attempt]:
    """Every attempt of every job in the order of their ends, once all have ended."""
    command = ("sacct", "--allocations", "--duplicates", "--noheader", "--parsable2")
    deadline = time.monotonic() + 600
    while True:
        # Unless told otherwise, those of today.
        said = slurm.call(*command, "--starttime=now-2days", f"--format={','.join(_FIELDS)}")
        found = [_attempt(line) for line in said.splitlines()]
        # slurmctld tells slurmdbd in its own time.
        if not _RUNNING & {attempt.state for attempt in found}:
            return sorted(found, key=lambda attempt: attempt.end)
        assert time.monotonic() < deadline, said
        time.sleep(0.5)


def _attempt(line: str) -> Attempt:
    said = dict(zip(_FIELDS, line.split("|"), strict=True))
    gpus = re.search(r"gres/gpu=(\d+)", said["AllocTRES"])
    return Attempt(
        id=said["JobIDRaw"],
        # "CANCELLED by 1000"
        state=said["State"].partition(" ")[0],
        account=said["Account"],
        partition=said["Partition"],
        node=said["NodeList"],
        gpus=int(gpus[1]) if gpus else 0,
        start=_seconds(said["Start"]),
        end=_seconds(said["End"]),
    )


def _seconds(when: str) -> float:
    return time.mktime(time.strptime(when, "%Y-%m-%dT%H:%M:%S")) if "T" in when else 0.0
