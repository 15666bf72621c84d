"""The warm session: what is compiled, when, and what a target gets out of it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from snakefold.engines.alphafold2 import ENGINE, ahead, parameters, recycling, rehearsal
from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.engines.spec import ChainMsa, TargetMsas, settings_of
from snakefold.kernel.errors import Reason, TargetError, WeightsMissingError
from snakefold.structures.chains import chain_names
from snakefold.structures.prediction import Prediction
from tests.engine.toys import chain_msas, make_request, make_target, templates_npz, toy_a3m

SEQUENCES = ["MKTAYIAKQRQISFVKSHF", "GSHMFVKSHFSRQLEEMKTAYI", "MKTAYIAXQRQISFVKSHFSRQLE"]

_CHILD = """
import json, sys
from pathlib import Path
from snakefold.engines.alphafold2 import ENGINE
from snakefold.engines.spec import settings_of
from tests.engine.toys import chain_msas, make_request, make_target

weights, cache, *sequences = sys.argv[1:]
targets = [make_target(f"t{i}", sequence) for i, sequence in enumerate(sequences)]
msas = {target.result_key: chain_msas(target, 12) for target in targets}
request = make_request(targets, bucket_edges=[20, 24], models=[1, 2, 3])
session = ENGINE.start(request, msas, Path(weights), Path(cache))
results = [session.predict(target, msas[target.result_key]) for target in targets]
pdbs = [item.pdb for result in results for item in result.predictions]
print(json.dumps({"compilations": session.compilations, "misses": session.cache_misses, "pdbs": pdbs}))
"""


@pytest.mark.slow
def test_a_bucket_compiles_once_and_a_second_process_not_at_all(weights_folder: Path, tmp_path: Path) -> None:
    """In another folder, too: a store may be copied."""

    def told(cache: Path) -> dict[str, Any]:
        command = [sys.executable, "-c", _CHILD, str(weights_folder), str(cache), *SEQUENCES]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    cold = told(tmp_path / "cache")
    warm = told((tmp_path / "cache").rename(tmp_path / "elsewhere"))
    # Three lengths, two edges and three models: two programs.
    assert cold["compilations"] == 2
    assert cold["misses"] > 1
    assert (warm["compilations"], warm["misses"]) == (0, 0)
    assert warm["pdbs"] == cold["pdbs"]
    assert len(cold["pdbs"]) == 9


@pytest.mark.slow
def test_predictions_have_alphafolds_names_scores_and_shapes(
    weights_folder: Path, compile_cache: Path
) -> None:
    target = make_target("x", SEQUENCES[2])
    msas = chain_msas(target, 12)
    request = make_request([target], bucket_edges=[24], models=[2, 1], num_seeds=2, num_recycle=1)
    session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
    predictions = session.predict(target, msas).predictions
    assert [(item.name, item.seed) for item in predictions] == [
        ("model_1_ptm_pred_0", 0),
        ("model_2_ptm_pred_0", 0),
        ("model_1_ptm_pred_1", 1),
        ("model_2_ptm_pred_1", 1),
    ]
    first = predictions[0]
    assert first.recycles == 1
    assert first.plddt.shape == (24,)
    assert first.pae is not None and first.pae.shape == (24, 24)
    assert first.iptm is None and first.ptm is not None and 0 < first.ptm < 1
    assert first.ranking_confidence == pytest.approx(first.plddt.mean())
    atoms = [line for line in first.pdb.splitlines() if line.startswith("ATOM")]
    numbers = {int(line[22:26]) for line in atoms}
    # AlphaFold gives unknown residues (X) no atoms; the others keep their numbers.
    assert numbers == set(range(1, 25)) - {8}
    b_factors = {int(line[22:26]): float(line[60:66]) for line in atoms}
    assert b_factors[1] == pytest.approx(first.plddt[0], abs=0.005)
    assert first.warnings == ["unknown_residues: 1 (X) have no atoms"]
    assert set(session.seconds) >= {"load", "features", "predict", "compile"}
    # One program serves all: only the first prediction pays for it.
    assert 0 < first.compile_seconds < first.seconds
    assert {item.compile_seconds for item in predictions[1:]} == {0}
    assert session.seconds["compile"] == pytest.approx(first.compile_seconds)


@pytest.mark.slow
def test_the_monomer_models_without_ptm_fold_too(tmp_path: Path, compile_cache: Path) -> None:
    rehearsal.draw(tmp_path, ["model_3"], 1)
    target = make_target("t", SEQUENCES[0])
    msas = chain_msas(target, 6)
    request = make_request([target], models=[3], model_preset=ModelPreset.MONOMER)
    session = ENGINE.start(request, {target.result_key: msas}, tmp_path, compile_cache)
    (found,) = session.predict(target, msas).predictions
    assert found.name == "model_3_pred_0"
    assert (found.ptm, found.iptm, found.pae) == (None, None, None)
    assert found.ranking_confidence == pytest.approx(found.plddt.mean())


@pytest.mark.slow
def test_chains_come_in_the_targets_order(weights_folder: Path, compile_cache: Path) -> None:
    """AlphaFold-Multimer computes A:B:A as A:A:B; the result is A:B:A again."""
    first, second = "MKTAYIAK", "GSHMFVKSHFS"
    mixed, sorted_ = make_target("aba", first, second, first), make_target("aab", first, first, second)
    msas = {target.result_key: chain_msas(target, 6) for target in (mixed, sorted_)}
    request = make_request([mixed, sorted_], num_recycle=0)
    session = ENGINE.start(request, msas, weights_folder, compile_cache)
    (got,) = session.predict(mixed, msas[mixed.result_key]).predictions
    (reference,) = session.predict(sorted_, msas[sorted_.result_key]).predictions
    # Both are one computation: 8 + 8 + 11 residues, seen in two orders.
    assert session.compilations <= 1
    order = np.r_[0:8, 16:27, 8:16]
    assert np.array_equal(got.plddt, reference.plddt[order])
    assert got.pae is not None and reference.pae is not None
    assert np.array_equal(got.pae, reference.pae[np.ix_(order, order)])
    assert got.iptm == reference.iptm
    alphas = [line for line in got.pdb.splitlines() if line[12:16] == " CA "]
    assert "".join(line[21] for line in alphas) == "A" * 8 + "B" * 11 + "C" * 8
    assert [int(line[22:26]) for line in alphas] == [*range(1, 9), *range(1, 12), *range(1, 9)]
    assert got.ranking_confidence == pytest.approx(0.8 * (got.iptm or 0) + 0.2 * (got.ptm or 0))
    assert got.warnings == ["unpaired_msa: no rows to pair with for chain A+C, B"]


@pytest.mark.slow
def test_a_padded_complex_is_the_complex(weights_folder: Path, compile_cache: Path) -> None:
    """With masks drawn in the MSA, with recycles and templates: padding changes no draw, and hides itself."""
    first, second = SEQUENCES[0], SEQUENCES[1]
    target = make_target("aba", first, second, first)
    plain = chain_msas(target, 20)
    msas = TargetMsas(
        chains=[
            replace(msa, templates=templates_npz(chain))
            for chain, msa in zip(target.chains, plain.chains, strict=True)
        ]
    )

    def predicted(edges: list[int]) -> Prediction:
        request = make_request(
            [target], bucket_edges=edges, num_recycle=2, use_templates=True, max_msa_clusters=12
        )
        session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
        (found,) = session.predict(target, msas).predictions
        return found

    alone, padded = predicted([]), predicted([80])
    assert np.abs(alone.plddt - padded.plddt).max() < 0.05
    # Coordinates are float16, whose step is more than 0.01 Å far from the origin, and the PDB rounds.
    step = np.spacing(np.abs(_positions(alone)).astype(np.float16)).astype(float) + 0.001
    assert (np.abs(_positions(alone) - _positions(padded)) <= np.maximum(0.01, step)).all()
    assert alone.pae is not None and padded.pae is not None
    assert alone.pae.shape == padded.pae.shape
    assert np.abs(alone.pae - padded.pae).max() < 0.05
    assert (padded.ptm, padded.iptm) == pytest.approx((alone.ptm, alone.iptm), abs=1e-3)
    assert padded.recycles == alone.recycles == 2


def _positions(prediction: Prediction) -> NDArray[np.float64]:
    """Å [atoms, 3]."""
    atoms = [line for line in prediction.pdb.splitlines() if line.startswith("ATOM")]
    return np.array([[float(line[start : start + 8]) for start in (30, 38, 46)] for line in atoms])


@pytest.mark.slow
def test_complexes_of_one_bucket_share_a_program(weights_folder: Path, compile_cache: Path) -> None:
    complexes = [make_target(f"c{cut}", SEQUENCES[0][:cut], SEQUENCES[1][:cut]) for cut in range(8, 18)]
    msas = {target.result_key: chain_msas(target, 6 + number) for number, target in enumerate(complexes)}
    request = make_request(complexes, bucket_edges=[24, 34])
    session = ENGINE.start(request, msas, weights_folder, compile_cache)
    for target in complexes:
        session.predict(target, msas[target.result_key])
    # Ten lengths, two edges.
    assert session.compilations == 2


@pytest.mark.slow
def test_templates_are_read_where_the_model_reads_them(weights_folder: Path, compile_cache: Path) -> None:
    sequence = SEQUENCES[0]
    target = make_target("t", sequence)
    without = chain_msas(target, 12)
    with_ = TargetMsas(chains=[ChainMsa(without.chains[0].a3m, templates=templates_npz(sequence))])
    request = make_request([target], bucket_edges=[24], models=[1, 3], use_templates=True)
    session = ENGINE.start(request, {target.result_key: with_}, weights_folder, compile_cache)
    one, three = session.predict(target, with_).predictions
    other_one, other_three = session.predict(target, without).predictions
    assert not np.allclose(one.plddt, other_one.plddt)
    assert three.pdb == other_three.pdb
    assert one.warnings == []
    assert other_one.warnings == ["no_templates: none was found for chain A"]


def test_a_complex_needs_the_multimer_models(weights_folder: Path, compile_cache: Path) -> None:
    target = make_target("ab", "MKTAYIAK", "GSHMFVKSHFS")
    msas = chain_msas(target, 6)
    request = make_request([target], model_preset=ModelPreset.MONOMER_PTM)
    session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
    with pytest.raises(TargetError, match="auto or multimer") as caught:
        session.predict(target, msas)
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 40000000000 bytes."),
        MemoryError(),
    ],
)
def test_a_full_memory_is_a_typed_failure(
    error: Exception, weights_folder: Path, compile_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(recycling, "predict", predict)
    target = make_target("t", SEQUENCES[0])
    msas = chain_msas(target, 6)
    session = ENGINE.start(make_request([target]), {target.result_key: msas}, weights_folder, compile_cache)
    with pytest.raises(TargetError) as caught:
        session.predict(target, msas)
    assert caught.value.reason is Reason.OUT_OF_MEMORY
    assert "max_msa_clusters" in caught.value.advice


@pytest.mark.slow
def test_features_made_meanwhile_are_the_same(
    weights_folder: Path, compile_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seeds of two targets, and what comes next is not always what was said."""
    targets = [make_target(f"t{number}", sequence) for number, sequence in enumerate(SEQUENCES[:2])]
    msas = {target.result_key: chain_msas(target, 12) for target in targets}
    request = make_request(targets, bucket_edges=[24], models=[1], num_seeds=2)
    begun: list[Any] = []
    begin = ahead.Ahead.begin

    def noted(self: ahead.Ahead, key: Any, *rest: Any) -> None:
        begun.append(key)
        begin(self, key, *rest)

    monkeypatch.setattr(ahead.Ahead, "begin", noted)

    def fold(order: list[int], *, hint: int | None) -> dict[str, list[str]]:
        session = ENGINE.start(request, msas, weights_folder, compile_cache)
        found = {}
        for number in order:
            if hint is not None:
                session.look_ahead(targets[hint], msas[targets[hint].result_key])
            result = session.predict(targets[number], msas[targets[number].result_key])
            found[targets[number].id] = [item.pdb for item in result.predictions]
        return found

    alone = fold([0], hint=None) | fold([1], hint=None)
    first, second = (target.result_key for target in targets)
    assert begun == [(first, 1), (second, 1)]
    begun.clear()
    assert fold([0, 1], hint=1) == alone
    assert begun[:2] == [(first, 1), (second, 0)]
    assert fold([1, 0], hint=1) == alone


