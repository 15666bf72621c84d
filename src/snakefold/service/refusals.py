"""What every answer has, headers that browsers keep to, and the one form of what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

#: Pages of reports bring scripts and styles of their own; nothing of them comes from elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
)
_MOST_PROBLEMS = 10
#: Headers that an answer has unless its route gives others.
DEFAULTS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
#: The same for an answer that is not a route's.
HEADERS = [
    (b"content-type", b"application/json"),
    *((name.encode(), value.encode()) for name, value in DEFAULTS.items()),
]


class Problem(BaseModel):
    """Why a request was refused."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"detail": "There is no job of this id."}]})

    detail: str = Field(description="What was expected, and what to do.")


#: What any route may answer: what stands before it refuses requests, too.
REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        400: "The request, or its input, is not what was expected.",
        401: "No token of this service was given.",
        403: "Only others may do that, or a page of another site asks for it.",
        404: "There is no such thing, or it is another user's.",
        408: "The request took too long to arrive.",
        413: "The request is too large.",
        414: "The path is too long.",
        415: "The body is of another type than the route reads.",
        421: "The service does not go by this host name.",
        422: "A value of the request is not what was expected.",
        429: "Too much of this user's waits (`Retry-After` says when to try again), or today's quota is "
        "spent.",
        431: "The request has too many headers.",
        500: "The service failed; its log says how.",
        503: "The service has too many connections, or cannot be used now.",
    }.items()
}


def told(errors: Sequence[Any]) -> str:
    """Names each value that is wrong, as pydantic found it, and repeats none: one may be a signed address."""
    said = [
        f"{'.'.join(str(step)[:60] for step in each['loc'])}: "
        f"{each['msg'].removeprefix('Value error, ')[:200]}."
        for each in errors
    ]
    more = f" … and {len(said) - _MOST_PROBLEMS} more." if len(said) > _MOST_PROBLEMS else ""
    return " ".join(said[:_MOST_PROBLEMS]) + more


def problem(detail: str) -> bytes:
    """Body of an answer that refuses."""
    return json.dumps({"detail": detail}).encode()
