"""Items of a job: each by itself, read and written beside the computing; and a whole job in the worker."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from snakefold.kernel.errors import Reason, StoreError
from snakefold.worker import jobs
from snakefold.worker.endpoints import InvalidInput, read_input
from snakefold.worker.failures import JobError
from snakefold.worker.items import (
    ItemError,
    ItemsResponse,
    Outcome,
    Ran,
    Ready,
    bounded,
    counts,
    run_items,
)
from tests.servers.seaweedfs import WRITER, SeaweedFS, serving
from tests.worker.conftest import told
from tests.worker.receiver import SCHEMA, SECRET, Receiver, receiving


class Steps:
    """Functions for `run_items` that note what is done; `wrong` raises an error in one step of one item."""

    def __init__(self, wrong: dict[tuple[str, int], Exception] | None = None) -> None:
        self.wrong = wrong or {}
        self.done: list[tuple[str, int]] = []
        self.told: dict[int, Outcome] = {}
        self.log: list[str] = []
        self.lock = threading.Lock()

    def _step(self, name: str, item: int) -> None:
        with self.lock:
            self.done.append((name, item))
        if error := self.wrong.get((name, item)):
            raise error

    def fetch(self, item: int) -> int | Ready:
        self._step("fetch", item)
        return item * 10

    def compute(self, item: int, found: int) -> int:
        self._step("compute", item)
        return found + 1

    def deliver(self, item: int, made: int) -> dict[str, Any]:
        self._step("deliver", item)
        return {"output_key": f"{item}/{made}"}

    def tell(self, item: int, outcome: Outcome) -> None:
        with self.lock:
            self.told[item] = outcome
        self._step("tell", item)

    def run(self, items: int, concurrency: int = 2, **more: Any) -> Ran:
        given = {"log": self.log.append} | more
        return run_items(
            range(items), self.fetch, self.compute, self.deliver, self.tell, concurrency=concurrency, **given
        )

    def of(self, name: str) -> list[int]:
        return [item for step, item in self.done if step == name]


@pytest.mark.parametrize("concurrency", [0, 1, 4, 20])
def test_every_item_is_read_computed_written_and_told_of(concurrency: int) -> None:
    steps, seen = Steps(), []
    ran = steps.run(7, concurrency, progress=lambda done, total: seen.append((done, total)))
    assert [outcome.facts["output_key"] for outcome in ran.outcomes] == [
        f"{n}/{n * 10 + 1}" for n in range(7)
    ]
    assert steps.of("compute") == list(range(7))
    assert {item: outcome.facts for item, outcome in steps.told.items()} == {
        outcome.number: outcome.facts for outcome in ran.outcomes
    }
    assert seen == [(n + 1, 7) for n in range(7)]
    assert (ran.cancelled, ran.failed, ran.out_of_memory, steps.log) == (False, [], False, [])


@pytest.mark.parametrize(("asked", "expected"), [(None, 4), (2, 2), (100, 4), (0, 1), (-3, 1)])
def test_a_job_asks_for_no_more_than_the_operator_allows(asked: int | None, expected: int) -> None:
    assert bounded(asked, 4) == expected


def test_no_items() -> None:
    assert Steps().run(0) == Ran([], 0)


def test_reading_and_writing_go_on_while_another_item_is_computed() -> None:
    """Item 1 is computed only once item 3 was read and while item 0 is being written."""
    steps, read, written = Steps(), threading.Event(), threading.Event()
    fetch, compute, deliver = steps.fetch, steps.compute, steps.deliver

    def fetching(item: int) -> int | Ready:
        if item == 3:
            read.set()
        return fetch(item)

    def computing(item: int, found: int) -> int:
        if item == 1:
            assert read.wait(20)
            written.set()
        return compute(item, found)

    def delivering(item: int, made: int) -> dict[str, Any]:
        if item == 0:
            assert written.wait(20)
        return deliver(item, made)

    steps.fetch, steps.compute, steps.deliver = fetching, computing, delivering  # type: ignore[method-assign]
    assert steps.run(5, 3).failed == []


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_items_are_at_work_than_that(concurrency: int) -> None:
    """While the first is computed, and while all are written."""
    for slow in ("compute", "deliver"):
        steps, go_on = Steps(), threading.Event()
        whole = getattr(steps, slow)

        def waiting(item: int, given: int, whole: Any = whole, go_on: threading.Event = go_on) -> Any:
            assert go_on.wait(20)
            return whole(item, given)

        setattr(steps, slow, waiting)
        thread = threading.Thread(target=steps.run, args=(12, concurrency))
        thread.start()
        time.sleep(0.3)
        fetched, computed = len(steps.of("fetch")), len(steps.of("compute"))
        go_on.set()
        thread.join()
        # One is computed, and as many are read ahead and wait to be written.
        assert fetched <= 2 * concurrency + 1 and computed <= concurrency + 1
        assert steps.of("compute") == list(range(12))


@pytest.mark.parametrize("step", ["fetch", "compute", "deliver"])
def test_an_item_fails_by_itself(step: str) -> None:
    steps = Steps({(step, 1): InvalidInput("its image is none"), (step, 3): StoreError("the disk is full")})
    ran = steps.run(5)
    assert [outcome.done for outcome in ran.outcomes] == [True, False, True, False, True]
    assert [(outcome.reason, outcome.error) for outcome in ran.failed] == [
        (Reason.INVALID_INPUT, "its image is none"),
        (Reason.INTERNAL, "the disk is full"),
    ]
    assert steps.told[1] == ran.outcomes[1]
    later = {"fetch": ["compute", "deliver"], "compute": ["deliver"], "deliver": []}[step]
    assert all(1 not in steps.of(name) for name in later)
    assert "item 2 of 5: invalid_input: its image is none" in steps.log
    assert counts(ran, lambda number: number + 100) == {
        "total_items": 5,
        "successful_items": 3,
        "failed_items": 2,
        "errors": [
            ItemError(idx=101, reason=Reason.INVALID_INPUT, error="its image is none"),
            ItemError(idx=103, reason=Reason.INTERNAL, error="the disk is full"),
        ],
        "ready_items": 0,
        "cancelled": False,
    }


def test_a_defect_has_its_traceback_in_the_log_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_SECRET_KEY", "storage-secret-9931")
    steps = Steps({("compute", 0): RuntimeError("https://x.example/?sig=1 storage-secret-9931")})
    ran = steps.run(2)
    assert ran.failed[0].error == "RuntimeError: https://x.example/?… ***"
    assert any("Traceback" in line and "in compute" in line for line in steps.log)
    assert "9931" not in repr((ran, steps.log))


def test_one_that_nobody_could_be_told_of_is_done() -> None:
    steps = Steps({("tell", 0): RuntimeError("nobody there")})
    assert steps.run(2).failed == []
    assert steps.log == ["item 1: nobody could be told: nobody there"]


@pytest.mark.parametrize("error", [MemoryError(), JobError(Reason.OUT_OF_MEMORY, "the GPU's")])
def test_memory_that_runs_out_is_said(error: Exception) -> None:
    ran = Steps({("compute", 1): error}).run(3)
    assert ran.out_of_memory
    assert [outcome.done for outcome in ran.outcomes] == [True, False, True]


def test_what_is_there_already_is_not_computed_and_is_told_of() -> None:
    steps = Steps()
    fetch = steps.fetch
    steps.fetch = lambda item: Ready({"output_key": "old"}) if item == 1 else fetch(item)  # type: ignore[method-assign]
    ran = steps.run(3)
    assert steps.of("compute") == steps.of("deliver") == [0, 2]
    assert steps.told[1] == Outcome(1, {"output_key": "old"}, ready=True)
    assert counts(ran, lambda number: number)["ready_items"] == 1


def test_cancelling_ends_it_between_two_items() -> None:
    steps = Steps()
    ran = steps.run(9, cancelled=lambda: 3 in steps.of("compute"))
    assert ran.cancelled
    assert steps.of("compute") == [0, 1, 2, 3]
    assert [outcome.facts["output_key"] for outcome in ran.outcomes] == ["0/1", "1/11", "2/21", "3/31"]
    assert set(steps.told) == {0, 1, 2, 3}
    assert ItemsResponse(**counts(ran, lambda number: number)).total_items == 9


def test_the_end_of_the_process_is_no_failure_of_an_item() -> None:
    steps = Steps()

    def leave(item: int, found: int) -> int:
        raise SystemExit(143)

    steps.compute = leave  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        steps.run(4)
    assert steps.told == {}


# A whole job, as a distribution of its own brings it.

BUCKET = "s3-images"
TASK = '''
"""Items that are turned to capitals: what a job of images does, without images."""

import hashlib
import json

from snakefold.worker.callbacks import idempotency_key
from snakefold.worker.items import ItemsResponse, Ready, counts, run_items
from snakefold.worker.endpoints.checked import InvalidInput


def capitals(given, context):
    items = given["items"]
    objects = context.objects.of(user_id=given["user_id"], job_id=given["job_id"])
    callbacks = context.callbacks(given.get("callback_url"), None, given["idempotency_prefix"])
    digest = hashlib.sha256(json.dumps(given["items"]).encode()).hexdigest()

    def fetch(item):
        if objects.answered(digest, [item["output_key"]]):
            return Ready({"output_key": item["output_key"]})
        return objects.read(item["input_key"])

    def compute(item, data):
        print("computing", item["idx"], flush=True)
        if not data.isascii():
            raise InvalidInput("it is no text in ASCII")
        return data.upper()

    def deliver(item, data):
        objects.write(item["output_key"], data, request=digest)
        return {"output_key": item["output_key"]}

    def tell(item, outcome):
        error = outcome.error or None
        callbacks.item(item["idx"], "done" if outcome.done else "failed", error=error, **outcome.facts)

    ran = run_items(
        items, fetch, compute, deliver, tell,
        concurrency=context.settings.batch_concurrency, progress=context.progress, log=context.log,
    )
    answer = ItemsResponse(
        digest=digest, callback_failures=callbacks.failures, **counts(ran, lambda n: items[n]["idx"])
    )
    return answer, ran.out_of_memory


def fails(given, context):
    raise RuntimeError("a defect")


def plain(given, context):
    return {"given": given["value"]}


def _takes(given):
    return "items" in given and "preset" in given


capitals.takes = _takes
'''
POINTS = """[snakefold.tasks]
capitals = capitals_task:capitals
fails = capitals_task:fails
plain = capitals_task:plain
checked = capitals_checked:task
broken = capitals_broken:task
none = capitals_task:POINTS_NONE
search = capitals_task:fails
"""
CHECKED = """
from pydantic import BaseModel, ConfigDict


class Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid")
    task: str
    number: int


def task(given, context):
    return Wanted.model_validate(given)


task.contract = Wanted
"""


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A distribution with tasks, installed for this process and for those that it starts."""
    folder = tmp_path_factory.mktemp("distribution")
    (folder / "capitals_task.py").write_text(TASK)
    (folder / "capitals_checked.py").write_text(CHECKED)
    (folder / "capitals_broken.py").write_text("import no_such_module_at_all\n")
    facts = folder / "capitals-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: capitals\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=":")
        yield folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", BUCKET) as running:
        yield running


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def ask(
    tmp_path_factory: pytest.TempPathFactory, distribution: Path, server: SeaweedFS, receiver: Receiver
) -> Iterator[Callable[..., dict[str, Any]]]:
    """The handler, its warm process behind it, as an operator sets it up."""
    given = {
        "SNAKEFOLD_STORE": str(tmp_path_factory.mktemp("store")),
        "RUNPOD_VOLUME_PATH": "/nowhere",
        "STORAGE_S3_ENDPOINT": server.endpoint,
        "STORAGE_ACCESS_KEY": WRITER.access,
        "STORAGE_SECRET_KEY": WRITER.secret,
        "STORAGE_BUCKET": BUCKET,
        "STORAGE_READ_PREFIXES": "inputs/{user_id}/",
        "STORAGE_WRITE_PREFIXES": "outputs/{user_id}/{job_id}/",
        "GPU_CALLBACK_SECRET": SECRET,
        "SNAKEFOLD_CALLBACK_HOSTS": f"http://{receiver.host}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        jobs._warm.drop(grace=0.0)
        try:
            yield lambda **job: asyncio.run(jobs.handler({"id": "test", "input": job}))
        finally:
            jobs._warm.drop(grace=0.0)


def message(receiver: Receiver, **changes: Any) -> dict[str, Any]:
    """As programs send it, without a task."""
    items = [
        {
            "idx": idx,
            "input_key": f"inputs/u_abc/job_123/{idx}.txt",
            "output_key": f"outputs/u_abc/job_123/{idx}.txt",
        }
        for idx in range(4)
    ]
    items[3]["input_key"] = "inputs/u_xyz/secret.txt"
    return {
        "job_id": "job_123",
        "user_id": "u_abc",
        "preset": "interior",
        "items": items,
        "callback_url": receiver.url,
        "idempotency_prefix": "job_123",
        **changes,
    }


def test_a_job_of_items_in_the_real_worker(
    ask: Callable[..., dict[str, Any]],
    server: SeaweedFS,
    receiver: Receiver,
    capfd: pytest.CaptureFixture[str],
) -> None:
    receiver.clear()
    client = server.client()
    for name, data in {"0": b"zero", "1": b"one", "2": "zwölf".encode()}.items():
        client.put_object(Bucket=BUCKET, Key=f"inputs/u_abc/job_123/{name}.txt", Body=data)
    client.put_object(Bucket=BUCKET, Key="inputs/u_xyz/secret.txt", Body=b"of another user")
    receiver.answers = [503, 503]
    answer = ask(**message(receiver))
    assert (answer["total_items"], answer["successful_items"], answer["failed_items"]) == (4, 2, 2)
    assert [(each["idx"], each["reason"]) for each in answer["errors"]] == [
        (2, "invalid_input"),
        (3, "invalid_input"),
    ]
    assert "s3://s3-images/inputs/u_xyz/secret.txt: may not be read" in answer["errors"][1]["error"]
    assert answer["callback_failures"] == []
    assert client.get_object(Bucket=BUCKET, Key="outputs/u_abc/job_123/1.txt")["Body"].read() == b"ONE"
    assert client.head_object(Bucket=BUCKET, Key="outputs/u_abc/job_123/1.txt")["Metadata"]["request"]
    assert {key: body["status"] for key, body in receiver.kept.items()} == {
        "job_123:0": "done",
        "job_123:1": "done",
        "job_123:2": "failed",
        "job_123:3": "failed",
    }
    assert receiver.kept["job_123:0"]["output_key"] == "outputs/u_abc/job_123/0.txt"
    for call in receiver.seen:
        jsonschema.validate(call.body, SCHEMA)
    assert len(receiver.seen) == 6

    # It comes again: nothing is computed again, and the receiver hears the same.
    kept = dict(receiver.kept)
    again = ask(**message(receiver))
    assert (again["successful_items"], again["ready_items"]) == (2, 2)
    assert "computing 0" not in again["log"] and "computing 2" in again["log"]
    assert receiver.kept == kept and len(receiver.seen) == 10

    # What is done for another request is not taken for this one.
    changed = message(receiver, items=message(receiver)["items"][:1], idempotency_prefix="job_124")
    assert ask(**changed)["ready_items"] == 0

    # A receiver that does not know the worker: the items are done all the same.
    receiver.answers = [401] * 4
    refused = ask(**message(receiver, idempotency_prefix="job_125"))
    assert refused["successful_items"] == 2
    assert {(each["status"], each["tries"]) for each in refused["callback_failures"]} == {(401, 1)}
    assert refused["callback_failures"][0]["problem"].startswith("127.0.0.1: answered with status 401")

    said = capfd.readouterr()
    everything = json.dumps([answer, again, refused]) + said.out + said.err
    assert "computing 0" in everything
    for secret in (WRITER.secret, WRITER.access, SECRET, "in-the-address"):
        assert secret not in everything


def test_what_a_job_may_not_do_refuses_it_before_anything_starts(
    ask: Callable[..., dict[str, Any]], receiver: Receiver
) -> None:
    receiver.clear()
    refused = told(ask(**message(receiver, callback_url="https://10.0.0.7/hook?token=abc")))
    assert refused["reason"] == "invalid_input"
    assert "callback_url: 10.0.0.7: is none of the hosts" in refused["message"]
    assert receiver.seen == []


def test_tasks_of_other_distributions(ask: Callable[..., dict[str, Any]]) -> None:
    assert ask(task="plain", value=3)["given"] == 3
    assert ask(task="checked", number=3)["number"] == 3
    assert "number: this key is required" in told(ask(task="checked"))["message"]
    assert "did you mean 'number'" in told(ask(task="checked", nummer=3))["message"]
    defect = told(ask(task="fails"))
    assert (defect["reason"], defect["message"]) == ("internal", "RuntimeError: a defect")
    broken = told(ask(task="broken"))
    assert broken["reason"] == "invalid_input"
    assert "capitals_broken:task cannot be loaded" in broken["message"]
    assert "the distribution capitals" in broken["message"]
    # Snakefold's own come first.
    assert told(ask(task="search", target_db="none", query_fasta=">q\nMK\n"))["reason"] == "database_missing"
    with pytest.raises(InvalidInput, match=r"one of search, .* align, broken, capitals, checked, fails"):
        read_input({"task": "no such"})
    with pytest.raises(InvalidInput, match="is no request"):
        read_input({"items": []})
