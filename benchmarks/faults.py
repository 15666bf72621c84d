"""Every fault that the emulated RunPod service knows, and runs that are killed: what is lost and paid twice.

    python benchmarks/faults.py --out benchmarks/faults.json

Four parts, each with a promise that is checked; the exit code is 1 if one of them is broken:

- `faults`: a run for each kind of fault, in calls, in jobs and in the endpoint.
- `kills`: a run of 200 jobs on the emulated service that is ended 20 times at random moments, by SIGKILL, by
  SIGTERM once and twice, by Ctrl-C once and twice, with jobs kept. Nothing is lost, at most 1.02 is paid.
- `cancels`: the same, with jobs cancelled. Nothing is lost, and no job is left behind.
- `folding`: a small set folded on this machine (random parameters) and killed; the structures are then
  those of a run that nobody disturbed, byte for byte.

Moments and signals come from --seed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins/snakemake-executor-plugin-runpod/tests")]

from running import command, environment, prepare, result, said, start  # noqa: E402
from workers import SmallWorker, service_of  # noqa: E402

from snakefold.clusters.emulator import EmulatorThread, Fault, Faults, Scaling, StubWorkers  # noqa: E402
from snakefold.clusters.emulator.faults import CALL_FAULTS, ENDPOINT_FAULTS, JOB_FAULTS  # noqa: E402

#: What a kind of fault needs besides its name, so that it strikes within a run of seconds.
_GIVEN: dict[str, dict[str, Any]] = {
    "timeout_before": {"seconds": 0.5},
    "timeout_after": {"seconds": 0.5},
    "slow": {"seconds": 0.5},
    "timed_out": {"seconds": 0.1},
    "cancelled": {"seconds": 0.1},
    "lost": {"seconds": 0.1},
    "worker_dies": {"seconds": 0.1},
    "no_capacity": {"seconds": 4.0},
    "crash_loop": {"seconds": 4.0},
    "clock_jump": {"at": 3.0, "seconds": 8 * 86_400.0},
}
#: Faults that nothing can heal from here: the run must end, and name them.
_ENDS_BY_NAME = {"scaled_to_zero": "workersMax is 0"}

_SIGNALS: dict[str, tuple[int, ...]] = {
    "SIGKILL": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGTERM twice": (signal.SIGTERM, signal.SIGTERM),
    "Ctrl-C": (signal.SIGINT,),
    "Ctrl-C twice": (signal.SIGINT, signal.SIGINT),
}

Row = dict[str, Any]


def wait(ready: Callable[[], bool], seconds: float = 600.0) -> None:
    """Wait until something holds, or give up: a run that hangs is a fault of its own."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise SystemExit("a run hangs")
        time.sleep(0.01)


def end(process: subprocess.Popen[bytes], numbers: tuple[int, ...]) -> None:
    """Send a run these signals, 0.3 s apart; whatever it does then, it is gone afterwards."""
    for count, number in enumerate(numbers):
        if count:
            time.sleep(0.3)
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(process.pid, number)
            else:
                os.kill(process.pid, number)
    try:
        process.wait(300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise SystemExit("a run does not end after its signals") from None


def complete(folder: Path, arguments: list[str]) -> int:
    """Run to the end; returns the exit code."""
    process = start(folder, arguments, environment(folder))
    wait(lambda: process.poll() is not None)
    return process.returncode


def right(folder: Path, jobs: int, seconds: float) -> int:
    """How many results are there and what they must be."""
    files = ((i, folder / f"out/{i}.bin") for i in range(jobs))
    return sum(path.is_file() and path.read_bytes() == result(i, seconds) for i, path in files)


def paid_ratio(service: EmulatorThread, jobs: int) -> float:
    """Job-seconds that were executed, by those of the same jobs each executed once."""
    attempts = [attempt for job in service.jobs for attempt in job.attempts]
    durations = sorted((attempt.ended or attempt.started) - attempt.started for attempt in attempts)
    clean = sum(durations[-jobs:])
    return service.execution_seconds("fold") / clean if clean else 0.0


def rules_of(kind: str) -> Iterator[tuple[str, Fault]]:
    """What is tried of a kind of fault."""
    given = _GIVEN.get(kind, {})
    if kind in CALL_FAULTS:
        for call in ("run", "status"):
            yield f"{kind}, /{call}", Fault(kind, call=call, nth=(2, 5), **given)
    elif kind in JOB_FAULTS:
        yield kind, Fault(kind, nth=(2, 5), **given)
    else:
        yield kind, Fault(kind, **given)


def service_with(fault: Fault, worker: SmallWorker) -> EmulatorThread:
    """Three workers that are there from the start; for a fault of the endpoint, none before a job waits."""
    least = 0 if fault.what in ENDPOINT_FAULTS else 3
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=least, workers_max=3),
    }
    return EmulatorThread({"fold": endpoint}, faults=Faults([fault]))


