"""A store that may go away while something is computed: what it does not take is kept in a folder beside it.

Nothing that was computed is lost with the store, and a process that is started again finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store.entry import ATTEMPT, Entry, Leftover, Listed, Store
from snakefold.kernel.store.folder import FolderStore

#: Name of the folder, beside what a step writes.
FOLDER = ".unstored"


class KeptStore:
    """`store`, and a folder that takes its place from the first entry on that it does not take.

    What cannot be read from the store raises StoreError as ever: nothing is lost by that.

    Attributes:
        away: why nothing is given to the store any more; empty while it takes what it is given.
    """

    def __init__(self, store: Store, folder: Path, log: Callable[[str], None]) -> None:
        self._store = store
        self._kept = FolderStore(folder)
        self._log = log
        self.away = ""

    @property
    def local(self) -> Path | None:
        """The store's folder, if it is one on this machine."""
        return self._store.local

    @property
    def location(self) -> str:
        """The store's."""
        return self._store.location

    def keeps(self, entry: Entry) -> bool:
        """Whether the entry is in the folder, for the store did not take it."""
        return self._kept.has(entry)

    def hand_over(self) -> int:
        """Put what the folder holds into the store; returns how many entries it still holds after that."""
        left = 0
        for listed in list(self._kept.listing()):
            data = None if listed.entry.kind == ATTEMPT else self._kept.get(listed.entry)
            if data is not None and (self.away or not self._takes(listed.entry, data)):
                left += 1
                continue
            with suppress(StoreError):
                self._kept.remove(listed.entry)
        return left

    def get(self, entry: Entry, *, used: bool = True) -> bytes | None:
        """The entry's verified bytes, or None if it is absent or was found damaged (and moved aside)."""
        found = self._kept.get(entry)
        # A counter is not worth the wait for a server that is away; what may only be read is still read.
        if found is not None or (self.away and entry.kind == ATTEMPT):
            return found
        return self._store.get(entry, used=used)

    def put(self, entry: Entry, data: bytes) -> None:
        """Write the entry, over the one that was there."""
        if self.away or not self._takes(entry, data):
            self._kept.put(entry, data)

    def has(self, entry: Entry) -> bool:
        """Whether the entry is there; cheap, so its bytes are not verified."""
        return self._kept.has(entry) or self._store.has(entry)

    def remove(self, entry: Entry) -> None:
        """Forget the entry, if it is there, as far as the store lets go of it."""
        with suppress(StoreError):
            self._kept.remove(entry)
        if not self.away:
            try:
                self._store.remove(entry)
            except StoreError as error:
                self._goes_away(error)

    def check(self, entry: Entry) -> bool | None:
        """Whether the entry is whole; None if it is absent. A damaged one is moved aside. No use of it."""
        found = self._kept.check(entry)
        return found if found is not None else self._store.check(entry)

    def keys(self, kind: str, recipe: str) -> set[str]:
        """Keys of all entries of one kind and recipe."""
        return self._kept.keys(kind, recipe) | self._store.keys(kind, recipe)

    def listing(self, kind: str | None = None, recipe: str | None = None) -> Iterator[Listed]:
        """The store's."""
        return self._store.listing(kind, recipe)

    def leftovers(self) -> Iterator[Leftover]:
        """The store's."""
        return self._store.leftovers()

    def discard(self, leftover: Leftover) -> None:
        """Remove one of the store's leftovers, if it is still there."""
        self._store.discard(leftover)

    def _takes(self, entry: Entry, data: bytes) -> bool:
        try:
            self._store.put(entry, data)
        except StoreError as error:
            self._goes_away(error)
            return False
        return True

    def _goes_away(self, error: StoreError) -> None:
        self.away = str(error)
        self._log(f"The store takes nothing: {error} What is computed is kept in {self._kept.root}.")
