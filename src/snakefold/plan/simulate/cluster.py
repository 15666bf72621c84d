"""The work of a simulated run and what it runs on: batches, searches, cores, workers and their bill."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: What a worker's time is spent on, in the order in which a job spends it. `lost` is what a job that died had
#: done of its unfinished target.
PHASES = ("start", "load", "compile", "predict", "relax", "lost", "idle")


@dataclass(frozen=True, slots=True)
class Job:
    """A batch: expected seconds of its parts on its GPU class.

    Attributes:
        shapes: [targets] input length of each target, in the order of prediction; a process compiles each
            distinct one when it first meets it.
        compile, predict, relax: [targets] seconds; `compile` counts where the shape is new.
        searches: numbers of the searches that must be done before the batch is submitted.
    """

    name: str
    gpu: str
    load: float
    shapes: NDArray[np.int64]
    compile: Floats
    predict: Floats
    relax: Floats
    searches: tuple[int, ...] = ()

    def parts_from(self, first: int) -> Floats:
        """[3, targets - first] seconds to compile, predict and relax of each target, for a new process."""
        parts = np.stack([np.zeros(len(self.shapes) - first), self.predict[first:], self.relax[first:]])
        _, new = np.unique(self.shapes[first:], return_index=True)
        parts[0, new] = self.compile[first:][new]
        return parts

    @property
    def seconds(self) -> float:
        """Worker seconds of a job that nothing disturbs."""
        return self.load + float(self.parts_from(0).sum())


@dataclass(frozen=True, slots=True)
class Workload:
    """All of a run: jobs in the order of submission, and CPU seconds of each search, in the same order.

    `gpu_relax`: the GPU relaxes too; otherwise it waits while the CPU does. `asked`: an MSA server searches,
    one chunk after the other, and `searches` are its wall seconds.
    """

    jobs: Sequence[Job]
    searches: Floats
    targets: int
    residues: int
    gpu_relax: bool = False
    asked: bool = False


@dataclass(frozen=True, slots=True)
class LocalSteps:
    """Wall seconds of the steps that Snakemake runs on one core of its own machine."""

    plan: float = 0.0
    request: float = 0.0
    collect: float = 0.0
    report: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers of one GPU class: a RunPod endpoint, or this machine. Defaults are those of RunPod's API.

    Attributes:
        workers: workers alive at the most.
        start_seconds: from asking for a worker to its first job; paid for.
        dollars_per_second: price of every second that has begun, from start to stop.
        threads: cores of the machine that searches which one job takes; 0 for workers elsewhere.
        queue_delay: how long a job waits before a worker is started for it.
        idle_timeout: how long a worker without a job is kept, and paid for.
    """

    workers: int
    start_seconds: float = 0.0
    dollars_per_second: float = 0.0
    threads: int = 0
    queue_delay: float = 4.0
    idle_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything around the jobs. Times are in seconds.

    Attributes:
        pools: by GPU class.
        cores: of the machine that searches; local steps take one, a search `msa_threads`.
        in_flight: jobs submitted at a time, as a multiple of the pool's workers: a time to live counts
            from submission.
        execution_timeout: a job that runs longer is ended; None never ends one.
        preemptions_per_hour: of every worker, while it lives; what it was doing is lost.
        failure_rate: share of jobs that die at a random moment and leave their worker alive.
        retries: how often a job that was lost is submitted again; it goes on at the first unfinished target.
        jitter: standard deviation of the logarithm of a job's seconds.
    """

    pools: Mapping[str, Pool]
    cores: int = 32
    msa_threads: int = 2
    in_flight: float = 3.0
    execution_timeout: float | None = None
    preemptions_per_hour: float = 0.0
    failure_rate: float = 0.0
    retries: int = 2
    jitter: float = 0.0
    steps: LocalSteps = field(default_factory=LocalSteps)

    def __post_init__(self) -> None:
        if not self.pools or min(pool.workers for pool in self.pools.values()) < 1:
            raise ValueError("a cluster needs at least one pool, and each pool a worker")
        if min(self.cores, self.msa_threads) < 1 or self.in_flight * self.fewest_workers < 1:
            raise ValueError("cores, msa_threads and jobs in flight must be at least 1")
        if not 0 <= self.failure_rate <= 1 or math.isnan(self.failure_rate):
            raise ValueError("failure_rate is a share of jobs: 0 to 1")

    @property
    def fewest_workers(self) -> int:
        """Workers of the smallest pool."""
        return min(pool.workers for pool in self.pools.values())
