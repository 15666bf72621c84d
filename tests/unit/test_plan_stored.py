"""What need not be computed: results and alignments in the store, structures in a collection."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import reuse_files
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import (
    COMPLEX_RECIPE,
    MSA_RECIPE,
    PAIRED_RECIPE,
    RECIPE,
    SET,
    VIL,
    content,
    plan,
    table,
)
from sequence_files import CRN, UBQ, write

from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, open_store
from snakefold.msa.planned import read_chunk
from snakefold.plan.files import read_batch, read_rows


def test_stored_targets_are_fetched_and_never_predicted(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", SET)
    store = open_store(tmp_path / "store")
    store.put(Entry("fold", RECIPE, sequence_key([UBQ])), b"result")
    made = plan(path, tmp_path / "plan", store)
    assert made.counts() == {"to_do": 3, "stored": 1, "reused": 0, "duplicate_of": 1, "refused": 1}
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert [row["state"] for row in rows] == ["stored", "to_do", "duplicate_of", "to_do", "refused", "to_do"]
    assert [row["reason"] for row in rows[:4]] == [
        f"result {RECIPE} is in the store",
        f"no result {RECIPE} in the store; to align",
        "same sequences as a",
        f"no result {COMPLEX_RECIPE} in the store; to align",
    ]
    assert (rows[0]["batch"], rows[0]["seconds"]) == ("s0001", "0.0")
    batch = read_batch(tmp_path / "plan", "s0001")
    assert (batch.gpu, batch.chunks, batch.msa_recipes, batch.recipe) == ("", [], {}, RECIPE)
    (fetched,) = batch.targets
    assert (fetched.target.id, fetched.duplicates) == ("a", ["c"])
    for row in read_rows(tmp_path / "plan"):
        assert (row.gpu == "") == (row.batch == "s0001") == (row.seconds == 0)


def test_stored_alignments_are_not_searched(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", SET)
    store = open_store(tmp_path / "store")
    for recipe, chain in ((PAIRED_RECIPE, UBQ), (MSA_RECIPE, CRN + "A"), (MSA_RECIPE, CRN)):
        store.put(Entry("msa", recipe, sequence_key([chain])), b"alignment")
    plan(path, tmp_path / "plan", store)
    # The chains of the heteromer need rows for pairing: the plain alignment of CRN does not do.
    assert [row["key"] for row in table(tmp_path / "plan" / "chains.tsv")] == [sequence_key([CRN])]
    (chunk,) = (read_chunk(tmp_path / "plan", file.stem) for file in (tmp_path / "plan" / "chunks").iterdir())
    assert (chunk.pairing, chunk.recipe) == (True, PAIRED_RECIPE)
    rows = {row["id"]: row for row in table(tmp_path / "plan" / "targets.tsv")}
    assert rows["a"]["reason"].endswith("its alignment is in the store")
    assert rows["d"]["reason"].endswith("to align")
    for row in read_rows(tmp_path / "plan"):
        batch = read_batch(tmp_path / "plan", row.batch)
        keys = {sequence_key([chain]) for item in batch.targets for chain in item.target.chains}
        assert set(batch.msa_recipes) == keys
        assert set(batch.paired) == {sequence_key([chain]) for chain in (UBQ, CRN)} & keys
        assert batch.chunks == (["m0001"] if sequence_key([CRN]) in keys else [])


sequences = st.sampled_from([UBQ, CRN, UBQ[:20], f"{CRN}:{VIL}", f"{VIL}:{VIL}", f"{UBQ}:{CRN}"])
records = st.lists(
    st.tuples(st.sampled_from(["a", "b", "A", "..", "x/y"]), sequences | st.just("MQ-")), max_size=10
)


@settings(max_examples=60, deadline=None)
@given(entries=records, data=st.data())
def test_plan_after_a_partial_run_covers_exactly_the_rest(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Every id is listed once, every target is in one batch, every search in one chunk."""
    folder = tmp_path_factory.mktemp("plan")
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in entries) + f">last\n{CRN}\n"
    path = write(folder, "set.fasta", text)
    wanted = {sequence for _, sequence in entries if sequence != "MQ-"} | {CRN}
    finished = data.draw(st.sets(st.sampled_from(sorted(wanted))))
    to_do = wanted - finished
    chains = {chain for sequence in to_do for chain in sequence.split(":")}
    paired = {
        chain for sequence in to_do if len(set(sequence.split(":"))) > 1 for chain in sequence.split(":")
    }
    aligned = data.draw(st.sets(st.sampled_from(sorted(chains)))) if chains else set()
    store = open_store(folder / "store")
    for sequence in finished:
        recipe = COMPLEX_RECIPE if ":" in sequence else RECIPE
        store.put(Entry("fold", recipe, sequence_key(sequence.split(":"))), b"result")
    for chain in aligned:
        recipe = PAIRED_RECIPE if chain in paired else MSA_RECIPE
        store.put(Entry("msa", recipe, sequence_key([chain])), b"alignment")
    values = {
        "batch": {
            "max_targets": data.draw(st.integers(1, 5)),
            "max_residues": data.draw(st.integers(1, 300)),
        },
        "msa": {"chunk_size": data.draw(st.integers(1, 3))},
    }
    plan(path, folder / "plan", store, **values)

    rows = table(folder / "plan" / "targets.tsv")
    assert len(rows) == len(entries) + 1
    assert len({row["id"].lower() for row in rows}) == len(rows)
    assert all(row["reason"] for row in rows)
    batches = [read_batch(folder / "plan", row.batch) for row in read_rows(folder / "plan")]
    planned = [(item, batch) for batch in batches for item in batch.targets]
    keys = Counter(item.target.key for item, _ in planned)
    assert keys == Counter(sequence_key(sequence.split(":")) for sequence in wanted)
    assert {":".join(item.target.chains) for item, batch in planned if batch.gpu} == to_do
    assert {batch.batch[0] for _, batch in planned if not batch.gpu} <= {"s"}
    ids = [name for item, _ in planned for name in (item.target.id, *item.duplicates)]
    assert sorted(ids) == sorted(row["id"] for row in rows if row["state"] != "refused")

    chunks = [read_chunk(folder / "plan", file.stem) for file in (folder / "plan").glob("chunks/*.json")]
    searched = Counter(chain.sequence for chunk in chunks for chain in chunk.chains)
    assert searched == Counter(chains - aligned)
    assert {chain.sequence for chunk in chunks if chunk.pairing for chain in chunk.chains} == paired - aligned
    for batch in batches:
        needed = {chain for item in batch.targets for chain in item.target.chains} if batch.gpu else set()
        assert set(batch.msa_recipes) == {sequence_key([chain]) for chain in needed}
        held = {chunk.chunk for chunk in chunks for chain in chunk.chains if chain.sequence in needed}
        assert set(batch.chunks) == held

    plan(path, folder / "again", store, **values)
    assert content(folder / "plan") == content(folder / "again")


