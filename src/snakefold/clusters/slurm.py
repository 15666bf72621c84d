"""Jobs that a killed run left behind on a SLURM cluster."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.plan.quote.model import seconds as duration
from snakefold.run.attempts import COMPLETED, Ended
from snakefold.run.queued import RUNNING, WAITING, Queued

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


def check_reachable() -> None:
    """See that SLURM answers here.

    Raises:
        SnakefoldError: its programs are missing, or its controller does not answer; the text has its words.
    """
    _call("squeue", "--me", "--noheader")


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


NAME = "SLURM"
_ENTRY = re.compile(r"(\S+?)=(\S*)")
#: States of a job that has not ended, or goes back into the queue.
_LIVE = {
    *("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "STAGE_OUT", "SUSPENDED", "STOPPED", "SIGNALING"),
    *("RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"),
}
_WAITS = {"PENDING", "CONFIGURING", "SUSPENDED", "STOPPED", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD"}
_SQUEUE = "%i|%T|%V|%S|%r"
_SACCT = (
    "JobIDRaw",
    "State",
    "ExitCode",
    "Submit",
    "Start",
    "ElapsedRaw",
    "TimelimitRaw",
    "NodeList",
    "ReqMem",
)
_KILLED = 9
#: Beginnings of sbatch's refusals that no second try changes, and the settings that do.
_REFUSALS = (
    ("account", "slurm.account; `sacctmgr show associations user=$USER` lists yours"),
    ("partition", "slurm.partition, or `partition` of the class under slurm.gpus; `sinfo` lists partitions"),
    ("qos", "slurm-qos in the profile; `sacctmgr show associations user=$USER` lists yours"),
    ("generic resource", "`model` of the class under slurm.gpus; `sinfo -o '%P %G'` lists GPUs"),
    ("feature", "`constraint` of the class under slurm.gpus; `sinfo -o '%P %f'` lists features"),
    ("memory", "msa.mem_mb and predict.mem_mb; `sinfo -o '%P %m'` lists the memory of nodes, MB"),
    (
        "node configuration",
        "`model`, `constraint` and `partition` of the class under slurm.gpus, threads and mem_mb; "
        "`sinfo -o '%P %G %f %c %m'` lists what nodes have",
    ),
    ("reservation", "slurm-reservation in the profile"),
    ("time", "the partition, or a shorter time: -- --set-resources RULE:runtime=MINUTES"),
    ("invalid", "the profile's settings"),
    ("not permitted", "slurm.partition and slurm.account: which of them are yours"),
)
#: What goes by itself, whatever the words above: a limit of jobs in the queue, or a controller that is busy.
_PASSES = ("submit limit", "timed out", "unable to contact", "temporarily", "connection", "available now")
#: Reasons to wait that end by themselves; with any other, somebody may have to do something.
ORDINARY = {"None", "Priority", "Resources", "BeginTime", "Dependency", "Prolog", "Cleaning", "Licenses"}
#: With these a job waits for ever.
ENDLESS = {
    *("PartitionConfig", "PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints", "InvalidAccount"),
    *("InvalidQOS", "DependencyNeverSatisfied", "JobHeldAdmin", "JobHeldUser", "QOSNotAllowed"),
    *("AssocMaxWallDurationPerJobLimit", "QOSMaxWallDurationPerJobLimit", "QOSMaxMemoryPerJob"),
    *("QOSMaxGRESPerJob", "QOSMaxCpuPerJobLimit", "QOSMaxNodePerJobLimit", "AssocMaxMemPerJob"),
}


@dataclass(frozen=True)
class SlurmJob:
    """A job as scontrol or sacct tells it; times are seconds since 1970, None for none."""

    id: str
    state: str
    reason: str = ""
    exit_code: int = 0
    signal: int = 0
    submitted: float | None = None
    started: float | None = None
    seconds: float | None = None
    limit_seconds: float | None = None
    node: str = ""
    memory: str = ""
    restarts: int = 0


class Slurm:
    """The scheduler of `watching.Scheduler`; asks by SLURM's own commands."""

    name = NAME
    ordinary = ORDINARY
    endless = ENDLESS

    def queue(self, ids: Iterable[str]) -> list[Queued]:
        """Those of our jobs that wait or run."""
        # --all: hidden partitions, too.
        found = parse_squeue(_said("squeue", "--all", "--me", "--noheader", f"--format={_SQUEUE}"))
        return [found[job] for job in ids if job in found]

    def ended(self, job: str, rule: str) -> Ended | None:
        """How a job has ended; None if it has not, or SLURM has forgotten it."""
        known = parse_scontrol(_said("scontrol", "--oneliner", "show", "job", job))
        # The controller knows the last run only of a job that went back into the queue, and forgets it soon.
        if known is None or known.restarts or known.state in _LIVE:
            fields = f"--format={','.join(_SACCT)}"
            accounts = ("sacct", "-X", "--duplicates", "--noheader", "--parsable2", fields, "--jobs", job)
            runs = parse_sacct(_said(*accounts))
            if runs and runs[-1].state not in _LIVE:
                return describe(runs, rule)
        if known is None or known.state in _LIVE:
            return None
        return describe([known], rule)

    def refused(self, said: str) -> Ended | None:
        """What an error of the submission says; None if it is none."""
        return refusal(said)


