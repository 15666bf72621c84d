"""Lines of the bill: what a batch and each of its targets took and cost."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from snakefold import engines
from snakefold.kernel import tables
from snakefold.kernel.contracts import FoldResponse, TargetOutcome
from snakefold.plan.files import part_of
from snakefold.run.bill.execution import Execution, ExecutionRecord

#: Where the seconds that are paid for come from.
EXECUTOR, BENCHMARK, RESPONSE = "executor", "benchmark", "response"
#: State of a batch that was paid for and has no archive, and of its targets.
LOST = "lost"
#: State of a target in a batch that predicted a part of its seeds: what became of it, its whole result says.
PART = "part"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of bill.tsv.

    Attributes:
        level: `batch` or `target`; the dollars of a batch's targets add up to the batch's.
        run: `this` since the last plan, `earlier` before.
        state: of a target done, failed, stored, reused, lost or part; of a batch, that of all, or mixed.
        seconds: paid for, or spent on a machine of one's own; a target's with its share of what the batch
            took besides (start, load, idle and other), a part of every target that was computed.
        other: attempts that failed, transfers: what no part accounts for.
        queued: not paid for.
        idle_share, compile_share: of `seconds`.
        attempts: 0 where nothing says how many there were.
        source: who measured `seconds`.
    """

    level: str
    run: str
    batch: str
    execution: str
    id: str
    state: str
    gpu: str
    seconds: float = 0.0
    start: float = 0.0
    load: float = 0.0
    compile: float = 0.0
    predict: float = 0.0
    relax: float = 0.0
    idle: float = 0.0
    other: float = 0.0
    queued: float = 0.0
    dollars: float = 0.0
    idle_share: float = 0.0
    compile_share: float = 0.0
    attempts: int = 0
    source: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it the same line, whenever it is written."""
        return self.level, self.batch, self.execution, self.id


def lines_of(execution: Execution, gpu: str, dollars_per_second: float, *, run: str) -> list[Line]:
    """The batch's line, then those of its targets, in the response's order.

    Args:
        gpu: the class that was planned; empty for a batch that only fetched what was there: it costs nothing.
        dollars_per_second: of that class, unless the executor's record says what was paid.
    """
    response, record = execution.response, execution.record
    base = Line("batch", run, response.batch, execution.digest, "", "", gpu)
    computed = [item for item in response.outcomes if not item.stored]
    if not gpu or not response.outcomes:
        return _fetched(base, execution)
    own = {item.id: _target_parts(item, execution.timings.get(item.id, {})) for item in computed}
    inside = sum(sum(parts.values()) for parts in own.values())
    process = response.seconds.get("total", inside)
    if record is not None:
        seconds, source, attempts = record.billed_seconds, EXECUTOR, record.attempts
        load = max(0.0, process - inside)
        base = replace(
            base,
            gpu=record.gpu or gpu,
            start=record.start_seconds,
            idle=record.idle_seconds,
            queued=record.queued_seconds,
        )
    else:
        seconds = max(execution.wall or 0.0, process)
        source, attempts = BENCHMARK if execution.wall else RESPONSE, 0
        load = max(0.0, seconds - inside)
    parts = {name: sum(item[name] for item in own.values()) for name in ("compile", "predict", "relax")}
    known = base.start + base.idle + load + sum(parts.values())
    price = dollars_per_second if record is None else record.dollars_per_second
    batch = replace(
        base,
        state=_state_of_all(execution),
        seconds=seconds,
        load=load,
        other=max(0.0, seconds - known),
        dollars=seconds * price,
        idle_share=base.idle / seconds if seconds else 0.0,
        compile_share=min(1.0, parts["compile"] / seconds) if seconds else 0.0,
        attempts=attempts,
        source=source,
        compile=parts["compile"],
        predict=parts["predict"],
        relax=parts["relax"],
    )
    return [batch, *_targets(batch, execution, own)]


def _targets(batch: Line, execution: Execution, own: dict[str, dict[str, float]]) -> list[Line]:
    """Each target's own seconds and an equal part of the rest, scaled so that they are the batch's."""
    # A job that was paid for only to find everything stored, or no alignment, is shared by all it was for.
    worked = [name for name, parts in own.items() if sum(parts.values()) > 0]
    paying = worked or [item.id for item in execution.response.outcomes]
    inside = sum(sum(parts.values()) for parts in own.values())
    rest = max(0.0, batch.seconds - inside) / len(paying)
    weights = {name: sum(own.get(name, {}).values()) + rest for name in paying}
    whole = sum(weights.values())
    lines = []
    for item in execution.response.outcomes:
        share = weights.get(item.id, 0.0) / whole if whole else 0.0
        equal = 1 / len(paying) if item.id in weights else 0.0
        seconds = batch.seconds * share
        parts = own.get(item.id, {})
        lines.append(
            replace(
                batch,
                level="target",
                id=item.id,
                state=_state(item, execution.response),
                seconds=seconds,
                dollars=batch.dollars * share,
                start=batch.start * equal,
                load=batch.load * equal,
                idle=batch.idle * equal,
                other=batch.other * equal,
                compile=parts.get("compile", 0.0),
                predict=parts.get("predict", 0.0),
                relax=parts.get("relax", 0.0),
                idle_share=batch.idle * equal / seconds if seconds else 0.0,
                compile_share=min(1.0, parts.get("compile", 0.0) / seconds) if seconds else 0.0,
            )
        )
    return lines


def lines_of_lost(batch: str, ids: Sequence[str], record: ExecutionRecord, *, run: str) -> list[Line]:
    """A job that was paid for and brought nothing back: its targets share what it cost."""
    dollars = record.billed_seconds * record.dollars_per_second
    line = Line(
        level="batch",
        run=run,
        batch=batch,
        execution=hashlib.sha256(record.model_dump_json().encode()).hexdigest()[:12],
        id="",
        state=LOST,
        gpu=record.gpu,
        seconds=record.billed_seconds,
        start=record.start_seconds,
        idle=record.idle_seconds,
        other=max(0.0, record.billed_seconds - record.start_seconds - record.idle_seconds),
        queued=record.queued_seconds,
        dollars=dollars,
        idle_share=min(1.0, record.idle_seconds / record.billed_seconds) if record.billed_seconds else 0.0,
        attempts=record.attempts,
        source=EXECUTOR,
    )
    count = len(ids)
    target = {
        name: getattr(line, name) / count
        for name in ("seconds", "start", "idle", "other", "dollars")
        if count
    }
    return [line, *(replace(line, level="target", id=name, **target) for name in ids)]


def _fetched(base: Line, execution: Execution) -> list[Line]:
    targets = [
        replace(base, level="target", id=item.id, state=_state(item, execution.response))
        for item in execution.response.outcomes
    ]
    return [replace(base, state=_state_of_all(execution)), *targets]


def _target_parts(outcome: TargetOutcome, timings: dict[str, float]) -> dict[str, float]:
    """Compilation, relaxation and all the rest of a target's seconds."""
    relax = min(timings.get("relax", 0.0), outcome.seconds)
    compiling = min(timings.get("compile", 0.0), outcome.seconds - relax)
    return {"compile": compiling, "predict": outcome.seconds - relax - compiling, "relax": relax}


def _state(outcome: TargetOutcome, response: FoldResponse) -> str:
    if part_of(response.batch) is not None:
        return PART
    if outcome.state == "done" and not engines.computes(response.engine):
        return "reused"
    return "stored" if outcome.stored else outcome.state


def _state_of_all(execution: Execution) -> str:
    states = {_state(item, execution.response) for item in execution.response.outcomes}
    return states.pop() if len(states) == 1 else "mixed"


def read_lines(path: Path) -> list[Line]:
    """The lines of a bill.tsv; none if it is not there.

    Raises:
        SnakefoldError: it is something else.
    """
    return tables.read(path, Line, advice="Remove it, or put it right.") if path.is_file() else []


def write_lines(path: Path, lines: Iterable[Line]) -> None:
    """Write a bill.tsv."""
    tables.write(path, tables.row_lines(Line, lines, floats=".9g"))
