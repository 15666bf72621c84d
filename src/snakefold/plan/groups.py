"""Which engine takes which target: the groups of a run, one after the other, named by their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.spec import Engine, Needs, Work, relaxation
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.molecules.accepts import why_not
from snakefold.molecules.entities import Kind
from snakefold.molecules.target import Target


@dataclass(frozen=True)
class Group:
    """Targets of an engine that share settings and programs; `settings` as configured.

    `part`: it predicts only that part of the seeds, one of `Engine.parts`; None: all of them.
    """

    engine: Engine
    name: str
    settings: Any
    part: int | None = None

    @property
    def label(self) -> str:
        """Names it among those of its engine."""
        return label_of(self.name, self.part)

    @property
    def needs(self) -> Needs:
        """What must be there before a prediction."""
        return self.engine.needs(self.name, self.settings)


def label_of(group: str, part: int | None) -> str:
    """A group, or the part of its targets' seeds that is predicted."""
    return group if part is None else f"{group}, part {part + 1}"


class Groups:
    """All groups of a run: those of its engines, in the order in which these are named, then parts of them.

    Targets belong to whole groups. `parts` has the places of those that predict the seeds of one in parts.
    """

    def __init__(self, config: Config, named: Iterable[str] = ()) -> None:
        """`named`: engines that the input names, besides those of the configuration."""
        self._config = config
        names = dict.fromkeys([*config.wanted_engines, *sorted(set(named))])
        self.engines = [engines.get(name) for name in names]
        self.all: list[Group] = [
            Group(engine, name, config.settings_of(engine.name))
            for engine in self.engines
            for name in engine.groups
        ]
        self._place = {(group.engine.name, group.name): number for number, group in enumerate(self.all)}
        self.parts: dict[int, list[int]] = {}
        for number, whole in enumerate(list(self.all)):
            cut = parts_of(config, whole.engine, whole.settings)
            if cut:
                self.parts[number] = list(range(len(self.all), len(self.all) + len(cut)))
                self.all += [replace(whole, settings=each, part=part) for part, each in enumerate(cut)]
        self._settings = {engine.name: config.settings_of(engine.name) for engine in self.engines}
        self.names = set(names)
        self._choice = {name: [engines.get(name)] for name in names}
        self._choice[""] = [engines.get(name) for name in config.wanted_engines]

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Group]:
        return iter(self.all)

    def __getitem__(self, number: int) -> Group:
        return self.all[number]

    def of(self, target: Target, told: TargetInput) -> int:
        """Place of the group that a target belongs to: of the first engine that takes it.

        Args:
            told: the target in the form of the contracts, as engines check it.

        Raises:
            TargetError: no engine takes it. The text is that of the last that was asked.
        """
        refused: list[tuple[Engine, TargetError]] = []
        for engine in self._choice[target.engine]:
            try:
                _check_kinds(engine, target)
                engine.check(told, self._settings[engine.name])
            except TargetError as error:
                refused.append((engine, error))
                continue
            return self._place[engine.name, engine.group(target, self._settings[engine.name])]
        raise _refusal(refused)

    def notes(self, number: int, told: TargetInput) -> Sequence[str]:
        """What the engine of a group says of a target before it is predicted."""
        group = self.all[number]
        return group.engine.notes(told, group.settings)

    def with_parts(self, numbers: Iterable[int]) -> set[int]:
        """These groups, and those that predict their seeds in parts."""
        return {place for number in numbers for place in (number, *self.parts.get(number, ()))}

    def needed_parts(self, number: int, *, rehearsal: bool) -> list[int]:
        """Places of the groups that predict the seeds of a group: a rehearsal may have fewer seeds."""
        group = self.all[number]
        settings = self._config.settings_of(group.engine.name, rehearsal=rehearsal)
        return self.parts.get(number, [])[: len(parts_of(self._config, group.engine, settings))]

    def works(self, rehearsals: Sequence[bool] | bool) -> list[Work]:
        """What a prediction takes, group by group; `rehearsals`: with random parameters, by group or all."""
        marks = [rehearsals] * len(self.all) if isinstance(rehearsals, bool) else rehearsals
        return [
            work_of(self._config, group.engine, group.name, rehearsal=mark, part=group.part)
            for group, mark in zip(self.all, marks, strict=True)
        ]


def parts_of(config: Config, engine: Engine, settings: Any) -> Sequence[Any]:
    """The settings of the jobs that the seeds of a target are spread over; none: one job has all."""
    most = config.batch.seeds_per_job
    cut = engine.parts(settings, most) if most is not None else ()
    return cut if len(cut) > 1 else ()


def settings_of(config: Config, engine: Engine, *, rehearsal: bool, part: int | None = None) -> Any:
    """The settings of predictions, of all seeds or of a part of them.

    Settings of a part that a rehearsal, with fewer seeds, does not have are those of all seeds.
    """
    settings = config.settings_of(engine.name, rehearsal=rehearsal)
    cut = () if part is None else parts_of(config, engine, settings)
    return settings if part is None or part >= len(cut) else cut[part]


def work_of(config: Config, engine: Engine, group: str, *, rehearsal: bool, part: int | None = None) -> Work:
    """What a prediction of a group takes. MSAs are not made yet; a run without alignments has one row."""
    settings = settings_of(config, engine, rehearsal=rehearsal, part=part)
    return engine.work(
        group,
        settings,
        relaxation(engine, config.relax_of(rehearsal=rehearsal)),
        rows=(1, 1) if config.msa.tool == "single_sequence" else None,
        blocks=config.rehearsal.blocks if rehearsal else None,
    )


def _check_kinds(engine: Engine, target: Target) -> None:
    """Refuse molecules of a kind that the engine does not take at all. Raises TargetError."""
    if target.assembly is not None:
        installed = {name: engines.get(name).accepts for name in engines.names()}
        verdict = why_not(target.assembly, engine.name, engine.accepts, installed)
        if verdict is not None:
            raise TargetError(Reason.INVALID_INPUT, verdict.message, verdict.advice)
    elif target.backbone is not None:
        if not engine.accepts.backbones:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"This is a backbone to design sequences for, and engine {engine.name} takes "
                f"{engine.accepts.names} only.",
                "Name an engine that designs (snakefold engines list says which take backbones).",
            )
    elif Kind.PROTEIN not in engine.accepts.kinds:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"This is a protein, and engine {engine.name} takes {engine.accepts.names} only.",
            "Name another engine (engine, engines, or the column engine of a sample sheet).",
        )


def _refusal(refused: Sequence[tuple[Engine, TargetError]]) -> TargetError:
    _, last = refused[-1]
    if len(refused) == 1:
        return last
    others = "; ".join(f"{engine.name}: {error.message}" for engine, error in refused[:-1])
    return TargetError(last.reason or Reason.INVALID_INPUT, f"{last.message} ({others})", last.advice)
