"""A run's status in words: one line for a log, a panel for a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from snakefold.kernel.wording import count
from snakefold.plan.quote.model import money, seconds
from snakefold.run.queued import waiting_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from snakefold.run.status.read import Status

#: A look at a queue that is no older is told without its age.
_FRESH_SECONDS = 90.0
_COLOURS = {"planning": "cyan", "running": "cyan", "finished": "green", "failed": "red", "stopped": "yellow"}


def line(status: Status) -> str:
    """`results: running; predict 3/12, 1 running; 40 of 120 targets, 1 failed; about 20 min left`."""
    steps = [
        f"{step.name} {step.done}/{step.total}"
        + (f", {step.running} running" if step.running else "")
        + (f", {step.queued} queued" if step.queued else "")
        for step in status.steps
        if step.running or step.done < step.total
    ]
    parts = [f"{status.results}: {status.state}", *steps, *_targets(status), *_queue(status), *_rest(status)]
    return "; ".join(["REHEARSAL", *parts] if status.rehearsal else parts)


def screen(status: Status) -> RenderableType:
    """The same for a terminal of any width."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("step", no_wrap=True, min_width=8)
    for name in ("done", "running", "waiting"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("", ratio=1)
    for step in status.steps:
        bar = ProgressBar(total=step.total, completed=step.done)
        table.add_row(step.name, str(step.done), str(step.running), str(step.waiting), bar)
    title = Text(f"{status.results} · {status.state}", style=f"bold {_COLOURS.get(status.state, '')}")
    lines = [Text("; ".join(part)) for part in (_targets(status), _queue(status), _rest(status)) if part]
    if status.rehearsal:
        lines.insert(
            0, Text("REHEARSAL: random parameters, the structures mean nothing.", style="bold magenta")
        )
    return Panel(Group(*lines, *([table] if status.steps else [])), title=title, title_align="left")


def _targets(status: Status) -> list[str]:
    if not status.steps:
        return []
    parts = [f"{status.done:,} of {count(status.targets, 'target')}", f"{status.failed:,} failed"]
    return [", ".join(parts) + (f", {status.refused:,} refused" if status.refused else "")]


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
    if status.silent is not None:
        parts.append(f"last sign of life {seconds(status.silent)} ago")
    if status.elapsed is not None:
        parts.append(f"{seconds(status.elapsed)} so far")
    if status.remaining is not None:
        parts.append(f"about {seconds(status.remaining)} left")
    if status.dollars is not None:
        parts.append(f"{money(status.dollars)} paid")
    if status.busy is not None:
        parts.append(f"workers busy {100 * status.busy:.0f} % of the time paid for")
    return parts
