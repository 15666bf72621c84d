"""Inputs in storage: one object for each content, there for as long as a job may read it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator

from .errors import JobError, UnavailableError
from .ledger import Ledger
from .payload import Part, Work
from .storage import Storage


class Uploads:
    """What the jobs of this run have in storage.

    Objects are removed once a job that read them has its result here and no other holds them. Those of jobs
    that failed stay, for the next try.

    Args:
        folder: prefix of the keys; no other working directory has the same.
        ledger: tells whether jobs may be live that nobody here holds inputs for.
    """

    def __init__(self, folder: str, ledger: Ledger) -> None:
        self._folder = folder
        self._ledger = ledger
        self._holders: Counter[str] = Counter()
        self._read: dict[str, Storage] = {}

    @contextlib.asynccontextmanager
    async def held(self, work: Work) -> AsyncIterator[None]:
        """While this is open, none of the work's inputs is removed."""
        keys = {self._key(part) for part in work.parts}
        self._holders.update(keys)
        try:
            yield
        finally:
            self._holders.subtract(keys)
        await self.remove_read()

    async def send(self, part: Part, storage: Storage) -> str:
        """Have a file in storage; returns its key.

        Raises:
            JobError, UnavailableError: storage does not take it.
        """
        key = self._key(part)
        await asyncio.to_thread(storage.upload, part.path, key, part.size)
        return key

    def read(self, work: Work, storage: Storage) -> None:
        """A result of the work, whose inputs are in `storage`, is here, and verified."""
        self._read.update((self._key(part), storage) for part in work.parts)

    async def remove_read(self) -> None:
        """Remove what was read and is not held; what cannot be removed is left to storage's own rules."""
        free = [key for key in self._read if not self._holders[key]]
        try:
            if not free or self._ledger.has_earlier():
                return
        except sqlite3.Error:
            return
        await asyncio.gather(*(self._remove(key, self._read.pop(key)) for key in free))

    async def _remove(self, key: str, storage: Storage) -> None:
        with contextlib.suppress(UnavailableError, JobError):
            await asyncio.to_thread(storage.remove, key, unless=lambda: self._holders[key] > 0)

    def _key(self, part: Part) -> str:
        return f"{self._folder}/{part.sha256}"
