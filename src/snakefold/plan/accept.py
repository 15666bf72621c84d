"""Which records can be computed: whose engine is here, what has an alignment, what a GPU on offer holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from snakefold.config import Config
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.targets import Target
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import load_model
from snakefold.plan.groups import Groups

#: Asked of a target to compute, with its size and group; raises TargetError.
Fits = Callable[[Target, int, int], None]


def to_do_check(config: Config, kinds: Groups, absent: Mapping[int, str] | None = None) -> Fits:
    """The check of targets to compute; what is there already needs no engine, no alignment and no GPU.

    Args:
        absent: see `engine_check`.
    """
    checks = (engine_check(absent or {}), alignment_check(config, kinds), memory_check(config, kinds))

    def check(target: Target, size: int, group: int) -> None:
        for each in checks:
            each(target, size, group)

    return check


def engine_check(absent: Mapping[int, str]) -> Fits:
    """The check of targets to compute, which raises TargetError for one whose engine does not run here.

    Args:
        absent: what such an engine lacks and what installs it, by group; of groups that only records name.
    """

    def check(target: Target, size: int, group: int) -> None:
        del target, size
        if lacking := absent.get(group):
            raise TargetError(
                Reason.INVALID_INPUT,
                f"{lacking[:1].upper()}{lacking[1:].rstrip('.')}.",
                "Install it and run again, or empty the cell of the column engine: then the engine of the "
                "configuration takes the target.",
            )

    return check


def alignment_check(config: Config, kinds: Groups) -> Fits:
    """The check of targets to compute, which raises TargetError for one that no alignment is found for.

    With precomputed alignments nothing is searched: such a target fails only after its GPU has started.
    """
    needed = [config.msa.tool == "precomputed" and kind.needs.alignment for kind in kinds]

    def check(target: Target, size: int, group: int) -> None:
        del size
        if needed[group] and target.msa is None:
            raise TargetError(
                Reason.INVALID_INPUT,
                "The record brings no alignment. With msa.tool precomputed, each target must be an A3M file.",
                "Give an .a3m file in its place (of a complex in ColabFold's form: docs/running.md), "
                "or set msa.tool to jackhmmer, hhblits, mmseqs, server or single_sequence.",
            )

    return check


def memory_check(config: Config, kinds: Groups) -> Fits:
    """The check of targets to compute, which raises TargetError for one that no GPU on offer can hold.

    Memory is asked of the real network even in a rehearsal, so that a rehearsal refuses what the run would.
    """
    classes = load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    model = load_model(config.calibration)
    works = kinds.works(rehearsals=False)
    longest = [max((model.max_length(gpu, work), gpu.name) for gpu in classes) for work in works]

    def check(target: Target, size: int, group: int) -> None:
        del target
        most, name = longest[group]
        if size > most:
            needed = float(model.memory_gb(size, works[group]))
            unit = kinds[group].engine.size_unit
            raise TargetError(
                Reason.OUT_OF_MEMORY,
                f"{size} {unit} need about {needed:.0f} GB of GPU memory. At most {most} {unit} fit into "
                f"{name}, the largest of gpu.classes.",
                "Add a class with more memory to gpu.classes, or leave the target out.",
            )

    return check
