"""The cost model: seconds and memory of each part of a run, before it is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.cost.gpus import GpuClass
from snakefold.plan.buckets import predict_seconds as a100_seconds

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of a prediction, the same for every target of its kind.

    Attributes:
        predictions: models times seeds.
        passes: recycles + 1.
        msa_rows, extra_rows: rows of the clustered and of the extra MSA.
        blocks: Evoformer blocks (official parameters have 48).
        relaxed: models that are relaxed.
    """

    engine: str = "alphafold2"
    predictions: int = 5
    passes: int = 4
    msa_rows: int = 512
    extra_rows: int = 5120
    blocks: int = 48
    relaxed: int = 1


@dataclass(frozen=True, slots=True)
class CostModel:
    """Parameters of the model. All seconds are wall seconds of one worker unless they say CPU seconds."""

    def predict_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:
        """Seconds of all models of one target at each (padded) length, compilation excluded."""
        return work.predictions * work.passes / 4 * a100_seconds(lengths) / gpu.speed

    def relax_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:  # noqa: ARG002
        """Seconds to relax the models of one target that are relaxed, at each (own) length."""
        return work.relaxed * 0.12 * np.asarray(lengths, dtype=float)

    def compile_seconds(self, lengths: ArrayLike, work: Work, gpu: GpuClass) -> Floats:  # noqa: ARG002
        """Seconds to compile the network for one more input shape, at each length."""
        return np.full(np.shape(np.asarray(lengths)), 30.0)

    def load_seconds(self, work: Work, gpu: GpuClass) -> float:  # noqa: ARG002
        """Seconds from the start of a prediction process to its first target: imports and parameters."""
        return 20.0

    def start_seconds(self, gpu: GpuClass) -> float:
        """Seconds from asking for a worker to its first process: paid for, unless the machine is our own."""
        return 30.0 if gpu.dollars_per_second else 0.0

    def memory_gb(self, lengths: ArrayLike, work: Work) -> Floats:  # noqa: ARG002
        """GPU memory that a prediction needs at each (padded) length."""
        return 2.5 + 6.3e-6 * np.square(np.asarray(lengths, dtype=float))