def struck(service: EmulatorThread, fault: Fault) -> int:
    """Calls or jobs that the fault was seen to hit; of an endpoint's fault, jobs that waited or were lost."""
    if fault.what in CALL_FAULTS:
        return sum(call.fault == fault.what for call in service.calls)
    if fault.what in JOB_FAULTS:
        return service.call(lambda emulator: sum(bool(emulator.faults.of_job(j.id)) for j in emulator.jobs))
    starts = [
        min((a.started for a in job.attempts), default=float("inf")) - job.created for job in service.jobs
    ]
    deleted = sum(str(job.state) != "COMPLETED" for job in service.jobs)
    return max(deleted, sum(start >= min(fault.seconds, 2.0) for start in starts))


def try_faults(jobs: int, only: str) -> Iterator[Row]:
    """A run for each kind of fault."""
    seconds = 0.5
    for kind in (*CALL_FAULTS, *JOB_FAULTS, *ENDPOINT_FAULTS):
        for name, fault in rules_of(kind):
            if only not in name:
                continue
            worker = SmallWorker(again=0.01)
            with (
                tempfile.TemporaryDirectory() as place,
                service_with(fault, worker) as service,
            ):
                folder = Path(place)
                prepare(folder, jobs, seconds)
                options = ("--retries", "2", "--keep-going", "--runpod-queue-timeout", "8")
                options += ("--runpod-management-url", service.management_url)
                code = complete(folder, command(folder, service.url, jobs, *options))
                good = right(folder, jobs, seconds)
                live, hit = len(service.live_jobs()), struck(service, fault)
                named = _ENDS_BY_NAME.get(kind, "")
                kept = code == 0 and good == jobs if not named else code != 0 and named in said(folder)
                yield {
                    "fault": name,
                    "means": {**CALL_FAULTS, **JOB_FAULTS, **ENDPOINT_FAULTS}[kind],
                    "struck": hit,
                    "exit_code": code,
                    "results_right": good,
                    "jobs": jobs,
                    "submissions": len(service.jobs),
                    "paid": round(paid_ratio(service, jobs), 3),
                    "left_running": live,
                    "kept": kept and live == 0 and hit > 0,
                }
                if not kept:
                    print(said(folder), file=sys.stderr)


def killed_run(jobs: int, kills: int, seed: int, interrupt: str) -> Row:
    """A run that is ended `kills` times at random moments and then left alone."""
    moments = random.Random(seed)
    worker, seconds, used = SmallWorker(again=0.01), 2.0, dict.fromkeys(_SIGNALS, 0)
    # Answers to submissions take as long as they do over the internet: many are cut off.
    slow = Fault("slow", call="run", seconds=0.15)
    with tempfile.TemporaryDirectory() as place, service_of(slow, worker=worker, workers=6) as service:
        folder = Path(place)
        prepare(folder, jobs, seconds)
        options = ("--runpod-max-in-flight", "18", "--runpod-on-interrupt", interrupt)
        arguments = command(folder, service.url, jobs, *options)
        for _ in range(kills):
            seen = len(service.calls)
            process = start(folder, arguments, environment(folder))
            wait(lambda: len(service.calls) > seen or process.poll() is not None)  # noqa: B023
            time.sleep(moments.uniform(0.0, 3.0))
            name = moments.choice(list(_SIGNALS))
            used[name] += 1
            end(process, _SIGNALS[name])
        code = complete(folder, arguments)
        good = right(folder, jobs, seconds)
        found: Row = {
            "jobs": jobs,
            "ended": used,
            "exit_code": code,
            "results_right": good,
            "computed": worker.executions,
            "submissions": len(service.jobs),
            "paid": round(paid_ratio(service, jobs), 4),
            "left_running": len(service.live_jobs()),
        }
    found["kept"] = code == 0 and good == jobs and not found["left_running"]
    if interrupt == "keep":
        found["kept"] &= worker.executions == jobs and found["paid"] <= 1.02
    return found


