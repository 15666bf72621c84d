"""What answers of several routes have in common, for their documentation."""

from __future__ import annotations

from typing import Any

from snakefold.service.refusals import Problem

Responses = dict[int | str, dict[str, Any]]


def refusals(**described: str) -> Responses:
    """Answers with a `Problem`, by status: `refusals(_404="No such job.")`."""
    return {int(code[1:]): {"model": Problem, "description": text} for code, text in described.items()}


#: Of every route that has a job done while the client waits.
WAITING: Responses = refusals(
    _400="The request is refused; the text names what is wrong.",
    _401="No known token.",
    _409="The job was cancelled.",
    _413="The request is too large.",
    _429="Too many of your jobs have not ended, or your quota of today is spent.",
    _500="The job failed.",
    _504="The job took too long.",
)
