"""Which stage of a run is at work: a run that designs sequences folds them in a second one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from snakefold.config import read_recorded
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import State
from snakefold.plan.mark import is_marked
from snakefold.plan.quote.model import Quote
from snakefold.plan.stages import FIRST_STAGE, SEQUENCES
from snakefold.run.failures import read_failures


def run_of(results: Path) -> Path:
    """The folder that the run of these results is held by: their own, or the one of both stages."""
    path = results.resolve()
    own = path.name == FIRST_STAGE and _stage(path) == "sequences" and _stage(path.parent) == "structures"
    return results.parent if own else results


def folders_of(run: Path) -> list[Path]:
    """Results of the stages of a run, in order."""
    first = run / FIRST_STAGE
    # Settings of the second stage may be written after those of the first.
    two = _stage(first) == "sequences" and _stage(run) in ("structures", None)
    return [first, run] if two else [run]


def at_work(run: Path) -> Path:
    """Results of the stage that a run has come to."""
    first, *more = folders_of(run)
    return run if not more or is_over(first) else first


def is_over(first: Path) -> bool:
    """Whether what the first stage designed was handed on to the second."""
    run = first.parent
    made, metrics = run / SEQUENCES, first / "metrics.tsv"
    try:
        fresh = made.stat().st_mtime >= metrics.stat().st_mtime
    except OSError:
        return False
    # A new plan of the first stage is on its way where its mark is not there, and there is none of the second
    # for what the run depends on now.
    planned = is_marked(first / "plan") or _names(run / "plan" / "contents") == _names(run / "settings")
    return fresh and planned and (first / "failures.tsv").is_file()


def other_seconds(results: Path, run: Path) -> float:
    """What the quote expects of the other stage of a run; 0 if there is none."""
    first, *more = folders_of(run)
    if not more:
        return 0.0
    plan = first / "plan"
    path = plan / "structures" / "quote.json" if results == first else plan / "quote.json"
    try:
        return Quote.model_validate_json(path.read_bytes()).wall_hours.expected * 3600
    except (OSError, ValueError):
        return 0.0


def failed_before(results: Path, run: Path) -> int:
    """Targets of the stage before this one that have no result."""
    first, *more = folders_of(run)
    if not more or results == first or not (first / "failures.tsv").is_file():
        return 0
    return sum(row.state != State.REFUSED for row in read_failures(first))


def _names(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*")}


def _stage(results: Path) -> str | None:
    """`design.stage` of the settings there; None where there are none."""
    try:
        return _read_stage(results, (results / "config.yaml").stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(8)
def _read_stage(results: Path, _changed: int) -> str:
    """The same; the file's time makes a new file be read anew."""
    try:
        return read_recorded(results).design.stage
    except SnakefoldError:
        return ""
