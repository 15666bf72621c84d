"""What is predicted: entities (proteins, DNA, RNA, ligands) and the assembly that they make.

An assembly is the input of every engine that predicts structures. Its key names what is predicted, not how
somebody wrote it down: names of chains, copies counted or listed, the order of modifications and constraints
have no meaning. The order of chains has one, as it always had for complexes of proteins.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from snakefold.kernel.contracts import Model
from snakefold.kernel.names import shown
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.setting_errors import expected_by
from snakefold.kernel.wording import count
from snakefold.molecules import smiles
from snakefold.molecules.constraints import (
    Atom,
    Bond,
    Constraint,
    Contact,
    Pocket,
    Token,
    as_text,
    numbered,
    places,
)
from snakefold.molecules.notation import Alignment, Ccd, ChainId, File
from snakefold.molecules.sequences import to_standard

#: Chains of an assembly, ligands and ions counted.
MAX_CHAINS = 512
#: An alignment that is none: the chain is predicted from its sequence alone.
NO_ALIGNMENT = "empty"


class Kind(StrEnum):
    """What an entity is."""

    PROTEIN = "protein"
    DNA = "dna"
    RNA = "rna"
    LIGAND = "ligand"


#: As they are written in a sentence.
CALLED = {Kind.PROTEIN: "protein", Kind.DNA: "DNA", Kind.RNA: "RNA", Kind.LIGAND: "ligand"}
LETTERS = {Kind.PROTEIN: "ACDEFGHIKLMNPQRSTVWXY", Kind.DNA: "ACGTN", Kind.RNA: "ACGUN"}


class Modification(Model):
    """A residue that is not the standard one: its position (1-based) and the CCD code of what it is."""

    position: int = Field(ge=1)
    ccd: Ccd


class Entity(Model):
    """One kind of molecule in an assembly, with its copies.

    Polymers have a `sequence`, in capitals; of a protein B, J, O, U and Z are replaced as AlphaFold does.
    Ligands have CCD codes (several: one molecule of several components) or a SMILES, as it was written.

    Attributes:
        chains: an id for each copy; empty: `Assembly.chains` names them.
        msa, paired_msa: an alignment that the entity brings; None: one is searched, if the engine wants it.
    """

    kind: Kind
    sequence: str = ""
    ccd: tuple[Ccd, ...] = ()
    smiles: str = ""
    chains: tuple[ChainId, ...] = ()
    copies: int = 1
    modifications: tuple[Modification, ...] = ()
    cyclic: bool = False
    msa: Alignment | None = None
    paired_msa: Alignment | None = None

    @model_validator(mode="before")
    @classmethod
    def _count(cls, given: Any) -> Any:
        """Ids say how many copies there are."""
        if not isinstance(given, Mapping) or "copies" in given:
            return given
        chains = given.get("chains")
        return {**given, "copies": len(chains)} if chains and isinstance(chains, list | tuple) else given

    @field_validator("sequence")
    @classmethod
    def _capitals(cls, text: str) -> str:
        return "".join(text.split()).upper() if text.isascii() else text

    @field_validator("modifications")
    @classmethod
    def _in_order(cls, given: tuple[Modification, ...]) -> tuple[Modification, ...]:
        return tuple(sorted(given, key=lambda each: each.position))

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not 1 <= self.copies <= MAX_CHAINS:
            raise ValueError(f"{self.copies} copies: at least 1 and at most {MAX_CHAINS} are possible.")
        if self.chains and len(self.chains) != self.copies:
            raise ValueError(f"{count(len(self.chains), 'chain id')} for {self.copies} copies.")
        if self.msa is not None and self.paired_msa == NO_ALIGNMENT:
            # Nothing is searched, so nothing is paired: one assembly has one key.
            object.__setattr__(self, "paired_msa", None)
        if self.kind is Kind.LIGAND:
            self._check_ligand()
        else:
            self._check_polymer(LETTERS[self.kind])
        return self

    def _check_ligand(self) -> None:
        if bool(self.ccd) == bool(self.smiles):
            raise ValueError("A ligand has a CCD code or a SMILES, one of the two.")
        if self.sequence or self.modifications or self.cyclic or self.msa or self.paired_msa:
            raise ValueError("A ligand has no sequence, modifications, alignment, and is not marked cyclic.")
        if self.smiles and (wrong := smiles.problem(self.smiles)):
            raise ValueError(f"The SMILES {shown(self.smiles, 60)!r} cannot be read: {wrong}.")

    def _check_polymer(self, letters: str) -> None:
        called = CALLED[self.kind]
        if self.ccd or self.smiles:
            raise ValueError(f"{called} has a sequence, no CCD code or SMILES; those are a ligand's.")
        if not self.sequence:
            raise ValueError(f"The sequence of {called} is empty.")
        if self.kind is Kind.PROTEIN:
            # The model is frozen for others, not for its own check.
            object.__setattr__(self, "sequence", to_standard(self.sequence))
        for place, letter in enumerate(self.sequence, 1):
            if letter not in letters:
                raise ValueError(f"{letter!r} at position {place} is no letter of {called} ({letters}).")
        positions = [each.position for each in self.modifications]
        if beyond := [each for each in positions if each > len(self.sequence)]:
            raise ValueError(
                f"A modification is at position {beyond[0]}, and {called} has {len(self.sequence)} residues."
            )
        if len(set(positions)) < len(positions):
            twice = next(each for each in positions if positions.count(each) > 1)
            raise ValueError(f"Two modifications are at position {twice}.")
        if self.msa and self.kind is Kind.DNA:
            raise ValueError("DNA has no alignment.")
        if self.paired_msa and self.kind is not Kind.PROTEIN:
            raise ValueError(f"{called} has no alignment to pair.")

    @property
    def plain(self) -> bool:
        """A protein of which nothing is said but its sequence."""
        return self.kind is Kind.PROTEIN and not (
            self.modifications or self.cyclic or self.msa or self.paired_msa
        )

    @property
    def length(self) -> int:
        """Residues of a polymer, components of a ligand."""
        return len(self.sequence) if self.sequence else max(1, len(self.ccd))


class Template(Model):
    """A known structure that chains of protein are modelled on.

    Attributes:
        form: of the file.
        file: `sha256:<digest of the file>`, or `file:<path>` until somebody has read it.
        chains: of the assembly; empty: all of protein.
        template_chains: those of the file that these are modelled on; empty: the program chooses.
        force: keep to it, within `threshold` Å.
    """

    form: Literal["cif", "pdb"]
    file: File
    chains: tuple[ChainId, ...] = ()
    template_chains: tuple[str, ...] = ()
    force: bool = False
    threshold: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.force and self.threshold is None:
            raise ValueError("A template that is forced needs a threshold, in Å.")
        if self.template_chains and len(self.template_chains) != len(self.chains):
            raise ValueError(
                f"A template has {count(len(self.template_chains), 'chain')} for "
                f"{count(len(self.chains), 'chain')} of the assembly."
            )
        return self


class InitialGuess(Model):
    """Coordinates that a prediction begins with; `form` and `file` as of a `Template`."""

    form: Literal["cif", "pdb"]
    file: File


class Assembly(Model):
    """Molecules that are predicted together.

    `affinity` is the chain of the ligand whose affinity is wanted.
    """

    entities: tuple[Entity, ...] = Field(min_length=1)
    constraints: tuple[Constraint, ...] = ()
    affinity: ChainId | None = None
    templates: tuple[Template, ...] = ()
    initial_guess: InitialGuess | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        copies = sum(entity.copies for entity in self.entities)
        if copies > MAX_CHAINS:
            raise ValueError(f"There are {copies} chains; at most {MAX_CHAINS} are possible.")
        given = [chain for entity in self.entities for chain in entity.chains]
        if len(set(given)) < len(given):
            twice = next(chain for chain in given if given.count(chain) > 1)
            raise ValueError(f"The chain id {twice} is given twice.")
        chains = dict(self.chains())
        for constraint in self.constraints:
            for place in places(constraint):
                _check_place(place, chains, constraint)
        for template in self.templates:
            for chain in template.chains:
                if _known(chain, chains, "template").kind is not Kind.PROTEIN:
                    raise ValueError(f"template: chain {chain} is no protein.")
        if self.affinity is not None:
            binder = _known(self.affinity, chains, "affinity")
            if binder.kind is not Kind.LIGAND:
                raise ValueError(f"Affinity is asked of chain {self.affinity}, which is no ligand.")
            if all(entity.kind is not Kind.PROTEIN for entity in self.entities):
                raise ValueError("Affinity is asked for, and there is no protein.")
        return self

    def chains(self) -> Iterator[tuple[str, Entity]]:
        """Every copy in order, with its id: the one given, or the next letters that nobody has."""
        taken = {chain for entity in self.entities for chain in entity.chains}
        free = (name for name in _letters() if name not in taken)
        for entity in self.entities:
            for number in range(entity.copies):
                yield (entity.chains[number] if entity.chains else next(free)), entity

    @property
    def searched(self) -> tuple[str, ...]:
        """Sequences of the protein entities that say nothing of an alignment."""
        return tuple(
            each.sequence for each in self.entities if each.kind is Kind.PROTEIN and each.msa is None
        )

    @property
    def pairable(self) -> tuple[str, ...]:
        """The different sequences among `searched` whose rows may be paired."""
        said = (each for each in self.entities if each.msa is None and each.paired_msa is None)
        return tuple(dict.fromkeys(each.sequence for each in said if each.kind is Kind.PROTEIN))

    @property
    def residues(self) -> int:
        """Residues of all polymer chains."""
        return sum(len(entity.sequence) * entity.copies for entity in self.entities)

    @property
    def plain_chains(self) -> tuple[str, ...] | None:
        """Sequences of an assembly that is proteins and nothing else; None of another."""
        beside = self.constraints or self.templates or self.affinity is not None or self.initial_guess
        if beside or not all(each.plain for each in self.entities):
            return None
        return tuple(entity.sequence for _, entity in self.chains())

    def canonical(self) -> dict[str, Any]:
        """The same for all ways to write the assembly down: chains by number, constraints in order.

        Raises:
            ValueError: an alignment is named by its path; only its content means something.
        """
        chains = list(self.chains())
        for _, entity in chains:
            for alignment in (entity.msa, entity.paired_msa):
                if alignment is not None and alignment.startswith("file:"):
                    raise ValueError(f"The alignment {alignment.removeprefix('file:')} has not been read.")
        number = {name: index for index, (name, _) in enumerate(chains)}
        constraints = {as_text(numbered(constraint, number)) for constraint in self.constraints}
        if any(template.file.startswith("file:") for template in self.templates):
            raise ValueError("A template has not been read.")
        if self.initial_guess is not None and self.initial_guess.file.startswith("file:"):
            raise ValueError("The initial guess has not been read.")
        templates = [
            {
                **each.model_dump(mode="json", exclude_defaults=True),
                "chains": [number[name] for name in each.chains],
            }
            for each in self.templates
        ]
        guess = self.initial_guess and self.initial_guess.model_dump(mode="json")
        # Only if there are any: keys of results that are stored stay as they are.
        return {
            **({"templates": sorted(templates, key=as_text)} if templates else {}),
            **({"initial_guess": guess} if guess else {}),
            "chains": [
                entity.model_dump(mode="json", exclude={"chains", "copies"}, exclude_defaults=True)
                for _, entity in chains
            ],
            "constraints": [json.loads(text) for text in sorted(constraints)],
            "affinity": None if self.affinity is None else number[self.affinity],
        }

    @property
    def key(self) -> str:
        """sha256 of what is predicted; of plain proteins that of their sequences, as stores have it.

        Raises:
            ValueError: see `canonical`.
        """
        plain = self.plain_chains
        if plain is not None:
            return sequence_key(plain)
        return hashlib.sha256(as_text(self.canonical()).encode()).hexdigest()


def said(error: ValidationError) -> str:
    """The first thing that is wrong with an entity or an assembly, as a sentence."""
    first = error.errors(include_url=False)[0]
    kind = None if first["type"] == "too_short" else expected_by(first)
    message = first["msg"].removeprefix("Value error, ") if kind is None else f"expected {kind}"
    if first["type"] == "value_error":
        return message
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "too_short" and where:
        return f"There are no {where}: at least one is expected."
    return f"{where}: {message}." if where else f"{message}."


def _letters() -> Iterator[str]:
    """A, B, …, Z, AA, AB, …"""
    for first in ("", *string.ascii_uppercase):
        for second in string.ascii_uppercase:
            yield first + second


def _known(chain: str, chains: Mapping[str, Entity], where: str) -> Entity:
    if chain not in chains:
        raise ValueError(f"{where}: there is no chain {chain}; there are {shown(', '.join(chains), 60)}.")
    return chains[chain]


def _check_place(
    place: Atom | Token, chains: Mapping[str, Entity], constraint: Bond | Pocket | Contact
) -> None:
    if isinstance(constraint, Pocket):
        _known(constraint.binder, chains, "pocket")
    entity = _known(place.chain, chains, constraint.kind)
    ligand = entity.kind is Kind.LIGAND
    if isinstance(place, Token) and (place.atom is not None) != ligand:
        wanted = "an atom of the ligand by its name" if ligand else "a residue by its number"
        raise ValueError(f"{constraint.kind}: chain {place.chain} needs {wanted}.")
    if isinstance(place, Atom) and entity.smiles:
        raise ValueError(
            f"{constraint.kind}: ligand {place.chain} is a SMILES, whose atoms have no names: give its CCD."
        )
    if place.residue is not None and place.residue > entity.length:
        raise ValueError(
            f"{constraint.kind}: residue {place.residue} of chain {place.chain}, which has {entity.length}."
        )
