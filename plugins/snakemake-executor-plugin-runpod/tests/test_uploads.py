"""Inputs in storage are there for as long as a job may read them, and no longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flying import flying, wait
from stored import keys_in, storage_of
from tests.servers.seaweedfs import SeaweedFS
from workers import expected, service_of

from snakefold.clusters.emulator import Fault
from snakemake_executor_plugin_runpod.storage import Storage
from snakemake_executor_plugin_runpod.trip import Trip


def waiting(path: Path) -> dict[str, Any]:
    """A request whose worker reads its inputs once `path` is there."""
    return {"until": str(path)}


def answered(trips: list[Trip]) -> None:
    """Wait for the ids of submitted jobs: who ends before leaves them nameless, although they are live."""
    wait(lambda: all(trip.job for trip in trips))


@pytest.fixture
def through_storage(storage: Storage, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings: everything through storage, under a prefix of the test's own."""
    return {"storages": {"s3": storage}, "transfer": "s3", "prefix": request.node.name}


def test_an_input_is_removed_when_the_last_job_that_reads_it_is_through(
    tmp_path: Path, server: SeaweedFS, through_storage: Any
) -> None:
    with flying(tmp_path, **through_storage) as found:
        inputs = f"{through_storage['prefix']}/inputs/"
        request = waiting(tmp_path / "go")
        late = found.engine.carry(found.task(1, request=request))
        found.carry(found.task(0))
        assert len(keys_in(server, inputs)) == 1
        (tmp_path / "go").touch()
        wait(lambda: late.finished)
        assert late.error is None and (tmp_path / "out/1.bin").read_bytes() == expected(request, [b"data"])
        assert keys_in(server, inputs) == []


def test_inputs_of_a_job_that_failed_stay_for_its_next_try(
    tmp_path: Path, server: SeaweedFS, through_storage: Any
) -> None:
    with flying(tmp_path, Fault("failed", nth=1), **through_storage) as found:
        inputs = f"{through_storage['prefix']}/inputs/"
        (trip,) = found.carry(found.task())
        assert trip.error is not None and len(keys_in(server, inputs)) == 1
        (again,) = found.carry(found.task())
        assert again.error is None and found.good()
        assert keys_in(server, inputs) == []


@pytest.fixture
def service() -> Any:
    with service_of() as found:
        yield found


def test_inputs_of_jobs_that_an_earlier_run_left_stay_for_them(
    tmp_path: Path, server: SeaweedFS, service: Any, through_storage: Any
) -> None:
    go = [tmp_path / "go-0", tmp_path / "go-1"]
    with flying(tmp_path, service=service, **through_storage) as found:
        trips = [found.engine.carry(found.task(i, request=waiting(go[i]))) for i in range(2)]
        answered(trips)
    inputs = f"{through_storage['prefix']}/inputs/"
    with flying(tmp_path, service=service, **through_storage) as found:
        go[0].touch()
        (trip,) = found.carry(found.task(0, request=waiting(go[0])))
        assert trip.error is None and len(keys_in(server, inputs)) == 1
        go[1].touch()
        (trip,) = found.carry(found.task(1, request=waiting(go[1])))
        assert trip.error is None and len(service.jobs) == 2
        assert keys_in(server, inputs) == []


def test_jobs_that_nobody_wants_any_more_keep_no_inputs(
    tmp_path: Path, server: SeaweedFS, service: Any, through_storage: Any
) -> None:
    with flying(tmp_path, service=service, **through_storage) as found:
        answered([found.engine.carry(found.task(1, request={"seconds": 600}))])
    with flying(tmp_path, service=service, **through_storage) as found:
        found.carry(found.task(0))
        assert len(keys_in(server, f"{through_storage['prefix']}/inputs/")) == 1
        found.engine.call(found.engine.cancel_all(strangers_only=True))
        assert keys_in(server, f"{through_storage['prefix']}/") == []


def test_working_directories_share_a_bucket_and_no_object(
    tmp_path: Path, server: SeaweedFS, service: Any, through_storage: Any
) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with (
        flying(folders[0], service=service, **through_storage) as one,
        flying(folders[1], service=service, **through_storage) as other,
    ):
        request = waiting(tmp_path / "go")
        late = [each.engine.carry(each.task(0, request=request)) for each in (other, one)]
        wait(lambda: len(service.live_jobs()) == 2)
        (early,) = one.carry(one.task(1))
        (tmp_path / "go").touch()
        wait(lambda: all(trip.finished for trip in late))
        assert [trip.error for trip in (early, *late)] == [None] * 3
        sinks = {job.input["results"]["archive"]["url"].partition("?")[0] for job in service.jobs}
        inputs = {job.input["files"]["data"]["url"].partition("?")[0] for job in service.jobs}
        assert len(sinks) == 3 and len(inputs) == 2
    assert keys_in(server, f"{through_storage['prefix']}/") == []


def test_nothing_is_removed_from_under_somebody_who_has_found_it(tmp_path: Path, server: SeaweedFS) -> None:
    storage = storage_of(server)
    (tmp_path / "file").write_bytes(b"x")
    storage.upload(tmp_path / "file", "found/key", 1)
    storage.remove("found/key", unless=lambda: True)
    assert keys_in(server, "found/") == ["found/key"]
    storage.remove("found/key")
    assert keys_in(server, "found/") == []
