"""Records that are open, looked at again and again: each is read anew only after its folder has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snakefold.service import records
from snakefold.service.records import Record

#: Seconds after which a folder that changes gets another time for certain: clocks of file systems are coarse,
#: and those of other machines differ a little.
_SETTLED = 3.0


class Opened:
    """What is open in folders of records.

    Whoever takes, releases, ends or reopens a record makes or removes a file of its folder, which changes the
    folder's time. A worker's pulse does not: ask `records.is_dead` of a record that runs.

    Attributes:
        read: records that were read, over all looks.
    """

    def __init__(self) -> None:
        self.read = 0
        self._known: dict[Path, dict[str, tuple[int, Record]]] = {}

    def of(self, root: Path) -> Iterator[Record]:
        """Records below `root` that have not ended, by name."""
        before = self._known.get(root, {})
        now: dict[str, tuple[int, Record]] = {}
        above = f"{root}/"
        for name in records.open_names(root):
            changed = 0
            with suppress(FileNotFoundError):
                changed = os.stat(above + name).st_mtime_ns  # noqa: PTH116 (of thousands, every few seconds)
            known = before.get(name)
            if known is not None and known[0] == changed:
                record: Record | None = known[1]
            else:
                record = records.look(root, name)
                self.read += 1
            if record is None:
                continue
            if time.time() - changed / 1e9 > _SETTLED:
                now[name] = (changed, record)
            yield record
        self._known[root] = now
