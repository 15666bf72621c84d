"""Ranking, PAE in 8 bits, and the row of metrics: recomputed independently."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import Confidence, TargetInput
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import sequence_key
from snakefold.run.metrics import METRICS_COLUMNS
from snakefold.run.outputs import depth_and_neff
from snakefold.structures import confidence
from snakefold.structures import files as structures
from snakefold.structures.prediction import Prediction

REFERENCES = Path(__file__).parents[2] / "resources" / "demo" / "references"
#: Columns of scores.json, of the run and of the whole folder.
BY_THE_RUN = {"id", "state", "seconds", "dollars", "stored", "reused", "warnings", "model_tm"} | {
    name for name in METRICS_COLUMNS if name.startswith(("reference_", "interface", "pose_"))
} - {"interface_pae"}


def prediction(name: str, ranking: float, length: int = 4, **more: Any) -> Prediction:
    return Prediction(name=name, pdb="", plddt=np.full(length, ranking), ranking_confidence=ranking, **more)


def scores(
    chains: list[str], predictions: list[Prediction], msas: TargetMsas | None = None, **more: Any
) -> Confidence:
    target = TargetInput(id="t", key=sequence_key(chains), chains=chains)
    return confidence.confidence(
        engine="alphafold2",
        rehearsal=more.pop("rehearsal", False),
        target=target,
        alignment=depth_and_neff(msas or TargetMsas()),
        predictions=predictions,
        relaxed=more.pop("relaxed", set()),
        warnings=more.pop("warnings", []),
    )


def realistic_pae(length: int, seed: int) -> np.ndarray:
    """PAE as a folded protein has it: small where CA atoms are close, noisy and large where they are far."""
    known = [structures.ca_coordinates(path.read_text()) for path in sorted(REFERENCES.glob("*.pdb"))]
    folded = np.concatenate(
        [one - one.mean(axis=0) + 40 * number for number, one in enumerate([*known, known[0]])]
    )
    folded = folded[:length]
    random = np.random.default_rng(seed)
    distance = np.linalg.norm(folded[:, None] - folded[None], axis=-1)
    pae = 0.8 + 0.35 * distance + random.gamma(2.0, 0.6, distance.shape)
    np.fill_diagonal(pae, 0.25)
    return np.minimum(pae, 31.75)


def test_best_first_and_ties_keep_their_order() -> None:
    given_order = [prediction("a", 50), prediction("b", 70), prediction("c", 50), prediction("d", 70)]
    assert [item.name for item in confidence.rank(given_order)] == ["b", "d", "a", "c"]


def test_ranking_debug_is_alphafolds() -> None:
    monomer = confidence.rank([prediction("model_1_pred_0", 40.5), prediction("model_2_pred_0", 80.25)])
    assert confidence.ranking_debug(monomer) == {
        "plddts": {"model_2_pred_0": 80.25, "model_1_pred_0": 40.5},
        "order": ["model_2_pred_0", "model_1_pred_0"],
    }
    multimer = [prediction("model_1_multimer_v3_pred_0", 0.7, iptm=0.69, ptm=0.74)]
    assert set(confidence.ranking_debug(multimer)) == {"iptm+ptm", "order"}
    # Of another score no program shall read pLDDT or 0.8 ipTM + 0.2 pTM.
    by_ptm = [replace(monomer[0], ranking_confidence=0.4, ranked_by="ptm")]
    assert set(confidence.ranking_debug(by_ptm)) == {"ptm", "order"}
    json.dumps(confidence.ranking_debug([prediction("x", np.float32(1.5))]))  # numpy numbers are no JSON


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 12)).map(lambda n: n * 2), elements=st.floats(0, 31.75, width=32)
    )
)
def test_quantisation_costs_at_most_half_a_unit(pae: np.ndarray) -> None:
    units = confidence.quantise_pae(pae)
    assert units.dtype == np.uint8
    assert np.abs(confidence.dequantise_pae(units) - pae).max() <= 0.0625


def test_quantisation_rounds_half_to_even_and_stops_at_the_last_bin() -> None:
    found = confidence.quantise_pae(np.array([0.0625, 0.1875, 0.3125, 31.75, 31.9, 1000.0]))
    assert found.tolist() == [0, 2, 2, 254, 254, 254]


@pytest.mark.parametrize("bad", [np.nan, -0.1, -np.inf])
def test_what_is_no_distance_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="0 Å or more"):
        confidence.quantise_pae(np.array([[0.0, bad], [1.0, 0.0]]))


def test_archive_returns_what_was_put_in_by_rank() -> None:
    first, third = realistic_pae(30, 1), realistic_pae(30, 2)
    data = confidence.pae_archive([first, None, third])
    found = confidence.read_pae(data)
    assert list(found) == [0, 2]
    assert np.abs(found[0] - first).max() <= 0.0625
    assert np.abs(found[2] - third).max() <= 0.0625
    assert (
        confidence.pae_archive([first, None, third]) == data
    )  # equal content, equal bytes: the store counts on it
    with np.load(io.BytesIO(data)) as plain:
        assert {name: (plain[name].dtype, plain[name].shape) for name in plain.files} == {
            "rank_0": (np.dtype("uint8"), (30, 30)),
            "rank_2": (np.dtype("uint8"), (30, 30)),
        }


def test_pickled_content_is_never_loaded() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, rank_0=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SnakefoldError, match=r"pae\.npz"):
        confidence.read_pae(buffer.getvalue())


@pytest.mark.parametrize(
    "arrays_",
    [
        {"rank_0": np.zeros((3, 4), np.uint8)},
        {"rank_0": np.zeros((3, 3), np.float32)},
        {"other": np.zeros((3, 3), np.uint8)},
    ],
)
def test_a_foreign_archive_is_refused(arrays_: dict[str, np.ndarray]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays_)
    with pytest.raises(SnakefoldError, match=r"pae\.npz"):
        confidence.read_pae(buffer.getvalue())


@given(st.data())
def test_a_damaged_archive_is_refused_or_read_never_anything_else(data: st.DataObject) -> None:
    whole = bytearray(confidence.pae_archive([np.arange(100.0).reshape(10, 10) % 30]))
    if data.draw(st.booleans()):
        whole = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = confidence.read_pae(bytes(whole))
    except SnakefoldError:
        return
    assert all(matrix.shape == (10, 10) for matrix in found.values())


def test_a_target_of_400_residues_stays_below_a_megabyte() -> None:
    sequence = "ACDEFGHIKLMNPQRSTVWY" * 20
    random = np.random.default_rng(7)

    def size(matrices: list[np.ndarray]) -> int:
        models = [
            Prediction(
                f"model_{number}_ptm_pred_0",
                "",
                random.uniform(0, 100, 400),
                80.0,
                pae=matrix,
                ptm=0.8,
            )
            for number, matrix in enumerate(matrices, 1)
        ]
        text = scores([sequence], models).model_dump_json().encode()
        archive = confidence.pae_archive(matrices)
        with zipfile.ZipFile(io.BytesIO(archive)) as listing:
            assert len(listing.namelist()) == 5
        return len(text) + len(archive)

    folded = size([realistic_pae(400, seed) for seed in range(5)])
    worst = size([random.uniform(0, 31.75, (400, 400)) for _ in range(5)])
    assert folded < worst <= 1_000_000


def test_bands_hold_their_lower_edge() -> None:
    values = [0.0, 49.99, 50.0, 69.99, 70.0, 89.99, 90.0, 100.0]
    assert confidence.plddt_fractions(values) == {
        "very_high": 0.25,
        "confident": 0.25,
        "low": 0.25,
        "very_low": 0.25,
    }


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_bands_cover_every_residue_once(plddt: list[float]) -> None:
    found = confidence.plddt_fractions(plddt)
    counted = np.bincount(np.digitize(plddt, [50, 70, 90]), minlength=4)[::-1] / len(plddt)
    assert list(found.values()) == pytest.approx(counted.tolist())
    assert sum(found.values()) == pytest.approx(1)


def test_row_of_a_complex_equals_its_own_recomputation() -> None:
    chains = ["ACDEF", "GHI", "KL"]
    random = np.random.default_rng(3)
    plddt, pae = random.uniform(20, 100, 10), random.uniform(0, 31, (10, 10))
    best = Prediction(
        "model_2_multimer_v3_pred_0", "", plddt, 0.71, pae=pae, ptm=0.8, iptm=0.6875, recycles=3, seed=9
    )
    msas = TargetMsas(
        [ChainMsa("", depth=40, neff=12.5), ChainMsa("", depth=7, neff=6.25), ChainMsa("", depth=9)]
    )
    made = scores(
        chains, [best, prediction("other", 0.2, 10)], msas, relaxed={0}, warnings=["w1", "w1", "w2"]
    )
    row = confidence.metrics_row(made, confidence.read_pae(confidence.pae_archive([pae, None])))

    assert set(row) == set(METRICS_COLUMNS) - BY_THE_RUN
    for name, value in row.items():
        assert isinstance(value, METRICS_COLUMNS[name].type), name
    owner = [number for number, chain in enumerate(chains) for _ in chain]
    between = [pae[i, j] for i, j in itertools.product(range(10), repeat=2) if owner[i] != owner[j]]
    assert row["interface_pae"] == pytest.approx(sum(between) / len(between), abs=0.07)
    assert row["mean_pae"] == pytest.approx(pae.mean(), abs=0.07)
    assert row["max_pae"] == pytest.approx(pae.max(), abs=0.001)
    assert row["mean_plddt"] == pytest.approx(plddt.mean(), abs=0.001)
    assert (row["length"], row["chains"], row["model"], row["recycles"]) == (10, 3, best.name, 3)
    assert (row["ptm"], row["iptm"], row["relaxed"], row["rehearsal"]) == (0.8, 0.6875, True, False)
    assert (row["msa_depth"], row["neff"]) == (7, 6.25)  # of the shallowest chain
    assert made.warnings == ["w1", "w2"]


def test_what_a_model_does_not_give_is_empty() -> None:
    row = confidence.metrics_row(scores(["ACDE"], [prediction("flashabb_pred_0", 91.0)], rehearsal=True))
    empty = {"ptm", "iptm", "mean_pae", "max_pae", "interface_pae", "msa_depth", "neff"}
    assert {name for name, value in row.items() if value is None} == empty
    assert row["rehearsal"] is True


def test_one_chain_has_no_interface() -> None:
    assert confidence.interface_pae(np.ones((4, 4)), [4]) is None


def test_depth_of_an_a3m_that_came_with_the_target() -> None:
    msas = TargetMsas(own_a3m="#4\t1\n>101\nACDE\n>a\nACDE\n>b\nAC-E\n")
    assert scores(["ACDE"], [prediction("m", 50)], msas).msa_depth == 3


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="4 pLDDT values for 5 residues"):
        scores(["ACDEF"], [prediction("m", 50, length=4)])


def test_confidence_json_is_read_back_unchanged() -> None:
    made = scores(["ACDE"], [prediction("m", 50.126, pae=np.ones((4, 4)))], rehearsal=True)
    assert Confidence.model_validate_json(made.model_dump_json()) == made
    assert made.models[0].plddt == [50.13] * 4
