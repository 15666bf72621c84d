"""Inputs of other programs: all that they say is read, and nothing is taken for something else."""

from __future__ import annotations

import copy
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from foreign_files import ATP, BOLTZ, af3, chain, protein, server, yaml_of
from hypothesis import given
from hypothesis import strategies as st
from sequence_files import UBQ, write

from snakefold.kernel.errors import Refusal
from snakefold.molecules.entities import Kind
from snakefold.molecules.foreign import recognised
from snakefold.molecules.readers import alphafold3, boltz
from snakefold.molecules.readers.common import Found
from snakefold.molecules.readers.document import parse_json
from snakefold.molecules.sequences import BadSequence, clean_chains
from snakefold.molecules.targets import read_records


def test_everything_that_an_input_says_is_in_its_entities() -> None:
    text = af3(
        protein(
            ["A", "B"],
            modifications=[{"ptmType": "SEP", "ptmPosition": 2}],
            unpairedMsa=">q\nMQ",
            pairedMsa="",
        ),
        {
            "rna": {
                "id": "R",
                "sequence": "ACGU",
                "modifications": [{"modificationType": "5MC", "basePosition": 2}],
            }
        },
        {"ligand": {"id": ["L", "M"], "ccdCodes": ["NAG", "BMA"]}},
        {"ligand": {"id": "S", "smiles": "C\\C=C"}},
        bondedAtomPairs=[[["A", 145 - 100, "N"], ["L", 2, "C1"]]],
    )
    (found,) = alphafold3.read(text, "x")
    assert isinstance(found, Found)
    first, second, third, fourth = found.assembly.entities
    assert (first.kind, first.chains, first.copies, first.paired_msa) == (
        Kind.PROTEIN,
        ("A", "B"),
        2,
        None,  # with an alignment of its own nothing is searched to pair
    )
    assert first.msa is not None
    assert first.msa.startswith("sha256:")
    assert [(each.position, each.ccd) for each in (*first.modifications, *second.modifications)] == [
        (2, "SEP"),
        (2, "5MC"),
    ]
    assert (third.ccd, third.copies, fourth.smiles) == (("NAG", "BMA"), 2, "C\\C=C")
    bond = found.assembly.constraints[0]
    assert bond.kind == "bond"
    assert [atom.residue for atom in bond.atoms] == [45, 2]


def test_dialects_say_the_same() -> None:
    """One assembly in four forms has one key."""
    of_af3 = af3(protein(["A", "B"]), {"ligand": {"id": "L", "ccdCodes": ["ATP"]}})
    of_server = server(
        {"name": "a", "sequences": [chain(count=2), {"ligand": {"ligand": "CCD_ATP", "count": 1}}]}
    )
    of_boltz = BOLTZ.replace("id: A", "id: [X, Y]") + "  - ligand: {id: Z, ccd: atp}\n"
    keys = {
        found.assembly.key
        for text in (of_af3, of_server)
        for found in alphafold3.read(text, "x")
        if isinstance(found, Found)
    }
    assert keys == {boltz.read(of_boltz, "x").assembly.key}


# ---- whatever is in a file
words = st.sampled_from(
    [
        "sequences",
        "protein",
        "ligand",
        "id",
        "sequence",
        "A",
        UBQ,
        "ccd",
        "msa",
        "affinity",
        "version",
        "name",
    ]
)
leaves = st.one_of(words, st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)
jobs = st.one_of(
    trees, st.fixed_dictionaries({"sequences": trees}), st.lists(st.fixed_dictionaries({"sequences": trees}))
)


@given(jobs, st.booleans())
def test_no_tree_makes_anything_else(tree: Any, as_yaml: bool) -> None:
    text = yaml.safe_dump(tree) if as_yaml else json.dumps(tree)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "x.yaml" if as_yaml else "x.json", text)
        found = read_records([path], min_length=1, max_length=1000)
    assert found
    for refusal in found:
        if isinstance(refusal, Refusal):
            assert refusal.code
            assert refusal.message
            assert refusal.advice
            assert str(refusal).isprintable()


