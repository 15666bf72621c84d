"""The bill as text for a terminal."""

from __future__ import annotations

from collections.abc import Callable

from snakefold.plan.quote.model import hours, money, spread
from snakefold.run.bill.bill import Against, Bill


def bill_line(bill: Bill) -> str:
    """One line: dollars, or hours where nothing was paid, against the quote."""
    dollars = bill.this.dollars if bill.dollars is None else bill.dollars.billed
    paid = dollars > 0 or (bill.dollars is not None and bill.dollars.quoted.expected > 0)
    billed = money(dollars) if paid else hours(bill.this.hours)
    against = bill.dollars if paid else bill.hours
    if against is None:
        return f"Billed {billed}."
    return f"Quoted {spread(against.quoted, money if paid else hours)}, billed {billed}{_verdict(against)}."


def bill_text(bill: Bill) -> str:
    """The bill in a few lines."""
    this = bill.this
    lines = ["REHEARSAL: random parameters. The structures mean nothing."] if bill.rehearsal else []
    lines.append("Bill: " + bill_line(bill))
    counts = {
        "computed": this.computed,
        "from the store, for nothing": this.stored,
        "from your own collection, for nothing": this.reused,
        "failed": this.failed,
    }
    lines.append("  targets     " + (", ".join(f"{n} {text}" for text, n in counts.items() if n) or "none"))
    lines += [f"  {gpu:<10}  {money(dollars)}" for gpu, dollars in this.by_class.items() if dollars]
    if this.hours:
        lines.append(
            f"  worker time {hours(this.hours)}: start {this.start:.0%}, loading {this.load:.0%}, "
            f"compilation {this.compile:.0%}, idle {this.idle:.0%}"
        )
    lines += _runpod(bill)
    rows: list[tuple[str, Against | None, Callable[[float], str]]] = [
        ("hours", bill.hours, hours),
        ("alignments", bill.msa_cpu_hours, hours),
        ("on GPUs", bill.msa_dollars, money),
    ]
    for name, against, show in rows:
        if against is not None and (against.billed or against.quoted.expected):
            lines.append(
                f"  {name:<10}  quoted {spread(against.quoted, show)}, took {show(against.billed)}"
                f"{_verdict(against)}"
            )
    if bill.earlier.batches:
        lines.append(
            f"  earlier runs in this folder: {hours(bill.earlier.hours)}, {money(bill.earlier.dollars)}"
        )
    return "\n".join([*lines, *(f"  warning: {text}" for text in bill.warnings)])


def _runpod(bill: Bill) -> list[str]:
    """Quote, bill and RunPod's own figure beside one another."""
    if bill.runpod is None:
        return [f"  RunPod      its own figure cannot be read: {bill.runpod_missing}"] * bool(
            bill.runpod_missing
        )
    found, hours_of = bill.runpod, f"{bill.runpod.start} to {bill.runpod.end}"
    quoted = f"quoted {spread(bill.dollars.quoted, money)}, " if bill.dollars else ""
    return [
        f"  RunPod      {quoted}billed here {money(bill.this.dollars)}, by RunPod {money(found.dollars)}",
        f"              ({', '.join(found.by_endpoint)}, {hours_of}: whole hours, starts, idle workers and",
        "              whatever else ran there included; what is recent may be missing)",
    ]


def _verdict(against: Against) -> str:
    if against.ratio is None or not against.billed:
        return ""  # all of it was in the store, or nothing was computed
    place = "below" if against.billed < against.quoted.low else "above"
    within = against.quoted.low <= against.billed <= against.quoted.high
    return f" ({against.ratio:.2g} times it{'' if within else f', {place} its range'})"
