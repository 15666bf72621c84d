"""GA4GH's Workflow Execution Service 1.1 over the sets: for clients that start workflows in this way alone.

Source: the OpenAPI of the Workflow Execution Service, release 1.1.0. docs/wes.md says what of it means what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, BackgroundTasks, Depends, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from snakefold import __version__
from snakefold.kernel.paths import house
from snakefold.service.desk import TheDesk, TheUser
from snakefold.service.plain import plain_of
from snakefold.service.sets import files, routes
from snakefold.service.sets import folder as sets
from snakefold.service.sets.folder import Set
from snakefold.service.sets.form import TheForm, dollars, files_of, object_of, text_of, truth
from snakefold.service.sets.submission import Sent, submit
from snakefold.service.sets.views import SetView, State

BASE, WORKFLOW = "/ga4gh/wes/v1", "/workflow/Snakefile"
#: The language, the versions of it that clients name, and the program that runs it.
_TYPE, _TYPE_VERSIONS, _ENGINE = "SMK", ("1.0", "9"), "snakemake"
_PARAMETERS = ("settings", "budget", "accept", "name", "text")
_FIELDS = ("workflow_params", "workflow_type", "workflow_type_version", "workflow_url", "workflow_attachment")
_STATES = {
    State.QUOTING: "INITIALIZING",
    State.QUOTED: "PAUSED",
    State.QUEUED: "QUEUED",
    State.RUNNING: "RUNNING",
    State.COMPLETE: "COMPLETE",
    State.FAILED: "EXECUTOR_ERROR",
    State.REFUSED: "EXECUTOR_ERROR",
    State.ERROR: "SYSTEM_ERROR",
    State.CANCELLED: "CANCELED",
}


class _Route(APIRoute):
    """Errors in the form that the specification gives them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except HTTPException as error:
                plain = plain_of(request.app.state.desk.settings)
                return _error(error.status_code, plain(str(error.detail)), error.headers)
            except RequestValidationError as error:
                lines = [f"{each['loc'][-1]}: {each['msg']}." for each in error.errors()]
                return _error(400, " ".join(lines))

        return handled


def _error(code: int, message: str, headers: Any = None) -> JSONResponse:
    return JSONResponse({"msg": message, "status_code": code}, code, headers)


router = APIRouter(prefix=BASE, tags=["Workflow Execution Service"], route_class=_Route)
#: What anybody may read.
public = APIRouter(tags=["Workflow Execution Service"])


class ErrorResponse(BaseModel):
    """Why a request was not answered."""

    msg: str
    status_code: int


class RunId(BaseModel):
    """A run."""

    run_id: str


class RunStatus(RunId):
    """A run and where it stands."""

    state: str = Field(examples=["PAUSED", "COMPLETE"])


class RunSummary(RunStatus):
    """A run in a list."""

    start_time: str | None = None
    end_time: str | None = None
    tags: dict[str, str]


class RunList(BaseModel):
    """Runs, the newest first."""

    runs: list[RunSummary]
    next_page_token: str


class Log(BaseModel):
    """What was done, when, and what it said."""

    name: str
    cmd: list[str] | None = None
    start_time: str | None = None
    end_time: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    exit_code: int | None = None
    system_logs: list[str] | None = None


class TaskLog(Log):
    """A step of the workflow."""

    id: str


class TaskList(BaseModel):
    """Steps of a run."""

    task_logs: list[TaskLog]
    next_page_token: str


class RunRequest(BaseModel):
    """What was asked for."""

    workflow_params: dict[str, Any]
    workflow_type: str
    workflow_type_version: str
    workflow_engine: str
    workflow_url: str
    tags: dict[str, str]


class RunLog(BaseModel):
    """All of a run."""

    run_id: str
    request: RunRequest
    state: str
    run_log: Log
    task_logs_url: str
    outputs: dict[str, Any]


_SAID = {
    400: "The request is malformed.",
    401: "The request is unauthorized.",
    404: "You have no such run.",
    413: "The request is too large.",
    429: "You have too much waiting.",
}


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": ErrorResponse, "description": _SAID[code]} for code in (400, 401, *codes)}


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [
                        "workflow_params",
                        "workflow_type",
                        "workflow_type_version",
                        "workflow_url",
                    ],
                    "properties": {
                        "workflow_params": {"type": "string", "contentMediaType": "application/json"},
                        "workflow_type": {"type": "string", "enum": [_TYPE]},
                        "workflow_type_version": {"type": "string", "enum": list(_TYPE_VERSIONS)},
                        "workflow_engine": {"type": "string", "enum": [_ENGINE]},
                        "workflow_engine_version": {"type": "string"},
                        "workflow_engine_parameters": {"type": "string"},
                        "workflow_url": {"type": "string"},
                        "tags": {"type": "string", "contentMediaType": "application/json"},
                        "workflow_attachment": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                    "example": {
                        "workflow_params": '{"settings": {"engine": "boltz2"}, "accept": true, "budget": 5}',
                        "workflow_type": _TYPE,
                        "workflow_type_version": _TYPE_VERSIONS[0],
                        "workflow_url": WORKFLOW[1:],
                    },
                }
            }
        },
    }
}


