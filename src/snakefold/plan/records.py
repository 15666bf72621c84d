"""The input as the planner sees it: records in order, and their targets, equal ones made one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold import engines
from snakefold.config import Config, inputs_of
from snakefold.engines.spec import Engine
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import ConfigError, InputError, Reason, Refusal, TargetError
from snakefold.kernel.names import safe_id, shown, unique_ids
from snakefold.molecules.accepts import Verdict, why_not
from snakefold.molecules.backbone_inputs import Defaults, read_backbones
from snakefold.molecules.entities import Assembly
from snakefold.molecules.ligands import screened
from snakefold.molecules.records import Judge
from snakefold.molecules.targets import Target, read_records
from snakefold.plan.groups import Groups
from snakefold.plan.notes import with_same_molecules

Check = Callable[[TargetInput], None]


@dataclass(frozen=True, slots=True)
class Records:
    """Records of the input and the unique targets among them.

    Attributes:
        rows: every record, in the input's order.
        targets: the first record of each result, in the input's order.
        keys: result key of each target.
        lengths, groups: size of each target, and its group by its place in `kinds`.
        kinds: the groups of the run.
        computed: for each row the index of the target computed for it, -1 for a refused one.
        notes: what should be known of targets before they are predicted (`kernel.notes`), by their index.
        parts: of a target whose seeds are predicted in parts, their indices: they follow all whole targets.
    """

    rows: Sequence[Target | Refusal]
    targets: Sequence[Target]
    keys: Sequence[str]
    lengths: NDArray[np.int64]
    groups: NDArray[np.int64]
    computed: NDArray[np.int64]
    kinds: Groups
    notes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    parts: Mapping[int, Sequence[int]] = field(default_factory=dict)

    @property
    def whole(self) -> int:
        """Number of targets without their parts."""
        return len(self.targets) - sum(map(len, self.parts.values()))

    @property
    def refusals(self) -> list[Refusal]:
        """What was refused, in the input's order."""
        return [row for row in self.rows if isinstance(row, Refusal)]

    def ids(self) -> Iterator[str]:
        """Ids of all rows; those of the refused give way to those of targets."""
        taken = [row.id for row in self.rows if isinstance(row, Target)]
        if len(taken) == len(self.rows):
            yield from taken
            return
        wanted = [safe_id(*_called(row)) for row in self.refusals]
        free = iter(unique_ids(taken + wanted)[len(taken) :])
        for row in self.rows:
            yield next(free) if isinstance(row, Refusal) else row.id


