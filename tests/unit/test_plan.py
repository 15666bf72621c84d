"""The plan step on real files: what it writes, keeps, refuses and removes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
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

from snakefold import engines
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import InputError, Reason, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.msa.planned import read_chunk
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.files import read_batch, read_rows


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
    assert rows[3]["bucket"] == "122"
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
    assert [row["bucket_edges"] for row in rows][-1] == "122"
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
        assert row["group"] == ("complex" if chains > 1 else "monomer")


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


def test_engines_say_what_they_pad() -> None:
    antibodies, alphafold = engines.get("flashabb"), engines.get("alphafold2")
    assert not antibodies.pads("antibody", antibodies.Settings())
    assert all(alphafold.pads(group, alphafold.Settings()) for group in alphafold.groups)


def test_tables_survive_hostile_headers(tmp_path: Path) -> None:
    headers = ['"open quote', "tab\there", "escape \x1b[2J", "line\u2028separator", "comma, 'quote'", "=1+1"]
    text = "".join(f">{header}\n{UBQ[: 30 + place]}\n" for place, header in enumerate(headers))
    plan(write(tmp_path, "set.fasta", text), tmp_path / "plan")
    rows = table(tmp_path / "plan" / "targets.tsv")
    assert len(rows) == len(headers)
    assert all(row["header"].isprintable() for row in rows)
    assert rows[0]["header"] == '"open quote'
    lines = (tmp_path / "plan" / "targets.tsv").read_text().splitlines()
    assert {line.count("\t") for line in lines} == {14}


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
        gpu, work = gpus[row.gpu], made.works[row.group == "complex"]
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