def _sent(request: Request, form: TheForm) -> Sent:
    """What was sent to POST /runs.

    Raises:
        HTTPException: 400, it asks for another workflow, or a parameter is not known.
    """
    for field, known in (("workflow_type", (_TYPE,)), ("workflow_type_version", _TYPE_VERSIONS)):
        if text_of(form, field) not in known:
            raise HTTPException(400, f"{field}: expected {' or '.join(known)}.")
    if text_of(form, "workflow_engine") not in ("", _ENGINE):
        raise HTTPException(400, f"workflow_engine: expected {_ENGINE}.")
    if text_of(form, "workflow_engine_version") not in ("", version(_ENGINE)):
        raise HTTPException(400, f"workflow_engine_version: expected {version(_ENGINE)}.")
    if object_of(form, "workflow_engine_parameters"):
        raise HTTPException(400, "workflow_engine_parameters: none are taken.")
    if not _is_own(text_of(form, "workflow_url"), request):
        raise HTTPException(400, f"workflow_url: the only workflow here is {_workflow_url(request)}.")
    given = object_of(form, "workflow_params")
    for name in given:
        if name not in _PARAMETERS:
            raise HTTPException(400, f"workflow_params: {name[:60]}: expected {', '.join(_PARAMETERS)}.")
    settings, tags = given.get("settings", {}), object_of(form, "tags")
    if not isinstance(settings, dict):
        raise HTTPException(400, "workflow_params: settings: expected an object.")
    texts = [*tags.values(), given.get("name", ""), given.get("text", "")]
    if not all(isinstance(value, str) for value in texts):
        raise HTTPException(400, "tags, and name and text of workflow_params: expected text.")
    budget = given.get("budget")
    return Sent(
        files=files_of(form, "workflow_attachment"),
        text=given.get("text", ""),
        name=given.get("name", ""),
        settings=settings,
        accept=truth(given.get("accept", False), "workflow_params: accept"),
        budget=None if budget is None else dollars(budget),
        tags=tags,
    )


def _is_own(given: str, request: Request) -> bool:
    """Whether an address is that of this service's workflow: whole, or relative to the service."""
    try:
        parts = urlsplit(given)
    except ValueError:
        return False
    own_host = parts.scheme in ("http", "https") and parts.netloc == request.url.netloc
    here = not parts.scheme and not parts.netloc
    return (here or own_host) and parts.path.removeprefix("/") == WORKFLOW[1:] and not parts.query


