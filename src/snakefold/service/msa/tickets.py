"""The routes of an MSA server, ColabFold's HTTP API: tickets, results, templates.

What is computed, when and for whom is the caller's: the routes read a form, name the ticket by its content
and hand it on. Every answer comes at once, for clients wait six seconds.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect

from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.unchanged import ChangedError, Watch
from snakefold.service.msa import templates
from snakefold.service.msa.answers import RESULT
from snakefold.service.msa.queries import MODES, Kind, RefusedError, read_ticket
from snakefold.service.msa.search import files_read, searches
from snakefold.service.msa.settings import ServedMsa

State = Literal["PENDING", "RUNNING", "COMPLETE", "ERROR", "RATELIMIT", "MAINTENANCE", "UNKNOWN"]
#: Hands a ticket on: its kind, its payload (`queries.Ticket` as JSON) and its digest, which is its id. A
#: digest that is known is not computed again. Last comes who asks. Gives the ticket's state.
Submit = Callable[[Kind, dict[str, Any], str, Any], State]

_LOG = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{64}")
_FAILED = "The search failed. The server's operator finds the reason in the files of the ticket."
_BUSY = "Too many queries at once, or too many today."
_TAKEN = ("PENDING", "RUNNING", "COMPLETE")
#: Seconds for the form of a ticket to arrive.
_PATIENCE = 30.0
_GZIP = {"application/gzip": {"schema": {"type": "string", "format": "binary"}}}


class TicketAnswer(BaseModel):
    """What is said of a ticket."""

    id: str = Field(description="The ticket's id: a digest of its content. Empty if it was not taken.")
    status: State
    reason: str | None = Field(None, description="Why a ticket is not taken, or failed.")


def by_address(request: Request) -> str:
    """Who asks, where nobody signs in: the address."""
    return request.client.host if request.client else ""


def router(
    served: ServedMsa,
    *,
    submit: Submit,
    state: Callable[[str], State],
    folder: Callable[[str], Path],
    allowed: Callable[[Any], bool],
    user: Callable[..., Any] = by_address,
) -> APIRouter:
    """The routes.

    Args:
        served: what is searched and what is taken.
        submit: hands a ticket on.
        state: of a ticket by its id; UNKNOWN if it was never handed on.
        folder: of a ticket's files, which `answers.answer` makes.
        allowed: whether a user may hand on another ticket now.
        user: a dependency of FastAPI's that says who asks.

    Raises:
        SnakefoldError: nothing can be searched: databases or programs are missing.
    """
    recipe = _Recipe(served)
    where = templates.structures(served.msa)
    routes = APIRouter(tags=["MSA server"], dependencies=[Depends(user)], route_class=_Told)

    async def take(kind: Kind, request: Request, who: Any) -> Response:
        try:
            ticket = read_ticket(kind, await _body(request, served.max_bytes), served)
            name = ticket.digest(await run_in_threadpool(recipe))
        except RefusedError as error:
            return _answer(400, status="ERROR", reason=str(error))
        except SnakefoldError:
            _LOG.exception("A ticket was not taken")
            return _answer(200, status="MAINTENANCE", reason="The server's databases are being changed.")
        now = await run_in_threadpool(state, name)
        if now not in _TAKEN:
            # An equal ticket costs nothing, whoever asks.
            if not await run_in_threadpool(allowed, who):
                return _answer(429, status="RATELIMIT", reason=_BUSY, retry_after=served.retry_after)
            now = await run_in_threadpool(submit, kind, ticket.model_dump(mode="json"), name, who)
        return _answer(200, id=name, status=now, reason=_FAILED if now == "ERROR" else None)

    @routes.post("/ticket/msa", **_described("msa", served))
    async def ticket_msa(request: Request, who: Any = Depends(user)) -> Response:  # noqa: B008
        """Ask for alignments of sequences."""
        return await take("msa", request, who)

    @routes.post("/ticket/pair", **_described("pair", served))
    async def ticket_pair(request: Request, who: Any = Depends(user)) -> Response:  # noqa: B008
        """Ask for rows of the chains of a complex, paired by species."""
        return await take("pair", request, who)

    @routes.get("/ticket/{id}", response_model=TicketAnswer)
    def ticket(id: Annotated[str, _parameter("Of the ticket.")]) -> Response:
        """The state of a ticket."""
        now = state(id) if _ID.fullmatch(id) else "UNKNOWN"
        return _answer(
            200, id=id if now != "UNKNOWN" else "", status=now, reason=_FAILED if now == "ERROR" else None
        )

    @routes.get(
        "/result/download/{id}",
        response_class=FileResponse,
        responses={
            200: {"content": _GZIP},
            404: {"model": TicketAnswer, "description": "The ticket is not complete."},
        },
    )
    def download(id: Annotated[str, _parameter("Of the ticket.")]) -> FileResponse:
        """The files of a ticket that is complete: a tar.gz."""
        complete = _ID.fullmatch(id) is not None and state(id) == "COMPLETE"
        path = folder(id) / RESULT if complete else None
        if path is None or not path.is_file():
            raise HTTPException(404, "No such ticket is complete.")
        return FileResponse(path, media_type="application/gzip", filename="out.tar.gz")

    @routes.get(
        "/template/{names}",
        response_class=StreamingResponse,
        responses={
            200: {"content": _GZIP},
            404: {"model": TicketAnswer, "description": "No such template is here."},
            503: {"model": TicketAnswer, "description": "The templates cannot be read now."},
        },
    )
    def template(
        names: Annotated[str, _parameter("Entries of pdb70, such as 1ABC_A,2XYZ_B.")],
    ) -> StreamingResponse:
        """Entries of pdb70 and their structures: a tar.gz."""
        wanted = templates.read_names(names, served.max_templates)
        try:
            known = where is not None and any(where.entry(name) is not None for name in wanted)
        except (OSError, ValueError) as error:
            _LOG.exception("The database of templates cannot be read")
            raise HTTPException(503, "The server's templates cannot be read now.") from error
        if where is None or not known:
            raise HTTPException(404, "No such template is here.")
        return StreamingResponse(templates.archive(wanted, where), media_type="application/gzip")

    return routes


class _Told(APIRoute):
    """Refusals say `status`, those by who asks, too: clients read no answer without it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handler(request)
            except HTTPException as error:
                answer = _answer(error.status_code, status="ERROR", reason=str(error.detail))
                answer.headers.update(error.headers or {})
                return answer

        return told


