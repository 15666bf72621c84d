"""What the readers of other programs' input share, and what each gives: an assembly, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from pydantic import ValidationError

from snakefold.molecules.constraints import Constraint
from snakefold.molecules.entities import Assembly, Entity, Template, said
from snakefold.molecules.lines import BadFile
from snakefold.molecules.sequences import BadSequence, clean_chains


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to predict.

    Attributes:
        name: what it is called, as found; not safe as a file name.
        record, line: 1-based.
        note: what was changed or is left to the settings, for the user to see.
        lines: of each entity, 1-based.
        texts: alignments inside the file, by the sha256 of each.
        template_lines: of each template.
    """

    name: str
    assembly: Assembly
    record: int
    line: int
    note: str = ""
    lines: tuple[int, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    template_lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that cannot be read; the line of the problem counts, and the record's if it has none."""

    name: str
    record: int
    line: int
    problem: BadFile


def assemble(
    line: int,
    entities: Sequence[tuple[Entity, int]],
    constraints: Sequence[tuple[Constraint, int]] = (),
    templates: Sequence[tuple[Template, int]] = (),
    affinity: tuple[str, int] | None = None,
) -> Assembly:
    """An assembly of parts, each with its line.

    Raises:
        BadFile: they do not fit together; at the line of the first that does not fit what is before it.
    """

    def made(
        entities: Sequence[tuple[Entity, int]],
        constraints: Sequence[tuple[Constraint, int]] = (),
        templates: Sequence[tuple[Template, int]] = (),
        affinity: tuple[str, int] | None = None,
    ) -> Assembly:
        return Assembly(
            entities=tuple(each for each, _ in entities),
            constraints=tuple(each for each, _ in constraints),
            templates=tuple(each for each, _ in templates),
            affinity=None if affinity is None else affinity[0],
        )

    try:
        return made(entities, constraints, templates, affinity)
    except ValidationError as whole:
        error, at = whole, line
        steps: list[tuple[int, Callable[[], Assembly]]] = [
            *(
                (entities[number][1], partial(made, entities[: number + 1]))
                for number in range(len(entities))
            ),
            *((each[1], partial(made, entities, [each])) for each in constraints),
            *((each[1], partial(made, entities, templates=[each])) for each in templates),
            *([] if affinity is None else [(affinity[1], partial(made, entities, affinity=affinity))]),
        ]
        for place, attempt in steps:
            try:
                attempt()
            except ValidationError as first:
                error, at = first, place
                break
        raise BadFile("molecules", said(error), "Correct the record.", at) from error


#: Said of a target whose file says something that the settings of a run say here.
_LEFT = "the settings say it, not the file"


def protein(text: str, where: str, line: int) -> tuple[str, str]:
    """The sequence of one protein as it is read everywhere, and a note of what was replaced.

    Raises:
        BadFile: it is none.
    """
    try:
        chains, note = clean_chains(text)
    except BadSequence as problem:
        raise BadFile(problem.code, f"{where}: {problem.message}", problem.advice, line) from problem
    if len(chains) > 1:
        raise BadFile("letter", f"{where}: ':' is in the sequence.", "Give each chain an entry.", line)
    return chains[0], note


def left_to_settings(names: list[str]) -> str:
    """A note on keys that have no effect."""
    return f"{', '.join(dict.fromkeys(names))}: {_LEFT}" if names else ""
