"""Entities and assemblies: what is refused of them, in which words, and what their key depends on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sequence_files import CRN, UBQ

from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.accepts import PROTEINS, Accepts, why_not
from snakefold.molecules.constraints import Atom, Bond, Contact, Pocket, Token
from snakefold.molecules.entities import Assembly, Entity, Kind, Modification, said


def protein(sequence: str = UBQ, **more: Any) -> Entity:
    return Entity(kind=Kind.PROTEIN, sequence=sequence, **more)


def ligand(ccd: str = "ATP", **more: Any) -> Entity:
    return Entity(kind=Kind.LIGAND, ccd=(ccd,), **more)


def assembly(*entities: Entity, **more: Any) -> Assembly:
    return Assembly(entities=entities, **more)


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "T in RNA": (
        lambda: Entity(kind="rna", sequence="ACUT"),
        "'T' at position 4 is no letter of RNA (ACGUN)",
    ),
    "U in DNA": (lambda: Entity(kind="dna", sequence="acgu"), "'U' at position 4 is no letter of DNA"),
    "a digit in a protein": (lambda: protein("MQ1"), "'1' at position 3 is no letter of protein"),
    "a letter that is none": (lambda: protein("MQſ"), "'ſ' at position 3"),
    "no sequence": (lambda: protein(" "), "The sequence of protein is empty."),
    "a protein of a SMILES": (lambda: protein(smiles="CC"), "protein has a sequence, no CCD code or SMILES"),
    "a ligand of nothing": (lambda: Entity(kind="ligand"), "a CCD code or a SMILES, one of the two"),
    "a ligand of both": (lambda: ligand(smiles="CC"), "one of the two"),
    "a cyclic ligand": (lambda: ligand(cyclic=True), "A ligand has no sequence"),
    "no CCD code": (lambda: ligand("LIG-1337"), "'LIG-1337' is no code of the Chemical Component Dictionary"),
    "an open ring": (
        lambda: Entity(kind="ligand", smiles="C1CC"),
        "'C1CC' cannot be read: ring 1 is not closed",
    ),
    "an open bracket": (lambda: Entity(kind="ligand", smiles="CC(C"), "a '(' is not closed"),
    "a bracket too many": (lambda: Entity(kind="ligand", smiles="CC)C"), "')' at character 3 closes nothing"),
    "a SMILES cut by a comment": (
        lambda: Entity(kind="ligand", smiles="CC ="),
        "' ' at character 3 is no atom",
    ),
    "no chain id": (lambda: protein(chains=("A_long",)), "'A_long' is no chain id"),
    "ids that are none": (lambda: protein(chains=5), "chains: expected a list"),
    "ids and copies": (lambda: protein(chains=("A", "B"), copies=3), "2 chain ids for 3 copies"),
    "no copies": (lambda: protein(copies=0), "0 copies: at least 1"),
    "a modification past the end": (
        lambda: protein("MKV", modifications=[{"position": 4, "ccd": "SEP"}]),
        "A modification is at position 4, and protein has 3 residues.",
    ),
    "a modification at 0": (
        lambda: protein("MKV", modifications=[{"position": 0, "ccd": "SEP"}]),
        "modifications.0.position: expected at least 1",
    ),
    "two modifications of a residue": (
        lambda: protein("MKV", modifications=[{"position": 1, "ccd": "SEP"}, {"position": 1, "ccd": "TPO"}]),
        "Two modifications are at position 1.",
    ),
    "an alignment of DNA": (lambda: Entity(kind="dna", sequence="ACG", msa="empty"), "DNA has no alignment"),
    "an alignment that is none": (lambda: protein(msa="x.a3m"), "'x.a3m' is no alignment"),
    "an id twice": (
        lambda: assembly(protein(chains=["A"]), ligand(chains=["A"])),
        "The chain id A is given twice",
    ),
    "too many chains": (lambda: assembly(protein(copies=500), ligand(copies=13)), "There are 513 chains"),
    "nothing": (assembly, "entities: "),
    "affinity of a protein": (lambda: assembly(protein(), ligand(), affinity="A"), "A, which is no ligand"),
    "affinity of nobody": (lambda: assembly(protein(), affinity="L"), "there is no chain L; there are A."),
    "affinity without a protein": (lambda: assembly(ligand(), affinity="A"), "there is no protein"),
    "a bond to a SMILES": (
        lambda: assembly(
            protein(),
            Entity(kind="ligand", smiles="CCO"),
            constraints=[
                Bond(kind="bond", atoms=(Atom(chain="A", residue=1, atom="N"), Atom(chain="B", atom="C1")))
            ],
        ),
        "ligand B is a SMILES, whose atoms have no names",
    ),
    "a bond past the end": (
        lambda: assembly(
            protein(),
            ligand(),
            constraints=[
                Bond(kind="bond", atoms=(Atom(chain="A", residue=77, atom="N"), Atom(chain="B", atom="PA")))
            ],
        ),
        "residue 77 of chain A, which has 76",
    ),
    "a bond of an atom to itself": (
        lambda: Bond(kind="bond", atoms=(Atom(chain="A", atom="N"), Atom(chain="A", atom="N"))),
        "these are one",
    ),
    "a pocket of nobody": (
        lambda: assembly(
            protein(), constraints=[Pocket(kind="pocket", binder="X", contacts=[Token(chain="A", residue=1)])]
        ),
        "pocket: there is no chain X",
    ),
    "a residue of a ligand": (
        lambda: assembly(
            protein(),
            ligand(),
            constraints=[
                Contact(kind="contact", tokens=(Token(chain="A", residue=1), Token(chain="B", residue=1)))
            ],
        ),
        "contact: chain B needs an atom of the ligand by its name",
    ),
    "a place that is none": (lambda: Token(chain="A"), "a residue of a polymer or an atom of a ligand"),
    "a distance": (
        lambda: Pocket(kind="pocket", binder="X", contacts=[Token(chain="A", residue=1)], max_distance=100),
        "max_distance 100 Å: between 4 and 20 Å",
    ),
}


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused_in_words(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ValidationError) as problem:
        make()
    assert says in said(problem.value)


def test_chains_without_ids_get_the_letters_that_are_free() -> None:
    made = assembly(protein(copies=2), ligand(chains=("B",)), protein(CRN))
    assert [name for name, _ in made.chains()] == ["A", "C", "B", "D"]
    many = assembly(ligand(copies=30))
    assert [name for name, _ in many.chains()][24:] == ["Y", "Z", "AA", "AB", "AC", "AD"]


# ---- the key
sequences = st.text("ACDEFGHIKLMNPQRSTVWXY", min_size=1, max_size=12)
codes = st.sampled_from(["ATP", "NAG", "MG", "HEM"])


@st.composite
def entities(draw: st.DrawFn) -> Entity:
    kind = draw(st.sampled_from(list(Kind)))
    copies = draw(st.integers(1, 3))
    if kind is Kind.LIGAND:
        if draw(st.booleans()):
            return Entity(kind=kind, ccd=draw(st.lists(codes, min_size=1, max_size=2)), copies=copies)
        return Entity(
            kind=kind, smiles=draw(st.sampled_from(["CCO", "c1ccccc1", "C[N+](C)(C)C"])), copies=copies
        )
    letters = {Kind.PROTEIN: "ACDEFGHIKLMNPQRSTVWXY", Kind.DNA: "ACGTN", Kind.RNA: "ACGUN"}[kind]
    sequence = draw(st.text(letters, min_size=1, max_size=12))
    places = draw(st.lists(st.integers(1, len(sequence)), unique=True, max_size=2))
    return Entity(
        kind=kind,
        sequence=sequence,
        copies=copies,
        modifications=[
            Modification(position=place, ccd=draw(st.sampled_from(["SEP", "5MC"]))) for place in places
        ],
        cyclic=draw(st.booleans()),
        msa=draw(st.sampled_from([None, "empty", f"sha256:{'a' * 64}"])) if kind is Kind.PROTEIN else None,
    )


@st.composite
def assemblies(draw: st.DrawFn) -> Assembly:
    parts = draw(st.lists(entities(), min_size=1, max_size=4))
    bare = Assembly(entities=parts)
    chains = list(bare.chains())

    def token() -> Token:
        name, entity = draw(st.sampled_from(chains))
        if entity.kind is Kind.LIGAND:
            return Token(chain=name, atom=draw(st.sampled_from(["C1", "O2"])))
        return Token(chain=name, residue=draw(st.integers(1, entity.length)))

    constraints: list[Any] = []
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            constraints.append(Contact(kind="contact", tokens=(token(), token()), force=draw(st.booleans())))
        else:
            binder = draw(st.sampled_from(chains))[0]
            distance = draw(st.sampled_from([4.0, 6.0, 20.0]))
            constraints.append(
                Pocket(
                    kind="pocket",
                    binder=binder,
                    contacts=[token() for _ in range(draw(st.integers(1, 3)))],
                    max_distance=distance,
                )
            )
    ligands = [name for name, entity in chains if entity.kind is Kind.LIGAND]
    wanted = ligands and any(entity.kind is Kind.PROTEIN for _, entity in chains) and draw(st.booleans())
    return Assembly(entities=parts, constraints=constraints, affinity=ligands[0] if wanted else None)


def respelled(given: Assembly, dice: random.Random) -> Assembly:
    """The same in other words: copies listed or counted, other chain ids, other orders."""
    names = dice.sample([f"{first}{second}" for first in "XYZ" for second in "0123456789"], 30)
    new = {old: names[number] for number, (old, _) in enumerate(given.chains())}
    parts = []
    chains = iter(given.chains())
    for entity in given.entities:
        ids = [new[next(chains)[0]] for _ in range(entity.copies)]
        modifications = list(entity.modifications)
        dice.shuffle(modifications)
        values = {**entity.model_dump(exclude={"chains", "copies"}), "modifications": modifications}
        values["sequence"] = dice.choice([entity.sequence.lower(), f" {entity.sequence}\n", entity.sequence])
        if dice.random() < 0.5:
            parts += [Entity(**{**values, "chains": [each]}) for each in ids]
        else:
            parts.append(Entity(**{**values, "chains": ids}))

    def place(each: Token) -> Token:
        return each.model_copy(update={"chain": new[each.chain]})

    constraints: list[Any] = []
    for each in given.constraints:
        if isinstance(each, Contact):
            turned = tuple(map(place, each.tokens))
            constraints.append(each.model_copy(update={"tokens": turned[:: dice.choice([1, -1])]}))
        elif isinstance(each, Pocket):
            contacts = [*map(place, each.contacts), place(each.contacts[0])]
            dice.shuffle(contacts)
            changed = {"binder": new[each.binder], "contacts": tuple(contacts)}
            constraints.append(each.model_copy(update=changed))
    dice.shuffle(constraints)
    affinity = None if given.affinity is None else new[given.affinity]
    return Assembly(entities=parts, constraints=[*constraints, *constraints[:1]], affinity=affinity)


@given(assemblies(), st.randoms(use_true_random=False))
def test_key_does_not_depend_on_how_it_is_written(given: Assembly, dice: random.Random) -> None:
    other = respelled(given, dice)
    assert other.canonical() == given.canonical()
    assert other.key == given.key


@given(assemblies())
def test_an_assembly_is_the_same_after_json(given: Assembly) -> None:
    again = Assembly.model_validate_json(given.model_dump_json())
    assert again == given
    assert again.key == given.key
    assert Assembly.model_validate_json(given.model_dump_json(exclude_defaults=True)) == given


@given(st.lists(st.tuples(sequences, st.integers(1, 3)), min_size=1, max_size=4))
def test_proteins_alone_keep_the_key_that_stores_have(chains: list[tuple[str, int]]) -> None:
    made = Assembly(entities=[protein(sequence, copies=copies) for sequence, copies in chains])
    expanded = [sequence for sequence, copies in chains for _ in range(copies)]
    assert made.plain_chains == tuple(expanded)
    assert made.key == hashlib.sha256(":".join(expanded).encode()).hexdigest() == sequence_key(expanded)


def test_key_is_another_where_something_else_is_predicted() -> None:
    """Each differs from the first in one thing."""
    base = protein(chains=["A", "B"])
    atp = ligand(chains=["L"])

    def contact(residue: int, **more: Any) -> Contact:
        return Contact(
            kind="contact", tokens=(Token(chain="A", residue=residue), Token(chain="L", atom="PA")), **more
        )

    variants = [
        assembly(base, atp),
        assembly(atp, base),
        assembly(base),
        assembly(protein(chains=["A"]), atp),
        assembly(protein(UBQ[:-1], chains=["A", "B"]), atp),
        assembly(base, ligand("ADP", chains=["L"])),
        assembly(base, Entity(kind="ligand", ccd=["ATP", "ATP"], chains=["L"])),
        assembly(base, ligand(chains=["L", "M"])),
        assembly(base, Entity(kind="ligand", smiles="CCO", chains=["L"])),
        assembly(base, atp, affinity="L"),
        assembly(protein(chains=["A", "B"], cyclic=True), atp),
        assembly(protein(chains=["A", "B"], msa="empty"), atp),
        assembly(protein(chains=["A", "B"], paired_msa="empty"), atp),
        assembly(protein(chains=["A", "B"], msa=f"sha256:{'0' * 64}"), atp),
        assembly(protein(chains=["A", "B"], modifications=[{"position": 2, "ccd": "SEP"}]), atp),
        assembly(protein(chains=["A", "B"], modifications=[{"position": 3, "ccd": "SEP"}]), atp),
        assembly(protein(chains=["A", "B"], modifications=[{"position": 3, "ccd": "TPO"}]), atp),
        assembly(base, atp, constraints=[contact(1)]),
        assembly(base, atp, constraints=[contact(2)]),
        assembly(base, atp, constraints=[contact(1, max_distance=8)]),
        assembly(base, atp, constraints=[contact(1, force=True)]),
        assembly(base, atp, constraints=[contact(1), contact(2)]),
        assembly(base, Entity(kind="dna", sequence="ACG")),
        assembly(base, Entity(kind="rna", sequence="ACG")),
        assembly(base, protein("ACG")),
    ]
    assert len({each.key for each in variants}) == len(variants)


def test_a_bond_has_no_direction() -> None:
    ends = (Atom(chain="A", residue=3, atom="SG"), Atom(chain="L", atom="C04"))
    made = [
        assembly(protein(chains=["A"]), ligand(chains=["L"]), constraints=[Bond(kind="bond", atoms=pair)])
        for pair in (ends, ends[::-1])
    ]
    assert made[0].key == made[1].key


def test_an_alignment_that_nobody_has_read_has_no_key() -> None:
    unread = assembly(protein(msa="file:seq1.a3m"))
    with pytest.raises(ValueError, match=r"The alignment seq1\.a3m has not been read"):
        _ = unread.key


# ---- what an engine does not take
EVERYTHING = Accepts(frozenset(Kind), True, True, True, True, True)


def test_an_engine_says_what_it_does_not_take() -> None:
    def verdict(*entities: Entity, **more: Any) -> str:
        found = why_not(assembly(*entities, **more), "toy")
        return found.message if found else ""

    none = "engines that take it: none is installed."
    assert verdict(protein(), protein(CRN, copies=3)) == ""
    assert verdict(protein(), ligand()) == f"ligand ATP: engine toy folds proteins only; {none}"
    assert verdict(Entity(kind="dna", sequence="ACG")) == (
        f"DNA of 3 nucleotides: engine toy folds proteins only; {none}"
    )
    assert verdict(protein(modifications=[{"position": 2, "ccd": "SEP"}])) == (
        f"modification SEP at residue 2 of protein A: engine toy takes no modifications; {none}"
    )
    assert verdict(protein(cyclic=True)) == (
        f"protein A, which is cyclic: engine toy takes no cyclic chains; {none}"
    )
    assert "protein A without an alignment" in verdict(protein(msa="empty"))
    assert "protein A with its own alignment" in verdict(protein(msa="file:a.a3m"))
    bond = Bond(
        kind="bond", atoms=(Atom(chain="A", residue=1, atom="N"), Atom(chain="A", residue=9, atom="C"))
    )
    assert verdict(protein(), constraints=[bond]) == (
        f"bond A:1:N to A:9:C: engine toy takes no constraints; {none}"
    )
    several = verdict(protein(), *(ligand(code) for code in ("ATP", "ADP", "AMP", "GTP", "ATP")))
    assert several.startswith(
        "ligand ATP, ligand ADP, ligand AMP and 1 more: engine toy folds proteins only;"
    )


def test_engines_that_take_it_are_named() -> None:
    wanted = assembly(protein(), ligand(), affinity="B")
    others = {"all": EVERYTHING, "plain": PROTEINS, "no affinity": Accepts(frozenset(Kind))}
    found = why_not(wanted, "toy", PROTEINS, others)
    assert found is not None
    assert found.message.endswith("engines that take them: all.")
    assert found.advice == "Set engine: all."
    assert why_not(wanted, "all", EVERYTHING) is None
    dna = why_not(
        assembly(Entity(kind="dna", sequence="AC")), "toy", Accepts(frozenset({Kind.PROTEIN, Kind.LIGAND}))
    )
    assert dna is not None
    assert "folds proteins and ligands only" in dna.message