def read_input(config: Config, check: Check | None = None) -> Records:
    """Read and check the input; targets with equal chains (and equal A3M, if they bring one) become one.

    Raises:
        InputError: nothing can be folded, or `on_invalid: stop` and something is refused.
    """
    rows = _read(config)
    if config.screen.ligands is not None:
        rows = _screened(rows, config, Path(config.screen.ligands))
    if check is not None:
        rows = [_checked(row, check) for row in rows]
    named = {row.engine for row in rows if isinstance(row, Target) and row.engine}
    kinds = Groups(config, named & set(engines.names()))
    placed, noted = _placed(rows, kinds)
    targets: list[Target] = []
    notes_of: dict[int, Sequence[str]] = {}
    index_of: dict[tuple[str, int], int] = {}
    groups: list[int] = []
    computed = np.full(len(rows), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        if isinstance(row, Target):
            key = row.key if row.msa is None else target_input(row).result_key
            group = placed[place]
            index = index_of.setdefault((key, group), len(targets))
            if index == len(targets):
                targets.append(row)
                groups.append(group)
                if place in noted:
                    notes_of[index] = noted[place]
            computed[place] = index
    refused = bool((computed < 0).any())
    if not targets or (refused and config.on_invalid == "stop"):
        raise InputError([row for row in rows if isinstance(row, Refusal)])
    return Records(
        rows=rows,
        targets=targets,
        keys=[key for key, _ in index_of],
        lengths=np.fromiter(
            (kinds[group].engine.size(target) for target, group in zip(targets, groups, strict=True)),
            np.int64,
            len(targets),
        ),
        groups=np.array(groups, dtype=np.int64),
        computed=computed,
        kinds=kinds,
        notes=with_same_molecules(targets, groups, notes_of),
    )


def _read(config: Config) -> list[Target | Refusal]:
    if config.designs:
        design = config.design
        defaults = Defaults(design.chains, design.homooligomer, design.conserved)
        lengths = {"min_length": config.min_length, "max_length": config.max_length}
        return read_backbones(inputs_of(config), defaults, **lengths)
    return read_records(
        inputs_of(config),
        # The record of a screen is a receptor, which gets a ligand.
        min_length=config.min_length if config.screen.ligands is None else 1,
        max_length=config.max_length,
        judge=assembly_check(config),
    )


def _placed(rows: list[Target | Refusal], kinds: Groups) -> tuple[Sequence[int], Mapping[int, Sequence[str]]]:
    """The group of each row, -1 of a refused one, and what engines note of rows; changes rows in place.

    What no engine takes is refused; a target whose engine reads no alignment loses its own.
    """
    placed = [-1] * len(rows)
    noted: dict[int, Sequence[str]] = {}
    for place, row in enumerate(rows):
        if not isinstance(row, Target):
            continue
        try:
            if row.engine and row.engine not in kinds.names:
                raise _of_no_engine(row)
            told = _unchecked(row)
            placed[place] = kinds.of(row, told)
        except TargetError as error:
            rows[place] = _refusal(row, error)
            continue
        if notes := kinds.notes(placed[place], told):
            noted[place] = notes
        if row.msa is not None and not kinds[placed[place]].needs.alignment:
            rows[place] = _without_alignment(row, kinds[placed[place]].engine)
    return placed, noted


def _screened(rows: Sequence[Target | Refusal], config: Config, ligands: Path) -> list[Target | Refusal]:
    """The receptor with each ligand of a screen, in place of the receptor.

    Raises:
        ConfigError: the input has several records that could be the receptor.
    """
    receptors = [row for row in rows if isinstance(row, Target)]
    refused: list[Target | Refusal] = [row for row in rows if isinstance(row, Refusal)]
    if len(receptors) > 1:
        names = ", ".join(shown(row.id, 40) for row in receptors[:3])
        more = f" and {len(receptors) - 3} more" if len(receptors) > 3 else ""
        raise ConfigError(
            f"screen.ligands: one receptor is expected, and the input has {len(receptors)}: {names}{more}. "
            "Give each receptor a run of its own; a complex is one record (A:B)."
        )
    for receptor in receptors:
        refused += screened(receptor, ligands, affinity=config.screen.affinity)
    return refused


def assembly_check(config: Config) -> Judge:
    """Says why no engine of the run predicts an assembly that is more than proteins."""
    installed = {name: engines.get(name).accepts for name in engines.names()}
    wanted = config.wanted_engines

    def judge(assembly: Assembly) -> Verdict | None:
        verdicts = [why_not(assembly, name, installed[name], installed) for name in wanted]
        return None if None in verdicts else verdicts[-1]

    return judge


def _of_no_engine(row: Target) -> TargetError:
    known = ", ".join(engines.names())
    return TargetError(
        Reason.INVALID_INPUT,
        f"The column engine says {shown(row.engine, 40)!r}, and no such engine is installed.",
        f"Installed: {known}. An empty cell takes the configuration's.",
    )


def _without_alignment(row: Target, engine: Engine) -> Target:
    """A target whose engine reads no alignment: what changes no result is not part of its key."""
    note = f"{engine.title} reads no alignment: that of the file is ignored."
    return replace(row, msa=None, msa_sha256=None, note="; ".join(filter(None, (row.note, note))))


def refuse(records: Records, errors: Mapping[int, TargetError], *, stop: bool) -> tuple[Records, list[int]]:
    """Records without some of the targets, whose rows are refused, and the indices of the targets that stay.

    Raises:
        InputError: no target is left, or `stop` and one is refused.
    """
    kept = [index for index in range(len(records.targets)) if index not in errors]
    renumbered = np.full(len(records.targets) + 1, -1, dtype=np.int64)  # the last is for what is refused (-1)
    renumbered[kept] = np.arange(len(kept))
    rows = [
        _refusal(row, errors[index]) if isinstance(row, Target) and index in errors else row
        for row, index in zip(records.rows, records.computed.tolist(), strict=True)
    ]
    if not kept or (errors and stop):
        raise InputError([row for row in rows if isinstance(row, Refusal)])
    changed = Records(
        rows=rows,
        targets=[records.targets[index] for index in kept],
        keys=[records.keys[index] for index in kept],
        lengths=records.lengths[kept],
        groups=records.groups[kept],
        computed=renumbered[records.computed],
        kinds=records.kinds,
        notes={number: records.notes[index] for number, index in enumerate(kept) if index in records.notes},
    )
    return changed, kept


def _unchecked(target: Target) -> TargetInput:
    """`target_input` without the checks of the contract, which readers have made: there may be a million."""
    assembly = None
    if target.assembly is not None:
        assembly = target.assembly.model_dump(mode="json", exclude_defaults=True)
    return TargetInput.model_construct(
        id=target.id,
        key=target.key,
        chains=list(target.chains),
        msa_sha256=target.msa_sha256,
        assembly=assembly,
        backbone=_backbone(target),
    )


def _backbone(target: Target) -> dict[str, Any] | None:
    if target.backbone is None:
        return None
    return target.backbone.model_dump(mode="json", exclude_defaults=True)


def target_input(target: Target) -> TargetInput:
    """A target in the form of the contracts."""
    assembly = (
        None if target.assembly is None else target.assembly.model_dump(mode="json", exclude_defaults=True)
    )
    return TargetInput(
        id=target.id,
        key=target.key,
        chains=list(target.chains),
        msa_sha256=target.msa_sha256,
        assembly=assembly,
        backbone=_backbone(target),
    )


def _checked(row: Target | Refusal, check: Check) -> Target | Refusal:
    if isinstance(row, Refusal):
        return row
    try:
        check(target_input(row))
    except TargetError as error:
        return _refusal(row, error)
    return row


def _refusal(row: Target, error: TargetError) -> Refusal:
    return Refusal(
        file=row.file,
        record=row.record,
        line=row.line,
        header=shown(row.header),
        code=str(error.reason),
        message=error.message,
        advice=error.advice,
    )


def _called(refusal: Refusal) -> tuple[str, str]:
    """What a refused record calls itself, and what it is called if that says nothing."""
    words = refusal.header.split(maxsplit=1) or [Path(refusal.file).name]
    return words[0], f"record-{refusal.record}"
