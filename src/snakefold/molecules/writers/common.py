"""What writers share: the alignments that go along, and how a format says that it cannot say something."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from snakefold.molecules.accepts import Accepts, features
from snakefold.molecules.entities import CALLED, Assembly, Entity, Kind


class Unsayable(Exception):
    """A format cannot say something of an assembly; the text names each."""


@dataclass(frozen=True)
class Alignment:
    """Of a protein: `a3m`; `pairing`, rows with species names; `keys`: its rows are paired by these."""

    a3m: str
    pairing: str = ""
    keys: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Beside:
    """What is written with an assembly.

    Attributes:
        alignments: by what entities say (`sha256:…`), or of those that say nothing by their sequence.
        paths: how the text of a format names a file: of an alignment by the same words, of a template by
            its `sha256:…`.
    """

    alignments: Mapping[str, Alignment] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, entity: Entity) -> str:
        """What `alignments` and `paths` call the alignment of an entity; empty if it has none."""
        if entity.kind is not Kind.PROTEIN:
            return ""
        name = entity.msa or entity.sequence
        return name if name in self.alignments else ""


def require(assembly: Assembly, program: str, accepts: Accepts, also: Iterator[str] | None = None) -> None:
    """Check that a format can say an assembly.

    Args:
        accepts: what it can say, as of an engine.
        also: what else it cannot say of this one.

    Raises:
        Unsayable: it cannot.
    """
    lacking = [thing for thing, _ in features(assembly, accepts)]
    lacking += also or ()
    if lacking:
        raise Unsayable(f"{program} cannot say: {'; '.join(dict.fromkeys(lacking))}.")


def named(assembly: Assembly) -> Iterator[tuple[list[str], Entity]]:
    """Entities with the ids of their copies."""
    chains = assembly.chains()
    for entity in assembly.entities:
        yield [next(chains)[0] for _ in range(entity.copies)], entity


def called(ids: list[str], entity: Entity) -> str:
    """An entity in a sentence."""
    return f"{CALLED[entity.kind]} {ids[0]}"


_CAPITALS = re.compile(r"[A-Z]+")


def renamed(assembly: Assembly) -> Assembly:
    """The assembly with ids of capital letters alone, which is all that some programs take."""
    names = [name for name, _ in assembly.chains()]
    if all(_CAPITALS.fullmatch(name) for name in names):
        return assembly
    letters = (first + second for first in ("", *string.ascii_uppercase) for second in string.ascii_uppercase)
    new = dict(zip(names, letters, strict=False))
    values = assembly.model_dump()
    for entity, (ids, _) in zip(values["entities"], named(assembly), strict=True):
        entity["chains"] = tuple(new[name] for name in ids)
    for constraint in values["constraints"]:
        for place in (
            *constraint.get("atoms", ()),
            *constraint.get("tokens", ()),
            *constraint.get("contacts", ()),
        ):
            place["chain"] = new[place["chain"]]
        if "binder" in constraint:
            constraint["binder"] = new[constraint["binder"]]
    for template in values["templates"]:
        template["chains"] = tuple(new[name] for name in template["chains"])
    if assembly.affinity is not None:
        values["affinity"] = new[assembly.affinity]
    return Assembly.model_validate(values)
