"""Ids of the jobs that a service ran, beside the results: with them their logs are found there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.run.bill.execution import read_record

#: Programs that know a stage of one job look for `job_id` there.
FILE = "runpod_job.json"


def write_job_ids(results: Path) -> None:
    """Write the ids of the run's jobs at RunPod; no file if there were none.

    Raises:
        SnakefoldError: a record of a job cannot be read.
    """
    jobs = []
    for path in sorted((results / "executions").glob("*.json")):
        record = read_record(path)
        if record is not None and record.executor == "runpod" and record.jobs:
            jobs.append(
                {
                    "batch": path.stem,
                    "endpoint_id": record.endpoint,
                    "job_id": record.jobs[-1],
                    "earlier_job_ids": list(record.jobs[:-1]),
                }
            )
    if not jobs:
        return
    content: dict[str, Any] = {"jobs": jobs}
    if len(jobs) == 1:
        content = {"job_id": jobs[0]["job_id"], "endpoint_id": jobs[0]["endpoint_id"], **content}
    try:
        write_atomically(results / FILE, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise SnakefoldError(f"{results / FILE}: cannot be written ({error.strerror}).") from error
