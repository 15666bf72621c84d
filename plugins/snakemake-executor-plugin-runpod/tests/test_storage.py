"""Files through a real S3 server: presigned URLs, a volume's S3 interface, outages, a full disk."""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flying import Flying, flying, wait
from running import command, environment, prepare, run
from stored import BIG, keys_in, storage_of
from tests.servers.seaweedfs import READER, WRITER, SeaweedFS, serving
from workers import SmallWorker, expected, service_of

from snakefold.clusters.emulator import Fault
from snakemake_executor_plugin_runpod.errors import JobError, UnavailableError
from snakemake_executor_plugin_runpod.storage import Storage
from snakemake_executor_plugin_runpod.trip import Trip

#: Nobody learns that a job has ended until `found.service.call(see)`.
UNSEEN = Fault("status", call="status", status=503)


def see(emulator: Any) -> None:
    emulator.faults.clear()


class Volume:
    """What a worker sees of a network volume: the bucket, as files."""

    def __init__(self, server: SeaweedFS) -> None:
        self._client = server.client()

    def read(self, path: str) -> bytes:
        return self._client.get_object(Bucket="files", Key=path)["Body"].read()

    def write(self, path: str, data: bytes) -> None:
        self._client.put_object(Bucket="files", Key=path, Body=data)


def test_large_inputs_and_results_travel_by_presigned_urls(
    tmp_path: Path, server: SeaweedFS, storage: Storage
) -> None:
    with flying(tmp_path, storages={"s3": storage}, prefix="by-url") as found:
        trips = found.carry(found.task(0, data=BIG), found.task(1, data=BIG))
        assert [trip.error for trip in trips] == [None, None]
        assert found.good(0, BIG) and found.good(1, BIG)
        inputs = [job.input for job in found.service.jobs]
    # One object for both jobs; neither it nor their results are left.
    addresses = {job["files"]["data"]["url"].partition("?")[0] for job in inputs}
    assert len(addresses) == 1 and "base64" not in str(inputs)
    assert keys_in(server, "by-url/") == []


def test_small_inputs_go_inline_and_results_of_unknown_size_through_storage(
    tmp_path: Path, storage: Storage
) -> None:
    with flying(tmp_path, storages={"s3": storage}) as found:
        trip = found.engine.carry(found.task())
        wait(lambda: trip.finished)
        (job,) = found.service.jobs
        assert "base64" in job.input["files"]["data"] and "url" in job.input["results"]["archive"]
        assert trip.error is None and found.good()


def test_inline_is_inline_whatever_storage_there_is(tmp_path: Path, storage: Storage) -> None:
    with flying(tmp_path, storages={"s3": storage}, transfer="s3") as found:
        (trip,) = found.carry(found.task(transfer="inline"))
        assert trip.error is None and found.good()
        (job,) = found.service.jobs
        assert "base64" in job.input["files"]["data"]
        assert job.input["results"] == {"archive": {"inline": True}}


def test_files_on_a_network_volume(tmp_path: Path, server: SeaweedFS) -> None:
    volume = storage_of(server, volume=True)
    worker = SmallWorker(storage=Volume(server))
    with flying(
        tmp_path, worker=worker, storages={"volume": volume}, transfer="volume", prefix="vol"
    ) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is None and found.good()
        (job,) = found.service.jobs
        # A volume knows no presigned URLs: nothing but paths is sent.
        assert "http" not in str(job.input) and job.input["results"]["archive"]["path"].startswith(
            "vol/results/"
        )


