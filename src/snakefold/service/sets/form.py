"""The form that a set is sent with, read piece by piece: files go to disk before anything looks at them."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import FormData, UploadFile

from snakefold.service.desk import TheDesk, TheUser
from snakefold.service.sets.submission import MOST_FILES, Sent
from snakefold.service.strict import NotStrict, check_json

_FIELDS = ("files", "text", "name", "settings", "accept", "budget")
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}

#: For OpenAPI: FastAPI would read the form by itself, with limits of its own.
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "FASTA, sample sheet, A3M, Boltz's YAML, AlphaFold 3's JSON; for "
                            "designs PDB or mmCIF. Files that others name go along.",
                        },
                        "text": {"type": "string", "description": "Pasted content of one such file."},
                        "name": {"type": "string", "description": "A title."},
                        "settings": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "description": "JSON object of settings: GET /api/engines lists them.",
                        },
                        "accept": {"type": "boolean", "description": "Run it if the quote is in `budget`."},
                        "budget": {"type": "number", "exclusiveMinimum": 0, "description": "Dollars."},
                    },
                    "example": {
                        "text": ">ubiquitin\nMQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAG\n",
                        "name": "ubiquitin",
                        "settings": '{"engine": "boltz2", "msa": {"tool": "single_sequence"}}',
                    },
                }
            }
        },
    }
}


async def read_form(request: Request, desk: TheDesk, _user: TheUser) -> AsyncIterator[FormData]:
    """The form of a request; who may not send one is told before it is read."""
    most = round(desk.settings.limits.upload_mb * 1e6)
    async with request.form(max_files=MOST_FILES, max_fields=64, max_part_size=most) as form:
        yield form


TheForm = Annotated[FormData, Depends(read_form)]


def sent_by(form: TheForm) -> Sent:
    """What was sent to POST /api/runs.

    Raises:
        HTTPException: 400, a field is not known, or is none.
    """
    for name in form:
        if name not in _FIELDS:
            raise HTTPException(400, f"{name[:60]}: is no field. Fields are {', '.join(_FIELDS)}.")
    budget = text_of(form, "budget")
    return Sent(
        files=files_of(form, "files"),
        text=text_of(form, "text"),
        name=text_of(form, "name"),
        settings=object_of(form, "settings"),
        accept=truth(text_of(form, "accept"), "accept"),
        budget=dollars(budget) if budget.strip() else None,
    )


def files_of(form: FormData, field: str) -> list[tuple[str, Any]]:
    """Names as given, and open files.

    Raises:
        HTTPException: 400, a part is no file.
    """
    found = []
    for part in form.getlist(field):
        if not isinstance(part, UploadFile):
            raise HTTPException(400, f"{field}: expected files, each with a filename.")
        found.append((part.filename or "", part.file))
    return found


def text_of(form: FormData, field: str) -> str:
    """A field that is text; empty if it is not there.

    Raises:
        HTTPException: 400, it is a file, or there twice.
    """
    given = form.getlist(field)
    if len(given) > 1 or not all(isinstance(each, str) for each in given):
        raise HTTPException(400, f"{field}: expected one text.")
    return str(given[0]) if given else ""


def object_of(form: FormData, field: str) -> dict[str, Any]:
    """A field that is a JSON object; empty if it is not there.

    Raises:
        HTTPException: 400, it is none.
    """
    text = text_of(form, field)
    if not text.strip():
        return {}
    try:
        check_json(text.encode("utf-8", "surrogatepass"))
    except NotStrict as error:
        raise HTTPException(400, f"{field}: expected a JSON object. {error}") from error
    found = json.loads(text)
    if not isinstance(found, dict):
        raise HTTPException(400, f"{field}: expected a JSON object.")
    return found


def truth(given: Any, field: str) -> bool:
    """A field that says yes or no.

    Raises:
        HTTPException: 400, it says something else.
    """
    word = str(given).strip().lower()
    if word not in _TRUE | _FALSE:
        raise HTTPException(400, f"{field}: expected true or false.")
    return word in _TRUE


def dollars(given: Any) -> float:
    """A budget.

    Raises:
        HTTPException: 400, it is none.
    """
    try:
        amount = float(given)
    except (TypeError, ValueError, OverflowError):
        amount = math.nan
    if isinstance(given, bool) or not 0 < amount < math.inf:
        raise HTTPException(400, "budget: expected dollars, more than 0.")
    return amount
