"""What is done for a request: one function for the warm process and for the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakefold.kernel.envelope import Response
from snakefold.kernel.paths import compiled_programs
from snakefold.kernel.store import Store, open_store
from snakefold.worker.endpoints import (
    DesignRequest,
    Envelope,
    FlatRequest,
    PoseRequest,
    Request,
    SearchRequest,
    read_input,
)
from snakefold.worker.fetch import Network
from snakefold.worker.settings import Settings
from snakefold.worker.transfer import Transfer


def _say(line: str) -> None:
    print(line, flush=True)


@dataclass
class Context:
    """The worker's settings and connections, and whom to tell what.

    Attributes:
        log: takes a line.
        progress: takes how many targets are done, and of how many.
        working_on: takes recipe and result keys of what is about to be folded.
    """

    settings: Settings
    store: Store
    network: Network
    log: Callable[[str], None] = _say
    progress: Callable[[int, int], None] | None = None
    working_on: Callable[[str, Sequence[str]], None] | None = None
    transfer: Transfer = field(init=False)

    def __post_init__(self) -> None:
        self.transfer = Transfer(self.settings, self.store, self.network)

    @property
    def compiled(self) -> Path:
        """Folder of compiled programs."""
        return compiled_programs(self.store)


def new_context(settings: Settings) -> Context:
    """A context for one job: everything of its own but the store."""
    return Context(settings, open_store(settings.store), Network(trusted=settings.transfer_hosts))


def perform(given: object, context: Context) -> dict[str, Any]:
    """The answer to an `input`, JSON-able; `refresh_worker` is in it after an out-of-memory.

    Raises:
        anything: `failures.as_job_error` says what it is.
    """
    request = read_input(given)
    response, out_of_memory = _response(request, context)
    answer = dict.fromkeys(response.always) | response.model_dump(mode="json", exclude_none=True)
    return {**answer, "refresh_worker": True} if out_of_memory else answer


def _response(request: Request, context: Context) -> tuple[Response, bool]:
    # Each imports what it needs only: an MMseqs2 endpoint has no use for JAX.
    if isinstance(request, Envelope):
        from snakefold.worker.fold import fold_envelope

        return fold_envelope(request, context)
    if isinstance(request, FlatRequest):
        from snakefold.worker.flat import fold_flat

        return fold_flat(request, context)
    if isinstance(request, PoseRequest):
        from snakefold.worker.poses import predict_poses

        return predict_poses(request, context)
    if isinstance(request, DesignRequest):
        from snakefold.worker.designs import design

        return design(request, context)
    if isinstance(request, SearchRequest):
        from snakefold.worker.mmseqs import search

        return search(request, context), False
    from snakefold.worker.mmseqs_build import build

    return build(request, context), False
