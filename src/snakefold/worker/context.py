"""What a task is done with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snakefold.kernel.paths import compiled_programs
from snakefold.kernel.store import Store, open_store
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
