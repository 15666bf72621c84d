"""Figures of a collected run, recomputed from its PDB and PAE files by Biopython, numpy and TM-align."""

from __future__ import annotations

import csv
import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_files
from Bio.PDB.PDBParser import PDBParser
from numpy.typing import NDArray

from snakefold import engines
from snakefold.run.metrics import METRICS_COLUMNS
from snakefold.structures import scores
from snakefold.structures.confidence import read_pae


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scored_files.make_run(tmp_path_factory.mktemp("scores") / "results")


@pytest.fixture(scope="module")
def rows(run: Path) -> dict[str, dict[str, str]]:
    with (run / "metrics.tsv").open(encoding="utf-8") as stream:
        return {row["id"]: row for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)}


def residues(path: Path) -> dict[str, list[Any]]:
    """Residues by chain, read by Biopython."""
    return {chain.id: list(chain) for chain in PDBParser(QUIET=True).get_structure("", str(path))[0]}


def pae(folder: Path, rank: int = 0) -> NDArray[np.float64]:
    with np.load(folder / "pae.npz") as arrays:
        return arrays[f"rank_{rank}"].astype(float) / 8


def ca(path: Path) -> NDArray[np.float64]:
    return np.array([item["CA"].coord for chain in residues(path).values() for item in chain], dtype=float)


@pytest.mark.parametrize("target", ["nanobody", "antibody", "copy"])
def test_plddt_and_its_bands(run: Path, rows: dict[str, dict[str, str]], target: str) -> None:
    chains = residues(run / "structures" / target / "ranked_0.pdb")
    plddt = [item["CA"].get_bfactor() for chain in chains.values() for item in chain]
    row = rows[target]
    assert int(row["length"]) == len(plddt)
    assert int(row["chains"]) == len(chains)
    assert float(row["mean_plddt"]) == pytest.approx(sum(plddt) / len(plddt), abs=0.01)
    edges = {"very_high": (90, 101), "confident": (70, 90), "low": (50, 70), "very_low": (0, 50)}
    for band, (low, high) in edges.items():
        share = sum(low <= value < high for value in plddt) / len(plddt)
        assert float(row[f"fraction_{band}"]) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("target", ["nanobody", "antibody"])
def test_pae_summary(run: Path, rows: dict[str, dict[str, str]], target: str) -> None:
    folder = run / "structures" / target
    matrix, row = pae(folder), rows[target]
    assert float(row["mean_pae"]) == pytest.approx(matrix.mean(), abs=1e-4)
    assert float(row["max_pae"]) == pytest.approx(matrix.max(), abs=0.0626)
    owner = [name for name, chain in residues(folder / "ranked_0.pdb").items() for _ in chain]
    between = [matrix[i, j] for i in range(len(owner)) for j in range(len(owner)) if owner[i] != owner[j]]
    assert (row["interface_pae"] == "") == (not between)
    if between:
        assert float(row["interface_pae"]) == pytest.approx(sum(between) / len(between), abs=1e-4)


def test_interfaces_of_every_model(run: Path, rows: dict[str, dict[str, str]]) -> None:
    folder = run / "structures" / "antibody"
    found = scores.read_scores(folder)
    assert found is not None
    assert [item.rank for item in found.interfaces] == [0, 1, 2]
    for item in found.interfaces:
        chains, matrix = residues(folder / f"ranked_{item.rank}.pdb"), pae(folder, item.rank)
        heavy, light = chains[item.chain_a], chains[item.chain_b]
        touching = [
            (i, len(heavy) + j)
            for i, one in enumerate(heavy)
            for j, other in enumerate(light)
            if (one["CB"] if "CB" in one else one["CA"]) - (other["CB"] if "CB" in other else other["CA"])
            <= 8
        ]
        assert item.contacts == len(touching) > 10
        sides = [(range(len(heavy)), range(len(heavy), len(matrix)))]
        sides.append(sides[0][::-1])
        best = 0.0
        for inside, outside in sides:
            for i in inside:
                near = [matrix[i, j] for j in outside if matrix[i, j] < 10]
                d0 = max(1.0, 1.24 * (max(len(near), 26) - 15) ** (1 / 3) - 1.8)
                best = max(best, sum(1 / (1 + (error / d0) ** 2) for error in near) / max(1, len(near)))
        assert item.ipsae == pytest.approx(best, abs=1e-4)
        plddt = [residue["CA"].get_bfactor() for residue in heavy + light]
        mean = np.mean([plddt[i] for i in {i for pair in touching for i in pair}])
        close = max(
            np.mean([1 / (1 + (matrix[i, j] / 10) ** 2) for i, j in pairs])
            for pairs in (touching, [(j, i) for i, j in touching])
        )
        pdockq2 = 1.31 / (1 + math.exp(-0.075 * (mean * close - 84.733))) + 0.005
        assert item.pdockq2 == pytest.approx(pdockq2, abs=1e-4)
        scored = json.loads((folder / "confidence.json").read_text())["models"][item.rank]
        assert item.iptm == scored["iptm"]
    first, row = found.interfaces[0], rows["antibody"]
    assert (row["interface"], int(row["interface_contacts"])) == ("A-B", first.contacts)
    assert float(row["interface_ipsae"]) == pytest.approx(first.ipsae)
    assert float(row["interface_pdockq2"]) == pytest.approx(first.pdockq2)
    assert rows["nanobody"]["interface"] == rows["nanobody"]["interface_ipsae"] == ""


