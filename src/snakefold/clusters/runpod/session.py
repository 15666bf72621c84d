"""Calls to RunPod's APIs over HTTP, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from snakefold.kernel.errors import SnakefoldError


class RunpodError(SnakefoldError):
    """Base of all errors of this package."""


class AccessError(RunpodError):
    """The API key is missing or unknown, or may not do this (401, 403)."""


class NotFoundError(RunpodError):
    """There is no such endpoint or resource, or no longer such a job (404)."""


class RejectedError(RunpodError):
    """The service will not have this call, however often it is made (400, 413, 422, …)."""


class UnavailableError(RunpodError):
    """The call may work later (no connection, no answer in time, 429, 5xx).

    `taken`: it may have had its effect although its answer did not arrive. `wait`: seconds that the service
    asked for.
    """

    def __init__(self, message: str, *, taken: bool = False, wait: float = 0.0) -> None:
        super().__init__(message)
        self.taken = taken
        self.wait = wait


class JobError(RunpodError):
    """A job ended without a result. `reason` is the worker's, or the job's state in lower case."""

    exit_code = 1

    def __init__(self, message: str, *, reason: str, log: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.log = log


class NotFinishedError(RunpodError):
    """The job is still alive: there is no output yet, or waiting for it has taken too long."""

    exit_code = 1


class ResultError(RunpodError):
    """What came back is not what the job should give: missing, damaged, cut short or hostile."""

    exit_code = 1


API_KEY = "RUNPOD_API_KEY"
JOBS_URL = "https://api.runpod.ai/v2"
MANAGEMENT_URL = "https://api.runpod.io/v2"
#: The same names as the executor plugin's.
JOBS_VARIABLE, MANAGEMENT_VARIABLE = "RUNPOD_API_BASE_URL", "RUNPOD_MANAGEMENT_URL"

#: Header with which `snakefold serve` says that a 429 holds until tomorrow: the user's quota is spent.
_REFUSED = "X-Snakefold-Refused"
_LONGEST_ANSWER = 64 << 20
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_BEFORE_SENDING = (ConnectionRefusedError, socket.gaierror)

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """Where the APIs are, the key to them, and how patient to be; seconds.

    Attributes:
        timeout: for one answer.
        patience: for which a call that fails for the time being is repeated.
        told: is told, in a line for people, of what is being repeated.
    """

    api_key: str = field(repr=False)
    jobs_url: str = JOBS_URL
    management_url: str = MANAGEMENT_URL
    timeout: float = 60.0
    patience: float = 300.0
    told: Callable[[str], None] = field(default=lambda _: None, repr=False)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def __post_init__(self) -> None:
        if not self.api_key:
            raise AccessError(
                f"{API_KEY} is not set. Make a key in RunPod's console (Settings, API Keys) and: "
                f"export {API_KEY}=…"
            )
        if not self.api_key.isascii() or not self.api_key.isprintable() or " " in self.api_key:
            raise AccessError(f"{API_KEY} holds a character that no key has (a space or a line break?).")


def open_session(environment: Mapping[str, str] | None = None, **settings: Any) -> Session:
    """A session from RUNPOD_API_KEY, and the addresses of other services if they are set.

    Raises:
        AccessError: there is no usable key.
        RejectedError: an address that the key must not be sent to.
    """
    given = os.environ if environment is None else environment
    jobs = settings.pop("jobs_url", None) or given.get(JOBS_VARIABLE)
    management = settings.pop("management_url", None) or given.get(MANAGEMENT_VARIABLE)
    if jobs and not management:
        # Whoever sends jobs elsewhere than to RunPod has no endpoints there to manage.
        management = "none"
    return Session(
        api_key=given.get(API_KEY, "").strip(),
        jobs_url=_address(jobs or JOBS_URL),
        management_url="" if management == "none" else _address(management or MANAGEMENT_URL),
        **settings,
    )


def call(session: Session, method: str, url: str, body: Any = None) -> Any:
    """One call, made once: the JSON that comes back, or None where the answer is empty.

    Raises:
        AccessError, NotFoundError, RejectedError, UnavailableError: by what is to be done about it.
    """
    data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
    request = urllib.request.Request(url, data=data, method=method)  # noqa: S310 (checked by _address)
    # Unredirected: the key goes to the configured address and nowhere else.
    request.add_unredirected_header("Authorization", f"Bearer {session.api_key}")
    request.add_header("User-Agent", "snakefold")
    if data is not None:
        request.add_header("Content-Type", "application/json")
    what = f"{method} {urlsplit(url).path}"
    try:
        with _OPENER.open(request, timeout=session.timeout) as response:
            content = response.read(_LONGEST_ANSWER + 1)
            if (
                response.length and len(content) <= _LONGEST_ANSWER
            ):  # `read` says nothing of bytes that never came
                raise UnavailableError(f"{what}: the connection was lost.", taken=True)
    except urllib.error.HTTPError as error:
        with error:
            raise _problem(session, error, what) from None
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(error, what) from error
    if len(content) > _LONGEST_ANSWER:
        raise RejectedError(f"{what}: the answer is larger than {_LONGEST_ANSWER >> 20} MB.")
    if not content.strip() and method == "DELETE":
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"{what}: the answer is not JSON.", taken=True) from error


def persist(session: Session, attempt: Callable[[], T], *, repeat_taken: bool = True) -> T:
    """Repeat a call that fails for the time being until it is answered or patience is spent.

    With `repeat_taken` false, a call that may have had its effect is not made again.
    """
    started, number = session.clock(), 0
    while True:
        try:
            return attempt()
        except UnavailableError as error:
            spent = session.clock() - started
            if (error.taken and not repeat_taken) or spent >= session.patience:
                raise
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**number) * random.uniform(0.75, 1.25)  # noqa: S311
            wait = min(max(wait, error.wait), session.patience - spent)
            session.told(f"{error} Trying again.")
        session.sleep(wait)
        number += 1


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _address(url: str) -> str:
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise RejectedError(f"{parts.hostname}: the API key is only sent over https (or to this machine).")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise RejectedError(f"{parts.hostname}: the address of an API holds neither a password nor a query.")
    return url.rstrip("/")


def _problem(session: Session, error: urllib.error.HTTPError, what: str) -> RunpodError:
    status = error.code
    try:
        content = error.read(65_536)
    except (OSError, http.client.HTTPException):
        content = b""
    text = f"{what}: HTTP {status}{_excerpt(content)}".replace(session.api_key, "***")
    if status in (401, 403):
        why = "is not a key that RunPod knows" if status == 401 else "has no permission for this"
        return AccessError(
            f"{text}. {API_KEY} {why}. Make or change one in RunPod's console (Settings, API Keys) and: "
            f"export {API_KEY}=…"
        )
    if status == 404:
        return NotFoundError(f"{text}.")
    if error.headers.get(_REFUSED) == "quota":
        return RejectedError(f"{text}.")
    if status in (408, 425, 429):
        return UnavailableError(f"{text}.", wait=_seconds(error.headers.get("Retry-After")))
    if status >= 500:
        # A gateway answers so before, and after, the service behind it has taken the call.
        return UnavailableError(f"{text}.", taken=True, wait=_seconds(error.headers.get("Retry-After")))
    return RejectedError(f"{text}.")


def _no_answer(error: OSError | http.client.HTTPException, what: str) -> RunpodError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RejectedError(f"{what}: the server's certificate cannot be verified: {cause.verify_message}.")
    if isinstance(cause, TimeoutError):
        return UnavailableError(f"{what}: no answer in time.", taken=True)
    if isinstance(cause, _BEFORE_SENDING):
        return UnavailableError(f"{what}: no connection: {cause.strerror or cause}.")
    return UnavailableError(f"{what}: the connection was lost ({type(cause).__name__}).", taken=True)


def _excerpt(content: bytes) -> str:
    """What an error's body says, in one line, without its HTML."""
    text = content.decode("utf-8", "replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    else:
        if isinstance(found, dict):
            errors = found.get("errors")
            details = errors if isinstance(errors, list) else []
            text = "; ".join(map(str, [found.get("detail") or found.get("error") or found, *details]))
    line = " ".join(text.split())[:500]
    return f" ({line})" if line else ""


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdigit() and len(text) < 6 else 0.0
