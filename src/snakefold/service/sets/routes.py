"""Sets over HTTP: send, list, accept, cancel, watch, and fetch what came of them."""

from __future__ import annotations

import asyncio
import mimetypes
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from sse_starlette import EventSourceResponse

from snakefold.kernel.names import safe_id
from snakefold.service import records
from snakefold.service.desk import Desk, TheDesk, TheUser, user_of
from snakefold.service.ledger import SPENT, OverQuota
from snakefold.service.plain import plain_of
from snakefold.service.refusals import Problem
from snakefold.service.sets import accept as decisions
from snakefold.service.sets import files, form, process
from snakefold.service.sets import folder as sets
from snakefold.service.sets.files import FileView
from snakefold.service.sets.folder import Set
from snakefold.service.sets.form import sent_by
from snakefold.service.sets.offered import Offer, offer
from snakefold.service.sets.progress import Progress
from snakefold.service.sets.submission import Sent, submit
from snakefold.service.sets.views import SetView, view
from snakefold.service.streams import Archive, Events
from snakefold.service.users import User

router = APIRouter(prefix="/api", tags=["Sets"])
_PROGRESS = Progress()
_EVENT_SECONDS, _HEARTBEAT_SECONDS = 1.0, 15
_OFFER_SECONDS = 60.0
#: Of a report: Mol* and plotly compile functions and load data: addresses. Whatever was sent is text there.
_REPORT_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src data:; connect-src 'self' data: blob:; worker-src blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class Page(BaseModel):
    """Sets, the newest first."""

    runs: list[SetView]


class Files(BaseModel):
    """Files of the results."""

    files: list[FileView]


class Acceptance(BaseModel):
    """What the run may cost."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"budget": 25.0}]})

    budget: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Dollars; null: whatever it costs."
    )


_SAID = {
    400: "The request is not as expected.",
    401: "There is no such token.",
    404: "You have no such set, or it has no such file.",
    409: "The state of the set does not allow it.",
    413: "The request is too large.",
    429: "You have too much waiting or being sent, or the set is above your quota of today.",
}


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Errors that a route may answer, for OpenAPI."""
    return {code: {"model": Problem, "description": _SAID[code]} for code in (401, *codes)}


def found(desk: Desk, user: User, name: str) -> Set:
    """A user's set.

    Raises:
        HTTPException: 404, there is none, or it is another user's, which nobody is told.
    """
    each = sets.read(desk.settings, name)
    if each is None or each.user != user.user:
        raise HTTPException(404, "You have no run of this id.")
    return each


def shown(desk: Desk, each: Set) -> SetView:
    """A set as it stands.

    Raises:
        HTTPException: 404, it was never taken to its end.
    """
    seen = view(each, desk.settings, _PROGRESS)
    if seen is None:
        raise HTTPException(404, "You have no run of this id.")
    return seen


def listed(desk: Desk, user: User, limit: int, before: str = "") -> Iterator[tuple[Set, SetView]]:
    """A user's sets, the newest first."""
    left = limit
    for name in sets.ids_of(desk.settings, user.user, before):
        each = sets.read(desk.settings, name)
        seen = view(each, desk.settings, _PROGRESS) if each is not None else None
        if each is not None and seen is not None:
            yield each, seen
            left -= 1
        if not left:
            return


def cancelled(desk: Desk, each: Set, later: BackgroundTasks) -> None:
    """Cancel a set. Its worker stops what runs; of one that has died, this process does."""
    decisions.cancel(desk.settings, each)
    for record in (sets.quote_record(desk.settings, each.id), sets.run_record(desk.settings, each.id)):
        if record and record.attempts and records.is_dead(record.folder, record.attempts):
            later.add_task(process.end_all, each)


@router.post("/runs", status_code=201, openapi_extra=form.BODY, responses=answers(400, 413, 429))
def send(desk: TheDesk, user: TheUser, sent: Annotated[Sent, Depends(sent_by)]) -> SetView:
    """Send a set of targets. It is planned and priced next; nothing is computed before it is accepted."""
    return shown(desk, submit(desk, user, sent))


@router.get("/runs", responses=answers())
def all_of_mine(
    desk: TheDesk,
    user: TheUser,
    limit: Annotated[int, Query(ge=1, le=1000, description="Most of them.")] = 20,
    before: Annotated[str, Query(max_length=64, description="Id: those that were sent before it.")] = "",
) -> Page:
    """Your sets, the newest first."""
    return Page(runs=[seen for _, seen in listed(desk, user, limit, before)])


@router.get("/runs/{run}", responses=answers(404))
def one(run: str, desk: TheDesk, user: TheUser) -> SetView:
    """A set as it stands."""
    return shown(desk, found(desk, user, run))


