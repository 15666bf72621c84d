"""The work of a run as the simulation sees it: batches by part and target, and the searches they wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
