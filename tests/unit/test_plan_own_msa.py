"""Precomputed alignments: a target that brings none, and needs one, is refused before anything is paid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import reuse_files
from planning import COMPLEX_RECIPE, RECIPE, RECIPES, VIL, table
from sequence_files import CRN, UBQ, write

from snakefold.config import load_config
from snakefold.engines.flashabb import domains
from snakefold.kernel.errors import InputError, Reason
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.plan.accept import to_do_check
from snakefold.plan.draft import Draft
from snakefold.plan.files import read_batch, read_rows
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.run.requests import gather_inputs, make_request, read_inputs

PRECOMPUTED = {"msa": {"tool": "precomputed"}}
SET = f">ubq\n{UBQ}\n>pair\n{CRN}:{UBQ}\n>crn\n{CRN}\n>again\n{UBQ}\n"


def plan(
    folder: Path,
    text: str = SET,
    own: str = "",
    store: Store | None = None,
    recipes: Recipes = RECIPES,
    **values: Any,
) -> Draft:
    paths = [write(folder, "set.fasta", text)]
    if own:
        paths.append(write(folder, "own.a3m", own))
    config = load_config({"input": [str(path) for path in paths], **PRECOMPUTED, **values})
    return make_plan(config, folder / "plan", name=lambda _: recipes, store=store, fits=to_do_check)


def planned_ids(folder: Path) -> set[str]:
    batches = [read_batch(folder / "plan", row.batch) for row in read_rows(folder / "plan")]
    return {
        name for batch in batches for item in batch.targets for name in (item.target.id, *item.duplicates)
    }


def test_what_brings_no_alignment_is_in_no_batch(tmp_path: Path) -> None:
    made = plan(tmp_path, own=f">own\n{UBQ}\n>row\n{UBQ[:-1]}-\n")
    assert made.counts() == {"to_do": 1, "stored": 0, "reused": 0, "duplicate_of": 0, "refused": 4}
    # Its sequence is that of a record without an alignment, which is another target.
    assert planned_ids(tmp_path) == {"own"}
    assert made.chunks == []
    for refusal, line in zip(made.records.refusals, (1, 3, 5, 7), strict=True):
        assert (refusal.file, refusal.line) == (str(tmp_path / "set.fasta"), line)
        assert refusal.code == str(Reason.INVALID_INPUT)
        assert "brings no alignment. With msa.tool precomputed, each target must be" in refusal.message
        assert "Give an .a3m file" in refusal.advice
        assert "set msa.tool to" in refusal.advice
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert [row["state"] for row in rows] == ["refused"] * 4 + ["to_do"]
    assert rows[1]["reason"].startswith("The record brings no alignment.")


def test_a_result_that_is_there_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = open_store(str(tmp_path / "store"))
    store.put(Entry("fold", RECIPE, sequence_key([UBQ])), b"result")
    store.put(Entry("fold", COMPLEX_RECIPE, sequence_key([CRN, UBQ])), b"result")
    collection = reuse_files.folder(tmp_path / "mine", {"villin.pdb": reuse_files.pdb([VIL])})
    made = plan(tmp_path, f"{SET}>vil\n{VIL}\n", store=store, reuse=[str(collection)])
    assert made.counts() == {"to_do": 0, "stored": 2, "reused": 1, "duplicate_of": 1, "refused": 1}
    assert [refusal.header for refusal in made.records.refusals] == ["crn"]
    assert planned_ids(tmp_path) == {"ubq", "pair", "again", "vil"}


def test_nothing_is_planned_where_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="4 input records refused") as caught:
        plan(tmp_path)
    assert "set.fasta:7 (record 4: 'again'): The record brings no alignment" in str(caught.value)
    with pytest.raises(InputError, match="4 input records refused"):
        plan(tmp_path, own=f">own\n{UBQ}\n", on_invalid="stop")
    assert not (tmp_path / "plan").exists()


@pytest.mark.parametrize("tool", ["jackhmmer", "mmseqs", "single_sequence"])
def test_other_tools_find_one(tmp_path: Path, tool: str) -> None:
    assert plan(tmp_path, msa={"tool": tool}).counts()["refused"] == 0


def test_an_engine_that_reads_none_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one searched, nor does a target fail later because none was found."""
    monkeypatch.setattr(domains, "roles", lambda chains: ["heavy"] * len(chains))
    one = replace(RECIPES, folds=[RECIPE], rehearsals=[False])
    made = plan(tmp_path, f">crn\n{CRN}\n", recipes=one, engine="flashabb", msa={"tool": "jackhmmer"})
    assert made.counts()["refused"] == 0
    assert made.chunks == []
    (row,) = read_rows(tmp_path / "plan")
    batch = read_batch(tmp_path / "plan", row.batch)
    config = load_config({**PRECOMPUTED, "engine": "flashabb"})
    inputs = gather_inputs(batch, {}, open_store(tmp_path / "store"))
    assert inputs == {}
    msas, failed = read_inputs(make_request(batch, config), inputs)
    assert failed == {}
    assert set(msas) == {batch.targets[0].target.result_key}


def test_an_engine_that_reads_none_says_that_yours_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes no result is not part of its key: the same chain is not computed twice."""
    monkeypatch.setattr(domains, "roles", lambda chains: ["heavy"] * len(chains))
    one = replace(RECIPES, folds=[RECIPE], rehearsals=[False])
    own = f">own\n{CRN}\n>row\n{CRN[:-1]}-\n"
    made = plan(tmp_path, f">crn\n{CRN}\n", own, recipes=one, engine="flashabb", msa={"tool": "jackhmmer"})
    assert made.counts() == {"to_do": 1, "stored": 0, "reused": 0, "duplicate_of": 1, "refused": 0}
    notes = {row["id"]: row["note"] for row in table(tmp_path / "plan" / "targets.tsv")}
    assert "reads no alignment: that of the file is ignored." in notes["own"]
    assert notes["crn"] == ""
