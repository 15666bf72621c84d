"""The longest target that a GPU class holds."""

from __future__ import annotations

from snakefold.engines.spec import Work
from snakefold.plan.cost.gpus import GpuClass

#: What is longer than any protein: the answer for a class of unknown memory.
UNLIMITED = 10**9


def max_length(gpu: GpuClass, work: Work) -> int:
    """Largest (padded) size in residues that fits the class's memory; 0 if nothing does."""
    if gpu.memory_gb is None:
        return UNLIMITED
    fits, too_much = 0, UNLIMITED + 1
    while too_much - fits > 1:
        middle = (fits + too_much) // 2
        if float(work.memory_gb([middle])[0]) <= gpu.memory_gb:
            fits = middle
        else:
            too_much = middle
    return fits