def parse_squeue(said: str) -> dict[str, Queued]:
    """Jobs by id, from `squeue --format=%i|%T|%V|%S|%r`."""
    found = {}
    for line in said.splitlines():
        job, state, submitted, started, reason = line.split("|", 4)
        if state not in _LIVE:
            continue
        waits = state in _WAITS
        since = _time(submitted if waits else started)
        found[job] = Queued(job, WAITING if waits else RUNNING, reason if waits else "", since)
    return found


def parse_scontrol(said: str) -> SlurmJob | None:
    """The job of `scontrol --oneliner show job`; None if there is none."""
    line = next((line for line in said.splitlines() if line.startswith("JobId=")), "")
    entries = dict(_ENTRY.findall(line))
    if not entries:
        return None
    code, _, signal = entries.get("ExitCode", "0:0").partition(":")
    started = _time(entries.get("StartTime", ""))
    ran = _seconds(entries.get("RunTime", ""))
    return SlurmJob(
        id=entries["JobId"],
        state=entries.get("JobState", ""),
        reason=entries.get("Reason", "").replace("_", " "),
        exit_code=int(code or 0),
        signal=int(signal or 0),
        submitted=_time(entries.get("SubmitTime", "")),
        started=started,
        seconds=ran,
        limit_seconds=_seconds(entries.get("TimeLimit", "")),
        node=_name(entries.get("NodeList", "")),
        memory=entries.get("MinMemoryNode", ""),
        restarts=int(entries.get("Restarts", "0")),
    )


def parse_sacct(said: str) -> list[SlurmJob]:
    """Every run of one job, the first first, from `sacct` with the fields `_SACCT`."""
    return [_run(dict(zip(_SACCT, line.split("|"), strict=True))) for line in said.splitlines() if line]


def _run(entries: Mapping[str, str]) -> SlurmJob:
    code, _, signal = entries["ExitCode"].partition(":")
    limit = entries["TimelimitRaw"]
    return SlurmJob(
        id=entries["JobIDRaw"],
        state=entries["State"].partition(" ")[0],  # "CANCELLED by 1000"
        exit_code=int(code or 0),
        signal=int(signal or 0),
        submitted=_time(entries["Submit"]),
        started=_time(entries["Start"]),
        seconds=float(entries["ElapsedRaw"] or 0),
        limit_seconds=60.0 * int(limit) if limit.isdigit() else None,
        node=_name(entries["NodeList"]),
        memory=entries["ReqMem"],
    )


def describe(runs: Sequence[SlurmJob], rule: str) -> Ended:
    """The end of a job, of which `runs` are all that is known, the last last."""
    last = runs[-1]
    known = [run.seconds for run in runs if run.seconds is not None]
    waits = [run.started - run.submitted for run in runs if run.started and run.submitted]
    reason, message, advice = _why(last, rule)
    return Ended(
        state=last.state,
        reason=reason,
        message=message,
        advice=advice,
        seconds=sum(known) if known else None,
        queued=sum(max(0.0, each) for each in waits) if waits else None,
        started=last.started,
        whole=len(runs) > last.restarts,
    )


