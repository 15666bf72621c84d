"""The task in snakefold's worker: its own parts, but for the bucket and the receiver, which are in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from test_message import SENT

from conftest import file_of, opened, photograph
from snakefold.kernel.errors import Reason, WeightsMissingError
from snakefold.worker.endpoints.checked import InvalidInput, read_input
from snakefold_images import worker
from snakefold_images.message import Message
from snakefold_images.task import perform
from snakefold_images.weights import REHEARSAL, Weights


class Bucket:
    """Objects of a job, by key, with the digest of the request that they answer."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.requests: dict[str, str] = {}
        self.checked: list[str] = []
        self.scope: dict[str, Any] = {}
        self.lock = threading.Lock()

    def of(self, **scope: Any) -> Bucket:
        self.scope = scope
        return self

    def check(self, *, read: Sequence[str], write: Sequence[str]) -> None:
        self.checked += [*read, *write]

    def read(self, key: str) -> bytes:
        if key not in self.data:
            raise InvalidInput(f"{key}: there is no such object.")
        return self.data[key]

    def answered(self, request: str, keys: Sequence[str]) -> bool:
        return all(self.requests.get(key) == request for key in keys)

    def write(self, key: str, data: bytes, *, media: str, request: str) -> bool:
        assert media in ("image/png", "image/jpeg")
        with self.lock:
            self.data[key], self.requests[key] = data, request
        return True


class Told:
    """Callbacks that are listed."""

    wanted = True

    def __init__(self) -> None:
        self.prefix = ""
        self.failures: list[Any] = []
        self.items: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []

    def item(self, idx: int, status: str, **more: Any) -> bool:
        self.items.append({"idx": idx, "status": status, **more})
        return True

    def job(self, status: str, **more: Any) -> bool:
        self.jobs.append({"status": status, **more})
        return True

    def under(self, _: str | None, __: str | None, prefix: str) -> Told:
        self.prefix = prefix
        return self


@pytest.fixture
def job(drawn: Weights, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Any, Bucket, Told]]:
    monkeypatch.setenv("MODEL_CACHE_DIR", str(drawn.folder))
    bucket = Bucket()

    def run(given: Mapping[str, Any]) -> tuple[Any, Bucket, Told]:
        told = Told()
        context: Any = SimpleNamespace(
            objects=bucket,
            callbacks=told.under,
            settings=SimpleNamespace(batch_concurrency=4),
            progress=None,
            log=print,
        )
        run.told = told  # type: ignore[attr-defined]
        return perform(given, context), bucket, told

    run.bucket = bucket  # type: ignore[attr-defined]
    return run


def items(count: int) -> list[dict[str, Any]]:
    return [
        {
            "idx": n + 5,
            "input_key": f"in/{n}.jpg",
            "output_key": f"out/{n}.png",
            "preview_key": f"out/{n}.jpg",
        }
        for n in range(count)
    ]


def test_a_message_is_done_and_each_item_told_of(job: Any) -> None:
    job.bucket.data = {f"in/{n}.jpg": file_of(photograph(seed=n), "JPEG") for n in (0, 2)}
    job.bucket.data["in/1.jpg"] = b"damaged"
    (response, out_of_memory), bucket, told = job({**SENT, "items": items(3)})
    assert not out_of_memory
    assert (response.total_items, response.successful_items, response.failed_items) == (3, 2, 1)
    assert response.errors[0].idx == 6 and response.errors[0].reason is Reason.INVALID_INPUT
    assert "in/1.jpg: no JPEG" in response.errors[0].error
    assert sorted(response.reports) == [5, 7]
    assert response.warnings == [REHEARSAL]
    assert bucket.scope == {"user_id": "u_abc", "job_id": "job_123"}
    assert set(bucket.checked) == {each[key] for each in items(3) for key in each if key.endswith("_key")}
    assert opened(bucket.data["out/0.png"]).size == (128, 96)
    assert sorted(told.items, key=lambda each: each["idx"]) == [
        {"idx": 5, "status": "done", "output_key": "out/0.png", "preview_key": "out/0.jpg"},
        {"idx": 6, "status": "failed", "error": response.errors[0].error},
        {"idx": 7, "status": "done", "output_key": "out/2.png", "preview_key": "out/2.jpg"},
    ]


def test_whoever_wants_to_know_of_the_job_alone_is_told_of_its_end(job: Any) -> None:
    job.bucket.data = {"in/0.jpg": file_of(photograph(), "JPEG")}
    _, _, told = job({**SENT, "items": items(2), "job_callback_url": "https://workers.example/jobs/1"})
    assert told.jobs == [{"status": "done", "total_items": 2, "successful_items": 1, "failed_items": 1}]


def test_a_message_that_comes_twice_is_told_of_twice_and_computed_once(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.bucket.data = {"in/0.jpg": file_of(photograph(), "JPEG")}
    job({**SENT, "items": items(1)})
    monkeypatch.setattr(worker, "edit_picture", None)
    (response, _), _, told = job({**SENT, "items": items(1), "callback_url": "https://other.example/"})
    assert (response.successful_items, response.ready_items) == (1, 1)
    assert told.items[0]["status"] == "done"
    other = {**SENT["concepts"], "Floor": {"action": "recolor", "value": "walnut"}}
    (response, _), _, _ = job({**SENT, "items": items(1), "concepts": other})
    assert response.failed_items == 1  # it was computed, which this test does not allow
    job.bucket.data["in/0.jpg"] = file_of(photograph(seed=1), "JPEG")
    (response, _), _, _ = job({**SENT, "items": items(1)})
    assert response.failed_items == 1  # as was the other image under the same key


def test_without_parameters_nothing_is_begun(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODEL_CACHE_DIR")
    with pytest.raises(WeightsMissingError, match="MODEL_CACHE_DIR"):
        job({**SENT, "items": items(2)})
    assert job.told.prefix == "job_123:failed"
    assert {each["idx"] for each in job.told.items} == {5, 6}
    assert all("MODEL_CACHE_DIR" in each["error"] for each in job.told.items)
    assert job.told.jobs[0]["status"] == "failed"


def test_the_workers_own_checks_name_what_is_wrong() -> None:
    assert isinstance(read_input(SENT), Message)
    assert isinstance(read_input({**SENT, "task": "images"}), Message)
    with pytest.raises(InvalidInput, match="unknown preset 'exterior'"):
        read_input({**SENT, "preset": "exterior"})
    with pytest.raises(InvalidInput, match="unknown key 'protekt'; did you mean 'protect'"):
        read_input({**SENT, "task": "images", "protekt": []})
