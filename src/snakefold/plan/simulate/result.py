"""What a simulated run comes to: time, dollars, and what the paid seconds were spent on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from snakefold.plan.simulate.cluster import PHASES, Cluster, Pool, Workload


@dataclass(slots=True)
class Life:
    """One worker from start to stop; `slot` is its place among the pool's workers alive at the same time.

    `spans` are (phase, from, to), without gaps.
    """

    gpu: str
    slot: int
    begin: float
    end: float = 0.0
    spans: list[tuple[str, float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One go at a job: when it was ready to run, when it ran, and what came of it."""

    job: str
    gpu: str
    queued: float
    began: float
    ended: float
    outcome: str
    finished: int


@dataclass(slots=True)
class Record:
    """Everything. `searches` are (from, to) by number; `wall` is the end of the last step, not of billing."""

    lives: list[Life] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    searches: list[tuple[float, float]] = field(default_factory=list)
    lost_targets: int = 0
    wall: float = 0.0


#: A worker's life that ends a rounding error after a full second has not begun another one.
_TINY = 1e-6


@dataclass(frozen=True, slots=True)
class ClassResult:
    """Workers of one GPU class. `seconds` by phase, and `rounding`: up to the last second that had begun."""

    workers: int
    started: int
    jobs: int
    attempts: int
    paid_seconds: float
    seconds: Mapping[str, float]
    dollars: float


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What the run waits for: the alignments from the first to the last, or the predictions without a break.

    `balanced_cores` would align as fast as these workers predict; `balanced_workers` (of each class) would
    predict as fast as these cores align. `asked`: an MSA server aligns, whatever the cores.
    """

    stage: str
    msa_seconds: float
    gpu_seconds: float
    balanced_cores: int
    balanced_workers: int
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds and dollars of a simulated run.

    Attributes:
        shares: of the paid seconds. `busy` is what the GPU computes and what is kept of it: prediction, and
            relaxation if the GPU does it. `working` is prediction and relaxation wherever it runs; `occupied`
            adds loading and compilation, so that starts, idle, lost and rounded seconds remain.
        queue_seconds: mean, median, 95th percentile and longest wait of a job for a worker.
    """

    targets: int
    residues: int
    lost_targets: int
    jobs: int
    searches: int
    wall_seconds: float
    dollars: float
    paid_seconds: float
    seconds: Mapping[str, float]
    shares: Mapping[str, float]
    start_dollars: float
    idle_dollars: float
    outcomes: Mapping[str, int]
    queue_seconds: Mapping[str, float]
    bottleneck: Bottleneck
    classes: Mapping[str, ClassResult]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def summarise(record: Record, workload: Workload, cluster: Cluster) -> Result:
    """Add a record up."""
    classes = {name: _class(name, pool, record, workload) for name, pool in cluster.pools.items()}
    seconds = {
        phase: sum(each.seconds[phase] for each in classes.values()) for phase in (*PHASES, "rounding")
    }
    paid = sum(each.paid_seconds for each in classes.values())

    def share(phases: Iterable[str]) -> float:
        return sum(seconds[phase] for phase in phases) / paid if paid else 0.0

    def dollars(phase: str) -> float:
        return sum(
            each.seconds[phase] * cluster.pools[name].dollars_per_second for name, each in classes.items()
        )

    outcomes = [attempt.outcome for attempt in record.attempts]
    return Result(
        targets=workload.targets,
        residues=workload.residues,
        lost_targets=record.lost_targets,
        jobs=len(workload.jobs),
        searches=len(workload.searches),
        wall_seconds=record.wall,
        dollars=sum(each.dollars for each in classes.values()),
        paid_seconds=paid,
        seconds=seconds,
        shares={
            "busy": share(["predict", "relax"] if workload.gpu_relax else ["predict"]),
            "working": share(["predict", "relax"]),
            "occupied": share(["load", "compile", "predict", "relax"]),
            **{phase: share([phase]) for phase in (*PHASES, "rounding")},
        },
        start_dollars=dollars("start"),
        idle_dollars=dollars("idle"),
        outcomes={outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        queue_seconds=_spread([attempt.began - attempt.queued for attempt in record.attempts]),
        bottleneck=_bottleneck(record, cluster, classes, asked=workload.asked),
        classes=classes,
    )


def paid_seconds(life: Life, pool: Pool) -> float:
    """Every second that has begun; a machine of one's own is only counted."""
    lived = life.end - life.begin
    return float(math.ceil(lived - _TINY)) if pool.dollars_per_second else lived


def _class(name: str, pool: Pool, record: Record, workload: Workload) -> ClassResult:
    lives = [life for life in record.lives if life.gpu == name]
    seconds = dict.fromkeys(PHASES, 0.0)
    for life in lives:
        for phase, begin, end in life.spans:
            seconds[phase] += end - begin
    paid = sum(paid_seconds(life, pool) for life in lives)
    return ClassResult(
        workers=pool.workers,
        started=len(lives),
        jobs=sum(job.gpu == name for job in workload.jobs),
        attempts=sum(attempt.gpu == name for attempt in record.attempts),
        paid_seconds=paid,
        seconds={**seconds, "rounding": max(0.0, paid - sum(seconds.values()))},
        dollars=paid * pool.dollars_per_second,
    )


def _bottleneck(
    record: Record, cluster: Cluster, classes: Mapping[str, ClassResult], *, asked: bool
) -> Bottleneck:
    threads = min(cluster.msa_threads, cluster.cores)
    cpu = threads * sum(end - begin for begin, end in record.searches)
    # What it took, not CPU seconds over cores: fewer chunks than cores leave some of them idle.
    msa = max((end for _, end in record.searches), default=0.0) - min(
        (begin for begin, _ in record.searches), default=0.0
    )
    by_class = {
        name: sum(
            value for phase, value in each.seconds.items() if phase not in {"idle", "rounding", "start"}
        )
        for name, each in classes.items()
    }
    gpu = max(by_class[name] / cluster.pools[name].workers for name in by_class)
    return Bottleneck(
        stage="msa" if msa > gpu else "gpu",
        msa_seconds=msa,
        gpu_seconds=gpu,
        balanced_cores=threads * math.ceil(cpu / threads / gpu) if gpu else cluster.cores,
        balanced_workers=max(1, math.ceil(max(by_class.values()) / msa)) if msa else cluster.fewest_workers,
        asked=asked,
    )


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    values = np.asarray(seconds)
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)),
        "longest": float(values.max()),
    }
