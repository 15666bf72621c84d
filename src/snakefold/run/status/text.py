"""A run's status in words: one line for a log, a few lines of a terminal's width for a screen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snakefold.kernel.wording import count, listed
from snakefold.plan.quote.model import money, seconds
from snakefold.run.queued import waiting_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from snakefold.run.progress import Failure
    from snakefold.run.status.model import AtWork, Status, Step

#: A look at a queue that is no older is told without its age.
_FRESH_SECONDS = 90.0
_COLOURS = {"planning": "cyan", "running": "cyan", "finished": "green", "failed": "red", "stopped": "yellow"}
#: Columns of the names of steps, and of their bars on a wide and a narrow terminal.
_NAMES, _BAR, _SHORT_BAR = 11, 30, 16
_WIDE = 100
#: Lines for batches at work, failed targets and warnings; the rest is counted.
_MOST_AT_WORK, _MOST_FAILURES, _MOST_WARNINGS = 4, 3, 2
#: Steps that the screen names in other words, in its order; the others are shown while they are not done.
_SHOWN = ("restore", "reuse", "publish")


def line(status: Status) -> str:
    """`results: running; predict 3/12, 1 running; 40 of 120 targets, 1 failed; about 20 min left`."""
    steps = [
        f"{step.name} {step.done}/{step.total}"
        + (f", {step.running} running" if step.running else "")
        + (f", {step.queued} queued" if step.queued else "")
        for step in status.steps
        if step.running or step.done < step.total
    ]
    parts = [
        f"{status.results}: {status.state}",
        *steps,
        *_targets(status),
        *(f"{_what(each)}" for each in status.at_work[:_MOST_AT_WORK]),
        *_queue(status),
        *_rest(status),
    ]
    of_some = f" of {listed(status.rehearsals)}" if status.rehearsals else ""
    return clean("; ".join([f"REHEARSAL{of_some}", *parts] if status.rehearsal else parts))


def screen(status: Status, notes: Sequence[str] = ()) -> RenderableType:
    """`lines` for rich, at the width of its console."""
    return _Screen(status, notes)


class _Screen:
    def __init__(self, status: Status, notes: Sequence[str]) -> None:
        self._status, self._notes = status, notes

    def __rich_console__(self, console: object, options: object) -> list[Text]:
        width: int = options.max_width  # type: ignore[attr-defined]
        return lines(self._status, width, self._notes)


def lines(status: Status, width: int, notes: Sequence[str] = ()) -> list[Text]:
    """The same for a terminal: a line each, none wider than `width` columns.

    Args:
        notes: further lines at the end.
    """
    from rich.text import Text

    found = [
        Text.assemble((str(status.results), "bold"), " · ", (status.state, _COLOURS.get(status.state, "")))
    ]
    if status.rehearsal:
        of_some = f" by {listed(status.rehearsals)}" if status.rehearsals else ""
        mark = f"REHEARSAL: random parameters, the structures{of_some} mean nothing."
        found.append(Text(mark, style="bold magenta"))
    found += [_named("plan", _plan(status))]
    if status.steps:
        found += _counted(status, width)
    for text in status.warnings[:_MOST_WARNINGS]:
        found.append(_named("warning", Text(text), "yellow"))
    found += [_named("", Text(part)) for part in _queue(status)]
    if rest := _rest(status):
        found.append(_named("time", Text(" · ".join(rest))))
    report = Text.assemble(_report(status), (status.report.as_uri(), "dim"))
    found.append(_named("report", report))
    found += [Text(note) for note in notes]
    return [_fitted(each, width) for each in found]


def clean(text: str) -> str:
    """Text of others on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _fitted(text: Text, width: int) -> Text:
    """On one line of `width` columns at most."""
    if not text.plain.isprintable():
        text.plain = clean(text.plain)  # letter by letter, so that styles stay where they are
    text.truncate(max(1, width), overflow="ellipsis")
    text.no_wrap = True
    return text


def _named(name: str, text: Text | str, style: str = "bold") -> Text:
    from rich.text import Text

    return Text.assemble((f"{name:<{_NAMES}} ", style), text)


def _plan(status: Status) -> str:
    if not status.steps:
        return "at work" if status.state in {"planning", "running"} else "not finished"
    parts = [count(status.targets, "target")]
    if status.refused:
        parts.append(f"{status.refused:,} refused")
    if status.planned:
        parts.append(f"about {seconds(status.planned)}")
    if status.quoted:
        parts.append(money(status.quoted))
    return f"done: {', '.join(parts)}"


