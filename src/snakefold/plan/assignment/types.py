"""What is to be assigned, within which limits, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import Work
from snakefold.kernel.errors import SnakefoldError


@dataclass(frozen=True, slots=True)
class Demand:
    """Targets of one group, counted by length.

    Attributes:
        lengths, counts: distinct lengths, ascending, and how many targets have each.
        pads: may be padded to a common length; otherwise every distinct length compiles for itself.
    """

    group: int
    pads: bool
    work: Work
    lengths: NDArray[np.int64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Limits:
    """What the plan must keep to. `workers` by class; seconds and dollars None without a limit.

    `msa_seconds`: wall seconds of the alignments, which the predictions wait for and overlap with. `alike`:
    no worker of a class is known to be another GPU than the others.
    """

    workers: Mapping[str, int]
    deadline: float | None = None
    budget: float | None = None
    msa_seconds: float = 0.0
    alike: bool = True


@dataclass(frozen=True, slots=True)
class Sizes:
    """What bounds a batch: targets, residues (padding included), and seconds of prediction."""

    targets: int
    residues: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """`count` targets of `shortest` to `longest` residues on one GPU class.

    `padded_length` is the edge they are padded to, None if each keeps its own length. Targets of one bucket
    edge may be split between classes: then there are two buckets of that edge. Targets fill the buckets of
    an edge in the order in which these are listed, shortest first.
    """

    group: int
    padded_length: int | None
    shortest: int
    longest: int
    count: int
    gpu: str
    batch_targets: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """The chosen buckets and what they come to: worker seconds by class, dollars, wall seconds.

    `bound` is the linear program's bound on the objective (dollars or seconds), to judge the gap by.
    Neighbouring buckets of a class share batches of up to `sizes`; None where the sizes were chosen for a
    deadline, and every batch is of one bucket.
    """

    buckets: tuple[Bucket, ...]
    seconds: Mapping[str, float]
    dollars: float
    wall_seconds: float
    objective: float
    bound: float
    sizes: Sizes | None = None


@dataclass(frozen=True, slots=True)
class Remedy:
    """What makes an assignment possible: other limits, or leaving out so many of the longest targets."""

    text: str
    limits: Limits
    left_out: int = 0


class InfeasibleError(SnakefoldError):
    """No assignment keeps to the limits. The text says which, by how much, and what would.

    Attributes:
        limit: memory, deadline or budget.
        remedies: each of them is enough.
    """

    def __init__(self, limit: str, message: str, remedies: Sequence[Remedy]) -> None:
        self.limit = limit
        self.remedies = tuple(remedies)
        ways = "; or ".join(remedy.text for remedy in remedies)
        super().__init__(f"{message} Possible {ways}." if ways else message)
