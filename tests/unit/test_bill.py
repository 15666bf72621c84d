"""The bill: every second and dollar once, whatever is run again, from what a real job left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold import cli
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.plan.files import planned_parameters
from snakefold.plan.quote import Range, left_out
from snakefold.run.bill import bill_line, bill_text, close_bill, write_bill
from snakefold.run.bill.lines import Line, read_lines
from snakefold.run.collect import read_response
from snakefold.run.summary import summarise

TRP_CAGE, VILLIN = "NLYIQWLKDGGPSSGRPPPS", "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"
PRICE = 0.00076


def config(folder: Path, **changed: Any) -> dict[str, Any]:
    return {
        "input": [str(folder / "in.fasta")],
        "results": str(folder / "results"),
        "store": str(folder / "store"),
        "weights": "rehearsal",
        "rehearsal": {
            "blocks": 1,
            "models": [1],
            "num_recycle": 0,
            "max_msa_clusters": 8,
            "max_extra_msa": 8,
        },
        "msa": {"tool": "single_sequence"},
        "relax": {"models_to_relax": "none"},
        **changed,
    }


def plan(folder: Path, **changed: Any) -> Path:
    """The plan step as the workflow calls it; returns the results folder."""
    results = folder / "results"
    text = yaml.safe_dump(config(folder, **changed))
    write_atomically(results / "config.yaml", text.encode())
    assert call("plan", "--config", results / "config.yaml", "--out", results / "plan") == 0
    return results


def call(*words: object) -> int:
    return cli.main([str(word) for word in words])


def execute(results: Path, batch: str) -> None:
    """Alignments, request, prediction or restoration, and collection of one batch."""
    settings_file = results / "config.yaml"
    planned = results / "plan" / "batches" / f"{batch}.json"
    packed = results / "predictions" / f"{batch}.tar.zst"
    if batch.startswith("s"):
        assert call("restore", planned, "--config", settings_file, "--out", packed) == 0
    else:
        found = []
        for chunk in json.loads(planned.read_text())["chunks"]:
            found.append(results / "msa" / f"{chunk}.json")
            where = results / "plan" / "chunks" / f"{chunk}.json"
            assert call("msa", where, "--config", settings_file, "--out", found[-1]) == 0
        request = results / "requests" / batch / "request.json"
        assert call("request", planned, "--config", settings_file, "--msas", *found, "--out", request) == 0
        weights = planned_parameters(results / "plan", "alphafold2")
        inputs = request.with_name("inputs.tar.zst")
        store = results.parent / "store"
        assert (
            call("task", request, "--inputs", inputs, "--store", store, "--weights", weights, "--out", packed)
            == 0
        )
    table = results / "tables" / f"{batch}.parquet"
    words = ["--config", settings_file, "--batch", planned]
    assert call("collect", packed, *words, "--structures", results / "structures", "--table", table) == 0


def planned_for_a_rented_class(results: Path) -> str:
    """The one batch, as if it had been planned for an A100."""
    (name,) = batches(results)
    planned = results / "plan" / "batches" / f"{name}.json"
    planned.write_text(json.dumps({**json.loads(planned.read_text()), "gpu": "ampere_80"}))
    return name


def predicted_on(results: Path, batch: str, device: str) -> None:
    packed = results / "predictions" / f"{batch}.tar.zst"
    files = archive.unpack(packed.read_bytes())
    response = read_response(files).model_copy(update={"device": device})
    write_atomically(packed, archive.pack(files | {"response.json": response.model_dump_json().encode()}))


def batches(results: Path) -> list[str]:
    return sorted(path.stem for path in (results / "plan" / "batches").glob("*.json"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run of two targets in one batch, with random parameters: really predicted."""
    folder = tmp_path_factory.mktemp("bill")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "in.fasta").write_text(f">cage\n{TRP_CAGE}\n>villin\n{VILLIN}\n")
        results = plan(folder, batch={"bucket_edges": [40]})
        (batch,) = batches(results)
        execute(results, batch)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run that a test may change: its folder, which is also the current one."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    text = yaml.safe_dump(config(folder, batch={"bucket_edges": [40]}))
    (folder / "results" / "config.yaml").write_text(text)
    return folder


def lines(results: Path, level: str = "batch") -> list[Line]:
    return [line for line in read_lines(results / "bill.tsv") if line.level == level]


def record(results: Path, batch: str, **changed: Any) -> dict[str, Any]:
    """The record that an executor leaves for a rented worker."""
    values = {
        "executor": "runpod",
        "gpu": "ampere_80",
        "dollars_per_second": PRICE,
        "queued_seconds": 11.0,
        "start_seconds": 30.0,
        "billed_seconds": 200.0,
        "attempts": 2,
        "idle_seconds": 5.0,
        **changed,
    }
    write_atomically(results / "executions" / f"{batch}.json", json.dumps(values).encode())
    return values


