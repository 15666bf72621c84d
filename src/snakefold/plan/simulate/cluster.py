"""What a simulated run runs on: cores that search, workers that predict, and how they are billed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


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
