"""RunPod's job paths: programs that call an endpoint of RunPod call this service by another address.

Source: RunPod's documentation of the operations of a Serverless endpoint.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from snakefold.service import jobs, records
from snakefold.service.desk import Desk, TheDesk, TheUser
from snakefold.service.records import Record, State
from snakefold.service.users import User

router = APIRouter(prefix="/v2/{endpoint}", tags=["Jobs as on RunPod"])

_STATES = {
    State.QUEUED: "IN_QUEUE",
    State.RUNNING: "IN_PROGRESS",
    State.DONE: "COMPLETED",
    State.FAILED: "FAILED",
    State.CANCELLED: "CANCELLED",
    State.TIMED_OUT: "TIMED_OUT",
}
#: Milliseconds, as RunPod has them.
_DAY, _WEEK = 86_400_000, 7 * 86_400_000


class Policy(BaseModel):
    """How long a job may take; milliseconds."""

    model_config = ConfigDict(extra="ignore")

    executionTimeout: int | None = Field(
        None, ge=5_000, le=_WEEK, description="Longest time of its execution."
    )
    ttl: int = Field(_DAY, ge=10_000, le=_WEEK, description="Longest time until it is taken by a worker.")


class JobRequest(BaseModel):
    """A job. Keys that are not named here are ignored, as RunPod does."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [{"input": {"sequence": "MKTAYIAKQRQISFVKSHFSRQ", "db_preset": "single_sequence"}}]
        },
    )

    input: dict[str, Any] = Field(description="A request of the worker: docs/endpoints.md has all of them.")
    policy: Policy = Policy()


class JobView(BaseModel):
    """A job as RunPod shows it; times in milliseconds. A key without a value is left out."""

    id: str
    status: str = Field(examples=["IN_QUEUE", "COMPLETED"])
    delayTime: int | None = None
    executionTime: int | None = None
    workerId: str | None = None
    output: Any = None
    error: str | None = None


def _known(endpoint: str, desk: TheDesk) -> str:
    if endpoint not in desk.settings.endpoints:
        raise HTTPException(
            404, f"There is no endpoint of this name. There are: {', '.join(desk.settings.endpoints)}."
        )
    return endpoint


def view(record: Record) -> dict[str, Any]:
    """A job as RunPod shows it."""
    shown: dict[str, Any] = {"id": record.id, "status": _STATES[record.state]}
    if record.started is not None:
        shown["delayTime"] = round((record.started - record.created) * 1000)
        shown["workerId"] = record.worker
        if record.ended is not None:
            shown["executionTime"] = round((record.ended - record.started) * 1000)
    output = jobs.output_of(record)
    if output is not None:
        shown["output"] = output
    if record.error:
        shown["error"] = record.error
    return shown


def _take(desk: Desk, user: User, endpoint: str, request: JobRequest, prefix: str) -> Record:
    _known(endpoint, desk)
    limit = request.policy.executionTimeout
    facts = {
        "endpoint": endpoint,
        "execution_timeout": limit / 1000 if limit else None,
        "ttl": request.policy.ttl / 1000,
    }
    return jobs.accept(desk, user, request.input, name=f"{prefix}{uuid.uuid4()}-e1", facts=facts)


@router.post("/run", response_model=JobView, response_model_exclude_unset=True)
def run(endpoint: str, request: JobRequest, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """Accept a job; its state is asked for with /status."""
    return {"id": _take(desk, user, endpoint, request, "").id, "status": _STATES[State.QUEUED]}


@router.post("/runsync", response_model=JobView, response_model_exclude_unset=True)
async def runsync(
    endpoint: str,
    request: JobRequest,
    desk: TheDesk,
    user: TheUser,
    wait: Annotated[
        int, Query(ge=1000, le=300_000, description="Longest time to wait, milliseconds.")
    ] = 90_000,
) -> dict[str, Any]:
    """Accept a job and answer when it has ended, or with its state after `wait`."""
    record = await run_in_threadpool(_take, desk, user, endpoint, request, "sync-")
    return view(await jobs.wait_for(record.folder, wait / 1000))


@router.get("/status/{job}", response_model=JobView, response_model_exclude_unset=True)
async def status(endpoint: str, job: str, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """The state of a job, and its output once it has ended."""
    _known(endpoint, desk)
    return view(desk.find("job", job, user))


@router.get("/stream/{job}")
async def stream(endpoint: str, job: str, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """What a job gives piece by piece. No task of this worker does: the list is empty."""
    _known(endpoint, desk)
    record = desk.find("job", job, user)
    return {"id": record.id, "status": _STATES[record.state], "stream": []}


@router.post("/cancel/{job}")
def cancel(endpoint: str, job: str, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """End a job. One that has ended stays as it is."""
    _known(endpoint, desk)
    record = desk.find("job", job, user)
    records.end(record.folder, State.CANCELLED)
    return {"id": record.id, "status": _STATES[records.read(record.folder).state]}


@router.post("/retry/{job}")
def retry(endpoint: str, job: str, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """Let a job that failed or took too long wait again, under its id."""
    _known(endpoint, desk)
    record = desk.find("job", job, user)
    if record.state not in (State.FAILED, State.TIMED_OUT):
        raise HTTPException(
            400, f"Only jobs that are FAILED or TIMED_OUT can be retried, this is {_STATES[record.state]}."
        )
    records.reopen(record.folder)
    desk.queues.put(record)
    return {"id": record.id, "status": _STATES[State.QUEUED]}


@router.post("/purge-queue")
def purge(endpoint: str, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """Cancel those of your jobs that wait."""
    _known(endpoint, desk)
    removed = 0
    for record in records.still_open(desk.settings.folder / "jobs"):
        mine = record.user == user.user and record.facts.get("endpoint") == endpoint
        if mine and record.state is State.QUEUED:
            removed += records.end(record.folder, State.CANCELLED)
    return {"removed": removed, "status": "completed"}


@router.get("/health")
def health(endpoint: str, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """How many of your jobs are in which state, and how many workers there are."""
    _known(endpoint, desk)
    counts: Counter[str] = Counter()
    for record in records.every(desk.settings.folder / "jobs"):
        if record.user == user.user and record.facts.get("endpoint") == endpoint:
            counts[_STATES[record.state]] += 1
    running = counts["IN_PROGRESS"]
    idle = max(desk.settings.workers.jobs - running, 0)
    return {
        "jobs": {
            "completed": counts["COMPLETED"],
            "failed": counts["FAILED"] + counts["TIMED_OUT"],
            "inProgress": running,
            "inQueue": counts["IN_QUEUE"],
            "retried": 0,
        },
        "workers": {
            "idle": idle,
            "initializing": 0,
            "ready": idle,
            "running": running,
            "throttled": 0,
            "unhealthy": 0,
        },
    }
