"""RunPod's job paths: programs that call an endpoint of RunPod call this service by another address.

Source: RunPod's documentation of the operations of a Serverless endpoint.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from snakefold.kernel.envelope import Url
from snakefold.service import files, jobs, records, webhooks
from snakefold.service.answers import Responses, refusals
from snakefold.service.desk import TheDesk, TheUser
from snakefold.service.records import Record, State

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
#: What `lowPriority` takes from a user's priority: more than two users can differ.
_BEHIND = 1000


_UNKNOWN: Responses = refusals(
    _401="No known token.", _404="No such endpoint, or no job of yours with this id."
)
_SUBMISSION: Responses = {
    **_UNKNOWN,
    **refusals(
        _400="The input is no request of a worker's.",
        _413="The request is too large.",
        _429="Too many of your jobs have not ended, or your quota of today is spent.",
    ),
}
router = APIRouter(prefix="/v2/{endpoint}", tags=["Jobs as on RunPod"])


class Policy(BaseModel):
    """How long a job may take, in milliseconds, and whether it goes behind others."""

    model_config = ConfigDict(extra="ignore")

    executionTimeout: int | None = Field(
        None, ge=5_000, le=_WEEK, description="Longest time of its execution."
    )
    ttl: int = Field(
        _DAY, ge=10_000, le=_WEEK, description="Longest time until a worker takes it; then it is TIMED_OUT."
    )
    lowPriority: bool = Field(False, description="Go behind all jobs that do not say this.")


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
    webhook: Annotated[Url, AfterValidator(webhooks.callable_address)] | None = Field(
        None,
        description="https address that the job's state is POSTed to once it has ended: three tries, until "
        "one is answered with status 200. One that would never be called is refused.",
    )
    s3Config: Any = Field(None, description="Refused: no worker of this service writes to such a bucket.")


class JobView(BaseModel):
    """A job as RunPod shows it; times in milliseconds. A key without a value is left out."""

    id: str
    status: Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]
    delayTime: int | None = Field(None, description="From submission until a worker took it.")
    executionTime: int | None = Field(None, description="From then until its end.")
    workerId: str | None = None
    output: Any = Field(None, description="The answer, or how far the job is.")
    error: str | None = None


class Submitted(BaseModel):
    """A job that was accepted, or cancelled, or waits again."""

    id: str
    status: str = Field(examples=["IN_QUEUE", "CANCELLED"])


class Stream(Submitted):
    """What a job gave piece by piece."""

    stream: list[Any] = Field([], description="Empty: no task of a worker here does.")


class Purged(BaseModel):
    """What was removed from the queue."""

    removed: int
    status: str = "completed"


class JobCounts(BaseModel):
    """Jobs of a user at an endpoint, by state. Those that have ended are counted for good."""

    completed: int
    failed: int = Field(description="FAILED and TIMED_OUT.")
    inProgress: int
    inQueue: int
    retried: int = 0


class WorkerCounts(BaseModel):
    """Workers of this service."""

    idle: int
    initializing: int = 0
    ready: int
    running: int
    throttled: int = 0
    unhealthy: int = 0


class Health(BaseModel):
    """State of an endpoint."""

    jobs: JobCounts
    workers: WorkerCounts


_EXAMPLE = {"id": "7c6f0b53-0d3a-4f0e-9c4e-1a5cf1b0a2f4-e1", "status": "COMPLETED", "output": {"version": 1}}
#: Answers that are made here as text, for an output may have megabytes that nobody needs to read.
_VIEW: Responses = {
    200: {
        "model": JobView,
        "description": "The job.",
        "content": {"application/json": {"example": _EXAMPLE}},
    }
}


class Call:
    """A call of an endpoint: of which one, and by whom."""

    def __init__(self, endpoint: str, desk: TheDesk, user: TheUser, request: Request) -> None:
        """Raises HTTPException: 404, there is no such endpoint."""
        if endpoint not in desk.settings.endpoints:
            known = ", ".join(desk.settings.endpoints)
            raise HTTPException(404, f"There is no endpoint of this name. There are: {known}.")
        self.endpoint, self.desk, self.user = endpoint, desk, user
        self.base = jobs.base_of(request)

    def find(self, job: str) -> Record:
        """A job of the user's.

        Raises:
            HTTPException: 404, there is none.
        """
        return self.desk.find("job", job, self.user)

    def answer(self, record: Record) -> Response:
        """A job with its output."""
        text = with_output(record, self.base, files.secret_of(self.desk.settings.folder))
        return Response(text, media_type="application/json")


TheCall = Annotated[Call, Depends()]


def view(record: Record) -> dict[str, Any]:
    """A job as RunPod shows it, without its output."""
    shown: dict[str, Any] = {"id": record.id, "status": _STATES[record.state]}
    if record.started is not None:
        shown["delayTime"] = round((record.started - record.created) * 1000)
        shown["workerId"] = record.worker
        if record.ended is not None:
            shown["executionTime"] = round((record.ended - record.started) * 1000)
    if record.error:
        shown["error"] = record.error
    return shown


def with_output(record: Record, base: str, secret: bytes) -> bytes:
    """A job as RunPod shows it, as JSON."""
    text = json.dumps(view(record)).encode()
    output = jobs.output_of(record, base, secret)
    return text if output is None else text[:-1] + b', "output": ' + output + b"}"


def asked(job: JobRequest, endpoint: str, base: str) -> dict[str, Any]:
    """What `jobs.accept` is told of a job besides its input.

    Args:
        endpoint: name that it was sent to.
        base: address of this service.

    Raises:
        HTTPException: 400, it asks for what there is not.
    """
    if job.s3Config is not None:
        raise HTTPException(
            400,
            "s3Config: no worker of this service writes to a bucket of yours. Leave it out: results are in "
            "the answer, or behind an address in it. Or send a sink with a presigned `url`.",
        )
    limit = job.policy.executionTimeout
    facts: dict[str, Any] = {
        "endpoint": endpoint,
        "execution_timeout": limit / 1000 if limit else None,
        "ttl": job.policy.ttl / 1000,
    }
    if job.webhook is not None:
        facts |= {"webhook": job.webhook, "base": base}
    return {"facts": facts, "behind": _BEHIND if job.policy.lowPriority else 0}


def _take(call: Call, job: JobRequest, prefix: str = "") -> Record:
    name = f"{prefix}{uuid.uuid4()}-e1"
    more = asked(job, call.endpoint, call.base)
    return jobs.accept(call.desk, call.user, job.input, name=name, **more)


@router.post("/run", response_model=Submitted, responses=_SUBMISSION)
def run(job: JobRequest, call: TheCall) -> dict[str, Any]:
    """Accept a job; its state is asked for with /status."""
    return {"id": _take(call, job).id, "status": _STATES[State.QUEUED]}


@router.post("/runsync", responses={**_SUBMISSION, **_VIEW}, response_class=Response)
async def runsync(
    job: JobRequest,
    call: TheCall,
    wait: Annotated[
        int, Query(ge=1000, le=300_000, description="Longest time to wait, milliseconds.")
    ] = 90_000,
) -> Response:
    """Accept a job and answer when it has ended, or with its state after `wait`."""
    taken = await run_in_threadpool(_take, call, job, "sync-")
    return await run_in_threadpool(call.answer, await jobs.wait_for(taken.folder, wait / 1000))


@router.get("/status/{job}", responses={**_UNKNOWN, **_VIEW}, response_class=Response)
def status(job: str, call: TheCall) -> Response:
    """The state of a job, and its output once it has ended."""
    return call.answer(call.find(job))


@router.get("/stream/{job}", response_model=Stream, responses=_UNKNOWN)
def stream(job: str, call: TheCall) -> dict[str, Any]:
    """What a job gives piece by piece. No task of this worker does: the list is empty."""
    record = call.find(job)
    return {"id": record.id, "status": _STATES[record.state]}


@router.post("/cancel/{job}", response_model=Submitted, responses=_UNKNOWN)
def cancel(job: str, call: TheCall) -> dict[str, Any]:
    """End a job. One that has ended stays as it is, so that a call may be repeated."""
    record = call.find(job)
    return {"id": record.id, "status": _STATES[jobs.stop(record)]}


@router.post(
    "/retry/{job}",
    response_model=Submitted,
    responses={**refusals(_400="It has not failed, or its time to live is over."), **_UNKNOWN},
)
def retry(job: str, call: TheCall) -> dict[str, Any]:
    """Let a job that failed or took too long wait again, under its id."""
    record = call.find(job)
    if record.state not in (State.FAILED, State.TIMED_OUT):
        raise HTTPException(
            400, f"Only jobs that are FAILED or TIMED_OUT can be retried, this is {_STATES[record.state]}."
        )
    if time.time() > record.created + record.facts["ttl"]:
        raise HTTPException(400, "The job's time to live (policy.ttl) is over. Submit it again.")
    if record.facts.get("webhook"):
        webhooks.expect(record.folder.parent, record.id)
    records.reopen(record.folder)
    call.desk.queues.put(record)
    return {"id": record.id, "status": _STATES[State.QUEUED]}


@router.post("/purge-queue", response_model=Purged, responses=_UNKNOWN)
def purge(call: TheCall) -> dict[str, Any]:
    """Cancel those of your jobs that wait."""
    removed = 0
    for record in records.still_open(call.desk.settings.folder / "jobs"):
        mine = record.user == call.user.user and record.facts.get("endpoint") == call.endpoint
        if mine and record.state is State.QUEUED:
            removed += jobs.stop(record) is State.CANCELLED
    return {"removed": removed}


@router.get("/health", response_model=Health, responses=_UNKNOWN)
def health(call: TheCall) -> dict[str, Any]:
    """How many of your jobs are in which state, and how many workers there are."""
    counts = call.desk.tally.counts(call.user.user, call.endpoint)
    running = counts[State.RUNNING]
    idle = max(call.desk.settings.workers.jobs - running, 0)
    return {
        "jobs": {
            "completed": counts[State.DONE],
            "failed": counts[State.FAILED] + counts[State.TIMED_OUT],
            "inProgress": running,
            "inQueue": counts[State.QUEUED],
        },
        "workers": {"idle": idle, "ready": idle, "running": running},
    }