@router.post("/runs/{run}/accept", responses=answers(400, 404, 409, 429))
def accept(run: str, desk: TheDesk, user: TheUser, given: Acceptance | None = None) -> SetView:
    """Let a set that is QUOTED be run. A quote above `budget` is not accepted (409)."""
    each = found(desk, user, run)
    budget = given.budget if given else None
    try:
        record = decisions.accept(desk.settings, each, user.quota, budget)
    except decisions.OverBudget as error:
        raise HTTPException(409, str(error)) from error
    except decisions.NotNow as error:
        raise HTTPException(409, f"{error} It is {shown(desk, each).state}.") from error
    except OverQuota as error:
        raise HTTPException(429, str(error), headers=SPENT) from error
    desk.queues.put(record)
    return shown(desk, each)


@router.post("/runs/{run}/cancel", responses=answers(404))
def cancel(run: str, desk: TheDesk, user: TheUser, later: BackgroundTasks) -> SetView:
    """End what is going on with a set. One that has ended stays as it is."""
    each = found(desk, user, run)
    cancelled(desk, each, later)
    return shown(desk, each)


@router.get(
    "/runs/{run}/events",
    response_class=EventSourceResponse,
    responses={
        **answers(404, 429),
        200: {"description": "Server-sent events: the view (see /api/runs/{run}) whenever it changes."},
    },
)
async def events(run: str, desk: TheDesk, user: TheUser) -> Events:
    """The set whenever it changes, until it has ended."""
    each = await run_in_threadpool(found, desk, user, run)
    await run_in_threadpool(shown, desk, each)

    async def changes() -> AsyncIterator[dict[str, str]]:
        told = ""
        while True:
            seen = await run_in_threadpool(shown, desk, each)
            text = seen.model_dump_json(exclude={"progress": {"remaining"}})
            if text != told:
                told = text
                yield {"data": seen.model_dump_json()}
            if seen.state.final:
                return
            await asyncio.sleep(_EVENT_SECONDS)

    return Events(changes(), ping=_HEARTBEAT_SECONDS).within(desk.streams, user)


@router.get("/runs/{run}/files", responses=answers(404))
def all_files(run: str, desk: TheDesk, user: TheUser) -> Files:
    """Files of the results, as far as there are any."""
    return Files(files=list(files.listed(found(desk, user, run).results)))


@router.get("/runs/{run}/files/{path:path}", response_class=FileResponse, responses=answers(404))
def file(run: str, path: str, desk: TheDesk, user: TheUser) -> Response:
    """A file of the results, to be saved. Texts are sent without paths of the service's machine."""
    results = found(desk, user, run).results
    where = files.found(results, path)
    name = {"content-disposition": f"attachment; filename*=UTF-8''{quote(where.name)}"}
    return _sent(desk, results, where, name)


def _sent(desk: Desk, results: Path, where: Path, headers: dict[str, str]) -> Response:
    if not files.is_text(where):
        return FileResponse(where, headers=headers)
    kind = mimetypes.guess_type(where.name)[0] or "text/plain"
    return StreamingResponse(
        files.sent(results, where, plain_of(desk.settings)), media_type=kind, headers=headers
    )


@router.get(
    "/runs/{run}/results.zip",
    response_class=StreamingResponse,
    responses={**answers(404, 429), 200: {"content": {"application/zip": {}}, "description": "The results."}},
)
def archive(run: str, desk: TheDesk, user: TheUser) -> Archive:
    """All files of the results, packed while they are sent."""
    each = found(desk, user, run)
    if not each.results.is_dir():
        raise HTTPException(404, "There are no results yet.")
    name = safe_id(each.name, each.id)
    headers = {"content-disposition": f'attachment; filename="{name}.zip"'}
    content = files.zipped(each.results, name, plain_of(desk.settings))
    return Archive(content, media_type="application/zip", headers=headers).within(desk.streams, user)


@router.get("/runs/{run}/report/{path:path}", response_class=FileResponse, responses=answers(404))
def report(run: str, path: str, desk: TheDesk, user: TheUser) -> Response:
    """A page of the report, or what belongs to it."""
    results = found(desk, user, run).results
    where = files.found(results / "report", path or "index.html")
    return _sent(desk, results, where, {"content-security-policy": _REPORT_POLICY})


_offered: list[tuple[float, Offer]] = []


@router.get("/engines", responses=answers(), dependencies=[Depends(user_of)])
def engines(desk: TheDesk) -> Offer:
    """What a form may offer: engines with their settings, and settings of the run."""
    if not _offered or time.monotonic() - _offered[0][0] > _OFFER_SECONDS:
        offers, plain = offer(), plain_of(desk.settings)
        for each in offers.engines:
            each.missing = plain(each.missing)
        _offered[:] = [(time.monotonic(), offers)]
    return _offered[0][1]
