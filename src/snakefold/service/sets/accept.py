"""Accepting a quote, within the quota of its user, and cancelling: decided by one process at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from snakefold.kernel.store import write_atomically
from snakefold.plan.quote.model import money
from snakefold.service import records
from snakefold.service.ledger import only_one, spend
from snakefold.service.records import Record, State
from snakefold.service.sets import folder as sets
from snakefold.service.sets.folder import CANCELLED, QUOTE, Set
from snakefold.service.settings import ServiceSettings
from snakefold.service.users import Quota


class NotNow(Exception):
    """The state of the set does not allow it."""


class OverBudget(Exception):
    """The quote is above the budget."""


def accept(
    settings: ServiceSettings, each: Set, quota: Quota, budget: float | None, *, automatic: bool = False
) -> Record:
    """Let a set that is quoted be run. What was accepted by a process that died is accepted once.

    Args:
        budget: dollars that the run may cost, by its own quote; None: whatever it says.
        automatic: by the process that quotes it, which has not ended the record of that yet.

    Returns:
        The record of the run, which its caller puts into the queue.

    Raises:
        NotNow: it is not quoted, or is accepted or cancelled already.
        OverBudget: it is above the budget.
        OverQuota: it is above what is left of the quota today (UTC).
    """
    with only_one(settings, each.user) as accepted:
        if (run := sets.run_record(settings, each.id)) is not None:
            if automatic:
                return run
            raise NotNow("It is accepted already.")
        quoted = sets.quote_record(settings, each.id)
        expected = State.RUNNING if automatic else State.DONE
        if quoted is None or quoted.state is not expected or (each.folder / CANCELLED).exists():
            raise NotNow("Only a set that is QUOTED can be accepted.")
        quote = sets.load(each.folder / QUOTE) or {}
        dollars, residues = float(quote["dollars"]["expected"]), int(quote["residues"])
        if budget is not None and dollars > budget:
            raise OverBudget(f"The quote is {money(dollars)}, above the budget of {money(budget)}.")
        spend(accepted, each.id, quota, residues=residues, dollars=dollars)
        facts = {"budget": budget, "dollars": dollars, "residues": residues}
        return records.create(
            settings.folder / "runs", "run", each.user, name=each.id, priority=each.priority, facts=facts
        )


def cancel(settings: ServiceSettings, each: Set) -> None:
    """End whatever is going on with a set; one that has ended stays as it is."""
    with only_one(settings, each.user):
        run = sets.run_record(settings, each.id)
        open_one = run or sets.quote_record(settings, each.id)
        if open_one is None:
            return
        if not open_one.state.final:
            records.end(open_one.folder, State.CANCELLED)
        elif run is None and open_one.state is State.DONE and not (each.folder / CANCELLED).exists():
            write_atomically(
                each.folder / CANCELLED, json.dumps({"ended": datetime.now(UTC).timestamp()}).encode()
            )
