"""Which records can be computed: the memory of the GPUs on offer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from snakefold.config import Config
from snakefold.kernel.errors import Reason, TargetError
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import load_model
from snakefold.plan.groups import Groups

#: Asked of a target to compute, by its size and group; raises TargetError.
Fits = Callable[[int, int], None]


def memory_check(config: Config, kinds: Groups) -> Fits:
    """The check of targets to compute, which raises TargetError for one that no GPU on offer can hold.

    Memory is asked of the real network even in a rehearsal, so that a rehearsal refuses what the run would.
    """
    classes = load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    model = load_model(config.calibration)
    works = kinds.works(rehearsals=False)
    longest = [max((model.max_length(gpu, work), gpu.name) for gpu in classes) for work in works]

    def check(size: int, group: int) -> None:
        most, name = longest[group]
        if size > most:
            needed = float(model.memory_gb(size, works[group]))
            raise TargetError(
                Reason.OUT_OF_MEMORY,
                f"{size} residues need about {needed:.0f} GB of GPU memory, and the largest class "
                f"on offer, {name}, holds {most} residues.",
                "Offer a class with more memory (gpu.classes), or leave the target out.",
            )

    return check
