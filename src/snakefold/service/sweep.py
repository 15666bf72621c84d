"""What is removed after its time: records that ended long ago, and what a crash left of what never was one.

Nothing that is open is touched, whatever its age.
"""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from pathlib import Path

from snakefold.kernel.errors import SnakefoldError
from snakefold.service import records
from snakefold.service.kinds import KINDS, roots
from snakefold.service.sets import sweep as sets
from snakefold.service.settings import ServiceSettings

log = logging.getLogger(__name__)
#: Seconds after which a mark or a folder without a record is nobody's who is still writing it.
ORPHAN = 24 * 3600.0
_DAY = 86_400.0
_RECORD = "record.json"
#: Beginning of the names of folders that are being removed: no record is found by such a name.
_GOING = ".going-"


def sweep(settings: ServiceSettings, now: float | None = None) -> int:
    """Remove records and sets that ended more than `results` days ago; how many those were.

    Args:
        now: seconds since the epoch.
    """
    now = time.time() if now is None else now
    removed = 0
    for root in roots(settings):
        if not root.is_dir():
            continue
        for folder in root.iterdir():
            if folder.name.startswith(_GOING):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir() and records.is_id(folder.name):
                removed += _look_at(folder, settings, now)
        _marks(root, now)
    removed += sets.sweep(settings, now)
    if removed:
        log.info("records removed", extra={"number": removed, "days": settings.results})
    return removed


def _look_at(folder: Path, settings: ServiceSettings, now: float) -> bool:
    """Remove a folder whose time is over; whether it was a record."""
    try:
        record = records.read(folder)
    except FileNotFoundError:  # its submission was cut off before it was a record
        with suppress(FileNotFoundError):
            if now - folder.stat().st_mtime > ORPHAN:
                _remove(folder)
        return False
    except SnakefoldError as error:  # somebody has to look at it
        log.warning("a record cannot be read", extra={"record": folder.name, "error": str(error)})
        return False
    kind = KINDS.get(record.kind)
    if settings.results == "keep" or record.ended is None or kind is None or kind.kept:
        return False
    if now - record.ended <= settings.results * _DAY or (folder.parent / ".open" / folder.name).exists():
        return False
    _remove(folder)
    return True


def _remove(folder: Path) -> None:
    """Take a folder away under another name, so that no crash leaves half a record."""
    going = folder.with_name(_GOING + folder.name)
    with suppress(FileNotFoundError):
        folder.rename(going)
        (folder.parent / ".open" / folder.name).unlink(missing_ok=True)
        shutil.rmtree(going, ignore_errors=True)


def _marks(root: Path, now: float) -> None:
    """Remove marks of what is no record."""
    with suppress(FileNotFoundError):
        for mark in (root / ".open").iterdir():
            with suppress(FileNotFoundError):
                if not (root / mark.name / _RECORD).exists() and now - mark.stat().st_mtime > ORPHAN:
                    mark.unlink()
