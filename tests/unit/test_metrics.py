"""Warnings of a target, and the table of metrics as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snakefold.kernel.contracts import Confidence, DatabaseUse, ModelScores, MsaMeta
from snakefold.run.metrics import METRICS_COLUMNS, scores_row, warnings_of, write_metrics
from snakefold.structures.scores import Interface, TargetScores


def confidence(plddt: float, *, rehearsal: bool = False, depth: int | None = 30) -> Confidence:
    model = ModelScores(name="m", plddt=[plddt], mean_plddt=plddt, ranking_confidence=1)
    return Confidence(
        key="0" * 64,
        engine="alphafold2",
        rehearsal=rehearsal,
        chain_lengths=[1],
        models=[model],
        msa_depth=depth,
        warnings=["relax_failed: rank 0"],
    )


def searched(rows: int, kept: int, *warnings: str) -> dict[str, bytes]:
    meta = MsaMeta(
        key="k",
        length=1,
        tool="jackhmmer",
        depth=9,
        neff=1,
        databases=[DatabaseUse(name="uniref90", rows=rows, kept=kept)],
        warnings=list(warnings),
    )
    return {"msa.json": json.dumps([meta.model_dump(mode="json")] * 2).encode()}


@pytest.mark.parametrize(
    ("scores", "files", "expected"),
    [
        (confidence(50), {}, []),
        (confidence(49.96), {}, ["low_plddt: mean of 50.0, below 50"]),
        (confidence(20, rehearsal=True), {}, []),
        (confidence(90, depth=29), {}, ["shallow_msa: 29 rows, fewer than 30"]),
        (confidence(90, depth=1), {}, ["single_sequence: the MSA has no row but the query"]),
        (confidence(90, depth=None), {}, []),
        # It reads no alignment.
        (confidence(90, depth=1).model_copy(update={"engine": "flashabb"}), {}, []),
        (confidence(90), searched(9, 9), []),
        (confidence(90), searched(12_000, 9_999), ["truncated_msa: uniref90: 9999 of 12000 rows were kept"]),
        (confidence(90), searched(1, 1, "mgnify was left out"), ["mgnify was left out"]),
    ],
)
def test_a_person_is_told_what_matters(
    scores: Confidence, files: dict[str, bytes], expected: list[str]
) -> None:
    assert warnings_of(scores, files) == ["relax_failed: rank 0", *expected]


def test_the_best_interface_is_that_of_the_best_model() -> None:
    pairs = [
        Interface(rank=0, chain_a="A", chain_b="B", contacts=90, ipsae=0.2, pdockq2=0.1),
        Interface(rank=0, chain_a="A", chain_b="C", contacts=4, ipsae=0.7, pdockq2=0.3),
        Interface(rank=1, chain_a="B", chain_b="C", contacts=4, ipsae=0.9, pdockq2=0.9),
    ]
    table = [[1.0, 0.5, None], [0.5, 1.0, None], [None, None, 1.0]]
    row = scores_row(TargetScores(key="k", rehearsal=False, model_tm=table, interfaces=pairs))
    assert (row["interface"], row["interface_ipsae"], row["model_tm"]) == ("A-C", 0.7, 0.5)
    nothing = scores_row(TargetScores(key="k", rehearsal=False))
    assert set(nothing) == set(row) <= set(METRICS_COLUMNS)
    assert set(nothing.values()) == {None}


def test_a_run_without_a_structure_has_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_metrics([], tmp_path / "m.tsv", tmp_path / "m.parquet")
    table = parquet.read_table(tmp_path / "m.parquet")
    assert table.num_rows == 0
    assert (
        table.column_names
        == (tmp_path / "m.tsv").read_text().rstrip("\n").split("\t")
        == list(METRICS_COLUMNS)
    )
