"""The chains of a model: their names, what each is made of, and bonds that no sequence says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count, product
from string import ascii_lowercase, ascii_uppercase, digits

import gemmi

from snakefold.kernel.contracts import TargetInput
from snakefold.molecules.constraints import Bond
from snakefold.molecules.entities import Assembly

#: One letter in the PDB format's order, then two and more.
_NAMES = ascii_uppercase + ascii_lowercase + digits
#: Of the last and the first residue of a cyclic polymer, the atoms that are bound.
_CLOSURE = {"protein": ("C", "N"), "dna": ("O3'", "P"), "rna": ("O3'", "P")}


class Kind(StrEnum):
    """What a chain is made of."""

    PROTEIN = "protein"
    DNA = "dna"
    RNA = "rna"
    LIGAND = "ligand"


@dataclass(frozen=True)
class Molecule:
    """One chain of a model.

    Attributes:
        sequence: letters of a polymer (X, or N of nucleotides: unknown), or components of a ligand with
            blanks between.
        modified: residues of a polymer that are not those of its letters: number, from 1, and component.
        smiles: of a ligand that is in no dictionary; its component has a name that means nothing.
    """

    kind: Kind
    sequence: str
    modified: tuple[tuple[int, str], ...] = ()
    smiles: str = ""

    def components(self) -> list[str]:
        """Names of the residues: CCD ids, but for ligands by SMILES."""
        match self.kind:
            case Kind.PROTEIN:
                names = gemmi.expand_one_letter_sequence(self.sequence, gemmi.ResidueKind.AA)
            case Kind.DNA:
                names = [f"D{letter}" for letter in self.sequence]
            case Kind.RNA:
                names = list(self.sequence)
            case Kind.LIGAND:
                return self.sequence.split()
        for number, component in self.modified:
            names[number - 1] = component
        return names

    @property
    def is_polymer(self) -> bool:
        """Residues are numbered: so are the components of a ligand that has several."""
        return self.kind is not Kind.LIGAND or len(self.sequence.split()) > 1


@dataclass(frozen=True, order=True)
class End:
    """An atom: name of its chain in the model, number of the residue or component from 1, name."""

    chain: str
    residue: int
    atom: str


#: A covalent bond.
Ends = tuple[End, End]


def proteins(chains: Sequence[str]) -> list[Molecule]:
    """Protein chains by their sequences."""
    return [Molecule(Kind.PROTEIN, chain) for chain in chains]


def molecules_of(assembly: Assembly) -> list[Molecule]:
    """Every chain of an assembly, in order. Ligands by SMILES are LIG1, LIG2 …, each SMILES one of them."""
    named: dict[str, str] = {}
    found = []
    for _, entity in assembly.chains():
        kind = Kind(entity.kind.value)
        if kind is not Kind.LIGAND:
            modified = tuple((each.position, each.ccd) for each in entity.modifications)
            found.append(Molecule(kind, entity.sequence, modified))
        elif entity.smiles:
            name = named.setdefault(entity.smiles, f"LIG{len(named) + 1}")
            found.append(Molecule(kind, name, smiles=entity.smiles))
        else:
            found.append(Molecule(kind, " ".join(entity.ccd)))
    return found


def molecules_of_target(target: TargetInput) -> list[Molecule]:
    """Every chain of a target, in order."""
    if target.assembly is None:
        return proteins(target.chains)
    return molecules_of(Assembly.model_validate(target.assembly))


def chain_names(number: int) -> list[str]:
    """Names of so many chains, in order: A to Z, a to z, 0 to 9, then AA, AB …"""
    return [name for name, _ in zip(_all_names(), range(number), strict=False)]


def bonds_of(assembly: Assembly) -> list[Ends]:
    """Bonds that were asked for, and those that close cyclic chains, sorted: equal keys give equal files."""
    chains = list(assembly.chains())
    names = dict(zip((name for name, _ in chains), chain_names(len(chains)), strict=True))
    found: set[Ends] = set()
    for constraint in assembly.constraints:
        if isinstance(constraint, Bond):
            ends = sorted(End(names[each.chain], each.residue, each.atom) for each in constraint.atoms)
            found.add((ends[0], ends[1]))
    for name, entity in chains:
        if entity.cyclic and entity.length > 1:
            last, first = _CLOSURE[entity.kind.value]
            found.add((End(names[name], 1, first), End(names[name], entity.length, last)))
    return sorted(found)


def bonds_of_target(target: TargetInput) -> list[Ends]:
    """As `bonds_of`; none of plain chains."""
    return [] if target.assembly is None else bonds_of(Assembly.model_validate(target.assembly))


def _all_names() -> Iterator[str]:
    for length in count(1):
        yield from map("".join, product(_NAMES if length == 1 else ascii_uppercase, repeat=length))
