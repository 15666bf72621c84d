"""Violations against AlphaFold's own find_structural_violations: exactly the same residues."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snakefold.structures.violations import find

pytestmark = pytest.mark.slow

#: Residues of every structure here: JAX compiles for one length.
LENGTH = 36


def villin() -> Any:
    """Villin headpiece, as alphafold.common.protein.Protein, numbered from 1."""
    from alphafold.common import protein

    found = protein.from_pdb_string(files("pdbfixer").joinpath("tests/data/test.pdb").read_text())
    return dataclasses.replace(found, residue_index=np.arange(1, LENGTH + 1))


def alphafolds(model: Any) -> dict[str, list[int]]:
    """The residues that the reference finds, by kind."""
    from alphafold.relax import amber_minimize

    violations, _ = amber_minimize.find_violations(model)
    between, within = violations["between_residues"], violations["within_residues"]
    masks = {
        "bonds": between["connections_per_residue_violation_mask"],
        "clashes": np.asarray(between["clashes_per_atom_clash_mask"]).max(axis=-1),
        "within": np.asarray(within["per_atom_violations"]).max(axis=-1),
        "residues": violations["total_per_residue_violations_mask"],
    }
    return {kind: np.flatnonzero(mask).tolist() for kind, mask in masks.items()}


def found(model: Any) -> dict[str, list[int]]:
    violations = find(model.aatype, model.atom_positions, model.residue_index)
    kinds = {kind: getattr(violations, kind) for kind in ("bonds", "clashes", "within")}
    return {
        **{kind: np.flatnonzero(mask).tolist() for kind, mask in kinds.items()},
        "residues": violations.residues.tolist(),
    }


@dataclass(frozen=True)
class Change:
    """What is done to a sound structure.

    Attributes:
        seed: of all that is drawn.
        noise: every atom moves so far, Å.
        spread: every residue moves so far, Å.
        scale: of all coordinates.
        mutated: part of the residues that become another or X, with atoms at random.
        decimals: of the coordinates. With one, many distances are a tolerance exactly, and rounding decides.
        breaks: residues with a gap in the numbers before them.
        restart: after a gap the numbers start from 1, as those of another chain.
    """

    seed: int
    noise: float = 0.0
    spread: float = 0.0
    scale: float = 1.0
    mutated: float = 0.0
    decimals: int = 3
    breaks: Sequence[int] = ()
    restart: bool = False


def changed(model: Any, change: Change) -> Any:
    from alphafold.common import protein, residue_constants

    random = np.random.default_rng(change.seed)
    mutated = random.random(LENGTH) < change.mutated
    aatype = np.where(mutated, random.integers(0, 21, LENGTH), model.aatype)
    mask = np.vstack([residue_constants.STANDARD_ATOM_MASK[:20], np.zeros(37)])[aatype]
    around = model.atom_positions[:, :1] + random.normal(0, 1.5, (LENGTH, 37, 3))
    places = np.where((model.atom_mask > 0)[..., None], model.atom_positions, around) * change.scale
    places += random.normal(0, change.noise, (LENGTH, 37, 3))
    places += random.normal(0, change.spread, (LENGTH, 1, 3))
    numbers = np.arange(1, LENGTH + 1)
    for place in change.breaks:
        numbers[place:] += 1 - numbers[place] if change.restart else 2
    return protein.Protein(
        atom_positions=places.round(change.decimals) * mask[..., None],
        atom_mask=mask,
        aatype=aatype,
        residue_index=numbers,
        chain_index=model.chain_index,
        b_factors=model.b_factors,
    )


changes = st.builds(
    Change,
    seed=st.integers(0, 2**32),
    noise=st.sampled_from([0.0, 0.02, 0.05, 0.1, 0.2, 0.5]),
    spread=st.sampled_from([0.0, 0.05, 0.2, 1.0, 3.0, 8.0, 20.0]),
    scale=st.sampled_from([1.0, 0.9, 0.3, 0.01, 1.1]),
    mutated=st.sampled_from([0.0, 0.2, 1.0]),
    decimals=st.integers(1, 3),
    breaks=st.lists(st.integers(1, LENGTH - 1), max_size=6, unique=True).map(sorted),
    restart=st.booleans(),
)


@settings(max_examples=150)
@given(changes)
@example(Change(seed=1))
@example(Change(seed=2, scale=0.0, mutated=1.0))
@example(Change(seed=3, spread=5.0, breaks=[9, 18, 27], restart=True))
def test_the_residues_are_alphafolds(change: Change) -> None:
    model = changed(villin(), change)
    assert found(model) == alphafolds(model)


def test_a_sound_structure_has_none() -> None:
    assert found(villin())["residues"] == []


def test_changes_make_violations_of_each_kind_but_not_everywhere() -> None:
    """What is compared above is neither always empty nor always everything."""
    broken = found(changed(villin(), Change(seed=5, noise=0.1, spread=0.1)))
    assert all(0 < len(residues) < LENGTH for residues in broken.values())


def paired(first: str, second: str, offsets: Sequence[float]) -> Any:
    """Methionines. Each atom is alone in space, but for an atom of residue 0 and of 18 (1 and 19, and so on).

    Their radii overlap by what is allowed, less the offset, Å.
    """
    from alphafold.common import residue_constants

    order, radii = residue_constants.atom_order, residue_constants.van_der_waals_radius
    aatype = np.full(LENGTH, residue_constants.restype_order["M"])
    mask = residue_constants.STANDARD_ATOM_MASK[aatype]
    places = (
        np.stack(np.meshgrid(np.arange(LENGTH), np.arange(37), [0], indexing="ij"), axis=-1)[:, :, 0] * 10.0
    )
    for residue, offset in enumerate(offsets):
        apart = radii[first[0]] + radii[second[0]] - 1.5 + offset
        places[residue + 18, order[second]] = places[residue, order[first]] + [0, 0, apart]
    return dataclasses.replace(
        villin(), aatype=aatype, atom_mask=mask, atom_positions=places * mask[..., None]
    )


PAIRS = [("CB", "CA"), ("CB", "N"), ("O", "C"), ("N", "O"), ("CG", "CB"), ("SD", "CB"), ("SD", "SD")]


@pytest.mark.parametrize("names", PAIRS)
def test_a_clash_begins_where_alphafolds_begins(names: tuple[str, str]) -> None:
    model = paired(*names, [-0.01, 0.0, 0.01])
    clashes = found(model)["clashes"]
    assert clashes == alphafolds(model)["clashes"]
    assert set(clashes) - {1, 19} == {0, 18}


def test_the_slot_of_the_disulfide_bridge_never_clashes() -> None:
    """CG has in its residue the place that SG has in cysteine."""
    model = paired("CG", "CG", [-1.0])
    assert found(model)["clashes"] == alphafolds(model)["clashes"] == []


def test_a_model_of_one_residue_and_of_none() -> None:
    model = villin()
    for count in (0, 1):
        assert not find(model.aatype[:count], model.atom_positions[:count], np.arange(count)).residues.size
