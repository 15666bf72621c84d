"""What is asked to be designed: resolved to positions, or refused with chain, position and advice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.backbones import helix

from snakefold.kernel.errors import TargetError
from snakefold.molecules.backbones import read_backbone
from snakefold.molecules.designs import (
    Design,
    Wanted,
    design_target,
    file_name,
    make_design,
    read_design,
)

#: A has positions 1 to 7, of which 4 and 5 are gaps.
TEXT = (
    helix("ACDEF", "A", numbers=["10", "11", "11A", "14", "15"])
    + helix("GHIKL", "B", origin=(12, 0, 0), without=[("3", "O")])
    + helix("GHIKL", "C", origin=(0, 12, 0))
)
DATA = TEXT.encode()


def made(**wanted: Any) -> Design:
    return make_design(read_backbone(DATA), DATA, "pdb", Wanted(**wanted))


def test_numbers_count_from_one_and_texts_are_the_files_numbers() -> None:
    assert made(fixed={"A": [1, "11A", 3, "15"]}).fixed == {"A": (1, 3, 7)}


@pytest.mark.parametrize("chains", ["B A", "A,B", ["B", "A"]])
def test_chains_are_named_in_a_list_or_a_text(chains: Any) -> None:
    assert made(chains=chains).designed == ("A", "B")


@pytest.mark.parametrize("chains", [None, [], ""])
def test_without_names_all_chains_are_designed(chains: Any) -> None:
    assert made(chains=chains).designed == ("A", "B", "C")


def test_copies_tie_their_positions_and_keep_the_residue_of_one_that_lacks_atoms() -> None:
    design = made(chains=["B", "C"], homooligomer=True)
    assert design.tied == tuple((("B", place), ("C", place)) for place in (1, 2, 4, 5))
    assert design.fixed == {"C": (3,)}


def test_chains_that_are_no_copies_are_refused() -> None:
    shifted = (helix("GHIKLM", "A") + helix("AGHIKL", "B", origin=(12, 0, 0))).encode()
    with pytest.raises(TargetError, match="at position 1 chain A has G, and chain B has A"):
        make_design(read_backbone(shifted), shifted, "pdb", Wanted(homooligomer=True))


def test_a_position_that_all_copies_fix_is_not_tied() -> None:
    tied = made(chains=["B", "C"], homooligomer=True, fixed={"B": [1], "C": [1]}).tied
    assert tied == tuple((("B", place), ("C", place)) for place in (2, 4, 5))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"chains": ["Z"]}, "no protein chain 'Z'. It has A, B, C"),
        ({"fixed": {"Z": [1]}}, "fixed_positions: the backbone has no protein chain 'Z'"),
        ({"fixed": {"A": [0]}}, "no position 0"),
        ({"fixed": {"A": [8]}}, "no position 8. It has positions 1 to 7, gaps included"),
        ({"fixed": {"A": [-1]}}, "no position -1"),
        ({"fixed": {"A": [4]}}, "position 4 is a gap"),
        ({"fixed": {"A": ["12"]}}, "no residue numbered '12'. Its residues are numbered 10 to 15"),
        ({"fixed": {"A": [""]}}, "no residue numbered ''"),
        ({"fixed": {"A": ["52\n"]}}, "no residue numbered"),
        ({"tied": [{"A": [1], "B": [9]}]}, "tied_positions: chain B has no position 9"),
        ({"tied": [{"A": [1], "B": [1]}], "fixed": {"A": [1]}}, "position 1 of chain A is fixed"),
        ({"tied": [{"A": [1], "B": [1]}], "chains": ["A"]}, "position 1 of chain B is not designed"),
        ({"tied": [{"A": [1], "B": [3]}]}, "position 3 of chain B lacks atoms"),
        ({"tied": [{"A": [1], "B": [1]}, {"A": [1], "C": [1]}]}, "position 1 of chain A is in two groups"),
        ({"homooligomer": True}, "A has 7, B has 5, C has 5"),
        ({"homooligomer": True, "chains": ["B"]}, "two or more designed chains"),
        ({"homooligomer": True, "chains": "B C", "tied": [{"B": [1], "C": [1]}]}, "both given"),
        ({"homooligomer": True, "chains": "B C", "fixed": {"B": [1]}}, "fixed in chain B only"),
        ({"bias": [("A", 1, {"B": 1.0})]}, "'B' is no amino acid"),
        ({"bias": [("A", 1, {"AC": 1.0})]}, "'AC' is no amino acid"),
        ({"bias": [("A", 1, {"A": float("nan")})]}, "not between"),
        ({"bias": [("A", 1, {"A": 1.0}), ("A", "10", {"C": 1.0})]}, "there twice"),
        ({"bias": [("A", 99, {"A": 1.0})]}, "bias_by_res: chain A has no position 99"),
        ({"chains": "C", "fixed": {"C": [1, 2, 3, 4, 5]}}, "No position is left"),
        ({"chains": "B", "fixed": {"B": [1, 2, 4, 5]}}, "No position is left"),
    ],
)
def test_what_cannot_be_designed_is_refused(wanted: Mapping[str, Any], said: str) -> None:
    with pytest.raises(TargetError) as error:
        made(**wanted)
    assert said in f"{error.value.message} {error.value.advice}"
    assert error.value.advice


def test_the_key_names_all_of_it_and_nothing_else() -> None:
    assert made(fixed={"A": [1, 3]}).key == made(fixed={"A": [3, "10", 1]}).key
    different = [
        made(),
        made(chains=["A"]),
        made(fixed={"A": [1]}),
        made(tied=[{"A": [1], "B": [1]}]),
        made(bias=[("A", 1, {"W": 1.0})]),
    ]
    assert len({each.key for each in different}) == len(different)


def test_a_request_gives_back_design_and_backbone_or_says_what_is_wrong() -> None:
    chains = read_backbone(DATA)
    design = made(fixed={"A": [1]}, tied=[{"B": [1], "C": [1]}], bias=[("A", 2, {"W": -1.0})])
    target = design_target("x", design, chains)
    found, again = read_design(target, {file_name("pdb"): DATA})
    assert found == design and [chain.sequence for chain in again] == target.chains
    with pytest.raises(TargetError, match="lacks the file"):
        read_design(target, {})
    with pytest.raises(TargetError, match="another backbone"):
        read_design(target, {file_name("pdb"): DATA + b"\n"})
    other = target.model_copy(update={"chains": ["ACDEF"]})
    with pytest.raises(TargetError, match="not those of its backbone"):
        read_design(other, {file_name("pdb"): DATA})
