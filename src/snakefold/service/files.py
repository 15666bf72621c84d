"""Results that an answer cannot hold: files of a record, behind signed addresses that end after a day.

A worker puts them on what it takes for its network volume. Programs fetch an address of a result without a
token, as they fetch S3's presigned ones: the signature is the permission.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse

from snakefold.kernel.names import safe_id
from snakefold.service import records
from snakefold.service.desk import TheDesk
from snakefold.service.kinds import KINDS
from snakefold.service.refusals import Problem
from snakefold.service.settings import ServiceSettings

router = APIRouter(tags=["Large results"])
#: Seconds that an address holds.
HOLDS = 24 * 3600
FOLDER = "files"
_NAME = re.compile(r"[0-9]{1,6}-[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
_MARK = "snakefold-file:"


def keep(answer: Any, folder: Path, volume: Path) -> list[str]:
    """Move the files that an answer names by `path` to a record; in place of it they get a mark as `url`.

    Returns:
        Names of the files.
    """
    names: list[str] = []
    for result in _placed(answer):
        source = volume / result.pop("path")
        name = f"{len(names)}-{safe_id(source.name, 'result')}"
        place = folder / FOLDER / name
        place.parent.mkdir(parents=True, exist_ok=True)
        source.replace(place)
        result["url"] = _mark(folder.name, name)
        names.append(name)
    return names


def with_addresses(text: bytes, job: str, names: list[str], base: str, secret: bytes) -> bytes:
    """An answer with signed addresses in place of the marks.

    Args:
        base: address of the service, such as http://127.0.0.1:8000.
    """
    until = int(time.time()) + HOLDS
    for name in names:
        signed = (
            f"{base}/files/{job}/{quote(name)}?expires={until}&signature={sign(secret, job, name, until)}"
        )
        text = text.replace(_mark(job, name).encode(), signed.encode())
    return text


def sign(secret: bytes, job: str, name: str, until: int) -> str:
    """Signature of an address."""
    return hmac.new(secret, f"{job}/{name}/{until}".encode(), hashlib.sha256).hexdigest()


def is_signed(secret: bytes, job: str, name: str, until: int, signature: str) -> bool:
    """Whether an address is one of ours that still holds."""
    expected = sign(secret, job, name, until)
    return (
        hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")) and until > time.time()
    )


@cache
def secret_of(folder: Path) -> bytes:
    """What the addresses of a service are signed with: made once, in its folder."""
    path = folder / "secret"
    if not path.exists():
        # Whole under its name: who knows what an empty one signs can make addresses.
        descriptor, made = tempfile.mkstemp(dir=folder)  # readable by its owner only
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(32))
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            os.link(made, path)
        Path(made).unlink()
    return path.read_bytes()


@router.get(
    "/files/{job}/{name}",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}, "description": "The file."},
        404: {"model": Problem, "description": "No such file, or the address has ended."},
    },
)
def file(
    job: str,
    name: str,
    desk: TheDesk,
    expires: Annotated[int, Query(ge=0, le=1 << 40, description="Until when the address holds.")] = 0,
    signature: Annotated[str, Query(max_length=200, description="Of the address.")] = "",
) -> FileResponse:
    """A result that was too large for the answer, which has this address, signed. It needs no token."""
    path = desk.settings.folder / KINDS["job"].folder / job / FOLDER / name
    asked = records.is_id(job) and _NAME.fullmatch(name) is not None
    if (
        not asked
        or not is_signed(secret_of(desk.settings.folder), job, name, expires, signature)
        or not path.is_file()
    ):
        raise HTTPException(
            404, "There is no such file, or its address has ended: ask for the state of the job again."
        )
    return FileResponse(path, filename=name.partition("-")[2], media_type="application/octet-stream")


def _mark(job: str, name: str) -> str:
    # Nobody knows the id before the job is submitted, so that no input can have it.
    return f"{_MARK}{job}/{name}"


def _placed(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("stored") is True and isinstance(value.get("path"), str):
            yield value
        for inner in value.values():
            yield from _placed(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _placed(inner)


def text_of(settings: ServiceSettings, job: str, result: dict[str, Any]) -> str:
    """A text of an answer: in it, or in the file that its address names.

    Raises:
        HTTPException: 500, it is nowhere that this service can read.
    """
    if isinstance(result.get("text"), str):
        return str(result["text"])
    name = urlsplit(str(result.get("url", ""))).path.rpartition("/")[2]
    path = settings.folder / KINDS["job"].folder / job / FOLDER / name
    try:
        if not records.is_id(job) or _NAME.fullmatch(name) is None:
            raise FileNotFoundError(name)
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise HTTPException(500, "A result of the job is not in its record.") from error
