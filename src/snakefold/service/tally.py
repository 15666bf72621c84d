"""How many jobs are in which state, without reading what has ended."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from snakefold.service import records
from snakefold.service.opened import Opened
from snakefold.service.records import State

#: State, user and endpoint.
_Place = tuple[State, str, str]
_STATES = {state.value for state in State}


class Tally:
    """Counts of one folder of records: of its journal, and of the records that are open."""

    def __init__(self, root: Path) -> None:
        self._opened = Opened()
        self._root = root
        self._lock = threading.Lock()
        self._ended: dict[str, _Place] = {}
        self._counts: Counter[_Place] = Counter()
        self._offset = 0

    @property
    def read(self) -> int:
        """Records that were read, over all calls."""
        return self._opened.read

    def counts(self, user: str, endpoint: str) -> Counter[State]:
        """Jobs of a user at an endpoint, by state; those that have ended are counted for good."""
        with self._lock:
            # First what is open: what ends meanwhile is counted once, by the journal.
            open_ = list(self._opened.of(self._root))
            self._follow()
            found = Counter({state: self._counts[state, user, endpoint] for state in State})
            for record in open_:
                if (record.user, record.facts.get("endpoint")) != (user, endpoint):
                    continue
                before = self._ended.get(record.id)
                if before is not None and records.has_ended(record.folder):
                    continue
                if before is not None:  # it failed, and waits again
                    found[before[0]] -= 1
                found[record.state] += 1
            return found

    def _follow(self) -> None:
        """Read what the journal has more than the last time."""
        try:
            with (self._root / records.ENDED).open("rb") as stream:
                stream.seek(self._offset)
                new = stream.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            words = line.split("\t")
            if len(words) != 4 or words[1] not in _STATES:
                continue
            place = (State(words[1]), words[2], words[3])
            if (before := self._ended.get(words[0])) is not None:
                self._counts[before] -= 1
            self._ended[words[0]] = place
            self._counts[place] += 1
