"""Parts by themselves: rates, the ledger, what a job becomes, and names of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_runpod import ledger as states
from snakemake_executor_plugin_runpod.errors import JobError
from snakemake_executor_plugin_runpod.ledger import Ledger
from snakemake_executor_plugin_runpod.limits import Bucket
from snakemake_executor_plugin_runpod.outcome import bill, failure, progress_of, write_log
from snakemake_executor_plugin_runpod.payload import Part, Task, describe, digest, read
from snakemake_executor_plugin_runpod.policy import policy


@given(
    st.floats(0.5, 200),
    st.integers(1, 100),
    st.lists(st.floats(0, 3), min_size=1, max_size=300),
    st.floats(0.5, 10),
)
def test_no_window_holds_more_than_burst_and_rate_allow(
    rate: float, burst: int, pauses: list[float], window: float
) -> None:
    now = [1000.0]
    bucket = Bucket(rate, burst, now=lambda: now[0])
    passed = []
    for pause in pauses:
        now[0] += pause
        passed.append(now[0] + bucket.reserve())
    assert passed == sorted(passed)
    for first in passed:
        assert sum(first <= moment < first + window for moment in passed) <= burst + rate * window + 1e-6


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5), st.randoms())
def test_equal_work_has_an_equal_digest_in_whatever_order(request: dict[str, Any], order: Any) -> None:
    parts = [Part(name, Path(name), 1, name * 64) for name in "abc"]
    shuffled, items = parts[:], list(request.items())
    order.shuffle(shuffled)
    order.shuffle(items)
    assert digest(request, parts) == digest(dict(items), shuffled)
    assert digest(request, parts) != digest({**request, "more": 1.5}, parts)
    assert digest(request, parts) != digest(request, parts[:2])


def test_the_policy_holds_queue_and_work_within_runpods_bounds() -> None:
    assert policy(10, 600, 3600) == {"executionTimeout": 600_000, "ttl": 600_000 + 3_600_000 + 60_000}
    assert policy(None, 5, 5)["executionTimeout"] == 5000
    assert policy(10**6, 600, 86400) == {"executionTimeout": 604_800_000, "ttl": 604_800_000}


def prepare(book: Ledger, digest: str = "d", reserved: float = 1.0) -> int:
    return book.prepare(
        digest=digest, outputs=["o"], rule="r", endpoint="e", dollars_per_second=0.1, reserved=reserved
    )


def test_money_in_the_ledger(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.sqlite")
    first, second, third = (prepare(book) for _ in range(3))
    assert book.dollars() == 3.0  # put by
    book.state(first, states.SENDING)
    book.accepted(first, "job", "IN_QUEUE")
    book.ended(first, states.COMPLETED, queued=1.0, billed=4.0, start=1.0, gpu="L4")
    assert book.dollars() == pytest.approx(2.5)
    book.drop_prepared(second)
    assert book.dollars() == pytest.approx(1.5)
    book.close()
    book = Ledger(tmp_path / "ledger.sqlite")  # what was only prepared when it was killed costs nothing
    assert book.dollars() == pytest.approx(0.5)
    assert third and book.live() == []
    book.close_account()
    book.close()
    book = Ledger(tmp_path / "ledger.sqlite")
    assert book.dollars() == 0.0
    book.close()


def test_what_is_found_again(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.sqlite")
    row = prepare(book)
    assert book.find("d", ["o"]) is None
    book.state(row, states.SENDING)
    for state in (states.SENDING, "IN_QUEUE", "IN_PROGRESS", "PAUSED", states.COMPLETED, states.COLLECTED):
        book.state(row, state)
        found = book.find("d", ["o"])
        assert found is not None and found.id == row
        assert book.find("d", ["other"]) is None
        assert [live.id for live in book.live("e")] == ([] if state in states.FINAL else [row])
    for state in (
        states.DONE,
        states.LOST,
        states.REFUSED,
        states.SPOILED,
        "FAILED",
        "CANCELLED",
        "TIMED_OUT",
    ):
        book.state(row, state)
        assert book.find("d", ["o"]) is None
    book.close()


def task(folder: Path, inputs: dict[str, str], **more: Any) -> Task:
    paths = {}
    for name, text in inputs.items():
        paths[name] = folder / name
        paths[name].write_text(text)
    return Task("fold", 1, 1, "fold", paths, {"out": folder / "out"}, **more)


def test_which_input_is_the_request(tmp_path: Path) -> None:
    assert read(task(tmp_path, {"request": "[1]", "b.json": "{}"})).request == [1]
    assert read(task(tmp_path, {"b.json": "{}", "c": "x"})).parts[0].name == "c"
    for inputs in ({"a.json": "{}", "b.json": "{}"}, {"a": "{}"}):
        with pytest.raises(JobError, match="Name it `request=`"):
            read(task(tmp_path, inputs))
    for text in ("{", "\x00", "[" * 100_000, "[NaN]", '{"a": -Infinity}'):
        with pytest.raises(JobError) as caught:
            read(task(tmp_path, {"request": text}))
        assert caught.value.reason == "invalid_input"
    with pytest.raises(JobError, match="one JSON input"):
        read(task(tmp_path, {"request": "1", "b": "2"}, transfer="json"))


class Files(list):
    """As Snakemake's lists of files: with names for some."""

    def __init__(self, *files: str, **named: str) -> None:
        super().__init__([*files, *named.values()])
        self._named = dict(named)

    def items(self) -> list[tuple[str | None, str]]:
        return list(self._named.items())


