"""What is said of places in an assembly: covalent bonds, pockets and contacts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from snakefold.kernel.contracts import Model
from snakefold.molecules.notation import AtomName, ChainId

#: Å, as Boltz documents it.
DISTANCES, DISTANCE = (4.0, 20.0), 6.0


class Atom(Model):
    """An atom by name: of a residue (1-based) of a polymer, or of a component of a ligand."""

    chain: ChainId
    residue: int = Field(1, ge=1)
    atom: AtomName


class Token(Model):
    """A residue (1-based) of a polymer, or an atom of a ligand by its name."""

    chain: ChainId
    residue: int | None = Field(None, ge=1)
    atom: AtomName | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.residue is None) == (self.atom is None):
            raise ValueError(f"Chain {self.chain}: a residue of a polymer or an atom of a ligand is needed.")
        return self


class Bond(Model):
    """A covalent bond between two atoms."""

    kind: Literal["bond"]
    atoms: tuple[Atom, Atom]

    @field_validator("atoms")
    @classmethod
    def _sides(cls, given: tuple[Atom, Atom]) -> tuple[Atom, Atom]:
        if given[0] == given[1]:
            raise ValueError("A bond is between two atoms, and these are one.")
        return given


def _distance(value: float) -> float:
    low, high = DISTANCES
    if not low <= value <= high:
        raise ValueError(f"max_distance {value:g} Å: between {low:g} and {high:g} Å are possible.")
    return value


Distance = Annotated[float, AfterValidator(_distance)]


class Pocket(Model):
    """The residues or atoms that a chain binds to, at most `max_distance` Å from it."""

    kind: Literal["pocket"]
    binder: ChainId
    contacts: tuple[Token, ...] = Field(min_length=1)
    max_distance: Distance = DISTANCE
    force: bool = False


class Contact(Model):
    """Two residues or atoms that are at most `max_distance` Å apart."""

    kind: Literal["contact"]
    tokens: tuple[Token, Token]
    max_distance: Distance = DISTANCE
    force: bool = False


Constraint = Annotated[Bond | Pocket | Contact, Field(discriminator="kind")]


def places(constraint: Bond | Pocket | Contact) -> tuple[Atom | Token, ...]:
    """The residues and atoms that a constraint names."""
    if isinstance(constraint, Bond):
        return constraint.atoms
    return constraint.contacts if isinstance(constraint, Pocket) else constraint.tokens


def numbered(constraint: Bond | Pocket | Contact, number: Mapping[str, int]) -> dict[str, Any]:
    """A constraint with numbers for names, and what has no order sorted."""
    content = constraint.model_dump(mode="json", exclude_none=True)
    for name in {"atoms", "tokens", "contacts"} & set(content):
        places = {as_text({**place, "chain": number[place["chain"]]}) for place in content[name]}
        content[name] = [json.loads(text) for text in sorted(places)]
    if isinstance(constraint, Pocket):
        content["binder"] = number[constraint.binder]
    return content


def as_text(value: Any) -> str:
    """JSON in one form: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
