"""POST /run: a request, and its result in the answer, for programs that know no queue.

Programs that send `{"input": …}` read `status` and `output`. Those that send a request alone read its answer;
if it has `sequences`, they look for a target by its id there, or in `results`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from snakefold.service import jobs
from snakefold.service.answers import WAITING, refusals
from snakefold.service.desk import Desk, TheDesk, TheUser
from snakefold.service.refusals import told
from snakefold.service.runpod import JobRequest, asked
from snakefold.service.users import User


class _Told(APIRoute):
    """A route whose refusals are one text: programs look no deeper for what was wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise HTTPException(400, "The body is no JSON object with a request.") from error

        return handled


router = APIRouter(tags=["One request, one answer"], route_class=_Told)
#: What jobs of this route have in place of the name of an endpoint.
_ENDPOINT = "run"
_EXAMPLE = {
    "input": {"sequence": "MKTAYIAKQRQISFVKSHFSRQ", "db_preset": "single_sequence", "rehearsal": True}
}


@router.post(
    "/run",
    responses={**WAITING, **refusals(_404="task `wait`: no job of yours has this id.")},
)
async def run(
    request: Request,
    desk: TheDesk,
    user: TheUser,
    body: Annotated[dict[str, Any], Body(examples=[_EXAMPLE])],
) -> dict[str, Any]:
    """Do a request and answer with its result. If the client leaves, the job is cancelled.

    Beside `input` may be `policy` and `webhook`, as of a job.
    """
    wrapped = isinstance(body.get("input"), dict)
    given = body["input"] if wrapped else body
    if given.get("task") == "wait":
        _nothing_else(body)
        job, output = await run_in_threadpool(_again, request, desk, user, str(given.get("job_id", "")))
    else:
        more = _asked(body, request) if wrapped else {"facts": {"endpoint": _ENDPOINT}}
        record, output = await jobs.answer(request, desk, user, given, **more)
        job = record.id
    if wrapped:
        return {"status": "COMPLETED", "job_id": job, "output": output}
    if "sequences" in given and isinstance(output, dict):
        return {**output.get("results", {}), **output}
    return dict(output)


def _asked(body: dict[str, Any], request: Request) -> dict[str, Any]:
    """What a body says besides its input, read as RunPod's paths do.

    Raises:
        HTTPException: 422, a value is wrong; 400, it asks for what there is not.
    """
    try:
        job = JobRequest.model_validate(body)
    except ValidationError as error:
        raise HTTPException(422, told(error.errors(include_input=False, include_url=False))) from error
    return asked(job, _ENDPOINT, jobs.base_of(request))


def _nothing_else(body: dict[str, Any]) -> None:
    for name in ("policy", "webhook", "s3Config"):
        if body.get(name) is not None:
            raise HTTPException(400, f"{name}: task `wait` asks for an earlier job. Send it with that job.")


def _again(request: Request, desk: Desk, user: User, job: str) -> tuple[str, Any]:
    """The result of a job that was answered before."""
    record = desk.find("job", job, user)
    return record.id, jobs.done(record, jobs.base_of(request), desk)
