"""Running a set: `snakefold run` in its folder, until it has come to its end."""

from __future__ import annotations

import logging
from typing import Any

from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.plan.lock import ACTIVE, lock_file
from snakefold.run.failures import read_failures
from snakefold.run.status.folder import lock_is_held
from snakefold.service.kinds import Duty, Ending
from snakefold.service.records import Record, State
from snakefold.service.sets import folder as sets
from snakefold.service.sets import process
from snakefold.service.sets.folder import Set
from snakefold.service.sets.process import Left, Stopped
from snakefold.service.sets.progress import progress_of

log = logging.getLogger(__name__)
_NAME = "run"
_REFUSED = 2
#: Processes of one run that may be killed before the run is given up.
_MOST_STARTS = 20
#: Runs that follow one in which targets were lost: their processes were killed several times.
_AGAIN = 2
_POLL, _PAUSE = 0.5, 2.0


def perform(record: Record, duty: Duty) -> Ending:
    """Run a set to its end. One whose process lives on, when its worker has died, is waited for.

    The command is then run once more: of what is done it computes nothing, and its exit code is the run's.
    """
    each = sets.read(duty.settings, record.id)
    if each is None:
        return Ending(State.FAILED, error="The set is gone.")
    budget = record.facts.get("budget")
    limit = ["--set", f"budget={budget!r}"] if budget is not None else []
    words = process.command(each, duty.settings, "run", *limit)
    try:
        left = _until_it_ends(each, words, duty)
    except Stopped:
        return Ending(State.CANCELLED)
    return _ending(each, left)


def _until_it_ends(each: Set, words: list[str], duty: Duty) -> Left:
    """Run the command until it has not been killed, and once more for targets that were killed with it."""
    left, again = Left(-1, ""), _AGAIN
    for _ in range(_MOST_STARTS):
        _wait_for_others(each, duty)
        left = process.run(each, words, _NAME, duty.stop)
        if left.code == _REFUSED and (ACTIVE in left.said or _is_active(each)):
            # One that had begun before was not to be seen yet; or somebody looked at the lock just then.
            continue
        if left.code == 1 and again and _some_are_lost(each):
            again -= 1
            continue
        if left.code in (0, 1, _REFUSED):
            return left
        log.warning("the run was killed, and is resumed", extra={"status": left.code})
        if duty.stop.wait(_PAUSE):
            raise Stopped
    return left


def _some_are_lost(each: Set) -> bool:
    """Whether targets failed of which the workflow says that the next run computes them."""
    try:
        return any(row.reason == Reason.LOST for row in read_failures(each.results))
    except (OSError, SnakefoldError):
        return False


def _is_active(each: Set) -> bool:
    """Whether a run is at work in the results, on any machine that shares the folder."""
    return bool(process.alive(each, _NAME)) or bool(lock_is_held(lock_file(each.results)))


def _wait_for_others(each: Set, duty: Duty) -> None:
    while _is_active(each):
        if duty.stop.wait(_POLL):
            process.end_all(each, _NAME)
            raise Stopped


def _ending(each: Set, left: Left) -> Ending:
    facts: dict[str, Any] = {"exit_code": left.code}
    try:
        facts["progress"] = progress_of(each.results)
    except SnakefoldError as error:
        log.warning("the results cannot be read", extra={"error": str(error)})
    if left.code == _REFUSED:
        return Ending(State.FAILED, error=left.said, facts={**facts, "refused": True})
    if left.code == 0 or (left.code == 1 and (each.results / "metrics.tsv").is_file()):
        return Ending(State.DONE, facts=facts)
    return Ending(State.FAILED, error=left.said or f"The run ended with {left.code}.", facts=facts)
