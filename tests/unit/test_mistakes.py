"""What Boltz's own parser takes in silence, or says obscurely: each is refused, with its line and what to do.

The cases are those of a list of what users write (and of Boltz's issues); `accepted` are the mistakes that
are none here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from rdkit import Chem
from sequence_files import UBQ, write

from snakefold.kernel.errors import Refusal
from snakefold.molecules import chemistry, components, smiles
from snakefold.molecules.entities import Entity, Kind
from snakefold.molecules.targets import Target, read_records

PROTEIN = f"version: 1\nsequences:\n  - protein: {{id: A, sequence: {UBQ}, msa: empty}}\n"
LIGAND = "  - ligand: {id: B, smiles: 'CCO'}\n"
AFFINITY = "properties:\n  - affinity: {binder: B}\n"
CONSTRAINTS = "constraints:\n  - "
CIF = "data_x\nloop_\n_atom_site.group_PDB\n_atom_site.id\n"


def read(path: Path) -> list[Target | Refusal]:
    """As for an engine that takes everything."""
    return read_records([path], min_length=1, max_length=500, judge=lambda _: None)


@dataclass
class Mistake:
    text: str
    line: int
    says: str
    advises: str = ""


HEME = "  - ligand: {id: B, ccd: HEM}\n"
MISTAKES = {
    "an atom that a ligand lacks": Mistake(
        PROTEIN + HEME + CONSTRAINTS + "bond: {atom1: [A, 2, N], atom2: [B, 1, XX9]}\n",
        4,
        "bond: HEM of chain B has no atom XX9",
        "Its atoms are CBB, ",
    ),
    "an atom that a residue lacks": Mistake(
        PROTEIN + HEME + CONSTRAINTS + "bond: {atom1: [A, 2, SG], atom2: [B, 1, FE]}\n",
        3,
        "GLN of chain A has no atom SG",
        "NE2",
    ),
    "another version": Mistake(PROTEIN.replace("version: 1", "version: 2"), 1, "another version than 1"),
    "unknown entity": Mistake(
        PROTEIN + LIGAND.replace("ligand", "ligands"),
        4,
        "'ligands' is no entity",
        "protein, dna, rna, ligand",
    ),
    "unknown key of an entity": Mistake(
        PROTEIN.replace("msa:", "mssa:"), 3, "the key 'mssa' is not known", "Is 'msa' meant?"
    ),
    "unknown key": Mistake(
        PROTEIN + LIGAND + AFFINITY.replace("properties", "propertys"),
        1,
        "the key 'propertys' is not known",
        "Is 'properties' meant?",
    ),
    "illegal letters": Mistake(PROTEIN.replace(UBQ, "MK1TAYI"), 3, "protein A: The digit '1'"),
    "a stop": Mistake(PROTEIN.replace(UBQ, "MK*TAYI"), 3, "has a stop"),
    "empty sequence": Mistake(PROTEIN.replace(UBQ, "''"), 3, "protein A: The sequence is empty."),
    "T in RNA": Mistake(
        PROTEIN + "  - rna: {id: R, sequence: ACGT}\n", 4, "'T' at position 4 is no letter of RNA (ACGUN)"
    ),
    "U in DNA": Mistake(
        PROTEIN + "  - dna: {id: D, sequence: ACGU}\n", 4, "'U' at position 4 is no letter of DNA"
    ),
    "chain id twice": Mistake(
        PROTEIN + LIGAND.replace("id: B", "id: A"), 4, "The chain id A is given twice."
    ),
    "chain id too long": Mistake(PROTEIN.replace("id: A", "id: ABCDEF"), 3, "one to five letters or digits"),
    "chain id a truth value": Mistake(
        PROTEIN.replace("id: A", "id: no"), 3, "id is read as false, not as a text.", "Put it in quotes."
    ),
    "chain id a number": Mistake(
        PROTEIN.replace("id: A", "id: 1"), 3, "id is read as the number 1", "Put it in quotes."
    ),
    "SMILES and code": Mistake(
        PROTEIN + "  - ligand: {id: B, smiles: CCO, ccd: ATP}\n", 4, "a CCD code or a SMILES, one of the two"
    ),
    "broken SMILES": Mistake(PROTEIN + LIGAND.replace("CCO", "C1CC("), 4, "a '(' is not closed"),
    "SMILES of no molecule": Mistake(
        PROTEIN + LIGAND.replace("CCO", "CC(C)(C)(C)C"),
        4,
        "The SMILES 'CC(C)(C)(C)C' is no molecule: Explicit valence for atom # 1 C, 5, is greater",
    ),
    "SMILES that is aromatic by mistake": Mistake(
        PROTEIN + LIGAND.replace("CCO", "c1cccc1"), 4, "is no molecule: Can't kekulize mol."
    ),
    "SMILES cut at a triple bond": Mistake(
        PROTEIN + "  - ligand:\n      id: B\n      smiles: C #N\n",
        6,
        "cut at a '#'",
        "Put the SMILES in quotes",
    ),
    "unknown code": Mistake(
        PROTEIN + "  - ligand: {id: B, ccd: QQQQ}\n",
        4,
        "ligand B: QQQQ is no code of the Chemical Component Dictionary",
    ),
    "mistyped code": Mistake(
        PROTEIN + "  - ligand: {id: B, ccd: [ATP, HEMM]}\n", 4, "HEMM is no code", "HEM"
    ),
    "modification of an unknown code": Mistake(
        PROTEIN.replace("msa: empty", "modifications: [{position: 1, ccd: ZZZZ}]"), 3, "ZZZZ is no code"
    ),
    "bond of a component that lacks the atom": Mistake(
        PROTEIN
        + "  - ligand: {id: B, ccd: [NAG, NAG]}\nconstraints:\n"
        + "  - bond: {atom1: [B, 1, O4], atom2: [B, 2, C9]}\n",
        4,
        "bond: NAG of chain B has no atom C9.",
        "Its atoms are",
    ),
    "modification of another residue": Mistake(
        PROTEIN.replace("msa: empty", "modifications: [{position: 1, ccd: SEP}]"),
        3,
        "protein A: SEP at residue 1 is a modified S, and the sequence has M there.",
        "Correct the position (from 1) or the code",
    ),
    "modification of another nucleotide": Mistake(
        PROTEIN + "  - rna: {id: B, sequence: ACGU, modifications: [{position: 4, ccd: 5MC}]}\n",
        4,
        "RNA B: 5MC at residue 4 is a modified C, and the sequence has U there.",
    ),
    "modification past the end": Mistake(
        PROTEIN.replace("msa: empty", "modifications: [{position: 99, ccd: MSE}]"),
        3,
        "A modification is at position 99, and protein has 76 residues.",
    ),
    "modification at 0": Mistake(
        PROTEIN.replace("msa: empty", "modifications: [{position: 0, ccd: SEP}]"),
        3,
        "position: expected at least 1",
    ),
    "affinity of a protein": Mistake(
        PROTEIN + LIGAND + AFFINITY.replace("B", "A"), 6, "Affinity is asked of chain A, which is no ligand."
    ),
    "affinity of nobody": Mistake(
        PROTEIN + LIGAND + AFFINITY.replace("B", "C"), 6, "affinity: there is no chain C; there are A, B."
    ),
    "affinity of two": Mistake(
        PROTEIN + LIGAND + LIGAND.replace("B", "C") + AFFINITY + "  - affinity: {binder: C}\n",
        8,
        "affinity is asked for more than once",
    ),
    "affinity without a protein": Mistake(
        "sequences:\n" + LIGAND + AFFINITY, 4, "Affinity is asked for, and there is no protein."
    ),
    "alignment missing": Mistake(
        PROTEIN.replace("empty", "nowhere.a3m"),
        3,
        "protein A: the alignment 'nowhere.a3m': There is no such file.",
        "msa: empty is for none",
    ),
    "alignment of another sequence": Mistake(
        PROTEIN.replace("empty", "other.a3m"), 3, "The alignment is of another sequence: its first row has 4"
    ),
    "bond to an atom of a SMILES": Mistake(
        PROTEIN + LIGAND + CONSTRAINTS + "bond: {atom1: [A, 1, N], atom2: [B, 1, C16]}\n",
        6,
        "ligand B is a SMILES, whose atoms have no names: give its CCD",
    ),
    "contact out of range": Mistake(
        PROTEIN + LIGAND + CONSTRAINTS + "contact: {token1: [A, 99], token2: [B, C1]}\n",
        6,
        "contact: residue 99 of chain A, which has 76.",
    ),
    "contact at 0": Mistake(
        PROTEIN + LIGAND + CONSTRAINTS + "contact: {token1: [A, 0], token2: [B, C1]}\n",
        6,
        "residue: expected at least 1",
    ),
    "pocket of nobody": Mistake(
        PROTEIN + LIGAND + CONSTRAINTS + "pocket: {binder: B, contacts: [[Z, 1]]}\n",
        6,
        "pocket: there is no chain Z; there are A, B.",
    ),
    "distance": Mistake(
        PROTEIN + LIGAND + CONSTRAINTS + "pocket: {binder: B, contacts: [[A, 1]], max_distance: 100}\n",
        6,
        "max_distance 100 Å: between 4 and 20 Å are possible.",
    ),
    "template missing": Mistake(
        PROTEIN + "templates:\n  - cif: nowhere.cif\n", 5, "template 'nowhere.cif': There is no such file."
    ),
    "template that is none": Mistake(
        PROTEIN + "templates:\n  - cif: other.a3m\n", 5, "template 'other.a3m': It is no cif file"
    ),
    "template without the chain": Mistake(
        PROTEIN + "templates:\n  - {pdb: one.pdb, chain_id: [A], template_id: [Q]}\n",
        5,
        "template 'one.pdb': It has no protein chain Q; it has X.",
    ),
    "too large": Mistake(
        PROTEIN.replace("id: A", "id: [A, C, D, E, F, G, H]") + LIGAND, 1, "The target has 532 residues"
    ),
    "no sequences": Mistake("version: 1\n", 0, "it has no 'sequences'"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_refused_before_anything_is_paid(mistake: Mistake, tmp_path: Path) -> None:
    write(tmp_path, "other.a3m", ">q\nMQIF\n")
    write(
        tmp_path,
        "one.pdb",
        "ATOM      1  CA  MET X   1       0.0     0.0     0.0    1.00  0.00           C\n",
    )
    (refusal,) = read(write(tmp_path, "case.yaml", mistake.text))
    assert isinstance(refusal, Refusal)
    assert mistake.says in refusal.message
    assert mistake.advises in refusal.advice
    assert refusal.advice
    assert refusal.line == mistake.line


ACCEPTED = {
    "lower case": (PROTEIN.replace(UBQ, UBQ.lower()) + LIGAND, "the same as upper case"),
    "spaces": (PROTEIN.replace(UBQ, f"{UBQ[:20]} {UBQ[20:]}") + LIGAND, "passed over, as in FASTA"),
    "an alignment for one of two": (
        PROTEIN + "  - protein: {id: C, sequence: AAAAAAAW}\n" + LIGAND,
        "the other is searched",
    ),
    "a salt": (PROTEIN + LIGAND.replace("CCO", "CCN.Cl"), "two molecules of one ligand are chemistry"),
    "a comment after a SMILES": (PROTEIN + "  - ligand:\n      id: B\n      smiles: CCO # ethanol\n", ""),
    "a triple bond in quotes": (PROTEIN + "  - ligand: {id: B, smiles: 'C#N'}\n", ""),
    "copies of a ligand": (PROTEIN + LIGAND.replace("id: B", "id: [B, C]"), ""),
}


@pytest.mark.parametrize(("text", "why"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_is_no_mistake_here(text: str, why: str, tmp_path: Path) -> None:
    (target,) = read(write(tmp_path, "case.yaml", text))
    assert isinstance(target, Target), (why, target)
    assert target.assembly is not None
    assert target.assembly.entities[0].sequence == UBQ


@pytest.mark.parametrize(
    "text",
    [
        "CCO",
        "[H]C([2H])([H])O",
        "c1ccccc1Cl",
        "[Na+].[Cl-]",
        "[Hg]",
        "[nH]1cccc1",
        "N->[Fe]",
        "[H+]",
        "Br",
    ],
)
def test_heavy_atoms_are_those_that_rdkit_counts(text: str) -> None:
    molecule = Chem.MolFromSmiles(text)
    assert smiles.heavy_atoms(text) == molecule.GetNumHeavyAtoms()
    assert smiles.problem(text) == chemistry.problem(text) == ""


def test_atoms_are_counted_without_a_conformer() -> None:
    """Boltz makes the conformer first, which takes minutes for a chain of 130 atoms."""
    assert chemistry.heavy_atoms(Entity(kind=Kind.LIGAND, smiles="C" * 130)) == 130
    assert chemistry.heavy_atoms(Entity(kind=Kind.LIGAND, ccd=("ATP",))) == 31
    assert chemistry.heavy_atoms(Entity(kind=Kind.LIGAND, ccd=("NAG", "NAG"))) == 30


def test_the_table_of_codes_is_the_dictionarys() -> None:
    import importlib.util

    source = Path(__file__).parents[2] / "resources" / "make_components.py"
    spec = importlib.util.spec_from_file_location("make_components", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = dict(line.split("\t", 1) for line in module.text().splitlines()[1:])
    assert {"ATP", "SEP", "MG"} <= set(found)
    same = sum(components.component(code) is not None for code in found)
    # Another release of biotite has other entries, and most of them are old.
    assert same > 0.99 * len(found)
    assert found["ATP"] == "31\t"
    assert found["SEP"] == "11\tS"


def test_a_placeholder_is_no_atom() -> None:
    for text in ("*CC", "[1*]CC*"):
        assert chemistry.problem(text) == "it has an atom of no element (*)"