@pytest.mark.parametrize(
    ("msas", "message"),
    [
        (TargetMsas(chains=[ChainMsa(toy_a3m("MKTAYIAKQRQISFVKSHG", 3))]), "first row is not"),
        (TargetMsas(chains=[ChainMsa(f">q\n{SEQUENCES[0]}\n>h\nMKT\n")]), "aligned columns"),
        (TargetMsas(own_a3m=toy_a3m("MKTAYIAKQRQISFVKSHG", 3)), "first row is not"),
        (TargetMsas(own_a3m="#9,9\t1,1\n>101\t102\nMKTAYIAKQRQISFVKSH\n"), "other chains"),
        (TargetMsas(own_a3m=f">q\n{SEQUENCES[0]}\n>h\nMKT\n"), "aligned columns"),
        (TargetMsas(chains=[ChainMsa(f">q\n{SEQUENCES[0]}\n>h\n{'*' * 19}\n")]), "no amino acid"),
        (TargetMsas(), "chains, but MSAs"),
    ],
)
def test_an_msa_of_something_else_is_refused(
    msas: TargetMsas, message: str, weights_folder: Path, compile_cache: Path
) -> None:
    target = make_target("t", SEQUENCES[0])
    with pytest.raises(TargetError, match=message):
        ENGINE.start(
            make_request([target]), {target.result_key: msas}, weights_folder, compile_cache
        ).predict(target, msas)