class _Recipe:
    """The digest of what is searched. It is computed again when a file of the databases has changed."""

    def __init__(self, served: ServedMsa) -> None:
        self._served = served
        self._known: tuple[Watch, str] | None = None
        self()

    def __call__(self) -> str:
        if self._known is not None:
            watch, digest = self._known
            try:
                watch.check()
            except ChangedError:
                _LOG.info("A database has changed: tickets get new ids")
            else:
                return digest
        # First the times, then the content: what is replaced in between shows in the times.
        watch = Watch(files_read(self._served.msa))
        digest = searches(self._served.msa).digest
        self._known = (watch, digest)
        return digest


async def _body(request: Request, most: int) -> bytes:
    """The form, of at most so many bytes.

    Raises:
        RefusedError: it is longer, or does not arrive.
    """
    content = bytearray()
    try:
        async with asyncio.timeout(_PATIENCE):
            async for block in request.stream():
                content += block
                if len(content) > most:
                    raise RefusedError(f"The form has more than {most:,} bytes: ask for fewer sequences.")
    except (TimeoutError, ClientDisconnect) as error:
        raise RefusedError(f"The form did not arrive within {_PATIENCE:.0f} s.") from error
    return bytes(content)


def _answer(
    code: int, *, status: State, id: str = "", reason: str | None = None, retry_after: int = 0
) -> Response:
    content = TicketAnswer(id=id, status=status, reason=reason).model_dump(exclude_none=True)
    return JSONResponse(content, code, {"Retry-After": str(retry_after)} if retry_after else None)


def _parameter(description: str) -> Any:
    return PathParameter(description=description, max_length=2000)


def _described(kind: Kind, served: ServedMsa) -> dict[str, Any]:
    """What OpenAPI says of a form that is read by hand, so that a long one is never read whole."""
    fasta = (
        f"FASTA; {served.max_queries} sequences, {served.max_length:,} residues each and "
        f"{served.max_residues:,} in all at most."
    )
    schema = {
        "type": "object",
        "required": ["q", "mode"],
        "properties": {
            "q": {"type": "string", "description": fasta, "example": ">101\nMKTAYIAKQRQISFVKSHFSRQ\n"},
            "mode": {"type": "string", "enum": list(MODES[kind])},
        },
    }
    return {
        "response_model": TicketAnswer,
        "responses": {
            400: {"model": TicketAnswer, "description": "The ticket is refused (status ERROR)."},
            429: {"model": TicketAnswer, "description": "The user asks too much (status RATELIMIT)."},
        },
        "openapi_extra": {
            "requestBody": {
                "required": True,
                "content": {"application/x-www-form-urlencoded": {"schema": schema}},
            }
        },
    }
