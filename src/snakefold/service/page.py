"""The page for people: static files, and the session that lets a browser open them."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from snakefold.kernel.errors import ConfigError
from snakefold.service.desk import COOKIE, TheDesk, TheUser
from snakefold.service.users import Quota

router = APIRouter(tags=["Page"])

#: Files by name, and the package that has them.
_OWN, _REPORT = "snakefold.service", "snakefold.report"
_ASSETS = {
    **dict.fromkeys(("report.css", "core.js", "colours.js"), _REPORT),
    **dict.fromkeys(("service.css", "calls.js", "form.js", "runs.js", "run.js", "service.js"), _OWN),
}
_TYPES = {"css": "text/css", "js": "text/javascript", "html": "text/html"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_DAYS = 30


class Session(BaseModel):
    """What a browser signs in with."""

    token: str = Field(max_length=200, examples=["sf_…"])


class Me(BaseModel):
    """Who asks."""

    user: str
    priority: int
    quota: Quota
    admin: bool
    tokens: bool = Field(description="Whether the service has users at all.")


def _file(package: str, name: str) -> Response:
    content = (files(package) / "static" / name).read_bytes()
    kind = _TYPES[name.rpartition(".")[2]]
    headers = {"content-security-policy": _POLICY, "cache-control": "no-cache"}
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)


@router.get("/ui/", include_in_schema=False)
def page() -> Response:
    """The page."""
    return _file(_OWN, "index.html")


@router.get("/ui", include_in_schema=False)
def to_page() -> Response:
    """To the page, for its files lie below it."""
    return RedirectResponse("/ui/")


@router.get("/ui/assets/{name}", include_in_schema=False)
def asset(name: str) -> Response:
    """A file of the page."""
    if name not in _ASSETS:
        raise HTTPException(404, "There is no such file.")
    return _file(_ASSETS[name], name)


@router.get("/api/me", response_model=Me, responses={401: {"description": "No known token."}})
def me(desk: TheDesk, user: TheUser) -> dict[str, Any]:
    """Who asks, and what the user may do."""
    return {**user.model_dump(), "tokens": desk.settings.tokens is not None}


@router.post("/api/session", status_code=204, responses={401: {"description": "No known token."}})
def sign_in(
    session: Session,
    desk: TheDesk,
    request: Request,
    x_forwarded_proto: Annotated[str, Header()] = "",
) -> Response:
    """Let a browser in: its token is from now on in a cookie that no script reads and no other site sends."""
    try:
        known = desk.settings.tokens is not None and desk.users.who(session.token) is not None
    except ConfigError as error:
        raise HTTPException(503, "The tokens cannot be read. Tell whoever runs this service.") from error
    if not known:
        raise HTTPException(401, "This token is not known here.")
    answer = Response(status_code=204)
    secure = request.url.scheme == "https" or x_forwarded_proto == "https"
    answer.set_cookie(
        COOKIE, session.token, max_age=_DAYS * 86400, httponly=True, samesite="strict", secure=secure
    )
    return answer


@router.delete("/api/session", status_code=204)
def sign_out() -> Response:
    """Forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
