"""Jobs that a killed run left behind on a SLURM cluster."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError

_RULES = ("msa", "predict")
_POLL_SECONDS, _PATIENCE_SECONDS = 0.5, 300.0


def cancel_left_behind(folder: Path, results: str) -> list[str]:
    """Cancel what an earlier run of `folder` still has in the queue, and wait until it has ended.

    A killed Snakemake leaves its jobs to SLURM, and its successor would start the same ones beside them. The
    targets that they finished are in the store.

    Args:
        folder: where Snakemake was started.
        results: the setting: jobs of a run with other results are left alone.

    Returns:
        Ids of the jobs.

    Raises:
        SnakefoldError: SLURM does not answer, or the jobs do not end.
    """
    left = [job for job in _jobs_of(folder) if _works_on(job, results)]
    if left:
        _call("scancel", *left)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while running := set(left) & set(_jobs_of(folder)):
        if time.monotonic() > deadline:
            raise SnakefoldError(
                f"SLURM jobs {', '.join(sorted(running))} of an earlier run were cancelled and do not end. "
                "Start again when `squeue --me` lists them no more."
            )
        time.sleep(_POLL_SECONDS)
    return left


def _jobs_of(folder: Path) -> list[str]:
    """Ids of our own jobs of the workflow's rules that wait, run or are about to end."""
    # --all: those in hidden partitions, too. The folder comes last: it may hold any character.
    said = _call("squeue", "--all", "--me", "--noheader", "--format=%F|%k|%Z")
    lines = (line.split("|", 2) for line in said)
    return sorted(
        {
            job
            for job, comment, place in lines
            if Path(place) == folder.resolve()
            and comment.startswith(tuple(f"rule_{rule}_" for rule in _RULES))
        }
    )


def _works_on(job: str, results: str) -> bool:
    """Whether the job's script has inputs among these results; not if the job has just ended."""
    try:
        script = "\n".join(_call("scontrol", "write", "batch_script", job, "-"))
    except SnakefoldError:
        return False
    return any(f"'{results}/{part}/" in script for part in ("plan/chunks", "requests"))


def _call(*command: str) -> Sequence[str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SnakefoldError(f"{command[0]}: {error}. Is this a login node of the cluster?") from error
    if done.returncode:
        raise SnakefoldError(f"{' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout.splitlines()
