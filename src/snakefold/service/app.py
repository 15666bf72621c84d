"""The application: routes, and what happens around them."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from snakefold import __version__
from snakefold.service import files, nim, openfold, page, runpod, synchronous
from snakefold.service.desk import Desk
from snakefold.service.guard import Guard
from snakefold.service.settings import ServiceSettings

log = logging.getLogger(__name__)


def create_app(settings: ServiceSettings) -> Any:
    """The service as an ASGI application."""
    app = FastAPI(
        title="snakefold",
        version=__version__,
        summary="Structure prediction: jobs, sets of targets, alignments.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    app.state.desk = Desk(settings)
    app.add_exception_handler(Exception, _failed)
    app.include_router(runpod.router)
    app.include_router(synchronous.router)
    app.include_router(files.router)
    app.include_router(openfold.router)
    app.include_router(nim.router)
    app.include_router(page.router)

    @app.get("/health", tags=["Service"])
    async def health() -> dict[str, str]:
        """Whether the server answers; no token is needed."""
        return {"status": "ok"}

    guarded = Guard(app, settings)
    guarded.fastapi = app  # type: ignore[attr-defined]
    return guarded


async def _failed(request: Request, error: Exception) -> JSONResponse:
    log.error("failed", exc_info=error, extra={"path": request.url.path})
    return JSONResponse({"detail": "The service failed at this request; its log says how."}, 500)
