"""Taking results and alignments from the store, and what a loss makes this run and the next one do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from snakefold.config import load_config
from snakefold.kernel import archive
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import LostError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.run.collect import collect_batch, read_response
from snakefold.run.requests import gather_inputs, make_request, read_inputs, write_request
from snakefold.run.restore import restore_batch
from snakefold.run.unfinished import note_lost

FOLD = "0" * 16
MSA = "1" * 16
SEQUENCES = {"a": "ACDEFGHIKL", "b": "LKIHGFEDCA"}


def batch(name: str = "s0001", *, msas: bool = False) -> PlannedBatch:
    keys = {name: sequence_key([sequence]) for name, sequence in SEQUENCES.items()}
    targets = [
        PlannedTarget(
            target=TargetInput(id=name, key=keys[name], chains=[sequence]),
            duplicates=["copy"] if name == "a" else [],
        )
        for name, sequence in SEQUENCES.items()
    ]
    return PlannedBatch(
        batch=name,
        engine="alphafold2",
        recipe=FOLD,
        msa_recipes=dict.fromkeys(keys.values(), MSA) if msas else {},
        rehearsal=True,
        chunks=[],
        targets=targets,
    )


def result(sequence: str, note: str = "") -> bytes:
    confidence = {
        "key": sequence_key([sequence]),
        "engine": "alphafold2",
        "rehearsal": True,
        "chain_lengths": [len(sequence)],
        "models": [
            {
                "name": "model_1_ptm_pred_0",
                "plddt": [50.0] * len(sequence),
                "mean_plddt": 50.0,
                "ranking_confidence": 50.0,
            }
        ],
    }
    return archive.pack(
        {"confidence.json": json.dumps(confidence).encode(), "ranked_0.pdb": f"END {note}\n".encode()}
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "store")
    for sequence in SEQUENCES.values():
        store.put(Entry("fold", FOLD, sequence_key([sequence])), result(sequence))
    return store


def damage(store: Store, entry: Entry) -> None:
    assert store.local is not None
    path = store.local / entry.kind / entry.recipe / entry.key[:2] / entry.key
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_stored_results_become_an_archive(tmp_path: Path, store: Store) -> None:
    response = restore_batch(batch(), store, tmp_path / "s0001.tar.zst", print)
    files = archive.unpack((tmp_path / "s0001.tar.zst").read_bytes())
    assert read_response(files) == response
    assert all(outcome.stored and outcome.state == "done" for outcome in response.outcomes)
    for sequence in SEQUENCES.values():
        assert files[f"targets/{sequence_key([sequence])}.tar.zst"] == result(sequence)


def test_damaged_and_missing_results_are_lost_and_the_others_are_not(tmp_path: Path, store: Store) -> None:
    damage(store, Entry("fold", FOLD, sequence_key([SEQUENCES["a"]])))
    response = restore_batch(batch(), store, tmp_path / "out.tar.zst", print)
    assert [(outcome.id, outcome.reason, outcome.state) for outcome in response.outcomes] == [
        ("a", "lost", "failed"),
        ("b", None, "done"),
    ]
    assert response.outcomes[0].advice.startswith("Run again")
    store.remove(Entry("fold", FOLD, sequence_key([SEQUENCES["b"]])))
    response = restore_batch(batch(), store, tmp_path / "out.tar.zst", print)
    assert [outcome.reason for outcome in response.outcomes] == ["lost", "lost"]


def collect(tmp_path: Path, store: Store) -> dict[str, int]:
    """Collect the batch; returns when each structure was written."""
    planned, packed = tmp_path / "s0001.json", tmp_path / "s0001.tar.zst"
    planned.write_text(batch().model_dump_json())
    restore_batch(batch(), store, packed, print)
    collect_batch(packed, planned, tmp_path / "structures", tmp_path / "s0001.parquet")
    return {
        folder.name: (folder / "ranked_0.pdb").stat().st_mtime_ns
        for folder in (tmp_path / "structures").iterdir()
    }


def test_folders_that_are_as_they_should_be_are_left_alone(tmp_path: Path, store: Store) -> None:
    before = collect(tmp_path, store)
    assert set(before) == {"a", "b", "copy"}
    assert collect(tmp_path, store) == before
    (tmp_path / "structures" / "b" / "ranked_4.pdb").write_text("of an earlier run with more models")
    store.put(Entry("fold", FOLD, sequence_key([SEQUENCES["a"]])), result(SEQUENCES["a"], "predicted again"))
    after = collect(tmp_path, store)
    assert {name for name in before if before[name] != after[name]} == {"a", "b", "copy"}
    assert "again" in (tmp_path / "structures" / "copy" / "ranked_0.pdb").read_text()
    assert not (tmp_path / "structures" / "b" / "ranked_4.pdb").exists()


def put_alignment(store: Store, sequence: str) -> Entry:
    entry = Entry("msa", MSA, sequence_key([sequence]))
    store.put(entry, archive.pack({"msa.a3m": f">q\n{sequence}\n".encode(), "raw/a.sto": b"of a program"}))
    return entry


def test_a_lost_alignment_fails_its_targets_and_no_others(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    planned = batch(msas=True)
    entries = {name: put_alignment(store, sequence) for name, sequence in SEQUENCES.items()}
    files = gather_inputs(planned, {}, store)
    assert set(files) == {f"chains/{entry.key}/msa.a3m" for entry in entries.values()}
    damage(store, entries["a"])
    files = gather_inputs(planned, {}, store)
    msas, failed = read_inputs(make_request(planned, load_config({})), files)
    assert list(msas) == [entries["b"].key]
    assert {key: each.reason for key, each in failed.items()} == {entries["a"].key: "lost"}
    # What the search step said of a chain is what is told of it.
    store.remove(entries["b"])
    files = gather_inputs(planned, {entries["b"].key: "no hit"}, store)
    _, failed = read_inputs(make_request(planned, load_config({})), files)
    assert {key: (each.reason, each.message) for key, each in failed.items()} == {
        entries["a"].key: ("lost", "Its alignment or its templates are no longer in the store."),
        entries["b"].key: ("msa_failed", "no hit"),
    }


def test_a_batch_without_any_alignment_is_not_sent(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    planned, folder = batch(msas=True), tmp_path / "requests" / "s0001"
    config = load_config({})
    with pytest.raises(LostError, match=rf"msa/{MSA}/.* and those of 1 more\). Nothing was sent"):
        write_request(planned, config, {}, store, folder)
    assert not folder.exists()
    # What failed for another reason is told with the batch, as ever.
    write_request(planned, config, {sequence_key([SEQUENCES["a"]]): "no hit"}, store, folder)
    assert {path.name for path in folder.iterdir()} == {"request.json", "inputs.tar.zst"}


def test_only_what_was_lost_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "targets.tsv").write_text(
        "id\tstate\tbatch\na\tstored\ts0001\nb\tto_do\tb0001-l0070\nc\tto_do\tb0002-l0090\n"
    )
    kept = [tmp_path / "predictions" / "b0001-l0070.tar.zst", tmp_path / "tables" / "b0001-l0070.parquet"]
    gone = [tmp_path / "predictions" / "s0001.tar.zst", tmp_path / "tables" / "s0001.parquet"]
    for path in (*kept, gone[0]):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    header = "id\tkey\tstate\treason\tmessage\tadvice\tsource\n"
    failed = "b\tk\tfailed\tout_of_memory\ttoo long\t\tx:1\n"
    (tmp_path / "failures.tsv").write_text(header + failed)
    assert note_lost(tmp_path) == []
    assert not (tmp_path / "lost.tsv").exists()
    (tmp_path / "lost.tsv").write_text("of an earlier run\n")
    (tmp_path / "failures.tsv").write_text(f"{header}{failed}a\tk\tfailed\tlost\tdamaged\tRun again\tx:2\n")
    assert note_lost(tmp_path) == ["a"]
    assert (tmp_path / "lost.tsv").read_text() == "of an earlier run\na\ts0001\tdamaged\n"
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