def _counted(status: Status, width: int) -> list[Text]:
    """Alignments and targets with bars, what is at work, what failed, and what else is not done."""
    steps = {step.name: step for step in status.steps}
    bar = _BAR if width >= _WIDE else _SHORT_BAR
    found = []
    if "msa" in steps:
        msa = steps["msa"]
        done, total = (status.aligned, status.chains) if status.chains else (msa.done, msa.total)
        found.append(_bar("alignments", done, total, bar, _jobs(msa)))
    decided = status.done + status.failed
    at_work = list(status.at_work[:_MOST_AT_WORK])
    jobs = _jobs(steps["predict"]) if "predict" in steps and not at_work else ""
    found.append(_bar("fold", decided, status.targets, bar, _what(at_work[0]) if at_work else jobs))
    if status.failed and found:
        found[-1].append(f", {status.failed:,} failed", style="red")
    if status.failed_before:
        found.append(_named("failed", _before(status), "red"))
    place = " " * (_NAMES + 1 + bar + 2 + len(f"{decided:,}/{status.targets:,}") + 2)
    found += [_text(place + _what(each)) for each in at_work[1:]]
    more = len(status.at_work) - len(at_work)
    found += [_text(f"{place}and {count(more, 'more batch', 'more batches')} at work")] * (more > 0)
    found += [_named("failed", _failure(each), "red") for each in status.failures[-_MOST_FAILURES:]]
    for name in _SHOWN:
        if name in steps and steps[name].done < steps[name].total:
            found.append(_bar(name, steps[name].done, steps[name].total, bar, ""))
    return found


def _report(status: Status) -> str:
    """What is done once all targets are decided."""
    steps = {step.name: step for step in status.steps}
    if "report" not in steps or status.state != "running" or status.done + status.failed < status.targets:
        return ""
    collect = steps.get("collect")
    left = collect is not None and collect.done < collect.total
    return "structures are collected for " if left else "is made: "


def _text(text: str) -> Text:
    from rich.text import Text

    return Text(text)


def _bar(name: str, done: int, total: int, width: int, what: str) -> Text:
    from rich.text import Text

    filled = width if done >= total else min(width - 1, round(width * done / total))
    return _named(
        name,
        Text.assemble(
            ("━" * filled, "green" if done >= total else "cyan"),
            ("━" * (width - filled), "bright_black"),
            f"  {done:,}/{total:,}",
            f"  {what}" if what else "",
        ),
    )


def _jobs(step: Step) -> str:
    parts = [f"{step.running} running"] * (step.running > 0) + [f"{step.queued} queued"] * (step.queued > 0)
    return ", ".join(parts)


def _what(work: AtWork) -> str:
    """`T1104 (117 residues) compiling, 45 s`."""
    if not work.stage:
        return f"{work.batch}: {work.done:,} of {count(work.total, 'target')}"
    if not work.target:
        return f"{work.batch}: {work.stage}, {seconds(work.seconds)}"
    return f"{work.target} ({work.length} residues) {work.stage}, {seconds(work.seconds)}"


def _failure(failure: Failure) -> str:
    return ": ".join(filter(None, (failure.id, failure.reason, failure.message)))


def _targets(status: Status) -> list[str]:
    if not status.steps:
        return []
    parts = [f"{status.done:,} of {count(status.targets, 'target')}", f"{status.failed:,} failed"]
    told = ", ".join(parts) + (f", {status.refused:,} refused" if status.refused else "")
    return [told, *([_before(status)] if status.failed_before else [])]


def _before(status: Status) -> str:
    return f"{count(status.failed_before, 'backbone')} without designs"


def _queue(status: Status) -> list[str]:
    """Why jobs wait, by the scheduler's own words."""
    text = waiting_text(status.executor, status.waiting)
    if not text:
        return []
    ago = time.time() - status.looked if status.looked is not None else 0.0
    return [text + (f" ({seconds(ago)} ago)" if ago > _FRESH_SECONDS else "")]


def _rest(status: Status) -> list[str]:
    parts = []
    if status.errors:
        parts.append(f"jobs that failed: {', '.join(dict.fromkeys(status.errors))}")
    if status.retries:
        parts.append(count(status.retries, "retry", "retries"))
    if status.silent is not None:
        parts.append(f"last sign of life {seconds(status.silent)} ago")
    if status.elapsed is not None:
        parts.append(f"{seconds(status.elapsed)} so far")
    if status.remaining is not None and not (status.remaining == 0 and status.state == "running"):
        parts.append(f"about {seconds(status.remaining)} left")
    if status.late:
        parts.append(f"longer than planned ({seconds(status.planned or 0)})")
    if status.dollars or status.quoted:
        paid = f"{money(status.dollars or 0)} paid"
        parts.append(f"{paid} of {money(status.quoted)} quoted" if status.quoted else paid)
    if status.busy is not None:
        parts.append(f"workers busy {100 * status.busy:.0f} % of the time paid for")
    return parts
