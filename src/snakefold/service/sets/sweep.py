"""Sets whose time is over: the set, its records and its results go together."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from snakefold.service import records
from snakefold.service.sets import folder as sets
from snakefold.service.settings import ServiceSettings

_DAY = 86_400.0
#: Beginning of the names of folders that are being removed: no set is found by such a name.
_GOING = ".going-"


def sweep(settings: ServiceSettings, now: float) -> int:
    """Remove sets of which nothing has happened for `results` days, and that nothing works on.

    A set that was quoted and never accepted is one of them. What was computed stays in the store.

    Args:
        now: seconds since the epoch.

    Returns:
        How many.
    """
    root = settings.folder / sets.SETS
    if settings.results == "keep" or not root.is_dir():
        return 0
    removed = 0
    for place in root.iterdir():
        if place.name.startswith(_GOING):
            shutil.rmtree(place, ignore_errors=True)
        elif records.is_id(place.name) and _is_over(settings, place, now):
            _remove(settings, place)
            removed += 1
    return removed


def _is_over(settings: ServiceSettings, place: Path, now: float) -> bool:
    if settings.results == "keep":
        return False
    each = sets.read(settings, place.name)
    found = [sets.quote_record(settings, place.name), sets.run_record(settings, place.name)]
    there = [record for record in found if record is not None]
    if any(record.ended is None for record in there):
        return False
    ends = [record.ended for record in there if record.ended is not None]
    with suppress(FileNotFoundError):
        last = max([*ends, each.created if each else place.stat().st_mtime])
        return now - last > settings.results * _DAY
    return False


def _remove(settings: ServiceSettings, place: Path) -> None:
    """Take a set away under another name, so that no crash leaves half of it; then what names it."""
    each = sets.read(settings, place.name)
    going = place.with_name(_GOING + place.name)
    with suppress(FileNotFoundError):
        place.rename(going)
    for kind in ("quotes", "runs"):
        shutil.rmtree(settings.folder / kind / place.name, ignore_errors=True)
        (settings.folder / kind / ".open" / place.name).unlink(missing_ok=True)
    if each is not None:
        (settings.folder / sets.SETS / ".of" / each.user / each.id).unlink(missing_ok=True)
    shutil.rmtree(going, ignore_errors=True)
