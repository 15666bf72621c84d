"""What is done for a request: one function for the warm process and for the command line."""

from __future__ import annotations

from typing import Any

from snakefold.kernel.envelope import Response
from snakefold.worker.context import Context
from snakefold.worker.endpoints import BuildRequest, Envelope, FlatRequest, SearchRequest, read_input


def perform(given: object, context: Context) -> dict[str, Any]:
    """The answer to an `input`, JSON-able; `refresh_worker` is in it after an out-of-memory.

    Raises:
        anything: `failures.as_job_error` says what it is.
    """
    request = read_input(given)
    response, out_of_memory = _response(request, context)
    answer = response.model_dump(mode="json", exclude_none=True)
    return {**answer, "refresh_worker": True} if out_of_memory else answer


def _response(
    request: Envelope | FlatRequest | SearchRequest | BuildRequest, context: Context
) -> tuple[Response, bool]:
    # Each imports what it needs only: an MMseqs2 endpoint has no use for JAX.
    if isinstance(request, Envelope):
        from snakefold.worker.fold import fold_envelope

        return fold_envelope(request, context)
    if isinstance(request, FlatRequest):
        from snakefold.worker.flat import fold_flat

        return fold_flat(request, context)
    if isinstance(request, SearchRequest):
        from snakefold.worker.mmseqs import search

        return search(request, context), False
    from snakefold.worker.mmseqs_build import build

    return build(request, context), False
