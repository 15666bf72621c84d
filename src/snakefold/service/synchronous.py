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

from snakefold.service import jobs
from snakefold.service.answers import WAITING, refusals
from snakefold.service.desk import Desk, TheDesk, TheUser
from snakefold.service.users import User


class _Told(APIRoute):
    """A route whose refusals are one text: programs look no deeper for what was wrong."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                raise HTTPException(400, "The body is no JSON object with a request.") from error

        return told


router = APIRouter(tags=["One request, one answer"], route_class=_Told)
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
    """Do a request and answer with its result. If the client leaves, the job is cancelled."""
    wrapped = isinstance(body.get("input"), dict)
    given = body["input"] if wrapped else body
    if given.get("task") == "wait":
        job, output = await run_in_threadpool(_again, request, desk, user, str(given.get("job_id", "")))
    else:
        record, output = await jobs.answer(request, desk, user, given, {"endpoint": "run"})
        job = record.id
    if wrapped:
        return {"status": "COMPLETED", "job_id": job, "output": output}
    if "sequences" in given and isinstance(output, dict):
        return {**output.get("results", {}), **output}
    return dict(output)


def _again(request: Request, desk: Desk, user: User, job: str) -> tuple[str, Any]:
    """The result of a job that was answered before."""
    record = desk.find("job", job, user)
    return record.id, jobs.done(record, jobs.base_of(request), desk)
