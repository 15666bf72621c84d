"""How many jobs are in which state, without reading again what has ended."""

from __future__ import annotations

import os
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from snakefold.service import records
from snakefold.service.records import State

#: User, endpoint and state.
_Place = tuple[str, str, State]


class Tally:
    """Counts of one folder of records. Each record that has ended is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._ended: dict[str, _Place] = {}
        self._counts: Counter[_Place] = Counter()
        self.read = 0  # records, over all calls

    def counts(self, user: str, endpoint: str) -> Counter[State]:
        """Jobs of a user at an endpoint, by state."""
        with self._lock:
            open_ = self._listed(self._root / ".open")
            for name in open_ & self._ended.keys():  # it waits again
                self._counts[self._ended.pop(name)] -= 1
            running: Counter[State] = Counter()
            for name in open_ | (self._listed(self._root) - self._ended.keys()):
                place = self._place(name)
                if place is None:
                    continue
                if place[2].final and name not in open_:
                    self._ended[name] = place
                    self._counts[place] += 1
                elif place[:2] == (user, endpoint):
                    running[place[2]] += 1
            for state in State:
                running[state] += self._counts[user, endpoint, state]
            return running

    def _place(self, name: str) -> _Place | None:
        self.read += 1
        try:
            record = records.read(self._root / name)
        except FileNotFoundError:
            return None
        return record.user, str(record.facts.get("endpoint", "")), record.state

    def _listed(self, folder: Path) -> set[str]:
        with suppress(FileNotFoundError):
            return {name for name in os.listdir(folder) if not name.startswith(".")}  # noqa: PTH208 (fast)
        return set()
