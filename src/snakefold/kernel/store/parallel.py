"""Work on many entries of a store, several at once where each is mostly waiting."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from snakefold.kernel.store.entry import Store
from snakefold.kernel.wording import count

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Log = Callable[[str], None]

_THREADS = 8
#: Items in hand: results wait for the slowest, and this bounds the memory.
_IN_HAND = 32


def on_each(
    store: Store, work: Callable[[_Item], _Result], items: Iterable[_Item], *, writes: bool = False
) -> Iterator[_Result]:
    """Results of `work` on every item, in order; `items` is taken from as needed.

    Requests to S3 are mostly waiting, and so is writing to a disk (`writes`), but not reading from one.
    """
    if store.local is not None and not writes:
        yield from map(work, items)
        return
    yield from in_threads(work, items)


def in_threads(
    work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int = _THREADS
) -> Iterator[_Result]:
    """Results of `work` on every item, in order; `items` is taken from, by the caller's thread, as needed.

    After an exception of one, those that have not begun are left undone.
    """
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= max(_IN_HAND, threads):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class Progress:
    """Counts entries (or what else they are called) and bytes, and says so every few seconds."""

    def __init__(
        self, action: str, log: Log, every: float = 5.0, called: tuple[str, str] = ("entry", "entries")
    ) -> None:
        self.entries = 0
        self.size = 0
        self._action = action
        self._log = log
        self._called = called
        self._every = every
        self._next = time.monotonic() + every

    def add(self, size: int) -> None:
        """One more entry of `size` bytes."""
        self.entries += 1
        self.size += size
        if time.monotonic() >= self._next:
            self._log(f"{self._action}: {count(self.entries, *self._called)}, {in_units(self.size)} so far")
            self._next = time.monotonic() + self._every


def in_units(size: float) -> str:
    """Bytes as a person reads them: 4.2 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
