"""The application: routes, and what happens around them."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from snakefold import __version__
from snakefold.kernel.errors import ConfigError
from snakefold.service import files, metrics, nim, openfold, page, runpod, synchronous, tickets, wes
from snakefold.service.desk import Desk, token_of
from snakefold.service.guard import Guard, Scope
from snakefold.service.openapi import documented
from snakefold.service.plain import plain_of
from snakefold.service.refusals import REFUSALS, told
from snakefold.service.sets import routes as sets
from snakefold.service.settings import ServiceSettings

log = logging.getLogger(__name__)
#: What other sites may link to: it shows the page, and does nothing.
_PAGES = {"/", "/ui", "/ui/"}
#: Paths whose requests may be as large as a set.
_UPLOADS = {"/api/runs", f"{wes.BASE}/runs"}


class Health(BaseModel):
    """That the server answers."""

    status: str = Field(examples=["ok"])


def create_app(settings: ServiceSettings) -> Any:
    """The service as an ASGI application."""
    app = FastAPI(
        title="snakefold",
        version=__version__,
        summary="Structure prediction: jobs, sets of targets, alignments.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        responses=REFUSALS,
    )
    desk = app.state.desk = Desk(settings)
    app.state.observed, requests = metrics.Observed(settings), metrics.Requests()
    app.state.requests = requests
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(RequestValidationError, _not_as_expected)
    app.add_exception_handler(HTTPException, _refused)
    app.include_router(runpod.router)
    app.include_router(synchronous.router)
    app.include_router(sets.router)
    app.include_router(wes.router)
    app.include_router(wes.public)
    app.include_router(files.router)
    app.include_router(openfold.router)
    app.include_router(nim.router)
    app.include_router(metrics.router)
    app.include_router(page.router)
    if (msa := tickets.router(desk)) is not None:
        app.include_router(msa)

    @app.get("/health", tags=["Service"])
    async def health() -> Health:
        """Whether the server answers; no token is needed."""
        return Health(status="ok")

    documented(app)
    guarded = Guard(
        app,
        settings,
        uploads=_UPLOADS.__contains__,
        pages=_PAGES.__contains__,
        knows=lambda scope: _is_known(desk, scope),
        answered=requests,
    )
    guarded.fastapi = app  # type: ignore[attr-defined]
    return guarded


def _is_known(desk: Desk, scope: Scope) -> bool:
    try:
        return desk.users.who(token_of(HTTPConnection(scope))) is not None
    except ConfigError:  # the route says so
        return False


async def _failed(request: Request, error: Exception) -> JSONResponse:
    log.error("failed", exc_info=error, extra={"path": request.url.path})
    return JSONResponse({"detail": "The service failed at this request; its log says how."}, 500)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    said = plain_of(request.app.state.desk.settings)(str(error.detail))
    if said != error.detail:
        log.info("refused", extra={"path": request.url.path, "detail": error.detail})
    return JSONResponse({"detail": said}, error.status_code, error.headers)


async def _not_as_expected(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return JSONResponse({"detail": told(error.errors())}, 422)