def _why(job: SlurmJob, rule: str) -> tuple[Reason | None, str, str]:
    after = f" after {duration(job.seconds)}" if job.seconds else ""
    where = f" on {job.node}" if job.node else ""
    head = f"SLURM job {job.id}: {job.state}{after}{where}"
    if job.state == COMPLETED:
        return None, "", ""
    if job.state in {"TIMEOUT", "DEADLINE"}:
        limit = f" (the limit was {duration(job.limit_seconds)})" if job.limit_seconds else ""
        return Reason.TIMEOUT, f"{head}{limit}.", too_long(rule)
    if job.state == "OUT_OF_MEMORY":
        had = f" (it had {job.memory})" if job.memory else ""
        return Reason.OUT_OF_MEMORY, f"{head}{had}.", too_large(rule)
    if job.state in {"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"}:
        return Reason.LOST, f"{head}.", "Run again: stored results are not computed again."
    if job.state == "CANCELLED":
        return Reason.LOST, f"{head}: by a person or the site, not by this run.", "Run again."
    if job.reason == "BadConstraints" or (job.state == "FAILED" and not job.started):
        text = f"{head}: no node has what the job asks for ({job.reason or 'BadConstraints'})."
        return Reason.SUBMISSION_REFUSED, text, _advice("node configuration")
    if _KILLED in {job.signal, job.exit_code - 128}:
        text = f"{head}: killed by signal 9, as a process is whose memory runs out."
        return Reason.LOST, text, f"If it happens again: {too_large(rule)}"
    code = f", exit code {job.exit_code}" if job.exit_code else ""
    other = f" ({job.reason})" if job.reason not in {"", "None", "NonZeroExitCode"} else ""
    return None, f"{head}{code}{other}.", ""


def too_long(rule: str) -> str:
    """What to do where time ran out."""
    smaller = "msa.chunk_size" if rule == "msa" else "batch.max_targets"
    return (
        "Every retry has as much time more. If that is too little: fit the cost model to your machines "
        f"(snakefold calibrate), make smaller jobs ({smaller}), or pass -- --set-resources "
        f"{rule}:runtime=MINUTES."
    )


def too_large(rule: str) -> str:
    """What to do where memory ran out."""
    if rule == "msa":
        return "Raise msa.mem_mb."
    return "Raise predict.mem_mb, or use a larger GPU class (gpu.classes)."


def refusal(said: str) -> Ended | None:
    """What the executor plugin says of a submission that failed; None if it says something else.

    One whose `reason` is None may be taken later.
    """
    found = re.search(r"sbatch failed\. The error message was '(.*?)'\.\n", f"{said}\n", re.DOTALL)
    other = re.search(r"(?:submission failed with exception:|error message was) (.*)", said, re.DOTALL)
    if not (found or other):
        return None
    text = found[1] if found else other[1] if other else ""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in text.splitlines()]
    words = "; ".join(filter(None, lines))[:400]
    if any(each in words.lower() for each in _PASSES):
        return Ended("REFUSED", None, f"SLURM did not take the job: {words}.", "")
    name = next((name for name, _ in _REFUSALS if name in words.lower()), "")
    reason = Reason.SUBMISSION_REFUSED if name else None
    return Ended("REFUSED", reason, f"SLURM refused the job: {words}.", _advice(name) if name else "")


def _advice(name: str) -> str:
    settings = dict(_REFUSALS)[name]
    return f"Put right in site.yaml of the profile: {settings}. Then run again."


def _said(*command: str) -> str:
    """Output of one of SLURM's commands; empty where it fails: an unknown job, or no accounts."""
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"SLURM_TIME_FORMAT": "standard"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _name(text: str) -> str:
    return "" if text in {"(null)", "None assigned", "None"} else text


def _time(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:  # N/A, Unknown
        return None


def _seconds(text: str) -> float | None:
    """Seconds of `[days-]hours:minutes:seconds`; None for UNLIMITED and the like."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
