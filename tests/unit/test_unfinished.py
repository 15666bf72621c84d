"""Targets of batches that a scheduler ended: their rows of failures.tsv, the summary, and the next run."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from snakefold.kernel.errors import ADVICE, Reason
from snakefold.run.attempts import Attempt, note
from snakefold.run.collect import merge_tables
from snakefold.run.retries import Final, note_final
from snakefold.run.summary import summarise
from snakefold.run.unfinished import note_lost


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A plan of three batches, none of which came to its end; two wait for alignments."""
    plan = tmp_path / "plan"
    plan.mkdir()
    (plan / "batches.tsv").write_text("batch\tchunks\nb0001\t\nb0002\tm0001,m0002\nb0003\tm0003\n")
    rows = [f"t{number}\tk{number}\tto_do\tb000{number}\tset.fasta:{number}\t" for number in (1, 2, 3)]
    (plan / "targets.tsv").write_text("\n".join(["id\tkey\tstate\tbatch\tsource\treason", *rows]) + "\n")
    (tmp_path / "msa").mkdir()
    (tmp_path / "msa" / "m0001.json").write_text("{}")
    return tmp_path


def failures(results: Path) -> dict[str, dict[str, str]]:
    merge_tables([], results / "plan" / "targets.tsv", results / "metrics.tsv", results / "failures.tsv")
    with (results / "failures.tsv").open(newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}


def ended(results: Path, rule: str, name: str, state: str, reason: Reason) -> None:
    text, advice = f"SLURM job 7: {state}.", f"What helps against {state}."
    note(results, rule, name, Attempt("slurm", "7", 0.0, state, reason, text, advice, 60.0))


def test_a_schedulers_reason_is_typed_and_has_its_advice(results: Path) -> None:
    ended(results, "predict", "b0001", "TIMEOUT", Reason.TIMEOUT)
    ended(results, "msa", "m0002", "OUT_OF_MEMORY", Reason.OUT_OF_MEMORY)
    log = results / "logs" / "msa" / "m0003.log"
    log.parent.mkdir(parents=True)
    log.write_text("snakefold: the database is damaged.\n")
    rows = failures(results)
    assert {name: row["reason"] for name, row in rows.items()} == {
        "t1": "timeout",
        "t2": "out_of_memory",
        "t3": "msa_failed",
    }
    assert rows["t1"]["message"] == "Its batch b0001 was not finished: predict b0001: SLURM job 7: TIMEOUT."
    assert rows["t1"]["advice"] == "What helps against TIMEOUT."
    assert "msa m0002: SLURM job 7: OUT_OF_MEMORY." in rows["t2"]["message"]
    assert "msa m0003: snakefold: the database is damaged." in rows["t3"]["message"]
    text, failed = summarise(results)
    assert failed == 3
    assert (
        "         t1: timeout: Its batch b0001 was not finished: predict b0001: SLURM job 7: TIMEOUT." in text
    )


def test_a_batch_that_was_not_sent_says_why(results: Path) -> None:
    """Its request has found no alignment: rule request fails, and a worker is not started for nothing."""
    request = results / "requests" / "b0001" / "request.json"
    note_final(request, Final(Reason.LOST, "The alignments are gone."))
    row = failures(results)["t1"]
    assert (row["reason"], row["advice"]) == ("lost", ADVICE[Reason.LOST])
    assert row["message"] == "Its batch b0001 was not finished: The alignments are gone."


def test_the_next_run_computes_them_whatever_the_reason(results: Path) -> None:
    ended(results, "predict", "b0001", "TIMEOUT", Reason.TIMEOUT)
    failures(results)
    assert note_lost(results) == ["t1", "t2", "t3"]
    assert "t1\tb0001\t" in (results / "lost.tsv").read_text()


def test_every_reason_has_advice() -> None:
    assert set(Reason) - set(ADVICE) <= {Reason.RELAX_FAILED}


def test_what_is_not_listed_is_counted_under_its_own_heading(results: Path) -> None:
    failures(results)
    head = (results / "failures.tsv").read_text().splitlines()[0]
    names = head.split("\t")
    same = {"state": "failed", "reason": "lost", "message": "gone"}
    rows = [{**same, "id": f"t{number}", "key": f"k{number}"} for number in range(13)]
    lines = ["\t".join(row.get(name, "") for name in names) for row in rows]
    (results / "failures.tsv").write_text("\n".join([head, *lines]) + "\n")
    text, failed = summarise(results)
    assert failed == 13
    told = text.splitlines()
    place = told.index("refused: 0 records")
    assert told[place - 1].strip() == f"… and 3 more: {results / 'failures.tsv'}"
    assert "more" not in "".join(told[place:])
