"""Files of results whose times are in the future: a clock was wrong, or they came from elsewhere."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

#: What no job of Snakemake's is made from, and may hold very many files.
_PASSED_OVER = {"store", "structures", "logs", "benchmarks", "report", "workflow", ".snakefold"}


def bring_to_now(results: Path) -> int:
    """Give files of the steps that are from the future the present time; says how many.

    Snakemake fails a job whose output is older than an input, every time, until the clock has caught up.
    """
    now, changed = time.time(), 0
    for folder, folders, names in os.walk(results):
        folders[:] = [name for name in folders if Path(folder) != results or name not in _PASSED_OVER]
        for name in names:
            path = Path(folder, name)
            with suppress(OSError):
                if path.stat().st_mtime > now:
                    os.utime(path, (now, now))
                    changed += 1
    return changed
