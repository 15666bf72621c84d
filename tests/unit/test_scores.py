"""Scores against independent code: TM-align, AlphaFold's lDDT, Biopython, definitions in plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scored_files
from Bio.SVDSuperimposer import SVDSuperimposer
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from snakefold.kernel.contracts import Confidence, ModelScores
from snakefold.kernel.errors import SnakefoldError
from snakefold.structures import files as structures
from snakefold.structures import scores
from snakefold.structures.confidence import dequantise_pae, quantise_pae
from snakefold.structures.scores import interfaces
from snakefold.structures.scores.interfaces import model_points
from snakefold.structures.scores.models import pairwise_tm, tm_score
from snakefold.structures.scores.reference import lddt, residue_pairs
from snakefold.structures.scores.target import MOST_MODELS

Floats = NDArray[np.float64]
KEY = "0" * 64


def chain_of(random: np.random.Generator, length: int) -> Floats:
    """A chain of CA atoms 3.8 Å apart that wanders."""
    steps = np.cumsum(random.normal(0, 0.5, (length, 3)), axis=0) + random.normal(0, 1, 3)
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def bent(points: Floats, place: int, angle: float) -> Floats:
    """The points from `place` on are turned about the one there: a hinge."""
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    return np.concatenate([points[:place], (points[place:] - points[place]) @ turn.T + points[place]])


@pytest.mark.parametrize("length", [24, 80, 250])
@pytest.mark.parametrize("change", ["noise", "much noise", "hinge", "two hinges", "another chain"])
def test_tm_score_is_no_lower_than_tm_aligns_for_the_same_pairs(length: int, change: str) -> None:
    import tmtools

    random = np.random.default_rng(length)
    fixed = chain_of(random, length)
    mobile = {
        "noise": lambda: fixed + random.normal(0, 0.7, fixed.shape),
        "much noise": lambda: fixed + random.normal(0, 4, fixed.shape),
        "hinge": lambda: bent(fixed, length // 3, 1.4),
        "two hinges": lambda: bent(bent(fixed, length // 4, 1.1), 2 * length // 3, 2.0),
        "another chain": lambda: chain_of(random, length),
    }[change]()
    letters = "A" * length
    aligned = tmtools.tm_align(mobile, fixed, letters, letters, alignment=[letters, letters])
    found = tm_score(mobile, fixed)
    # Both search; what is found is a superposition's score, so that the higher of two is the better answer.
    assert found >= aligned.tm_norm_chain2 - 1e-3
    if change in ("noise", "hinge") and length > 24:
        assert found == pytest.approx(aligned.tm_norm_chain2, abs=2e-3)


@given(st.integers(0, 10_000), st.integers(5, 60), st.floats(0, 5), st.tuples(*[st.floats(-300, 300)] * 3))
@settings(max_examples=40)
def test_tm_score_of_a_superposition_and_its_bounds(
    seed: int, length: int, noise: float, shift: tuple[float, float, float]
) -> None:
    random = np.random.default_rng(seed)
    fixed = chain_of(random, length)
    mobile = fixed + random.normal(0, noise, fixed.shape) if noise else fixed
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    found = tm_score(mobile @ turn.T + np.array(shift), fixed)
    assert found == pytest.approx(tm_score(mobile, fixed), abs=1e-3)
    assert found == pytest.approx(tm_score(fixed, mobile), abs=1e-2)
    least = SVDSuperimposer()
    least.set(fixed, mobile)
    least.run()
    d0 = max(0.5, 1.24 * (length - 15) ** (1 / 3) - 1.8) if length > 15 else 0.5
    apart = np.linalg.norm(least.get_transformed() - fixed, axis=1)
    assert np.mean(1 / (1 + (apart / d0) ** 2)) - 1e-9 <= found <= 1 + 1e-12
    if not noise:
        assert found == pytest.approx(1)


def test_a_mirror_image_is_not_superposed() -> None:
    fixed = chain_of(np.random.default_rng(1), 90)
    assert tm_score(fixed * [1, 1, -1], fixed) < 0.7


def test_tables_of_models_leave_out_what_one_lacks() -> None:
    whole = chain_of(np.random.default_rng(2), 40)
    partial = whole + 5
    partial[10:12] = np.nan
    nearly_nothing = np.full_like(whole, np.nan)
    nearly_nothing[:2] = 1
    assert pairwise_tm([whole, partial, nearly_nothing]) == [
        [1.0, 1.0, None],
        [1.0, 1.0, None],
        [None, None, 1.0],
    ]
    with pytest.raises(ValueError, match=r"\[L, 3\]"):
        tm_score(whole, whole[:-1])


def test_lddt_is_alphafolds() -> None:
    import jax.numpy as jnp
    from alphafold.model.lddt import lddt as alphafolds

    random = np.random.default_rng(5)
    reference = chain_of(random, 120)
    for noise in (0.0, 0.3, 1.5, 6.0):
        model = reference + random.normal(0, noise, reference.shape)
        expected = alphafolds(jnp.array(model)[None], jnp.array(reference)[None], jnp.ones((1, 120, 1)))
        assert lddt(model, reference) == pytest.approx(float(expected[0]), abs=1e-4)
        assert lddt(-model + 9, reference) == pytest.approx(lddt(model, reference))


def test_lddt_counts_what_is_missing_as_lost() -> None:
    reference = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [500, 0, 0]])
    model = reference.copy()
    model[2] = np.nan
    # Of the three pairs within 15 Å one is left.
    assert lddt(model, reference) == pytest.approx(1 / 3)
    moved = reference + np.array([[0, 0, 0], [1.5, 0, 0], [0, 0, 0], [0, 0, 0]])
    change = [1.5, 0, abs(math.hypot(11.5, 10) - math.hypot(10, 10))]
    expected = np.mean([[value < limit for limit in (0.5, 1, 2, 4)] for value in change])
    assert lddt(moved, reference) == pytest.approx(expected)
    assert lddt(reference[[0, 3]], reference[[0, 3]]) is None
    with pytest.raises(ValueError, match="lDDT"):
        lddt(model[:3], reference)


def test_residues_correspond_by_sequence() -> None:
    assert residue_pairs("ACDEFGHIKL", "MMACDEWGHIKLPP").tolist() == [[n, n + 2] for n in range(10)]
    gap = residue_pairs("ACDEFGHIKLMNPQRSTVWY", "ACDEFGHIKLSTVWY").tolist()
    assert gap == [[n, n] for n in range(10)] + [[n + 5, n] for n in range(10, 15)]


@given(st.integers(0, 1000), st.integers(2, 40), st.integers(2, 40))
@settings(max_examples=30)
def test_interface_scores_follow_their_definitions(seed: int, first: int, second: int) -> None:
    random = np.random.default_rng(seed)
    length = first + second
    pae = random.uniform(0.2, 31.75, (length, length))
    pae[random.random((length, length)) < random.random()] *= 0.3
    plddt, cb = random.uniform(20, 99, length), random.uniform(0, 25, (length, 3))
    a, b = range(first), range(first, length)

    def term(error: float, d0: float) -> float:
        return 1 / (1 + (error / d0) ** 2)

    def d0(count: int) -> float:
        return max(1.0, 1.24 * (count - 15) ** (1 / 3) - 1.8) if count > 26 else 1.0

    ipsae, iptm, errors = [], [], []
    touching = [(i, j) for i in a for j in b if math.dist(cb[i], cb[j]) <= 8]
    for inside, other in ((a, b), (b, a)):
        for i in inside:
            near = [pae[i, j] for j in other if pae[i, j] < 10]
            ipsae.append(sum(term(error, d0(len(near))) for error in near) / len(near) if near else 0.0)
            iptm.append(sum(term(pae[i, j], d0(length)) for j in other) / len(other))
        pairs = touching if inside is a else [(j, i) for i, j in touching]
        errors.append(sum(term(pae[i, j], 10) for i, j in pairs) / max(1, len(pairs)))
    residues = {i for pair in touching for i in pair}
    mean = sum(plddt[i] for i in residues) / max(1, len(residues))
    pdockq2 = 1.31 / (1 + math.exp(-0.075 * (mean * max(errors) - 84.733))) + 0.005 if touching else 0.0

    inside, other = slice(0, first), slice(first, length)
    found = interfaces.contacts(cb[inside], cb[other])
    assert found.sum() == len(touching)
    assert interfaces.ipsae(pae, inside, other) == pytest.approx(max(ipsae))
    assert interfaces.ipsae(pae, other, inside) == pytest.approx(max(ipsae))
    assert interfaces.iptm_from_pae(pae, inside, other) == pytest.approx(max(iptm))
    assert interfaces.pdockq2(pae, plddt, found, inside, other) == pytest.approx(pdockq2)


@pytest.mark.parametrize("seed", range(8))
def test_8_bits_of_pae_are_enough(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(40, 150, 2)
    inside, other = slice(0, sizes[0]), slice(sizes[0], sum(sizes))
    smooth = random.gamma(2, 1 + seed / 3, (sum(sizes), sum(sizes))) + random.uniform(0, 8, (sum(sizes), 1))
    pae = np.clip(smooth, 0.25, 31.75)
    stored = dequantise_pae(quantise_pae(pae))
    touching = random.random(sizes) < 0.01
    plddt = random.uniform(40, 98, sum(sizes))
    for compute in (
        lambda matrix: interfaces.ipsae(matrix, inside, other),
        lambda matrix: interfaces.iptm_from_pae(matrix, inside, other),
        lambda matrix: interfaces.pdockq2(matrix, plddt, touching, inside, other),
    ):
        assert compute(stored) == pytest.approx(compute(pae), abs=0.01)


def confidence(chain_lengths: list[int], models: int, **more: float) -> Confidence:
    scored = [
        ModelScores(
            name=f"model_{number}",
            plddt=[50.0] * sum(chain_lengths),
            mean_plddt=50,
            ranking_confidence=1,
            **more,
        )
        for number in range(models)
    ]
    return Confidence(key=KEY, engine="e", rehearsal=True, chain_lengths=chain_lengths, models=scored)


def antibody() -> tuple[str, list[int]]:
    structure = scored_files.known(scored_files.COMPLEX)
    return structure.make_pdb_string(), [len(chain) for chain in structure[0]]


def test_what_cannot_be_computed_is_none_and_says_why() -> None:
    text, lengths = antibody()
    found = scores.score_target(confidence(lengths, 1), [text])
    (pair,) = found.interfaces
    assert (pair.chain_a, pair.chain_b, pair.iptm, pair.ipsae, pair.pdockq2) == ("H", "L", None, None, None)
    assert pair.contacts
    assert found.rehearsal
    assert set(found.missing) == {"iptm", "iptm_pae", "ipsae", "pdockq2"}
    assert found.model_tm == [[1.0]]
    for broken, why in (("END\n", "no atoms"), (text, "2 chains, the target 1")):
        found = scores.score_target(confidence([sum(lengths)], 1), [broken])
        assert found.model_tm == []
        assert why in found.missing["model_tm"]
    found = scores.score_target(confidence(lengths[::-1], 1), [text])
    assert "residue number 110, expected 1 to 109" in found.missing["contacts"]
    assert found.interfaces == []


def test_iptm_of_a_pair_is_the_engines_only_for_two_chains() -> None:
    text, lengths = antibody()
    pae = {0: np.full((sum(lengths), sum(lengths)), 4.0)}
    (pair,) = scores.score_target(confidence(lengths, 1, iptm=0.66), [text], pae).interfaces
    assert pair.iptm == 0.66
    third = structures.read(text)
    third[0].add_chain(third[0][0].clone()).name = "N"
    lengths = [*lengths, lengths[0]]
    pae = {0: np.full((sum(lengths), sum(lengths)), 4.0)}
    found = scores.score_target(confidence(lengths, 1, iptm=0.66), [third.make_pdb_string()], pae)
    assert [(item.chain_a, item.chain_b) for item in found.interfaces] == [("H", "L"), ("H", "N"), ("L", "N")]
    assert all(item.iptm is None for item in found.interfaces)
    assert "none for a pair" in found.missing["iptm"]
    assert all(item.ipsae is not None for item in found.interfaces)


def test_many_models_are_scored_up_to_a_limit() -> None:
    text, lengths = antibody()
    found = scores.score_target(confidence(lengths, MOST_MODELS + 2), [text] * (MOST_MODELS + 2))
    assert len(found.model_tm) == MOST_MODELS
    assert "25 of 27" in found.missing["models"]


def test_a_residue_without_atoms_keeps_its_place() -> None:
    structure = structures.read(antibody()[0])
    del structure[0]["L"][3]
    points = model_points(structure.make_pdb_string(), antibody()[1])
    assert np.flatnonzero(np.isnan(points.ca).any(axis=1)).tolist() == [antibody()[1][0] + 3]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    assert scores.read_scores(tmp_path) is None
    (tmp_path / "scores.json").write_text('{"version": 1}')
    with pytest.raises(SnakefoldError, match=r"scores\.json"):
        scores.read_scores(tmp_path)
