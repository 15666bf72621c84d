"""The engine against the real colabfold_batch: same parameters, A3Ms and settings, float32."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold.engines.alphafold2 import ENGINE
from snakefold.engines.spec import ChainMsa, Result, TargetMsas
from snakefold.structures.prediction import Prediction
from tests.engine.toys import make_request, make_target, toy_a3m

MONOMER = "MKTAYIAKQRQISFVKSHFSRQLEE"
CHAINS = ("MKTAYIAKQRQIS", "GSHMFVKSHFSR")
ROWS = 40
SETTINGS = {"models": [1, 3], "num_recycle": 1, "max_msa_clusters": 8, "max_extra_msa": 16}
ARGUMENTS = ("--num-models", "2", "--model-order", "1,3", "--num-recycle", "1", "--max-msa", "8:16")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def monomer_a3m() -> str:
    return toy_a3m(MONOMER, ROWS)


@pytest.fixture(scope="module")
def complex_a3m() -> str:
    return complex_rows()


def complex_rows() -> str:
    """ColabFold's format: one copy of each chain, paired rows, then rows of each chain alone."""
    whole = "".join(CHAINS)
    first, second = map(len, CHAINS)
    paired = toy_a3m(whole, ROWS).split("\n")[2:]
    alone = [toy_a3m(chain, ROWS).split("\n") for chain in CHAINS]
    lines = [f"#{first},{second}\t1,1", ">101\t102", whole, *paired]
    lines += [">101", CHAINS[0] + "-" * second, *_padded(alone[0][2:], "", "-" * second)]
    lines += [">102", "-" * first + CHAINS[1], *_padded(alone[1][2:], "-" * first, "")]
    return "\n".join(line for line in lines if line) + "\n"


def _padded(lines: list[str], left: str, right: str) -> list[str]:
    return [line if line.startswith(">") or not line else left + line + right for line in lines]


@pytest.fixture(scope="module")
def monomer_reference(
    tmp_path_factory: pytest.TempPathFactory, colabfold_batch: Callable[..., None], monomer_a3m: str
) -> Path:
    """Results of colabfold_batch for the monomer."""
    folder = tmp_path_factory.mktemp("monomer")
    (folder / "query.a3m").write_text(monomer_a3m)
    colabfold_batch(folder / "query.a3m", folder / "results", "--recompile-padding", "0", *ARGUMENTS)
    return folder / "results"


def _reference_pdb(results: Path, model: str) -> str:
    (path,) = results.glob(f"query_unrelaxed_rank_*_{model}_seed_000.pdb")
    return path.read_text()


def _plddt(pdb: str) -> np.ndarray:
    return np.array([float(line[60:66]) for line in pdb.splitlines() if line[12:16] == " CA "])


def _by_model(predictions: list[Prediction]) -> dict[str, Prediction]:
    return {"_".join(prediction.name.split("_")[:2]): prediction for prediction in predictions}


@pytest.mark.parametrize("own", [True, False], ids=["own A3M", "MSA of the chain"])
def test_an_unpadded_monomer_is_identical(
    own: bool, monomer_reference: Path, monomer_a3m: str, weights_folder: Path, compile_cache: Path
) -> None:
    target = make_target("query", MONOMER)
    msas = TargetMsas(own_a3m=monomer_a3m) if own else TargetMsas(chains=[ChainMsa(monomer_a3m)])
    request = make_request([target], **SETTINGS)
    session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
    predictions = _by_model(session.predict(target, msas).predictions)
    assert sorted(predictions) == ["model_1", "model_3"]
    for model, prediction in predictions.items():
        assert prediction.pdb == _reference_pdb(monomer_reference, f"alphafold2_ptm_{model}")


def test_a_padded_monomer_has_the_same_confidence(
    monomer_reference: Path, monomer_a3m: str, weights_folder: Path, compile_cache: Path
) -> None:
    target = make_target("query", MONOMER)
    msas = TargetMsas(chains=[ChainMsa(monomer_a3m)])
    request = make_request([target], bucket_edges=[32], **SETTINGS)
    session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
    for model, prediction in _by_model(session.predict(target, msas).predictions).items():
        assert prediction.plddt.shape == (len(MONOMER),)
        assert prediction.pae is not None and prediction.pae.shape == (len(MONOMER), len(MONOMER))
        reference = _plddt(_reference_pdb(monomer_reference, f"alphafold2_ptm_{model}"))
        assert np.abs(prediction.plddt - reference).max() <= 0.05


#: Flags with which colabfold_batch predicts the complex; it stops recycling at 0.5 Å unless told otherwise.
_COMPLEX = (
    *("--num-models", "2", "--model-order", "1,2", "--num-recycle", "1", "--max-msa", "8:16"),
    *("--recycle-early-stop-tolerance", "0"),
)
#: A folder and flags of colabfold_batch, then settings of ours: our result, its results in the folder.
Both = Callable[..., Result]


@pytest.fixture
def both(
    colabfold_batch: Callable[..., None], complex_a3m: str, weights_folder: Path, compile_cache: Path
) -> Both:
    def predicted(
        folder: Path, flags: Sequence[str] = (), edges: Sequence[int] = (), **settings: Any
    ) -> Result:
        (folder / "query.a3m").write_text(complex_a3m)
        colabfold_batch(folder / "query.a3m", folder / "results", *_COMPLEX, *flags)
        target, msas = make_target("query", *CHAINS), TargetMsas(own_a3m=complex_a3m)
        request = make_request([target], edges, **SETTINGS | {"models": [1, 2]} | settings)
        session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
        return session.predict(target, msas)

    return predicted


def test_a_complex_from_a_colabfold_a3m_is_identical(both: Both, tmp_path: Path) -> None:
    for model, prediction in _by_model(both(tmp_path).predictions).items():
        assert prediction.pdb == _reference_pdb(tmp_path / "results", f"alphafold2_multimer_v3_{model}")
        assert prediction.iptm is not None


def test_switches_are_those_of_colabfold(both: Both, tmp_path: Path) -> None:
    """Several at once; tests/parity has each alone."""
    flags = ("--use-dropout", "--disable-cluster-profile", "--num-ensemble", "2", "--rank", "iptm")
    switches = {"use_dropout": True, "use_cluster_profile": False, "num_ensemble": 2, "rank_by": "iptm"}
    # With dropout nothing is padded, whatever buckets there are.
    result = both(tmp_path, [*flags, "--calc-extra-ptm"], [40], **switches, calc_extra_ptm=True)
    predictions = result.predictions
    assert [item.ranking_confidence for item in predictions] == [item.iptm for item in predictions]
    ours = sorted(predictions, key=lambda item: item.ranking_confidence, reverse=True)
    theirs = sorted((tmp_path / "results").glob("query_unrelaxed_rank_*.pdb"))
    assert [item.pdb for item in ours] == [path.read_text() for path in theirs]
    interfaces = json.loads(result.files["interfaces.json"])
    assert result.scores["actifptm"] == interfaces[ours[0].name]["actifptm"]
    for item, path in zip(ours, theirs, strict=True):
        name = path.name.replace("_unrelaxed_", "_scores_").replace(".pdb", ".json")
        scores = json.loads((path.parent / name).read_text())
        found = interfaces[item.name]
        assert set(found) == {"pairwise_actifptm", "pairwise_iptm", "per_chain_ptm", "actifptm"}
        assert all(scores[key] == value for key, value in found.items())
