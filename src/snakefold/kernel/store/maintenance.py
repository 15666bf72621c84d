"""What a store has, whether it is whole, and what of it may go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from snakefold.kernel.store.entry import ATTEMPT, Entry, Leftover, Listed, Store
from snakefold.kernel.store.parallel import Log, Progress, on_each

_DAY = 86_400.0
#: Seconds. A counter of attempts belongs to work that may still run, for days on a slow machine.
_ATTEMPT_KEPT = 7 * _DAY
#: Seconds. A file that is being written is not left over.
_PART_KEPT = _DAY


@dataclass
class Share:
    """Entries of one kind and recipe: their number, bytes kept, and times of the first and last use (folder)
    or writing (S3), in seconds since 1970."""

    kind: str
    recipe: str
    entries: int = 0
    size: int = 0
    oldest: float = float("inf")
    newest: float = 0.0


@dataclass
class Stats:
    """What a store has. `damaged` and `unfinished` are what `collect_garbage` looks after."""

    shares: list[Share]
    damaged: Share = field(default_factory=lambda: Share("damaged", ""))
    unfinished: Share = field(default_factory=lambda: Share("unfinished", ""))


@dataclass
class Verified:
    """What a check of all entries found. `size` in bytes."""

    entries: int
    size: int
    damaged: list[Entry]


@dataclass
class Collected:
    """What was removed (or would be), and the bytes that this frees."""

    entries: int = 0
    leftovers: int = 0
    size: int = 0
    kept: int = 0


def stats(store: Store, log: Log) -> Stats:
    """Count what a store has, by kind and recipe, from its listing alone."""
    progress = Progress("stats", log)
    shares: dict[tuple[str, str], Share] = {}
    for listed in store.listing():
        kind, recipe = listed.entry.kind, listed.entry.recipe
        _count(shares.setdefault((kind, recipe), Share(kind, recipe)), listed)
        progress.add(listed.size)
    found = Stats([shares[name] for name in sorted(shares)])
    for leftover in store.leftovers():
        _count(found.damaged if leftover.damaged else found.unfinished, leftover)
    return found


def verify(store: Store, log: Log) -> Verified:
    """Read every entry and check its sha256. Damaged ones are moved aside, if the store can be written."""
    progress = Progress("verify", log)
    damaged: list[Entry] = []

    def check(listed: Listed) -> tuple[Listed, bool | None]:
        return listed, store.check(listed.entry)

    for listed, whole in on_each(store, check, store.listing()):
        if whole is None:  # removed by another process since it was listed
            continue
        progress.add(listed.size)
        if not whole:
            damaged.append(listed.entry)
    return Verified(progress.entries, progress.size, damaged)


def collect_garbage(store: Store, keep: float, log: Log, *, dry_run: bool = False) -> Collected:
    """Remove entries whose last use (folder) or writing (S3) is longer ago than `keep` seconds.

    Also removes damaged entries that were moved aside, and what killed writers left more than a day ago.
    Counters of attempts stay for a week at the least: they belong to work that may be running.
    """
    now = time.time()
    done = Collected()
    progress = Progress("gc", log)

    def old() -> Iterator[Listed]:
        for listed in store.listing():
            progress.add(listed.size)
            limit = max(keep, _ATTEMPT_KEPT) if listed.entry.kind == ATTEMPT else keep
            if now - listed.modified > limit:
                yield listed
            else:
                done.kept += 1

    def gone() -> Iterator[Leftover]:
        for leftover in store.leftovers():
            if leftover.damaged or now - leftover.modified > _PART_KEPT:
                yield leftover

    def remove(listed: Listed) -> int:
        if not dry_run:
            store.remove(listed.entry)
        return listed.size

    def discard(leftover: Leftover) -> int:
        if not dry_run:
            store.discard(leftover)
        return leftover.size

    for size in on_each(store, remove, old(), writes=True):
        done.entries += 1
        done.size += size
    for size in on_each(store, discard, gone(), writes=True):
        done.leftovers += 1
        done.size += size
    return done


def _count(share: Share, item: Listed | Leftover) -> None:
    share.entries += 1
    share.size += item.size
    share.oldest = min(share.oldest, item.modified)
    share.newest = max(share.newest, item.modified)