def fold_command(results: Path) -> list[str]:
    """The smallest real run: two models' worth of nothing, one target a batch."""
    settings = (
        f"results={results}",
        "weights=rehearsal",
        "msa.tool=single_sequence",
        "batch.max_targets=1",
        "rehearsal.models=[1]",
        "rehearsal.blocks=1",
        "rehearsal.num_recycle=0",
        "relax.models_to_relax=none",
        f"store={results}/store",
    )
    sets = [text for setting in settings for text in ("--set", setting)]
    start_it = "import sys; from snakefold.cli import main; sys.exit(main())"
    return [sys.executable, "-c", start_it, "run", "set.fasta", *sets]


def digests(results: Path) -> dict[str, str]:
    """sha256 of every structure, by its place."""
    files = sorted(results.glob("structures/*/ranked_*"))
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def killed_folding(targets: int, kills: int, seed: int) -> Row:
    """Folding on this machine, killed and gone on with; and the same undisturbed."""
    draw = random.Random(seed)
    used = dict.fromkeys(_SIGNALS, 0)
    records = "".join(
        f">t{i}\n{''.join(draw.choices('ACDEFGHIKLMNPQRSTVWY', k=20 + i % 3))}\n" for i in range(targets)
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "set.fasta").write_text(records)
        began = time.monotonic()
        if code := complete(folder, fold_command(folder / "whole")):
            raise SystemExit(f"the undisturbed run ended with {code}:\n{said(folder)}")
        clean = time.monotonic() - began
        for _ in range(kills):
            process = start(folder, fold_command(folder / "killed"), environment(folder))
            time.sleep(draw.uniform(1.0, clean / 2))
            name = draw.choice(list(_SIGNALS))
            used[name] += 1
            end(process, _SIGNALS[name])
        code = complete(folder, fold_command(folder / "killed"))
        whole, killed = digests(folder / "whole"), digests(folder / "killed")
        same = sum(killed.get(name) == digest for name, digest in whole.items())
    return {
        "targets": targets,
        "ended": used,
        "exit_code": code,
        "structure_files": len(whole),
        "structure_files_identical": same,
        "kept": code == 0 and same == len(whole) == len(killed),
    }


def main() -> None:
    """Run all parts, print what came of them, and write it if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--seed", type=int, default=1, help="of moments and signals")
    parser.add_argument("--jobs", type=int, default=12, help="jobs of the run for a kind of fault")
    parser.add_argument("--killed-jobs", type=int, default=200, help="jobs of a run that is killed")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--only", default="", metavar="TEXT", help="faults with this text in their name")
    parser.add_argument(
        "--parts", nargs="+", default=["faults", "kills", "cancels", "folding"], metavar="PART"
    )
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "seed": options.seed,
    }
    broken = 0

    def told(row: Row) -> Row:
        nonlocal broken
        broken += not row["kept"]
        print(json.dumps(row), flush=True)
        return row

    if "faults" in options.parts:
        report["faults"] = [told(row) for row in try_faults(options.jobs, options.only)]
    for part, interrupt in (("kills", "keep"), ("cancels", "cancel")):
        if part in options.parts:
            report[part] = told(killed_run(options.killed_jobs, options.kills, options.seed, interrupt))
    if "folding" in options.parts:
        report["folding"] = told(killed_folding(6, max(1, options.kills // 2), options.seed))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    if broken:
        raise SystemExit(f"{broken} promises are broken")


if __name__ == "__main__":
    main()
