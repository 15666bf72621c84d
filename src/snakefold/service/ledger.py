"""What users have spent of their quotas: a file of each user and day (UTC), a line of each set or job.

Whoever decides holds the user's lock, so that two requests at one moment are decided one after the other.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakefold.plan.quote.model import money
from snakefold.service.settings import ServiceSettings
from snakefold.service.users import Quota

#: Header of a refusal that waiting does not change before tomorrow. Clients repeat other 429 after a while.
SPENT = {"X-Snakefold-Refused": "quota"}


class OverQuota(Exception):
    """The quota of the user does not allow it today."""


@contextmanager
def only_one(settings: ServiceSettings, user: str) -> Iterator[Path]:
    """Let one process at a time decide on what a user spends; gives the folder of what was accepted."""
    folder = settings.folder / "sets" / ".accepted" / user
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield folder


def spend(
    accepted: Path, name: str, quota: Quota, *, residues: int, dollars: float = 0.0, what: str = "set"
) -> None:
    """Write down what is accepted today. A line of a name that is there twice counts once.

    A line comes before the record that it is of: after a crash in between, a set may be accepted again.

    Args:
        accepted: the folder that `only_one` gives.
        what: set or job, for the text.

    Raises:
        OverQuota: it is above what is left of the quota today (UTC).
    """
    ledger = accepted / f"{datetime.now(UTC):%Y-%m-%d}.jsonl"
    spent = {line["id"]: line for line in _lines(ledger)}
    spent.pop(name, None)
    for unit, limit, more, show in (
        ("residues", quota.residues_per_day, residues, _whole),
        ("dollars", quota.dollars_per_day, dollars, money),
    ):
        so_far = math.fsum(line[unit] for line in spent.values())
        # What costs nothing of a unit is not refused for it.
        if limit is not None and more and so_far + more > limit:
            again = "Accept it" if what == "set" else "Send it"
            raise OverQuota(
                f"Your quota is {show(limit)} of {unit} a day (UTC); {show(so_far)} are accepted today, and "
                f"this {what} has {show(more)}. {again} tomorrow, or ask whoever runs this service."
            )
    with ledger.open("a", encoding="utf-8") as stream:
        # A line that a crash cut off is not continued.
        stream.write("\n" + json.dumps({"id": name, "dollars": dollars, "residues": residues}) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _lines(ledger: Path) -> list[dict[str, Any]]:
    try:
        text = ledger.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    found = []
    for line in filter(None, text.splitlines()):
        try:
            found.append(json.loads(line))
        except ValueError:  # cut off by a crash, before its record was made
            continue
    return found
