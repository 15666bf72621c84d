"""A target that is computed with less than was asked says so, from where it happens to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from snakefold.engines.alphafold2 import features
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.alphafold2.shapes import MULTIMER_CHAIN_ROWS, MsaShape, choose
from snakefold.engines.alphafold2.shortfalls import shortfalls
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import DatabaseUse, MsaMeta, TargetInput
from snakefold.kernel.notes import MEANINGS, Code
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, open_store
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.report.target import target_scripts
from snakefold.run import task
from snakefold.run.collect import collect_batch
from tests.engine.toys import chain_msas, make_request, make_target, toy_a3m

#: Residue 8 stands alone between unknown ones: AMBER cannot describe it, and relaxation fails.
SEQUENCE = "MKTAYIXAXQRQISFVKSHF"
ROWS, CLUSTERS, EXTRA = 40, 8, 16
#: What each of the notes tells.
EXPECTED = {
    Code.LIMITED_MSA: f"the network reads {CLUSTERS + EXTRA} of {ROWS} rows",
    Code.RELAX_FAILED: "rank 0 (model_1_ptm_pred_0): Residue 8 has no neighbour",
    Code.RETRIED: "a process died on it 1 time before",
    Code.TRUNCATED_MSA: "uniref90: 39 of 70 rows were kept",
    Code.UNKNOWN_RESIDUES: "2 (X) have no atoms",
}


@pytest.mark.slow
def test_what_befell_a_target_is_told_wherever_it_is_shown(
    weights_folder: Path, compile_cache: Path, tmp_path: Path
) -> None:
    """The real engine and relaxation, on an MSA that was cut, after a process that died."""
    target = make_target("t", SEQUENCE)
    settings = {"max_msa_clusters": CLUSTERS, "max_extra_msa": EXTRA, "precision": "bfloat16"}
    request = make_request([target], **settings).model_copy(update={"rehearsal": True})
    store = open_store(tmp_path / "store")
    store.put(Entry("attempt", request.recipe, target.result_key), b'{"count": 1}')
    response = task.run_request(
        request,
        _inputs(target),
        tmp_path / "out.tar.zst",
        store=store,
        weights=weights_folder,
        cache=compile_cache,
        log=lambda _: None,
    )
    assert [outcome.state for outcome in response.outcomes] == ["done"]

    planned = PlannedBatch(
        batch=request.batch,
        engine="alphafold2",
        gpu="ampere_80",
        recipe=request.recipe,
        msa_recipes={},
        rehearsal=True,
        chunks=[],
        targets=[PlannedTarget(target=target, duplicates=["same"])],
    )
    (tmp_path / "batch.json").write_text(planned.model_dump_json())
    structures, table = tmp_path / "structures", tmp_path / "b.parquet"
    collect_batch(tmp_path / "out.tar.zst", tmp_path / "batch.json", structures, table)

    device = {Code.PREDICTED_ON_CPU: "planned for"} if response.device == "CPU" else {}
    for row in pd.read_parquet(table).to_dict("records"):
        assert _told(row["warnings"].split("; ")) == set(EXPECTED) | set(device)
    for name in ("t", "same"):
        content = target_scripts(name, structures / name, "")[f"{name}.js"].decode()
        notes = json.loads(content[content.index("{") : content.rindex("}") + 1])["notes"]
        assert _told(notes) == set(EXPECTED)
        assert all(
            any(note.startswith(f"{code}: {text}") for note in notes) for code, text in EXPECTED.items()
        )


def _told(notes: list[str]) -> set[str]:
    return {note.partition(":")[0] for note in notes} & {str(code) for code in MEANINGS}


def _inputs(target: TargetInput) -> dict[str, bytes]:
    """An MSA of which the search kept fewer rows than it found."""
    folder = f"chains/{sequence_key([target.chains[0]])}"
    meta = MsaMeta(
        key=target.key,
        length=target.length,
        tool="jackhmmer",
        depth=ROWS,
        neff=20,
        databases=[DatabaseUse(name="uniref90", rows=70, kept=39)],
    )
    return {
        f"{folder}/msa.a3m": toy_a3m(target.chains[0], ROWS).encode(),
        f"{folder}/meta.json": meta.model_dump_json().encode(),
    }


def told(target: TargetInput, msas: TargetMsas, **settings: Any) -> list[str]:
    preset = ModelPreset.MULTIMER if len(target.chains) > 1 else ModelPreset.MONOMER_PTM
    given = AlphaFold2Settings.model_validate(settings)
    shape: MsaShape = choose(given, preset, [features.depth(target, msas, preset)])
    raw = features.raw_features(target, msas, preset, given, shape)
    return shortfalls(target, msas, raw, preset=preset, settings=given, shape=shape)


def test_nothing_is_said_of_an_msa_that_is_read_whole() -> None:
    target = make_target("a", "MKTAYIAKQRQ")
    assert told(target, chain_msas(target, 300)) == []
    assert told(target, chain_msas(target, 1)) == []


def test_alphafolds_own_limits_are_told() -> None:
    target = make_target("a", "MKTAYIAKQRQ")
    # Equal rows are dropped before they are counted.
    (note,) = told(target, chain_msas(target, 5700))
    assert note.startswith("limited_msa: the network reads 5632 of ")
    copies = make_target("aa", *["MKTAYIAKQRQ"] * 2)
    rows = MULTIMER_CHAIN_ROWS + 52
    assert told(copies, chain_msas(copies, rows)) == [
        f"limited_msa: the first 2048 of {rows} rows of chain A+B"
    ]


def test_chains_without_rows_to_pair_and_without_templates_are_named() -> None:
    target = make_target("ab", "MKTAYIAK", "GSHMFVKSHFS")
    one, other = chain_msas(target, 6).chains
    paired = ">q\nGSHMFVKSHFS\n>sp|P1|X_HUMAN\nGSHMFVKSHFA\n"
    msas = TargetMsas(chains=[one, ChainMsa(other.a3m, pairing=paired)])
    assert told(target, msas, use_templates=True) == [
        "unpaired_msa: no rows to pair with for chain A",
        "no_templates: none was found for chain A, B",
    ]
    copies = make_target("aa", "MKTAYIAK", "MKTAYIAK")
    assert told(copies, chain_msas(copies, 6)) == []
    own = TargetMsas(own_a3m=toy_a3m("MKTAYIAKQRQ", 5))
    assert told(make_target("a", "MKTAYIAKQRQ"), own, use_templates=True) == [
        "no_templates: the target brought its own A3M"
    ]
