"""How many jobs are in flight, and how often they are asked about."""

from __future__ import annotations

from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from flying import flying, wait

from snakefold.clusters.emulator import Scaling


def test_hundreds_of_jobs_looked_at_as_often_as_may_be_get_no_429(tmp_path: Path) -> None:
    jobs = 400
    # A look at each of them twenty times a second would be 8,000 calls a second; 200 are allowed.
    everybody = Scaling(workers_min=jobs, workers_max=jobs)
    with flying(tmp_path, scaling=everybody, max_in_flight=jobs, poll_interval=0.05) as found:
        trips = found.carry(*(found.task(i, request={"i": i, "seconds": 4}) for i in range(jobs)))
        assert all(trip.error is None for trip in trips)
        answers = Counter((call.operation, call.status) for call in found.service.calls)
        assert found.service.live_jobs() == []
    assert answers["run", 200] == jobs and answers["status", 200] >= jobs
    assert {status for _, status in answers} == {200}


@pytest.mark.parametrize(
    ("setting", "most"), [({}, 6), ({"max_in_flight": 4}, 4)], ids=["default", "setting"]
)
def test_no_more_jobs_are_in_flight_than_are_of_use(
    tmp_path: Path, setting: dict[str, Any], most: int
) -> None:
    """By default three times as many as the endpoint may have workers."""
    with flying(tmp_path, scaling=Scaling(workers_min=2, workers_max=2), **setting) as found:
        work = {"until": str(tmp_path / "go")}
        trips = [found.engine.carry(found.task(i, request={"i": i, **work})) for i in range(16)]
        wait(lambda: len(found.service.live_jobs()) == most)
        (tmp_path / "go").touch()
        wait(lambda: all(trip.finished for trip in trips))
        assert [trip.error for trip in trips] == [None] * 16
        jobs = found.service.jobs
    changes = sorted([(job.created, 1) for job in jobs] + [(job.finished, -1) for job in jobs])
    assert max(accumulate(change for _, change in changes)) == most