@pytest.mark.slow
def test_a_run_on_this_machine_is_billed_in_seconds(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    bill = write_bill(results)
    (batch,) = lines(results)
    response = response_of(results, name)
    assert (batch.gpu, batch.dollars, batch.state, batch.source) == ("local", 0.0, "done", "response")
    assert batch.seconds == pytest.approx(response.seconds["total"], rel=1e-6)
    parts = batch.start + batch.load + batch.compile + batch.predict + batch.relax + batch.idle + batch.other
    assert parts == pytest.approx(batch.seconds, rel=1e-6)
    assert batch.compile > 0
    targets = lines(results, "target")
    assert [line.id for line in targets] == ["cage", "villin"]
    assert sum(line.seconds for line in targets) == pytest.approx(batch.seconds, rel=1e-6)
    assert bill.rehearsal
    assert bill.this.computed == 2
    assert bill.hours is not None
    assert bill.hours.billed == pytest.approx(batch.seconds / 3600)
    assert bill.dollars is not None
    assert bill.dollars.ratio is None
    assert "billed" in bill_line(bill)
    assert "REHEARSAL" in bill_text(bill)
    assert call("bill", results, "--json") == 0


@pytest.mark.slow
def test_the_benchmark_file_counts_what_the_process_took_before_its_work(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    total = response_of(results, name).seconds["total"]
    write_atomically(
        results / "benchmarks" / "predict" / f"{name}.tsv",
        f"s\th:m:s\tcpu_time\n{total + 7:.4f}\t0:01\t9\n".encode(),
    )
    write_bill(results)
    (batch,) = lines(results)
    assert batch.source == "benchmark"
    assert batch.seconds == pytest.approx(total + 7, abs=1e-3)
    assert batch.load >= 7


@pytest.mark.slow
def test_a_rented_run_is_billed_by_the_executors_record_failed_attempts_included(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    record(results, name)
    bill = write_bill(results)
    (batch,) = lines(results)
    assert batch.dollars == pytest.approx(200 * PRICE)
    assert (batch.gpu, batch.start, batch.idle, batch.queued, batch.attempts) == (
        "ampere_80",
        30.0,
        5.0,
        11.0,
        2,
    )
    assert batch.idle_share == pytest.approx(5 / 200)
    assert batch.compile_share == pytest.approx(batch.compile / 200)
    parts = batch.start + batch.load + batch.compile + batch.predict + batch.relax + batch.idle + batch.other
    assert parts == pytest.approx(200.0)
    assert sum(line.dollars for line in lines(results, "target")) == pytest.approx(batch.dollars)
    assert bill.this.dollars == pytest.approx(200 * PRICE)
    assert bill.this.by_class == {"ampere_80": pytest.approx(200 * PRICE)}
    assert "$0.15" in bill_text(bill)


@pytest.mark.slow
def test_a_rented_class_without_a_record_is_billed_by_the_clock_and_said_to_be(run: Path) -> None:
    results = run / "results"
    name = planned_for_a_rented_class(results)
    predicted_on(results, name, "NVIDIA A100 80GB PCIe")
    bill = write_bill(results)
    (batch,) = lines(results)
    assert batch.dollars == pytest.approx(batch.seconds * PRICE, rel=1e-6)
    assert "1 batch on ampere_80" in bill.warnings[0]
    record(results, name)  # comes late, and is believed
    assert write_bill(results).warnings == []
    assert lines(results)[0].dollars == pytest.approx(200 * PRICE)


@pytest.mark.slow
def test_a_rented_class_that_was_not_rented_costs_nothing(run: Path) -> None:
    """An executor that falls back to this machine leaves no record, and a CPU predicts."""
    results = run / "results"
    name = planned_for_a_rented_class(results)
    bill = write_bill(results)
    (batch,) = lines(results)
    assert (batch.gpu, batch.dollars) == ("local", 0)
    assert batch.seconds > 0
    assert bill.warnings == []
    record(results, name)  # it was rented after all
    write_bill(results)
    assert lines(results)[0].dollars == pytest.approx(200 * PRICE)


@pytest.mark.slow
def test_alignments_on_rented_gpus_are_billed_by_the_seconds_of_their_jobs(run: Path) -> None:
    results = run / "results"
    before = write_bill(results)
    assert before.dollars is not None
    (results / "plan" / "chunks" / "m0001.json").parent.mkdir(exist_ok=True)
    (results / "plan" / "chunks" / "m0001.json").write_text("{}")
    taken = results / "benchmarks" / "msa" / "m0001.tsv"
    taken.parent.mkdir(parents=True, exist_ok=True)
    taken.write_text("s\tcpu_time\n100.0\t350.0\n")
    quoted = json.loads((results / "plan" / "quote.json").read_text())
    quoted |= {"msa_gpu": "ampere_80", "msa_dollars": {"expected": 0.1, "low": 0.01, "high": 0.2}}
    (results / "plan" / "quote.json").write_text(json.dumps(quoted))
    bill = write_bill(results)
    assert bill.msa_dollars is not None and bill.dollars is not None
    assert bill.msa_dollars.billed == pytest.approx(100 * PRICE)
    assert bill.dollars.billed == pytest.approx(before.dollars.billed + 100 * PRICE)
    assert "on GPUs     quoted $0.10 ($0.0100 to $0.20), took $0.0760" in bill_text(bill)


@pytest.mark.slow
def test_billing_again_changes_nothing(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    record(results, name)
    first, text = write_bill(results), (results / "bill.tsv").read_bytes()
    assert write_bill(results) == first
    assert (results / "bill.tsv").read_bytes() == text


@pytest.mark.slow
def test_a_second_run_bills_nothing_and_keeps_what_the_first_cost(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    record(results, name)
    write_bill(results)
    before = lines(results)
    for _ in range(2):
        plan(run, batch={"bucket_edges": [40]})
        assert batches(results) == ["s0001"]
        execute(results, "s0001")
        bill = write_bill(results)
        assert (bill.this.dollars, bill.this.hours, bill.this.computed, bill.this.stored) == (0, 0, 0, 2)
        assert bill.earlier.dollars == pytest.approx(200 * PRICE)
        old, new = lines(results)
        assert (old.key, old.dollars, old.run) == (before[0].key, before[0].dollars, "earlier")
        assert (new.batch, new.state, new.run, new.dollars) == ("s0001", "stored", "this", 0.0)
        states = {line.id: line.state for line in lines(results, "target") if line.run == "this"}
        assert states == {"cage": "stored", "villin": "stored"}
        assert bill.dollars is not None
        assert bill.dollars.quoted == Range()
    assert "earlier runs in this folder" in bill_text(bill)


@pytest.mark.slow
def test_a_job_that_brought_nothing_back_is_billed_until_it_does(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    record(results, name)
    packed = results / "predictions" / f"{name}.tar.zst"
    away = packed.rename(run / "away")
    bill = write_bill(results)
    (batch,) = lines(results)
    assert (batch.state, batch.dollars) == ("lost", pytest.approx(200 * PRICE))
    targets = lines(results, "target")
    assert [(line.id, line.dollars) for line in targets] == [
        ("cage", pytest.approx(100 * PRICE)),
        ("villin", pytest.approx(100 * PRICE)),
    ]
    assert bill.this.failed == 2
    away.rename(packed)
    record(results, name, billed_seconds=350.0, attempts=3)
    assert write_bill(results).this.dollars == pytest.approx(350 * PRICE)
    assert len(lines(results)) == 1
    # Lost for good: the next plan keeps the cost, once.
    packed.unlink()
    (results / "bill.tsv").unlink()
    plan(run, batch={"bucket_edges": [40]})
    plan(run, batch={"bucket_edges": [40]})
    assert write_bill(results).earlier.dollars == pytest.approx(350 * PRICE)
    # A batch of the next plan may have the same name, and be lost as well.
    record(results, name, billed_seconds=50.0)
    plan(run, batch={"bucket_edges": [40]})
    assert write_bill(results).earlier.dollars == pytest.approx(400 * PRICE)
    assert write_bill(results).earlier.dollars == pytest.approx(400 * PRICE)


@pytest.mark.slow
def test_what_was_left_out_is_listed_and_not_billed_and_still_to_do(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    request = FoldRequest.model_validate_json((results / "requests" / name / "request.json").read_text())
    response = left_out(request, 40.0, spent=38.5, in_flight=1.0)
    packed = results / "predictions" / f"{name}.tar.zst"
    write_atomically(packed, archive.pack({"response.json": response.model_dump_json().encode()}))
    shutil.rmtree(results / "structures")
    words = ["--config", results / "config.yaml", "--batch", results / "plan" / "batches" / f"{name}.json"]
    table = results / "tables" / f"{name}.parquet"
    assert call("collect", packed, *words, "--structures", results / "structures", "--table", table) == 0
    assert call("report", results) == 0
    assert (results / "bill.tsv").is_file()
    failures = (results / "failures.tsv").read_text()
    assert failures.count("\tbudget\t") == 2
    assert "$38.50 are spent and $1.00 in flight, of a budget of $40.00" in failures
    bill = write_bill(results)
    assert bill.this.batches == 0
    text, failed = summarise(results)
    assert failed == 2
    assert "billed" in text
    close_bill(results)
    assert not packed.exists()


@pytest.mark.slow
def test_a_damaged_archive_is_a_warning_and_other_damage_an_error(run: Path) -> None:
    results = run / "results"
    (name,) = batches(results)
    (results / "predictions" / f"{name}.tar.zst").write_bytes(b"not an archive")
    bill = write_bill(results)
    assert bill.this.batches == 0
    assert any(name in text for text in bill.warnings)
    (results / "bill.tsv").write_text("level\tnonsense\nbatch\t1\n")
    with pytest.raises(SnakefoldError, match=r"bill.tsv: is damaged, or .*put it right"):
        write_bill(results)
    plan(run, batch={"bucket_edges": [40]})  # a run does not fail for its bill


def test_a_folder_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("bill", tmp_path) == 2
    assert "not the results folder of a run" in capsys.readouterr().err
    assert close_bill(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def response_of(results: Path, batch: str) -> FoldResponse:
    return read_response(archive.unpack((results / "predictions" / f"{batch}.tar.zst").read_bytes()))
