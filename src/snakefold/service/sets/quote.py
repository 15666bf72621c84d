"""Quoting a set: `snakefold plan`, and what it says as the service shows it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from snakefold.kernel.names import shown
from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count
from snakefold.molecules.folders import suffix_of
from snakefold.molecules.lines import BadFile, read_lines
from snakefold.plan.files import State as Planned
from snakefold.plan.files import TargetRow, read_targets
from snakefold.plan.forecast import STRUCTURES
from snakefold.plan.quote.model import Quote, total
from snakefold.service.kinds import Duty, Ending
from snakefold.service.ledger import OverQuota
from snakefold.service.queue import Queues
from snakefold.service.records import Record, State
from snakefold.service.sets import folder as sets
from snakefold.service.sets import process
from snakefold.service.sets.accept import NotNow, OverBudget, accept
from snakefold.service.sets.folder import PLAN, QUOTE, Set
from snakefold.service.sets.process import Stopped
from snakefold.service.settings import Limits, ServiceSettings
from snakefold.service.users import Quota

_REFUSED = {"refused": True}
#: Refused records that are named; all are counted.
_NAMED = 500


def perform(record: Record, duty: Duty) -> Ending:
    """Plan and price a set; accept it, if it was sent so. A predecessor's process is ended first."""
    each = sets.read(duty.settings, record.id)
    if each is None:
        return Ending(State.FAILED, error="The set is gone.")
    if not (each.folder / QUOTE).exists():
        process.end_all(each, PLAN)
        if too_many := _too_many(each, duty.settings.limits):
            return Ending(State.FAILED, error=too_many, facts=_REFUSED)
        words = process.command(each, duty.settings, "plan", "--out", PLAN)
        try:
            left = process.run(each, words, PLAN, duty.stop)
        except Stopped:
            return Ending(State.CANCELLED)
        if left.code:
            return Ending(State.FAILED, error=left.said, facts=_REFUSED if left.code == 2 else {})
        quote = _quote(each)
        if too_much := _too_large(quote, duty.settings.limits):
            return Ending(State.FAILED, error=too_much, facts=_REFUSED)
        write_atomically(each.folder / QUOTE, json.dumps(quote, ensure_ascii=False).encode())
    return Ending(State.DONE, facts=_accepted(each, duty.settings) if each.accept else {})


def _accepted(each: Set, settings: ServiceSettings) -> dict[str, Any]:
    """Accept a set as it was sent; why not, if not."""
    try:
        run = accept(settings, each, Quota.model_validate(each.quota), each.budget, automatic=True)
    except (NotNow, OverBudget, OverQuota) as error:
        return {"not_accepted": str(error)}
    Queues(settings).put(run)
    return {}


def _too_many(each: Set, limits: Limits) -> str:
    """What to say of more records than are taken, before a plan reads them; empty: there are not."""
    number = sum(_records(each.folder / name, limits.targets) for name in each.inputs)
    return _above(number, limits.targets, "targets")


def _records(file: Path, most: int) -> int:
    """Records of a file, as far as lines say; a few more than `most` are not counted to their end."""
    table = suffix_of(file) in {".csv", ".tsv"}
    if suffix_of(file) in {".a3m", ".json", ".yaml", ".yml"}:
        return 1
    found = 0
    try:
        for line in read_lines(file, nul=True):
            found += bool(line.strip()) if table else line.startswith(">")
            if found > most + 1:
                break
    except BadFile:  # the plan says what is wrong
        return found
    return found - 1 if table else found


def _too_large(quote: dict[str, Any], limits: Limits) -> str:
    total = sum(quote["targets"].values())
    return _above(total, limits.targets, "targets") or _above(quote["length"], limits.residues, "residues")


def _above(number: int, most: int, what: str) -> str:
    return f"The set has more than {most:,} {what}, and this service takes no more." if number > most else ""


def _quote(each: Set) -> dict[str, Any]:
    """The quote of a plan, as the service shows it; of both stages, if sequences are designed and folded."""
    plan = each.folder / PLAN
    folders = [plan, *([plan / STRUCTURES] if (plan / STRUCTURES / "quote.json").exists() else [])]
    quotes = [Quote.model_validate_json((folder / "quote.json").read_bytes()) for folder in folders]
    first, *second = quotes
    residues: Counter[str] = Counter()
    for folder in folders:
        for row in read_targets(folder, TargetRow):
            residues[row.state] += row.length or 0
    refused = json.loads((plan / "refusals.json").read_bytes())
    then = [f"Then about {count(quote.targets[Planned.TO_DO], 'design')} are folded." for quote in second]
    return {
        "dollars": _range(total(quote.dollars for quote in quotes)),
        "hours": _range(total(quote.wall_hours for quote in quotes)),
        "worker_hours": _range(total(quote.hours for quote in quotes)),
        "alignment_cpu_hours": _range(total(quote.msa_cpu_hours for quote in quotes)),
        "residues": residues[Planned.TO_DO],
        "length": sum(residues.values()),
        "to_do": first.targets.get(Planned.TO_DO, 0),
        "stored": first.targets.get(Planned.STORED, 0),
        "targets": first.targets,
        "engines": {name: number for quote in quotes for name, number in quote.engines.items()},
        "rehearsal": any(quote.rehearsal for quote in quotes),
        "refused": [
            {
                "id": shown(said["header"]),
                "reason": f"{said['message']} {said['advice']}".strip(),
                "file": Path(said["file"]).name,
                "record": said["record"],
                "line": said["line"],
            }
            for said in refused[:_NAMED]
        ],
        "notes": [*each.notes, *then, *(said for quote in quotes for said in quote.warnings)],
    }


def _range(amount: Any) -> dict[str, float]:
    return {"low": amount.low, "expected": amount.expected, "high": amount.high}
