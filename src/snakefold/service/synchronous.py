"""POST /run: a request, and its result in the answer, for programs that know no queue.

Programs that send `{"input": …}` read `status` and `output`. Those that send a request alone read its answer.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from snakefold.service import jobs, records
from snakefold.service.desk import TheDesk, TheUser
from snakefold.service.records import State

router = APIRouter(tags=["One request, one answer"])
#: How long a job may take before the connection is given up; its result is then asked for again.
_LONGEST = 24 * 3600.0
_EXAMPLE = {"input": {"sequence": "MKTAYIAKQRQISFVKSHFSRQ", "db_preset": "single_sequence"}}
_FAILURES = {State.FAILED: 500, State.CANCELLED: 409, State.TIMED_OUT: 504}


@router.post("/run")
async def run(
    request: Request, desk: TheDesk, user: TheUser, body: Annotated[dict[str, Any], Body(examples=[_EXAMPLE])]
) -> dict[str, Any]:
    """Do a request and answer with its result. If the client leaves, the job is cancelled."""
    wrapped = isinstance(body.get("input"), dict)
    given = body["input"] if wrapped else body
    record = await run_in_threadpool(jobs.accept, desk, user, given, facts={"endpoint": "run"})
    waited = 0.0
    while not record.state.final and waited < _LONGEST:
        record = await jobs.wait_for(record.folder, 5.0)
        waited += 5.0
        if await request.is_disconnected():
            await run_in_threadpool(records.end, record.folder, State.CANCELLED)
            return {}
    if record.state is not State.DONE:
        raise HTTPException(
            _FAILURES.get(record.state, 504), _reason(record.error) or f"The job is {record.state}."
        )
    output = jobs.output_of(record)
    return {"status": "COMPLETED", "job_id": record.id, "output": output} if wrapped else output


def _reason(error: str) -> str:
    """The message of a failed job, which is JSON for those that read the reason by its name."""
    try:
        said = json.loads(error)
    except ValueError:
        return error
    return str(said.get("message", error)) if isinstance(said, dict) else error