def test_few_and_many_targets_are_looked_up_alike(tmp_path: Path) -> None:
    letters = [a + b for a in "ACDEFGHIKL" for b in "ACDEFGHIKL"]
    text = "".join(f">t{number}\n{CRN}{letters}\n" for number, letters in enumerate(letters))
    store = open_store(tmp_path / "store")
    for ending in letters[::7]:
        store.put(Entry("fold", RECIPE, sequence_key([CRN + ending])), b"result")
    made = plan(write(tmp_path, "set.fasta", text), tmp_path / "plan", store)
    states = [row["state"] for row in table(tmp_path / "plan" / "targets.tsv")]
    assert [number for number, state in enumerate(states) if state == "stored"] == list(range(0, 100, 7))
    assert made.counts()["stored"] == 15


def test_a_collection_gives_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    collection = reuse_files.folder(tmp_path / "mine", {"villin.pdb": reuse_files.pdb([VIL])})
    path = write(tmp_path, "set.fasta", f">a\n{UBQ}\n>b\n{VIL}\n>c\n{VIL}\n")
    made = plan(path, tmp_path / "plan", reuse=[str(collection)])
    assert made.counts() == {"to_do": 1, "stored": 0, "reused": 1, "duplicate_of": 1, "refused": 0}
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert [(row["state"], row["batch"][0]) for row in rows] == [
        ("to_do", "b"),
        ("reused", "r"),
        ("duplicate_of", "r"),
    ]
    assert rows[1]["reason"] == f"{collection / 'villin.pdb'} has these sequences"
    batch = read_batch(tmp_path / "plan", "r0001")
    assert (batch.engine, batch.gpu, batch.chunks, batch.msa_recipes) == ("reuse", "", [], {})
    assert batch.targets[0].found is not None
    assert [row["key"] for row in table(tmp_path / "plan" / "chains.tsv")] == [sequence_key([UBQ])]
