"""What can go wrong between here and an endpoint. No text holds the API key or a signed address."""

from __future__ import annotations

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
