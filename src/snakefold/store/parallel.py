"""Work on many entries of a store, several at once where each is mostly waiting."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from snakefold.store.entry import Store
from snakefold.wording import count

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Log = Callable[[str], None]

# Results wait for the slowest of their round: this bounds the memory.
_THREADS = 8
_ROUND = 32


def on_each(
    store: Store, work: Callable[[_Item], _Result], items: Iterable[_Item], *, writes: bool = False
) -> Iterator[_Result]:
    """Results of `work` on every item, in order; `items` is taken from as needed.

    Requests to S3 are mostly waiting, and so is writing to a disk (`writes`), but not reading from one.
    """
    if store.local is not None and not writes:
        yield from map(work, items)
        return
    remaining = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        while some := list(islice(remaining, _ROUND)):
            yield from pool.map(work, some)


class Progress:
    """Counts entries and bytes, and says so every few seconds."""

    def __init__(self, action: str, log: Log, every: float = 5.0) -> None:
        self.entries = 0
        self.size = 0
        self._action = action
        self._log = log
        self._every = every
        self._next = time.monotonic() + every

    def add(self, size: int) -> None:
        """One more entry of `size` bytes."""
        self.entries += 1
        self.size += size
        if time.monotonic() >= self._next:
            self._log(
                f"{self._action}: {count(self.entries, 'entry', 'entries')}, {in_units(self.size)} so far"
            )
            self._next = time.monotonic() + self._every


def in_units(size: float) -> str:
    """Bytes as a person reads them: 4.2 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