def job(**more: Any) -> Any:
    given: dict[str, Any] = {
        "rule": SimpleNamespace(name="fold"),
        "resources": {"runpod_endpoint": "fold", "runtime": 3, "dollars_per_second": "0.5"},
        "params": {},
        "jobid": 7,
        "attempt": 1,
        "input": Files("a/x.json", data="b/x.bin"),
        "output": Files("out/x.tar"),
        "log": [],
        "benchmark": None,
        "is_group": lambda: False,
        "groupid": "g",
    }
    return SimpleNamespace(**{**given, **more})


def test_a_snakemake_job_as_a_task() -> None:
    found = describe(job())
    assert set(found.inputs) == {"x.json", "data"} and set(found.outputs) == {"x.tar"}
    assert (found.runtime, found.dollars_per_second) == (3.0, 0.5)


@pytest.mark.parametrize(("given", "price"), [("0.0", 0.0), (0, None), ("", None), (None, None)])
def test_only_text_says_that_a_job_costs_nothing(given: Any, price: float | None) -> None:
    assert describe(job(resources={"dollars_per_second": given})).dollars_per_second == price


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"is_group": lambda: True}, "group"),
        ({"output": Files("a/x", "b/x")}, "called x"),
        ({"resources": {"runpod_transfer": "pigeon"}}, "pigeon"),
        ({"resources": {"runtime": "soon"}}, "runtime"),
        ({"resources": {"dollars_per_second": "-1"}}, "dollars_per_second"),
    ],
)
def test_a_job_that_cannot_be_sent_says_what_to_change(more: dict[str, Any], says: str) -> None:
    with pytest.raises(JobError, match=says):
        describe(job(**more))


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.dictionaries(st.text(), x))
)
def test_whatever_the_service_answers_becomes_an_error_or_a_bill(value: Any) -> None:
    for answer in (
        {"status": "FAILED", "error": value},
        {"status": "FAILED", "error": json.dumps(value)},
        {"status": "COMPLETED", "output": {"seconds": value, "worker": value}, "executionTime": value},
        {"status": "COMPLETED", "output": value, "delayTime": value},
    ):
        assert str(failure(answer))
        assert (bill(answer, 1.0, 2.0).billed or 0.0) >= 0.0


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ({"progress": {"done": 3, "of": 8}}, (3, 8)),
        ({"progress": {"done": 9, "of": 8}}, None),
        ({"progress": {"done": "3", "of": 8}}, None),
        ({"progress": 0.5}, None),
        ("progress", None),
        (None, None),
    ],
)
def test_progress_is_what_a_worker_reports_until_its_end(output: Any, found: tuple[int, int] | None) -> None:
    assert progress_of({"status": "IN_PROGRESS", "output": output}) == found


def test_what_failed_stands_last_in_the_log(tmp_path: Path) -> None:
    write_log(task(tmp_path, {}, logs=(tmp_path / "log",)), ["submitted", "failed: no"], "of the\nworker\n\n")
    assert (tmp_path / "log").read_text() == "[runpod] submitted\nof the\nworker\n[runpod] failed: no\n"


def test_a_run_with_another_executor_imports_no_clients() -> None:
    """Snakemake imports every executor plugin whenever it starts, on a cluster twice for each job."""
    code = (
        "import sys; import snakemake_executor_plugin_runpod\n"
        "print(sorted({'aiohttp', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
