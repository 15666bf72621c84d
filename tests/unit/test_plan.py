"""The plan step on real files: what it writes, keeps, refuses and removes."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reuse_files
from hypothesis import given, settings
from hypothesis import strategies as st
from sequence_files import CRN, UBQ, write

from snakefold.config import load_config
from snakefold.contracts import FoldRequest, TargetInput
from snakefold.cost.gpus import load_classes
from snakefold.errors import InputError, Reason, TargetError
from snakefold.plan.files import read_batch, read_chunk, read_rows
from snakefold.plan.planner import Check, Draft, Recipes, make_plan
from snakefold.recipes import sequence_key
from snakefold.store import Entry, Store, open_store

RECIPE, COMPLEX_RECIPE, MSA_RECIPE, PAIRED_RECIPE = (digit * 16 for digit in "0123")
RECIPES = Recipes(
    fold=RECIPE, complex_fold=COMPLEX_RECIPE, msa=MSA_RECIPE, paired_msa=PAIRED_RECIPE, rehearsal=True
)
VIL = "MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"
SET = f">a first\n{UBQ}\n>b\n{CRN}\n>c\tagain\n{UBQ}\n>d\n{CRN}:{UBQ}\n>bad \x1b[1m\nMQ-\n>a\n{CRN}A\n"


def plan(
    sequences: Path | list[Path],
    folder: Path,
    store: Store | None = None,
    check: Check | None = None,
    **values: Any,
) -> Draft:
    paths = sequences if isinstance(sequences, list) else [sequences]
    config = load_config({"input": [str(path) for path in paths], **values})
    return make_plan(
        config,
        folder,
        name=lambda targets: RECIPES,
        store=store,
        check=check,
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_rows_are_the_records_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", SET)
    made = plan(path, tmp_path / "plan")
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert [(row["id"], row["state"], row["duplicate_of"]) for row in rows] == [
        ("a", "to_do", ""),
        ("b", "to_do", ""),
        ("c", "duplicate_of", "a"),
        ("d", "to_do", ""),
        ("bad", "refused", ""),
        ("a-2", "to_do", ""),
    ]
    assert [row["length"] for row in rows] == ["76", "46", "76", "122", "", "47"]
    assert [row["source"] for row in rows] == [f"{path}:{line}" for line in (1, 3, 5, 7, 10, 11)]
    assert rows[0]["key"] == rows[2]["key"] == sequence_key([UBQ])
    assert rows[0]["batch"] == rows[2]["batch"]
    assert rows[0]["bucket"] == "76"
    assert rows[3]["bucket"] == ""
    assert rows[3]["chains"] == "2"
    assert rows[4]["reason"].startswith("The gap '-' is in the sequence.")
    assert [row["header"] for row in rows] == ["a first", "b", "c again", "d", "bad \ufffd[1m", "a"]
    assert made.counts() == {"to_do": 4, "stored": 0, "reused": 0, "duplicate_of": 1, "refused": 1}
    assert "6 records: 4 targets (291 residues)" in str(made)


def test_refusals_are_written_in_full(tmp_path: Path) -> None:
    plan(write(tmp_path, "set.fasta", SET), tmp_path / "plan")
    (refusal,) = json.loads((tmp_path / "plan" / "refusals.json").read_text())
    assert (refusal["record"], refusal["line"], refusal["code"]) == (5, 10, "gap")


def test_batches_hold_what_a_request_needs(tmp_path: Path) -> None:
    plan(write(tmp_path, "set.fasta", SET), tmp_path / "plan")
    rows = table(tmp_path / "plan" / "batches.tsv")
    assert [row["bucket_edges"] for row in rows][-1] == ""
    for row in rows:
        batch = read_batch(tmp_path / "plan", row["batch"])
        chains = len(batch.targets[0].target.chains)
        assert all(len(planned.target.chains) == chains for planned in batch.targets)
        assert (batch.recipe, batch.rehearsal) == (COMPLEX_RECIPE if chains > 1 else RECIPE, True)
        assert row["chunks"].split(",") == batch.chunks
        assert int(row["residues"]) == sum(planned.target.length for planned in batch.targets)
        request = FoldRequest(
            batch=batch.batch,
            engine="alphafold2",
            recipe=batch.recipe,
            bucket_edges=batch.bucket_edges,
            targets=[planned.target for planned in batch.targets],
        )
        assert not request.bucket_edges or request.bucket_edges[-1] >= int(row["longest"])
        assert row["bucket_edges"] == ",".join(map(str, request.bucket_edges))
        assert row["complexes"] == str(chains > 1)


def test_chains_are_searched_once_and_before_their_batch(tmp_path: Path) -> None:
    plan(write(tmp_path, "set.fasta", SET), tmp_path / "plan", msa={"chunk_size": 2})
    rows = table(tmp_path / "plan" / "chains.tsv")
    assert sorted(row["key"] for row in rows) == sorted(
        sequence_key([chain]) for chain in (UBQ, CRN, CRN + "A")
    )
    chunks = [read_chunk(tmp_path / "plan", path.stem) for path in (tmp_path / "plan" / "chunks").iterdir()]
    in_chunks = {chain.key: chunk.chunk for chunk in chunks for chain in chunk.chains}
    assert in_chunks == {row["key"]: row["chunk"] for row in rows}
    recipe_of = {chain.key: chunk.recipe for chunk in chunks for chain in chunk.chains}
    for row in table(tmp_path / "plan" / "batches.tsv"):
        batch = read_batch(tmp_path / "plan", row["batch"])
        needed = {in_chunks[sequence_key([chain])] for item in batch.targets for chain in item.target.chains}
        assert set(batch.chunks) == needed
        assert batch.msa_recipes == {
            sequence_key([chain]): recipe_of[sequence_key([chain])]
            for item in batch.targets
            for chain in item.target.chains
        }


def test_only_chains_of_heteromers_are_searched_for_pairing(tmp_path: Path) -> None:
    text = f">hetero\n{CRN}:{UBQ}\n>homo\n{VIL}:{VIL}\n>mono\n{CRN}A\n>part\n{UBQ}\n"
    plan(write(tmp_path, "set.fasta", text), tmp_path / "plan")
    alone, paired = (read_chunk(tmp_path / "plan", name) for name in ("m0001", "m0002"))
    assert (alone.pairing, alone.recipe) == (False, MSA_RECIPE)
    assert (paired.pairing, paired.recipe) == (True, PAIRED_RECIPE)
    assert {chain.sequence for chain in alone.chains} == {VIL, CRN + "A"}
    assert {chain.sequence for chain in paired.chains} == {CRN, UBQ}


def test_own_alignment_needs_no_search(tmp_path: Path) -> None:
    own = write(tmp_path, "own.a3m", f">q\n{UBQ}\n>h\n{UBQ}\n")
    other = write(tmp_path, "other.a3m", f">q\n{UBQ}\n")
    made = plan([own, other, write(tmp_path, "plain.fasta", f">p\n{UBQ}\n")], tmp_path / "plan")
    assert (made.counts()["to_do"], made.counts()["duplicate_of"], len(made.chunk_of)) == (3, 0, 1)
    (row,) = table(tmp_path / "plan" / "batches.tsv")
    planned = {item.target.id: item for item in read_batch(tmp_path / "plan", row["batch"]).targets}
    assert planned["own"].msa_path == str(own)
    assert planned["p"].msa_path is None
    assert len({item.target.result_key for item in planned.values()}) == 3
    made = plan([own], tmp_path / "plan")
    (row,) = table(tmp_path / "plan" / "batches.tsv")
    assert (list(made.chunks), row["chunks"]) == ([], "")
    assert table(tmp_path / "plan" / "chains.tsv") == []


def test_equal_input_gives_equal_files_that_are_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", SET)
    plan(path, tmp_path / "plan")
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "plan").rglob("*.*")}
    plan(path, tmp_path / "plan")
    assert times == {file: file.stat().st_mtime_ns for file in (tmp_path / "plan").rglob("*.*")}
    plan(path, tmp_path / "again")
    assert content(tmp_path / "plan") == content(tmp_path / "again")


def test_files_of_an_earlier_plan_go_and_other_files_stay(tmp_path: Path) -> None:
    plan(write(tmp_path, "set.fasta", SET), tmp_path / "plan")
    before = set(content(tmp_path / "plan"))
    (tmp_path / "plan" / "weights.json").write_text("{}")
    path = write(tmp_path, "small.fasta", f">a\n{CRN}\n")
    plan(path, tmp_path / "plan")
    plan(path, tmp_path / "fresh")
    assert before - set(content(tmp_path / "fresh"))
    assert content(tmp_path / "plan") == {**content(tmp_path / "fresh"), "weights.json": b"{}"}


def test_stop_starts_nothing_and_names_every_refusal(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f"{SET}>e\nMQ1\n")
    with pytest.raises(InputError) as error:
        plan(path, tmp_path / "plan", on_invalid="stop")
    assert [refusal.code for refusal in error.value.refusals] == ["gap", "digit"]
    assert f"{path}:10 (record 5: " in str(error.value)
    assert not (tmp_path / "plan").exists()


def test_stop_goes_on_when_nothing_is_refused(tmp_path: Path) -> None:
    made = plan(write(tmp_path, "a.fasta", f">a\n{UBQ}\n"), tmp_path / "plan", on_invalid="stop")
    assert made.counts()["to_do"] == 1


@pytest.mark.parametrize("text", ["", ">a\nMQ-\n"])
def test_no_target_at_all_stops_in_any_case(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        plan(write(tmp_path, "a.fasta", text), tmp_path / "plan", on_invalid="skip")
    assert not (tmp_path / "plan").exists()


def test_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.fasta: no such file or folder"):
        plan(tmp_path / "nowhere.fasta", tmp_path / "plan")


def test_what_the_engine_refuses_is_refused(tmp_path: Path) -> None:
    def check(target: TargetInput) -> None:
        if len(target.chains) > 1:
            raise TargetError(Reason.INVALID_INPUT, "This engine folds one chain.", "Split it.")

    made = plan(write(tmp_path, "set.fasta", SET), tmp_path / "plan", check=check)
    assert made.counts()["refused"] == 2
    row = table(tmp_path / "plan" / "targets.tsv")[3]
    assert (row["id"], row["state"], row["reason"]) == (
        "d",
        "refused",
        "This engine folds one chain. Split it.",
    )


def test_refused_ids_give_way_to_targets(tmp_path: Path) -> None:
    path = write(tmp_path, "set.fasta", f">a\nMQ-\n>a\n{UBQ}\n>\nMQ-\n")
    empty = write(tmp_path, "empty.fasta", "")
    plan([path, empty], tmp_path / "plan")
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert [(row["id"], row["state"]) for row in rows] == [
        ("a-2", "refused"),
        ("a", "to_do"),
        ("set.fasta", "refused"),
        ("empty.fasta", "refused"),
    ]


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


def test_given_edges_win_and_longer_targets_keep_their_length(tmp_path: Path) -> None:
    text = "".join(f">t{length}\n{UBQ[:length]}\n" for length in (20, 25, 31, 60, 70))
    plan(write(tmp_path, "set.fasta", text), tmp_path / "plan", batch={"bucket_edges": [50, 30]})
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert {row["id"]: row["bucket"] for row in rows} == {
        "t20": "30",
        "t25": "30",
        "t31": "50",
        "t60": "60",
        "t70": "70",
    }


@pytest.mark.parametrize(
    "values", [{"engine": "flashabb"}, {"alphafold2": {"model_preset": "multimer"}}], ids=str
)
def test_what_cannot_be_padded_is_not(values: dict[str, Any], tmp_path: Path) -> None:
    plan(write(tmp_path, "set.fasta", SET), tmp_path / "plan", **values)
    assert {row["bucket_edges"] for row in table(tmp_path / "plan" / "batches.tsv")} == {""}


def test_tables_survive_hostile_headers(tmp_path: Path) -> None:
    headers = ['"open quote', "tab\there", "escape \x1b[2J", "line\u2028separator", "comma, 'quote'", "=1+1"]
    text = "".join(f">{header}\n{UBQ[: 30 + place]}\n" for place, header in enumerate(headers))
    plan(write(tmp_path, "set.fasta", text), tmp_path / "plan")
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert len(rows) == len(headers)
    assert all(row["header"].isprintable() for row in rows)
    assert rows[0]["header"] == '"open quote'
    lines = (tmp_path / "plan" / "targets.tsv").read_text().splitlines()
    assert {line.count("\t") for line in lines} == {13}


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


def test_prices_are_the_models_and_add_up(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    lengths = [*random.integers(30, 900, 40).tolist(), 1500]
    sequences = ["".join(random.choice(letters, length)) for length in lengths]
    text = "".join(f">t{number}\n{sequence}\n" for number, sequence in enumerate(sequences))
    text += f">pair\n{UBQ}:{CRN}\n"
    classes = ["ada_24", "ampere_80"]
    config = {"gpu": {"classes": classes, "workers": 2}}
    made = plan(write(tmp_path, "set.fasta", text), tmp_path / "plan", **config)
    gpus = {gpu.name: gpu for gpu in load_classes(classes)}
    targets = table(tmp_path / "plan" / "targets.tsv")
    rows = read_rows(tmp_path / "plan")
    assert sum(row.targets for row in rows) == len(lengths) + 1
    for row in rows:
        gpu, work = gpus[row.gpu], made.works[row.complexes]
        own = [target for target in targets if target["batch"] == row.batch]
        edge = [int(target["bucket"] or target["length"]) for target in own]
        seconds = (
            made.model.start_seconds(gpu)
            + made.model.load_seconds(work, gpu)
            + made.model.compile_seconds(sorted(set(edge)), work, gpu).sum()
            + made.model.predict_seconds(edge, work, gpu).sum()
            + made.model.relax_seconds([int(target["length"]) for target in own], work, gpu).sum()
        )
        assert row.seconds == pytest.approx(seconds, abs=0.1)
        assert row.dollars == pytest.approx(seconds * gpu.dollars_per_second, abs=1e-5)
        assert sum(float(target["seconds"]) for target in own) == pytest.approx(seconds, rel=1e-3)
        assert sum(float(target["dollars"]) for target in own) == pytest.approx(row.dollars, rel=1e-3)
        assert row.memory_gb <= (gpu.memory_gb or 0)
        assert row.runtime_seconds > 2 * row.seconds
        assert row.runtime_seconds % 60 == 0


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
