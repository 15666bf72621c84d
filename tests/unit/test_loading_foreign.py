"""`snakefold.load` on folders of other programs, written here in their formats."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reuse_files import cif, folder, pae, pdb

import snakefold
from snakefold.kernel.errors import SnakefoldError

ONE, TWO = ["ACDEFGHIKL"], ["ACDEFGHIKL", "MNPQR"]


def matrix(length: int, by: float = 0.0) -> list[list[float]]:
    return [[float((i + 2 * j) % 30) + by for j in range(length)] for i in range(length)]


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def arrays(**given: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **given)
    return stream.getvalue()


def test_colabfold(tmp_path: Path) -> None:
    names = ["alphafold2_ptm_model_4_seed_000", "alphafold2_ptm_model_1_seed_000"]
    files = {"kinase.a3m": b"#10\t1\n>101\nACDEFGHIKL\n>hit\nACDEF-HIKL\n", "kinase.done.txt": b""}
    for rank, name in enumerate(names, 1):
        files[f"kinase_unrelaxed_rank_00{rank}_{name}.pdb"] = pdb(ONE, 90.0 - 10 * rank)
        scores = {"plddt": [80.0] * 10, "max_pae": 30.0, "pae": matrix(10, rank), "ptm": 0.9 - rank / 10}
        files[f"kinase_scores_rank_00{rank}_{name}.json"] = text(scores)
    files[f"kinase_relaxed_rank_001_{names[0]}.pdb"] = pdb(ONE, 80.0)
    files[f"other_unrelaxed_rank_001_{names[0]}.pdb"] = pdb(TWO, 60.0)
    run = snakefold.load(folder(tmp_path, files))
    assert sorted(run) == ["kinase", "other"]
    target = run["kinase"]
    assert (target.engine, len(target), target.model().name) == ("ColabFold", 2, names[0])
    assert target.path().name.startswith("kinase_relaxed")
    assert target.scores() == {"ptm": pytest.approx(0.8)} and target.scores(1)["ptm"] == pytest.approx(0.7)
    assert target.pae().tolist() == matrix(10, 1) and target.pae(1).tolist() == matrix(10, 2)
    assert target.plddt() == pytest.approx([80 - k / 100 for k in range(10)])
    assert target.msa() == {"101": "ACDEFGHIKL", "hit": "ACDEF-HIKL"}
    row = run.metrics.loc["other"]
    assert (row["length"], row["chains"], row["mean_plddt"]) == (15, 2, pytest.approx(59.93))
    with pytest.raises(SnakefoldError, match="other: ColabFold gave no PAE"):
        run["other"].pae()
    assert len(run.failures) == 0 and "without" not in repr(run)


def test_alphafold_2(tmp_path: Path) -> None:
    order = ["model_2_ptm_pred_0", "model_1_ptm_pred_0"]
    files = {
        "kinase/ranking_debug.json": text({"plddts": {order[0]: 88.5, order[1]: 70.25}, "order": order}),
        "kinase/ranked_0.pdb": pdb(ONE, 88.5),
        "kinase/ranked_0.cif": cif(ONE, 88.5),
        "kinase/ranked_1.pdb": pdb(ONE, 70.0),
        "kinase/relaxed_model_2_ptm_pred_0.pdb": pdb(ONE, 88.5),
        "kinase/pae_model_2_ptm_pred_0.json": pae(10),
        "kinase/result_model_2_ptm_pred_0.pkl": b"cos\nsystem\n(S'false'\ntR.",
    }
    target = snakefold.load(folder(tmp_path, files))["kinase"]
    assert (target.engine, [model.name for model in target.models]) == ("AlphaFold 2", order)
    assert target.scores(1) == {"ranking_confidence": 70.25}
    assert target.pae().shape == (10, 10)
    with pytest.raises(SnakefoldError, match="was predicted without an alignment, or it was not kept"):
        target.msa()


def test_alphafold_3(tmp_path: Path) -> None:
    files = {"kinase/kinase_data.json": b"{}"}
    for sample, score in ((0, 0.7), (1, 0.9)):
        name = f"kinase/seed-7_sample-{sample}/kinase_seed-7_sample-{sample}"
        files[f"{name}_model.cif"] = cif(TWO, 70.0 + sample)
        files[f"{name}_confidences.json"] = text({"pae": matrix(15, sample), "atom_plddts": []})
        files[f"{name}_summary_confidences.json"] = text(
            {"ptm": 0.6, "iptm": 0.5, "ranking_score": score, "has_clash": 0.0}
        )
    for end, data in (
        ("_model.cif", cif(TWO, 71.0)),
        ("_confidences.json", text({"pae": matrix(15, 1)})),
        ("_summary_confidences.json", text({"ptm": 0.6, "iptm": 0.5, "ranking_score": 0.9})),
    ):
        files[f"kinase/kinase{end}"] = data
    target = snakefold.load(folder(tmp_path, files))["kinase"]
    assert [model.name for model in target.models] == ["seed-7_sample-1", "seed-7_sample-0"]
    assert target.scores() == {"ptm": 0.6, "iptm": 0.5, "ranking_confidence": 0.9}
    assert target.pae()[0, 0] == 1.0 and target.plddt()[0] == pytest.approx(71.0)


def test_alphafold_3_without_its_samples(tmp_path: Path) -> None:
    files = {
        "kinase_model.cif": cif(ONE),
        "kinase_summary_confidences.json": text({"ptm": 0.6, "iptm": None, "ranking_score": 0.8}),
    }
    target = snakefold.load(folder(tmp_path, files))["kinase"]
    assert (len(target), target.scores()) == (1, {"ptm": 0.6, "ranking_confidence": 0.8})


def test_the_server_of_alphafold_3(tmp_path: Path) -> None:
    files = {}
    for rank in range(2):
        files[f"fold_kinase_model_{rank}.cif"] = cif(TWO, 80.0 - rank)
        files[f"fold_kinase_summary_confidences_{rank}.json"] = text(
            {"ptm": 0.5, "iptm": 0.4, "ranking_score": 0.4}
        )
        files[f"fold_kinase_full_data_{rank}.json"] = text({"pae": matrix(15, rank)})
    target = snakefold.load(folder(tmp_path, files))["kinase"]
    assert (target.engine, len(target)) == ("AlphaFold Server", 2)
    assert target.pae(1)[0, 0] == 1.0


def test_boltz(tmp_path: Path) -> None:
    files = {}
    for rank in range(2):
        name = f"kinase_model_{rank}"
        files[f"predictions/kinase/{name}.cif"] = cif(ONE, 75.0)
        files[f"predictions/kinase/confidence_{name}.json"] = text(
            {"confidence_score": 0.8 - rank / 10, "ptm": 0.7, "iptm": 0.0}
        )
        files[f"predictions/kinase/pae_{name}.npz"] = arrays(pae=np.array(matrix(10, rank)))
    target = snakefold.load(folder(tmp_path, files))["kinase"]
    assert (target.engine, target.model().name) == ("Boltz", "model_0")
    assert target.scores(1) == pytest.approx({"ptm": 0.7, "iptm": 0.0, "ranking_confidence": 0.7})
    assert target.pae(1)[0, 0] == 1.0


def test_chai(tmp_path: Path) -> None:
    files = {}
    for number, score in enumerate((0.3, 0.6)):
        files[f"kinase/pred.model_idx_{number}.cif"] = cif(ONE)
        scores = {"aggregate_score": np.array([score]), "ptm": np.array([0.5]), "iptm": np.array([0.1])}
        files[f"kinase/scores.model_idx_{number}.npz"] = arrays(**scores)
    target = snakefold.load(folder(tmp_path, files))["kinase"]
    assert (target.engine, target.model().name) == ("Chai-1", "model_idx_1")
    assert target.scores()["ranking_confidence"] == pytest.approx(0.6)


def test_downloads_of_alphafold_db(tmp_path: Path) -> None:
    files = {
        "AF-P12345-F1-model_v4.cif": cif(ONE, 91.0),
        "AF-P12345-F1-model_v4.pdb": pdb(ONE, 91.0),
        "AF-P12345-F1-predicted_aligned_error_v4.json": pae(10),
    }
    run = snakefold.load(folder(tmp_path, files))
    target = run["AF-P12345-F1"]
    assert (len(run), len(target), target.engine) == (1, 1, "AlphaFold DB")
    assert target.pae().shape == (10, 10)


def test_targets_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    name = "kinase_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_000.pdb"
    run = snakefold.load(folder(tmp_path, {f"a/{name}": pdb(ONE), f"b/{name}": pdb(TWO)}))
    assert sorted(run) == ["b/kinase", "kinase"]
    assert run.metrics["length"].to_dict() == {"kinase": 10, "b/kinase": 15}


def test_damage_names_the_file(tmp_path: Path) -> None:
    name = "rank_001_alphafold2_ptm_model_1_seed_000"
    files = {f"k_unrelaxed_{name}.pdb": pdb(ONE), f"k_scores_{name}.json": b"{"}
    with pytest.raises(SnakefoldError, match=f"k_scores_{name}.json: cannot be read as JSON"):
        snakefold.load(folder(tmp_path, files))
    files[f"k_scores_{name}.json"] = text({"pae": [[1.0, 2.0]]})
    with pytest.raises(SnakefoldError, match=r"its PAE is \(1, 2\)"):
        snakefold.load(folder(tmp_path, files))["k"].pae()
    files[f"k_scores_{name}.json"] = text({"plddt": [1.0]})
    with pytest.raises(SnakefoldError, match="has no pae"):
        snakefold.load(folder(tmp_path, files))["k"].pae()


def test_an_empty_folder_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "notes.pdb").write_bytes(pdb(ONE))
    with pytest.raises(SnakefoldError, match="nor models as ColabFold, AlphaFold, Boltz or Chai name them"):
        snakefold.load(tmp_path)
    with pytest.raises(SnakefoldError, match="has neither"):
        snakefold.load(tmp_path / "nothing")
