"""Typed failures: what a caller is told when a job has no result."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from snakefold.kernel.errors import (
    DatabaseMissingError,
    InputError,
    Reason,
    SnakefoldError,
    TargetError,
    WeightsMissingError,
)
from snakefold.worker.endpoints.checked import InvalidInput

_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 8
#: What follows the question mark of a presigned address is its signature.
_QUERY = re.compile(r"(\bhttps?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE)
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.IGNORECASE)


def without_secrets(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` without queries of addresses and without the values of secret environment variables."""
    given = os.environ if environment is None else environment
    for name, value in given.items():
        if len(value) >= _SHORTEST and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return _USER.sub(r"\1***@", _QUERY.sub(r"\1?…", text))


#: Reasons that a whole job can fail for.
JOB_REASONS = (
    Reason.INVALID_INPUT,
    Reason.OUT_OF_MEMORY,
    Reason.DATABASE_MISSING,
    Reason.WEIGHTS_MISSING,
    Reason.TIMEOUT,
    Reason.INTERNAL,
)
_LONGEST = 4000


class JobError(Exception):
    """The job failed as a whole."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(f"{reason}: {message}")


def as_job_error(error: BaseException) -> JobError:
    """The failure that an exception is; what nobody foresaw is `internal`."""
    if isinstance(error, JobError):
        return error
    if isinstance(error, TargetError):
        reason = error.reason if error.reason in JOB_REASONS else Reason.INTERNAL
        return JobError(reason, f"{error.message} {error.advice}".strip())
    if isinstance(error, MemoryError):
        return JobError(Reason.OUT_OF_MEMORY, "The worker's memory ran out.")
    reasons: dict[type[BaseException], Reason] = {
        InvalidInput: Reason.INVALID_INPUT,
        InputError: Reason.INVALID_INPUT,
        DatabaseMissingError: Reason.DATABASE_MISSING,
        WeightsMissingError: Reason.WEIGHTS_MISSING,
        TimeoutError: Reason.TIMEOUT,
    }
    for kind, reason in reasons.items():
        if isinstance(error, kind):
            return JobError(reason, str(error))
    if isinstance(error, SnakefoldError):
        return JobError(Reason.INTERNAL, str(error))
    if isinstance(error, ValidationError):  # its text repeats what was found
        return JobError(Reason.INTERNAL, f"{error.title}: {error.error_count()} values are not as expected.")
    return JobError(Reason.INTERNAL, f"{type(error).__name__}: {error}")


def failure(error: JobError, log: str = "") -> dict[str, Any]:
    """What the handler returns: RunPod wants `error` to be a text, so it is JSON.

    Some programs look for `status`, `message` and `details` in the output in its place.
    """
    told = {
        "reason": str(error.reason),
        "message": without_secrets(error.message)[:_LONGEST],
        "log": without_secrets(log)[-_LONGEST:],
    }
    answer: dict[str, Any] = {
        "error": json.dumps(told),
        "status": "failed",
        "message": f"{told['reason']}: {told['message']}",
        "details": told["log"],
    }
    if error.reason is Reason.OUT_OF_MEMORY:
        answer["refresh_worker"] = True
    return answer