FULL: list[Any] = [
    json.loads(
        af3(
            protein(
                ["A", "B"],
                modifications=[{"ptmType": "SEP", "ptmPosition": 2}],
                unpairedMsa="x",
                pairedMsa="",
            ),
            {"rna": {"id": "R", "sequence": "ACGU"}},
            ATP,
            {"ligand": {"id": "S", "smiles": "CCO"}},
            bondedAtomPairs=[[["A", 1, "N"], ["L", 1, "PA"]]],
        )
    ),
    json.loads(
        server({"name": "j", "sequences": [chain(count=2, glycans=[]), {"ion": {"ion": "MG", "count": 2}}]})
    ),
    yaml.safe_load(
        yaml_of(
            "ligand: {id: L, ccd: ATP}",
            "ligand: {id: M, smiles: CCO}",
            more="constraints:\n"
            "- bond: {atom1: [A, 1, N], atom2: [L, 1, PA]}\n"
            "- pocket: {binder: L, contacts: [[A, 1], [A, 2]], max_distance: 5, force: true}\n"
            "- contact: {token1: [A, 1], token2: [M, C1]}\n"
            "properties: [{affinity: {binder: L}}]\n",
        )
    ),
]
ODD = [
    None,
    True,
    0,
    -1,
    2.5,
    float("inf"),
    "",
    "\x00",
    "é",
    "L" * 200,
    [],
    {},
    {"a": 1},
    10**30,
    "2024-01-01",
    ["A", 1],
]


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key below a tree."""
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key
        yield from places(tree[key])


@given(st.sampled_from(FULL), st.randoms(use_true_random=False), st.sampled_from(ODD), st.booleans())
def test_one_wrong_thing_is_a_refusal(whole: Any, dice: random.Random, odd: Any, cut: bool) -> None:
    tree = copy.deepcopy(whole)
    container, key = dice.choice(list(places(tree)))
    if cut:
        del container[key]
    else:
        container[key] = odd
    with tempfile.TemporaryDirectory() as folder:
        of_boltz = whole is FULL[2]
        text = yaml.safe_dump(tree) if of_boltz else json.dumps(tree)
        (record, *_) = read_records(
            [write(Path(folder), "x.yaml" if of_boltz else "x.json", text)], min_length=1, max_length=1000
        )
    if isinstance(record, Refusal):
        assert record.message
        assert record.advice
        assert str(record).isprintable()


@given(st.one_of(st.text(max_size=40), st.text('{}[]",:\n 0truefalsnl', max_size=40)))
def test_json_is_what_json_is(text: str) -> None:
    """Equal to the standard library's reading, but for keys given twice and numbers that are none."""
    from snakefold.molecules.lines import BadFile

    try:
        found = parse_json(text)
    except BadFile:
        try:
            json.loads(text, object_pairs_hook=_once, parse_constant=_none)
        except (ValueError, RecursionError):
            return
        raise
    assert found == json.loads(text)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError
    return dict(pairs)


def _none(word: str) -> None:
    raise ValueError(word)


@given(st.text("ACDEFGHIKLMNPQRSTVWYXBZUJ", min_size=1, max_size=60))
def test_no_sequence_is_taken_for_a_name_or_a_ligand(letters: str) -> None:
    assert recognised(letters) is None
    try:
        clean_chains(letters)
    except BadSequence as problem:
        assert problem.code in {"all_unknown", "nucleotides"}


@given(
    st.from_regex(
        r"([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9]([A-Z][A-Z0-9]{2}[0-9]){1,2})(-[1-9])?", fullmatch=True
    )
)
def test_every_accession_is_known(accession: str) -> None:
    found = recognised(accession)
    assert found is not None
    assert found.code == "accession"
    with pytest.raises(BadSequence):
        clean_chains(accession)
