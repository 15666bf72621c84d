"""The real worker loop of RunPod's SDK, around the real handler, in the emulated service."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snakefold.clusters.emulator import EmulatorThread, ProcessWorkers, Scaling, State
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, FoldResponse
from snakefold.kernel.store import Entry, open_store
from tests.engine.toys import make_target
from tests.worker.conftest import SEQUENCES, data_of, envelope, fold_request, processes_of, told

pytest.importorskip("runpod", reason="needs runpod: pip install -e .[worker]")
pytestmark = pytest.mark.slow

#: For a machine with much else to do; what is waited for comes, or never.
_PATIENCE = 600.0


@dataclass
class Endpoint:
    """An endpoint of the emulator with one real worker at most."""

    service: EmulatorThread
    workers: ProcessWorkers
    folder: Path

    @property
    def store(self) -> Any:
        return open_store(self.folder / "store")

    def submit(self, given: dict[str, Any]) -> Any:
        return self.service.call(lambda emulator: emulator.endpoints["fold"].submit(given))

    def finished(self, job: Any) -> Any:
        wait_until(lambda: self.service.call(lambda _: job.state.final))
        return job

    def answer(self, given: dict[str, Any]) -> dict[str, Any]:
        """Output of a job that succeeds."""
        job = self.finished(self.submit(given))
        assert job.state == "COMPLETED", job.error
        output: dict[str, Any] = job.output
        return output

    def failure(self, given: dict[str, Any]) -> dict[str, str]:
        """What a job that fails says."""
        job = self.finished(self.submit(given))
        assert job.state == "FAILED"
        return told({"error": job.error})

    def log(self) -> str:
        ids = self.service.call(lambda emulator: list(emulator.endpoints["fold"].workers))
        return "".join(self.workers.log(name) for name in ids)


def wait_until(true: Callable[[], Any], seconds: float = _PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def endpoint(
    tmp_path_factory: pytest.TempPathFactory, new_environment: Callable[[Path], dict[str, str]]
) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("loop")
    secrets = {"AWS_SECRET_ACCESS_KEY": "never-shown-4f1d", "AWS_ACCESS_KEY_ID": "never-shown-id"}
    command = [sys.executable, "-u", "-m", "snakefold.worker.handler"]
    workers = ProcessWorkers(
        command,
        env={**new_environment(folder), **secrets, "SNAKEFOLD_PROGRESS_SECONDS": "0.01"},
        ping_seconds=1,
    )
    scaling = Scaling(workers_max=1, queue_delay=0.5, idle_timeout=300)
    endpoint = {"workers": workers, "scaling": scaling, "execution_timeout": 3600}
    with EmulatorThread({"fold": endpoint}) as service:
        yield Endpoint(service, workers, folder)
    wait_until(lambda: not processes_of(folder))


def response_of(data: bytes) -> FoldResponse:
    return FoldResponse.model_validate_json(archive.unpack(data)["response.json"])


def test_a_batch_comes_back_and_again_without_work(endpoint: Endpoint) -> None:
    request = fold_request(("a", "b"))
    given = envelope(request)
    output = endpoint.answer(given)
    assert output["version"] == 1
    assert output["digest"] == given["digest"]
    assert output["worker"]["gpu"] == "CPU"
    assert output["worker"]["id"]
    assert "2/2 b (19): done" in output["log"]
    assert output["seconds"]["total"] > 0
    data = data_of(output["results"]["archive"])
    files = archive.unpack(data)
    for target in request.targets:
        members = archive.unpack(files[f"targets/{target.key}.tar.zst"])
        assert b"REHEARSAL" in members["ranked_0.pdb"]
    again = endpoint.answer(given)
    assert data_of(again["results"]["archive"]) == data
    assert "to predict" not in again["log"]
    # The same targets in another batch: nothing is computed, and nothing loaded.
    other = endpoint.answer(envelope(fold_request(("a", "b"), batch="b0002")))
    assert all(outcome.stored for outcome in response_of(data_of(other["results"]["archive"])).outcomes)
    assert "never-shown" not in endpoint.log()


def test_results_go_to_the_volume_and_parts_come_from_it(endpoint: Endpoint) -> None:
    request = fold_request(("a",), batch="b0003")
    given = envelope(request)
    part = given["files"]["inputs"]
    (endpoint.folder / "volume" / "runs").mkdir()
    (endpoint.folder / "volume" / "runs" / "inputs.tar.zst").write_bytes(data_of(part))
    del part["base64"]
    output = endpoint.answer(
        envelope(request, sink={"path": "runs/out/b3.tar.zst"}, part={**part, "path": "runs/inputs.tar.zst"})
    )
    result = output["results"]["archive"]
    assert result["stored"] is True
    written = (endpoint.folder / "volume" / "runs" / "out" / "b3.tar.zst").read_bytes()
    assert len(written) == result["size"]
    assert response_of(written).outcomes[0].state == "done"


def test_failures_have_their_reasons(endpoint: Endpoint) -> None:
    good = envelope(fold_request(("c",)))
    wrong_sum = envelope(fold_request(("c",)))
    wrong_sum["files"]["inputs"]["sha256"] = "0" * 64
    official = envelope(fold_request(("c",), rehearsal=False))
    assert endpoint.failure(wrong_sum)["reason"] == "invalid_input"
    assert endpoint.failure(official)["reason"] == "weights_missing"
    unknown = endpoint.failure({**good, "resluts": {}})
    assert unknown["reason"] == "invalid_input"
    assert "did you mean 'results'" in unknown["message"]
    missing = endpoint.failure({"task": "search", "query_fasta": ">q\nMKTAYIAK\n", "target_db": "none"})
    assert missing["reason"] == "database_missing"
    assert set(missing) == {"reason", "message", "log"}


def long_request() -> FoldRequest:
    """A batch that takes minutes: nobody waits for its end."""
    return fold_request(("a",), bucket_edges=[200], num_recycle=48, num_seeds=50, batch="long")


def test_cancel_kills_what_works_and_blames_nobody(endpoint: Endpoint) -> None:
    before = endpoint.log().count("long: 1 target, 1 to predict")
    job = endpoint.submit(envelope(long_request().model_copy(update={"recipe": "1" * 16})))
    attempt = Entry("attempt", "1" * 16, long_request().targets[0].result_key)
    wait_until(lambda: endpoint.store.has(attempt))
    assert endpoint.log().count("long: 1 target, 1 to predict") == before + 1
    workers = processes_of(endpoint.folder)
    assert endpoint.service.call(lambda e: e.endpoints["fold"].jobs.end(job, State.CANCELLED))
    wait_until(lambda: len(processes_of(endpoint.folder)) < len(workers))
    wait_until(lambda: not endpoint.store.has(attempt))
    # The worker itself goes on.
    after = endpoint.submit(envelope(fold_request(("a",), batch="b0004")))
    assert endpoint.finished(after).state == "COMPLETED"
    assert after.worker == job.worker


def test_a_killed_worker_loses_one_target_at_most(endpoint: Endpoint) -> None:
    request = fold_request(tuple(SEQUENCES), recipe="2" * 16, batch="b0005", num_seeds=10)
    job = endpoint.submit(envelope(request))
    first = Entry("fold", "2" * 16, request.targets[0].result_key)
    wait_until(lambda: endpoint.store.has(first))
    wait_until(lambda: job.output == {"progress": {"done": 1, "of": 3}})
    for process in processes_of(endpoint.folder):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue
    endpoint.finished(job)
    assert job.state == "COMPLETED", job.error
    assert [attempt.outcome for attempt in job.attempts] == ["LOST", "COMPLETED"]
    response = response_of(data_of(job.output["results"]["archive"]))
    assert [outcome.state for outcome in response.outcomes] == ["done"] * 3
    assert response.outcomes[0].stored
    assert not response.outcomes[2].stored


def test_an_out_of_memory_is_an_outcome_and_refreshes_the_worker(
    tmp_path: Path, new_environment: Callable[[Path], dict[str, str]]
) -> None:
    """Too little address space for the network's largest array, so that XLA itself runs out."""
    letters = random.Random(1)
    long = "".join(letters.choice("ACDEFGHIKLMNPQRSTVWY") for _ in range(1700))
    request = fold_request(
        targets=[make_target("long", long), make_target("a", SEQUENCES["a"])], bucket_edges=[], models=[1]
    )
    limited = f"ulimit -v 9000000; exec {sys.executable} -u -m snakefold.worker.handler"
    workers = ProcessWorkers(["bash", "-c", limited], env=new_environment(tmp_path))
    scaling = Scaling(workers_max=1, queue_delay=0.5, idle_timeout=300)
    settings = {"workers": workers, "scaling": scaling, "execution_timeout": 3600}
    with EmulatorThread({"fold": settings}) as service:
        endpoint = Endpoint(service, workers, tmp_path)
        job = endpoint.finished(endpoint.submit(envelope(request)))
        assert job.state == "COMPLETED", job.error
        outcomes = response_of(data_of(job.output["results"]["archive"])).outcomes
        assert [str(each.reason or each.state) for each in outcomes] == ["out_of_memory", "done"]
        worker = service.call(lambda e: e.endpoints["fold"].workers[job.worker])
        wait_until(lambda: worker.gone)
        assert worker.reason == "refresh_worker"
    # The failure is not what the next try gets: a larger GPU may have the memory.
    assert not list((tmp_path / "store").glob("response/*"))