@pytest.mark.parametrize("target", ["nanobody", "antibody"])
def test_models_against_each_other(run: Path, rows: dict[str, dict[str, str]], target: str) -> None:
    import tmtools

    folder = run / "structures" / target
    found = scores.read_scores(folder)
    assert found is not None
    models = [ca(folder / f"ranked_{rank}.pdb") for rank in range(3)]
    letters = "A" * len(models[0])
    for first, second in combinations(range(3), 2):
        aligned = tmtools.tm_align(models[first], models[second], letters, letters, alignment=[letters] * 2)
        value = found.model_tm[first][second]
        assert value == found.model_tm[second][first] == pytest.approx(aligned.tm_norm_chain1, abs=2e-3)
    row = found.model_tm[0]
    assert float(rows[target]["model_tm"]) == pytest.approx((row[1] + row[2]) / 2, abs=1e-4)


@pytest.mark.parametrize(
    ("target", "name"), [("nanobody", scored_files.MONOMER), ("antibody", scored_files.COMPLEX)]
)
def test_models_against_the_known_structure(
    run: Path, rows: dict[str, dict[str, str]], target: str, name: str
) -> None:
    import tmtools

    found = scores.read_scores(run / "structures" / target)
    assert found is not None
    assert found.reference is not None
    model, known = ca(run / "structures" / target / "ranked_0.pdb"), ca(scored_files.REFERENCES / name)
    letters = "A" * len(known)
    aligned = tmtools.tm_align(model, known, letters, letters, alignment=[letters] * 2)
    assert found.reference.tm == pytest.approx(aligned.tm_norm_chain2, abs=0.01)
    kept = total = 0
    for i, j in combinations(range(len(known)), 2):
        distance = np.linalg.norm(known[i] - known[j])
        if distance < 15:
            change = abs(np.linalg.norm(model[i] - model[j]) - distance)
            total += 4
            kept += sum(change < limit for limit in (0.5, 1, 2, 4))
    assert found.reference.lddt == pytest.approx(kept / total, abs=1e-4)
    assert found.reference.file == name
    assert found.reference.length == len(known) >= found.reference.aligned
    row = rows[target]
    assert float(row["reference_tm_score"]) == found.reference.tm
    assert float(row["reference_lddt"]) == found.reference.lddt
    assert float(row["reference_rmsd"]) == found.reference.rmsd
    assert rows["copy"]["reference_tm_score"] == ""


def test_warnings_and_dollars(rows: dict[str, dict[str, str]]) -> None:
    assert rows["nanobody"]["warnings"] == (
        "relax_failed: rank 0 (model_1_ptm_pred_0): no force; shallow_msa: 12 rows, fewer than 30"
    )
    assert {name: row["dollars"] for name, row in rows.items()} == {
        "nanobody": "0.25",
        "antibody": "",
        "copy": "",
    }


def test_parquet_has_the_rows_and_types_of_the_table(run: Path, rows: dict[str, dict[str, str]]) -> None:
    from pyarrow import parquet

    table = parquet.read_table(run / "metrics.parquet")
    columns = {**METRICS_COLUMNS, **engines.get("alphafold2").columns}
    assert table.column_names == list(columns)
    kinds = {str: "string", bool: "bool", int: "int64", float: "double"}
    assert [str(field.type) for field in table.schema] == [kinds[item.type] for item in columns.values()]
    assert table.schema.field("mean_pae").metadata == {
        b"meaning": METRICS_COLUMNS["mean_pae"].meaning.encode(),
        b"unit": "Å".encode(),
    }
    for found in table.to_pylist():
        for name, value in found.items():
            text = rows[found["id"]][name]
            if value is None:
                assert text == ""
            elif isinstance(value, float):
                assert float(text) == pytest.approx(value, rel=1e-5)
            else:
                assert text == " ".join(str(value).split()), name


def test_scores_are_kept_and_only_the_reference_changes(tmp_path: Path) -> None:
    results = scored_files.make_run(tmp_path / "results", rehearsal=True, models=2)
    folder = results / "structures" / "nanobody"
    before = scores.read_scores(folder)
    assert before is not None
    assert before.rehearsal
    assert before.reference is not None
    # A mark that a new computation would not leave.
    marked = before.model_copy(update={"model_tm": [[0.123]]})
    (folder / "scores.json").write_text(marked.model_dump_json())
    scored_files.recollect(results)
    assert scores.read_scores(folder) == marked
    (folder / "scores.json").write_text("{}")
    scored_files.recollect(results)
    assert scores.read_scores(folder) == before
    scored_files.recollect(results, references=False)
    after = scores.read_scores(folder)
    assert after == before.model_copy(update={"reference": None})
    assert not (folder / "superposed.pdb").exists()


def test_pae_lies_beside_the_structure_as_json_if_it_is_wanted(tmp_path: Path) -> None:
    results = scored_files.make_run(tmp_path / "run", models=2)
    folder = results / "structures" / "antibody"
    assert not [*folder.glob("pae_*")]
    scored_files.recollect(results, pae_json=True)
    (entry,) = json.loads((folder / "pae_1.json").read_text())
    stored = read_pae((folder / "pae.npz").read_bytes())[1]
    assert np.abs(np.array(entry["predicted_aligned_error"]) - stored).max() <= 0.5
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {"pae_0.json", "pae_1.json", "scores.json", "superposed.pdb"} <= set(times)
    scored_files.recollect(results, pae_json=True)
    unchanged = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    # What is laid over a reference is laid anew each time.
    assert {**unchanged, "superposed.pdb": 0} == {**times, "superposed.pdb": 0}
    scored_files.recollect(results)
    assert not [*folder.glob("pae_*")] and (folder / "ranked_0.cif").is_file()
