"""What goes wrong, by what is to be done about it."""

from __future__ import annotations

#: Reasons of a JobError that lie with RunPod and not with the job: it may well run elsewhere.
NO_SERVICE = frozenset({"unavailable", "endpoint", "queue_timeout", "lost"})

#: Reasons of a JobError that another try, which would be paid, cannot change.
HOPELESS = frozenset(
    {"invalid_input", "weights_missing", "database_missing", "result_too_large", "unreadable", "quota_spent"}
)


class RunpodError(Exception):
    """Anything this plugin gives up on. The text is for people and holds no secrets."""


class JobError(RunpodError):
    """One job cannot be had; `reason` is one of the worker's typed reasons or a word of this plugin's."""

    def __init__(self, message: str, reason: str = "internal", log: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.log = log


class AccessError(RunpodError):
    """The service refuses the key (401, 403): nothing will work until somebody changes something."""


class NotFoundError(RunpodError):
    """404: no such endpoint, or a job that the service no longer knows."""


class RejectedError(RunpodError):
    """The service has read the call and will not have it (400, 413, 422, …): repeating it is of no use."""


class SpentError(RejectedError):
    """The quota of the user is spent until tomorrow. The text is the service's."""


class UnavailableError(RunpodError):
    """The call may work later. `taken`: it may have had its effect although no answer came."""

    def __init__(self, message: str, *, taken: bool = False) -> None:
        super().__init__(message)
        self.taken = taken
