"""Which records can become predictions: the engine's own check, and the memory of the GPUs on offer."""

from __future__ import annotations

from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import load_model
from snakefold.plan.cost.work import work_of
from snakefold.plan.records import Check


def engine_check(config: Config) -> Check:
    """The check of every target, which raises TargetError for one that is nothing for the engine."""
    return engines.get(config.engine).check


def memory_check(config: Config) -> Check:
    """The check of targets to compute, which raises TargetError for one that no GPU on offer can hold.

    Memory is asked of the real network even in a rehearsal, so that a rehearsal refuses what the run would.
    """
    classes = load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    model = load_model(config.calibration)
    works = {several: work_of(config, False, several) for several in (False, True)}
    longest = {
        several: max((model.max_length(gpu, work), gpu.name) for gpu in classes)
        for several, work in works.items()
    }

    def check(target: TargetInput) -> None:
        several = len(target.chains) > 1
        most, name = longest[several]
        if target.length > most:
            needed = float(model.memory_gb(target.length, works[several]))
            raise TargetError(
                Reason.OUT_OF_MEMORY,
                f"{target.length} residues need about {needed:.0f} GB of GPU memory, and the largest class "
                f"on offer, {name}, holds {most} residues.",
                "Offer a class with more memory (gpu.classes), or leave the target out.",
            )

    return check
