"""What is done for a request: one function for the warm process and for the command line."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakefold.kernel.paths import compiled_programs
from snakefold.kernel.store import Store, open_store
from snakefold.worker.callbacks import Callbacks
from snakefold.worker.endpoints.added import Added
from snakefold.worker.endpoints.checked import InvalidInput, checked, served_for
from snakefold.worker.fetch import Network
from snakefold.worker.objects import Objects
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
    def objects(self) -> Objects:
        """Objects of the bucket that jobs may read and write; `of` those of a user."""
        return self.transfer.objects

    def callbacks(self, url: str | None, job_url: str | None, prefix: str) -> Callbacks:
        """What a job tells; see `callbacks.Callbacks`.

        Raises:
            InvalidInput: an address may not be called, or the worker has no secret.
        """
        return Callbacks(self.settings.callbacks, self.network, url, job_url, prefix, self.log)

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
    if not isinstance(given, Mapping):
        raise InvalidInput("`input` must be an object.")
    served = served_for(given)
    request = checked(served.contract, given)
    if isinstance(served, Added):
        done = served.does(dict(given), context)
    else:
        # Each imports what it needs only: an MMseqs2 endpoint has no use for JAX.
        done = pkgutil.resolve_name(served.does)(request, context)
    response, out_of_memory = done if isinstance(done, tuple) else (done, False)
    answer = _plain(response)
    return {**answer, "refresh_worker": True} if out_of_memory else answer


def _plain(response: Any) -> dict[str, Any]:
    if isinstance(response, Mapping):
        return dict(response)
    always = getattr(response, "always", ())
    return dict.fromkeys(always) | response.model_dump(mode="json", exclude_none=True)