@pytest.mark.parametrize("keys", [None, ("nobody", "nothing"), (READER.access, READER.secret)])
def test_storage_that_refuses_is_an_error_at_once(
    tmp_path: Path, server: SeaweedFS, keys: Any, monkeypatch: Any
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    refused = storage_of(server, keys=keys)
    with flying(tmp_path, storages={"s3": refused}, prefix="refused", transfer="s3") as found:
        (trip,) = found.carry(found.task())
        assert trip.error is not None and "storage" in str(trip.error)
        assert found.service.jobs == []


def test_a_bucket_that_does_not_exist(tmp_path: Path, server: SeaweedFS) -> None:
    storage = Storage("none", endpoint_url=server.endpoint, keys=(WRITER.access, WRITER.secret))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(JobError, match="bucket none"):
        storage.upload(tmp_path / "file", "key", 1)


@pytest.fixture
def stored_unseen(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A function: a job whose result is stored and not collected, and storage that dies then."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path_factory.mktemp("dies"), "files"))

        def begin(patience: float) -> tuple[SeaweedFS, Flying, Trip]:
            storages = {"s3": storage_of(server)}
            found = stack.enter_context(
                flying(tmp_path, UNSEEN, storages=storages, transfer="s3", patience=patience)
            )
            trip = found.engine.carry(found.task(data=BIG))
            wait(lambda: any(str(job.state) == "COMPLETED" for job in found.service.jobs))
            server.kill()
            found.service.call(see)
            return server, found, trip

        yield begin


@pytest.mark.slow
def test_an_outage_in_the_middle_is_waited_for(stored_unseen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = threading.Event()
    download = Storage.download

    def watched(*given: Any) -> str:
        try:
            return download(*given)
        except UnavailableError:
            refused.set()
            raise

    monkeypatch.setattr(Storage, "download", watched)
    server, found, trip = stored_unseen(patience=1200.0)
    assert refused.wait(1200) and not trip.finished
    server.start()
    wait(lambda: trip.finished)
    assert trip.error is None and found.good(data=BIG)
    assert len(found.service.jobs) == 1


@pytest.mark.slow
def test_an_outage_that_lasts_costs_nothing_twice(tmp_path: Path, stored_unseen: Any) -> None:
    server, found, trip = stored_unseen(patience=0.5)
    wait(lambda: trip.finished)
    assert trip.error is not None and trip.error.reason == "storage"
    assert not (tmp_path / "out/0.bin").exists()
    server.start()
    (again,) = found.carry(found.task(data=BIG))
    assert again.error is None and found.good(data=BIG)
    assert len(found.service.jobs) == 1


def test_results_that_storage_has_lost(tmp_path: Path, server: SeaweedFS, storage: Storage) -> None:
    with flying(tmp_path, UNSEEN, storages={"s3": storage}, transfer="s3", prefix="lost") as found:
        trip = found.engine.carry(found.task())
        wait(lambda: any(str(job.state) == "COMPLETED" for job in found.service.jobs))
        for key in keys_in(server, "lost/results/"):
            server.client().delete_object(Bucket="files", Key=key)
        found.service.call(see)
        wait(lambda: trip.finished)
        assert trip.error is not None and "not there" in str(trip.error)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: b"x" + data[1:], lambda data: data + b"x"]
)
def test_results_that_storage_has_spoiled(
    tmp_path: Path, server: SeaweedFS, storage: Storage, change: Any
) -> None:
    with flying(tmp_path, UNSEEN, storages={"s3": storage}, transfer="s3", prefix="spoiled") as found:
        trip = found.engine.carry(found.task())
        wait(lambda: any(str(job.state) == "COMPLETED" for job in found.service.jobs))
        for key in keys_in(server, "spoiled/results/"):
            data = server.client().get_object(Bucket="files", Key=key)["Body"].read()
            server.client().put_object(Bucket="files", Key=key, Body=change(data))
            found.service.call(see)
            wait(lambda: trip.finished)
            server.client().delete_object(Bucket="files", Key=key)
        assert trip.error is not None
        assert not (tmp_path / "out/0.bin").exists()


def test_too_large_for_inline_and_nowhere_to_put_it(tmp_path: Path) -> None:
    with flying(tmp_path) as found:
        (trip,) = found.carry(found.task(data=BIG))
        assert trip.error is not None and "--runpod-bucket" in str(trip.error)
        assert found.service.jobs == []


def _puts_elsewhere(server: SeaweedFS, **where: str) -> Any:
    """A worker that puts every result on its volume, as it does with what is too large to be inline."""

    class Worker(SmallWorker):
        async def __call__(self, job: Any) -> Any:
            answer = await super().__call__(job)
            result = answer["results"]["archive"]
            data = base64.b64decode(result.pop("base64"))
            server.client().put_object(Bucket="files", Key="snakefold-results/x", Body=data)
            result.update(stored=True, **where)
            return answer

    return Worker()


def test_a_result_on_the_volume_that_nobody_can_read_is_paid_once(tmp_path: Path, server: SeaweedFS) -> None:
    worker = _puts_elsewhere(server, path="snakefold-results/x")
    with flying(tmp_path, worker=worker) as found:
        for _ in range(2):  # as Snakemake's retries do
            (trip,) = found.carry(found.task())
            assert trip.error is not None and trip.error.reason == "unreadable"
            assert "--runpod-volume and --runpod-datacenter" in str(trip.error)
            assert "not lost" in str(trip.error)
        assert len(found.service.jobs) == 1
        # With the volume's keys the same job's result is had, without another job.
        found.engine._transfer._storages["volume"] = storage_of(server, volume=True)
        (trip,) = found.carry(found.task())
        assert trip.error is None and found.good()
        assert len(found.service.jobs) == 1


def test_a_result_in_the_workers_own_store_is_named(tmp_path: Path, server: SeaweedFS) -> None:
    with flying(tmp_path, worker=_puts_elsewhere(server, store="response/results/x")) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is not None and "in its own store" in str(trip.error)


def _no_namespaces() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is None
        or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode != 0
    )


@pytest.mark.skipif(_no_namespaces(), reason="needs user namespaces, to mount a small disk")
def test_a_full_disk_loses_no_result(tmp_path: Path) -> None:
    """The output folder is a disk of 64 kB in the first run; the second collects what was paid for."""
    with service_of() as service:
        prepare(tmp_path, 1)
        (tmp_path / "in/0.bin").write_bytes(BIG[:200_000])
        (tmp_path / "out").mkdir()
        arguments = command(tmp_path, service.url, 1)
        small = 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && exec "$@"'
        code, text = run(
            tmp_path,
            ["unshare", "-rm", "sh", "-c", small, "sh", str(tmp_path / "out"), *arguments],
            environment(tmp_path),
        )
        assert code != 0 and "No space left" in text, text
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 0, text
        assert len(service.jobs) == 1
    assert (tmp_path / "out/0.bin").read_bytes() == expected({"i": 0, "seconds": 0.05}, [BIG[:200_000]])


def test_a_fault_of_the_answer_and_not_of_storage_is_tried_again(tmp_path: Path, storage: Storage) -> None:
    with flying(tmp_path, Fault("truncated", call="status", nth=(1, 2)), storages={"s3": storage}) as found:
        (trip,) = found.carry(found.task())
        assert trip.error is None and found.good()
