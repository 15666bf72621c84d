"""The quote as text for a terminal."""

from __future__ import annotations

from snakefold.kernel.wording import count, listed
from snakefold.plan.quote.model import Quote, gigabytes, hours, money, spread

_STATES = {
    "to_do": "to predict",
    "stored": "in the store: nothing to compute",
    "reused": "taken from your own collection",
    "refused": "refused: refusals.json says why",
}


def quote_text(quote: Quote) -> str:
    """What is done and what is skipped, hours, dollars, wall time and disk, and what that rests on."""
    lines = []
    if quote.rehearsal:
        of_some = f" by {listed(quote.rehearsals)}" if quote.rehearsals else ""
        lines.append(f"REHEARSAL: random parameters. The structures{of_some} will mean nothing.")
    lines.append("Quote" + ("" if quote.batches else ": nothing to predict"))
    rows = [
        ("targets", _targets(state, number))
        for state, number in quote.targets.items()
        if number or state == "to_do"
    ]
    if quote.engines:
        rows.append(("engines", listed([f"{number:,} by {name}" for name, number in quote.engines.items()])))
    if quote.chunks:
        searched = f"{_searched(quote)} in {count(quote.chunks, 'chunk')}"
        rows.append(("alignments", f"{searched}: {_alignments(quote)}"))
    rows += [
        (
            item.gpu,
            f"{count(item.targets, 'target')} in {count(item.batches, 'batch', 'batches')}, "
            f"{spread(item.hours, hours)} of {count(item.workers, 'worker')}"
            + _price(item.dollars_per_second),
        )
        for item in quote.classes
    ]
    if quote.batches:
        rows.append(
            ("overhead", f"{quote.overhead:.0%} of the worker time is start, loading, compilation and idle")
        )
    paid = any(item.dollars_per_second for item in quote.classes) or quote.msa_dollars.expected > 0
    rows.append(("dollars", spread(quote.dollars, money) if paid else "none: nothing is rented"))
    rows.append(
        (
            "wall time",
            f"{spread(quote.wall_hours, hours)} at best; `snakefold simulate` adds queues and failures",
        )
    )
    disk = quote.disk
    free = "" if disk.free is None else f"; {gigabytes(disk.free)} free"
    rows.append(
        (
            "disk",
            f"{spread(disk.total, gigabytes)}: alignments {gigabytes(disk.msas.expected)}, results and their "
            f"archives {gigabytes(disk.results.expected)}{free}",
        )
    )
    width = max(len(name) for name, _ in rows)
    seen = ""
    for name, text in rows:
        lines.append(f"  {'' if name == seen else name:<{width}}  {text}")
        seen = name
    lines += [f"  rests on: {text}" for text in quote.rests_on]
    lines += [f"  warning: {text}" for text in quote.warnings]
    return "\n".join(lines)


def _targets(state: str, number: int) -> str:
    if state == "duplicate_of":
        return f"{count(number, 'duplicate')}: computed once"
    return f"{number:,} {_STATES.get(state, state)}"


def _searched(quote: Quote) -> str:
    parts = [count(quote.chains, "chain")] if quote.chains else []
    parts += [count(quote.complexes, "complex", "complexes") + " to pair"] if quote.complexes else []
    return listed(parts)


def _alignments(quote: Quote) -> str:
    if quote.server:
        return f"{spread(quote.msa_wall_hours, hours)} at {quote.server}, one query at a time"
    wall = hours(quote.msa_wall_hours.expected)
    rented = ""
    if quote.msa_dollars.expected:
        rented = f"; {spread(quote.msa_dollars, money)} on {quote.msa_gpu}, reckoned at the speed of the CPUs"
    return f"{spread(quote.msa_cpu_hours, hours)} of one core, {wall} on {quote.cores}{rented}"


def _price(per_second: float) -> str:
    return f" at ${per_second * 3600:.2f} an hour" if per_second else ""