def _workflow_url(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{WORKFLOW}"


@public.get(WORKFLOW, response_class=FileResponse)
def workflow() -> FileResponse:
    """The workflow that runs are of."""
    return FileResponse(house() / "workflow" / "Snakefile", media_type="text/plain")


@router.get("/service-info", responses=_answers())
def service_info(request: Request, desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """What this service is, and how many of your runs are in which state."""
    base = str(request.base_url).rstrip("/")
    counts = Counter(_STATES[seen.state] for _, seen in routes.listed(desk, user, _MOST_COUNTED))
    return {
        "id": f"snakefold.{request.url.hostname}",
        "name": "snakefold",
        "type": {"group": "org.ga4gh", "artifact": "wes", "version": "1.1.0"},
        "description": "Structure prediction in sets: plan, quote, run.",
        "organization": {"name": "snakefold", "url": base},
        "version": __version__,
        "workflow_type_versions": {_TYPE: {"workflow_type_version": list(_TYPE_VERSIONS)}},
        "supported_wes_versions": ["1.1.0"],
        "supported_filesystem_protocols": [],
        "workflow_engine_versions": {_ENGINE: {"workflow_engine_version": [version(_ENGINE)]}},
        "default_workflow_engine_parameters": [],
        "system_state_counts": dict(counts),
        "auth_instructions_url": base,
        "tags": {"workflow_url": _workflow_url(request)},
    }


_MOST_COUNTED = 1000


@router.get("/runs", responses=_answers(), response_model_exclude_none=True)
def list_runs(
    desk: TheDesk,
    user: TheUser,
    page_size: Annotated[int, Query(ge=1, le=1000, description="Most of them; 100 at most are given.")] = 50,
    page_token: Annotated[str, Query(max_length=64)] = "",
) -> RunList:
    """Your runs, the newest first."""
    size = min(page_size, 100)
    found = list(routes.listed(desk, user, size + 1, page_token))
    more = found[size - 1][1].id if len(found) > size else ""
    return RunList(runs=[_summary(each, seen) for each, seen in found[:size]], next_page_token=more)


def _summary(each: Set, seen: SetView) -> RunSummary:
    return RunSummary(
        run_id=seen.id,
        state=_STATES[seen.state],
        start_time=seen.started,
        end_time=seen.ended,
        tags=dict(each.tags),
    )


@router.post("/runs", openapi_extra=_BODY, responses=_answers(413, 429))
def run_workflow(desk: TheDesk, user: TheUser, sent: Annotated[Sent, Depends(_sent)]) -> RunId:
    """Send a set. It is quoted; with `accept` and a budget in workflow_params it is then run."""
    return RunId(run_id=submit(desk, user, sent).id)


@router.get("/runs/{run_id}", responses=_answers(404), response_model_exclude_none=True)
def run_log(run_id: str, request: Request, desk: TheDesk, user: TheUser) -> RunLog:
    """All that is known of a run."""
    each = routes.found(desk, user, run_id)
    seen = routes.shown(desk, each)
    base = str(request.base_url).rstrip("/")
    own = f"{base}{BASE}/runs/{run_id}"
    record = sets.run_record(desk.settings, run_id)
    log = Log(
        name=seen.name or "snakefold",
        cmd=["snakefold", "run", *each.inputs],
        start_time=seen.started,
        end_time=seen.ended,
        stdout=f"{own}/stdout" if seen.started else None,
        stderr=f"{own}/stderr" if seen.started else None,
        exit_code=record.ending.get("exit_code") if record else None,
        system_logs=[seen.error] if seen.error else [],
    )
    params = {
        "settings": dict(each.settings),
        "accept": each.accept,
        "budget": each.budget,
        "name": each.name,
    }
    has_results = each.results.is_dir()
    links = seen.links.model_dump(include={"report", "files", "zip"})
    return RunLog(
        run_id=run_id,
        request=RunRequest(
            workflow_params=params,
            workflow_type=_TYPE,
            workflow_type_version=_TYPE_VERSIONS[0],
            workflow_engine=_ENGINE,
            workflow_url=_workflow_url(request),
            tags=dict(each.tags),
        ),
        state=_STATES[seen.state],
        run_log=log,
        task_logs_url=f"{own}/tasks",
        outputs={name: f"{base}{path}" for name, path in links.items()} if has_results else {},
    )


@router.get("/runs/{run_id}/status", responses=_answers(404))
def run_status(run_id: str, desk: TheDesk, user: TheUser) -> RunStatus:
    """Where a run stands."""
    seen = routes.shown(desk, routes.found(desk, user, run_id))
    return RunStatus(run_id=run_id, state=_STATES[seen.state])


@router.post("/runs/{run_id}/cancel", responses=_answers(404))
def cancel_run(run_id: str, desk: TheDesk, user: TheUser, later: BackgroundTasks) -> RunId:
    """End a run. One that has ended stays as it is."""
    routes.cancelled(desk, routes.found(desk, user, run_id), later)
    return RunId(run_id=run_id)


@router.get("/runs/{run_id}/tasks", responses=_answers(404), response_model_exclude_none=True)
def list_tasks(
    run_id: str,
    desk: TheDesk,
    user: TheUser,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    page_token: Annotated[str, Query(max_length=64)] = "",
) -> TaskList:
    """Steps of a run, in the order in which they begin."""
    tasks = _tasks(routes.shown(desk, routes.found(desk, user, run_id)))
    names = [task.id for task in tasks]
    first = names.index(page_token) if page_token in names else 0
    left = tasks[first:]
    more = left[page_size].id if len(left) > page_size else ""
    return TaskList(task_logs=left[:page_size], next_page_token=more)


@router.get("/runs/{run_id}/tasks/{task_id}", responses=_answers(404), response_model_exclude_none=True)
def task(run_id: str, task_id: str, desk: TheDesk, user: TheUser) -> TaskLog:
    """One step of a run."""
    tasks = _tasks(routes.shown(desk, routes.found(desk, user, run_id)))
    for each in tasks:
        if each.id == task_id:
            return each
    raise HTTPException(404, "The run has no such task.")


def _tasks(seen: SetView) -> list[TaskLog]:
    steps = seen.progress.steps if seen.progress else []
    return [
        TaskLog(
            id=step.name,
            name=step.name,
            system_logs=[f"{step.done} of {step.total} jobs are done, {step.running} run."],
        )
        for step in steps
    ]


_STREAM: dict[int | str, dict[str, Any]] = {
    **_answers(404),
    200: {"content": {"text/plain": {}}, "description": "What it wrote so far."},
}


@router.get("/runs/{run_id}/{stream}", response_class=StreamingResponse, responses=_STREAM)
def output(run_id: str, stream: str, desk: TheDesk, user: TheUser) -> StreamingResponse:
    """What a run wrote: `stdout` or `stderr`."""
    each = routes.found(desk, user, run_id)
    ending = {"stdout": "out", "stderr": "err"}.get(stream)
    path = each.folder / "logs" / f"run.{ending}"
    if ending is None or not path.is_file():
        raise HTTPException(404, "The run has written nothing yet.")
    text = files.without_paths(path, plain_of(desk.settings))
    return StreamingResponse(text, media_type="text/plain; charset=utf-8")
