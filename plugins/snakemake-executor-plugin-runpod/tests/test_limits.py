"""Many jobs in flight stay within RunPod's documented limits, which the emulator enforces."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from flying import flying
from tests.emulator import Scaling


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