def test_the_recipe_names_what_results_depend_on(weights_folder: Path) -> None:
    settings = settings_of(ENGINE, make_request([make_target("t", "MKTAYIAK")]))
    recipe = ENGINE.recipe("monomer", settings, weights_folder)
    assert recipe["weights"]["rehearsal"] is True
    assert recipe["version"] == ENGINE.version
    assert json.loads(json.dumps(recipe)) == recipe
    other = ENGINE.recipe("monomer", settings.model_copy(update={"num_recycle": 2}), weights_folder)
    assert other != recipe


def test_without_parameters_the_error_says_how_to_get_them(tmp_path: Path) -> None:
    target = make_target("t", SEQUENCES[0])
    msas = chain_msas(target, 3)
    for folder in (None, tmp_path):
        with pytest.raises(WeightsMissingError, match="snakefold weights fetch"):
            ENGINE.start(make_request([target]), {target.result_key: msas}, folder, None)


@pytest.mark.parametrize(
    ("chains", "message"),
    [(["X" * 20], "unknown"), (["M"], "no protein")],
)
def test_what_no_settings_can_fold_is_refused_at_once(chains: list[str], message: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        ENGINE.check(make_target("t", *chains), ENGINE.Settings())
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.parametrize("chains", [["AG"] * 63, ["A" * 10_000]])
def test_nothing_is_refused_because_pdb_cannot_hold_it(chains: list[str]) -> None:
    ENGINE.check(make_target("t", *chains), ENGINE.Settings())


@pytest.mark.slow
def test_63_chains_are_predicted(weights_folder: Path, compile_cache: Path) -> None:
    target = make_target("t", *["AG"] * 40, *["MK"] * 23)
    msas = chain_msas(target, 3)
    session = ENGINE.start(make_request([target]), {target.result_key: msas}, weights_folder, compile_cache)
    (found,) = session.predict(target, msas).predictions
    assert found.pdb == ""
    model = found.atoms()[0]
    assert [chain.name for chain in model] == chain_names(63)
    assert [residue.name for residue in model["AA"]] == ["MET", "LYS"]
    plddt = [residue[0].b_iso for chain in model for residue in chain]
    assert plddt == pytest.approx(found.plddt.tolist(), rel=1e-6)
    assert found.pae is not None and found.pae.shape == (126, 126)


def test_the_models_without_templates_share_one_structure(weights_folder: Path) -> None:
    import jax

    structures = {
        jax.tree_util.tree_structure(parameters.load(weights_folder, name, templates=False))
        for name in ("model_1_ptm", "model_3_ptm")
    }
    assert len(structures) == 1
