"""GPU memory of a prediction by length, and the longest target that a class holds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.work import Work

Floats = NDArray[np.float64]

#: Share of a GPU's memory that arrays get; the driver, the programs and fragmentation have the rest.
_USABLE = 0.92
#: GB of parameters and of what the framework holds.
_FIXED = 1.5
#: GB of a residue pair in bfloat16. Chosen so that 16 GB hold 1,300 residues with the largest MSA: the paper
#: gives about 1,300 for a V100 with 16 GB, ColabFold's README about 1,400 for a T4 and 1,000 for 12 GB. 80 GB
#: then hold 3,450, where the README's A100 timings begin to rise steeply.
_PAIR = 5.0e-6
#: Arrays of the MSA that are held at once, with 256 channels a cell (64 in the extra MSA) of two bytes.
_MSA_COPIES, _CHANNELS, _EXTRA_CHANNELS, _BYTES = 4, 256, 64, 2
#: What is longer than any protein: the answer for a class of unknown memory.
UNLIMITED = 10**9
_FLASHABB = 2.0


def memory_gb(lengths: ArrayLike, work: Work) -> Floats:
    """GB of GPU memory that a card must have for a prediction at each (padded) length.

    On the safe side: AlphaFold can also spill into the host's memory, which is many times slower.
    """
    n = np.asarray(lengths, dtype=float)
    if work.engine != "alphafold2":
        return np.full(n.shape, _FLASHABB)
    pair, residue = _terms(work)
    return np.asarray((_FIXED + residue * n + pair * n**2) / _USABLE, dtype=np.float64)


def max_length(gpu: GpuClass, work: Work) -> int:
    """Longest (padded) length in residues that fits the class's memory; 0 if nothing does."""
    if gpu.memory_gb is None:
        return UNLIMITED
    if work.engine != "alphafold2":
        return UNLIMITED if gpu.memory_gb >= _FLASHABB else 0
    pair, residue = _terms(work)
    room = gpu.memory_gb * _USABLE - _FIXED
    if room <= 0:
        return 0
    length = int((-residue + math.sqrt(residue**2 + 4 * pair * room)) / (2 * pair)) + 1
    while length and memory_gb(length, work) > gpu.memory_gb:
        length -= 1
    return length


def _terms(work: Work) -> tuple[float, float]:
    """GB a residue pair and GB a residue."""
    wider = 2 if work.float32 else 1
    cells = work.msa_rows * _CHANNELS + work.extra_rows * _EXTRA_CHANNELS
    return wider * _PAIR, wider * _MSA_COPIES * _BYTES * cells * 1e-9
