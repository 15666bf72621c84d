"""How a run ended: a table of a few lines, for the terminal and for summary.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snakefold.kernel.errors import RETRIED
from snakefold.kernel.notes import Code
from snakefold.kernel.wording import count, rehearsal_text
from snakefold.run.designs.places import TABLE as DESIGNS
from snakefold.run.failures import FailureRow, read_failures
from snakefold.run.metrics import StructureRow, read_structures
from snakefold.run.superseded import FOLDER, TABLE, count_aside

#: Failed targets, and refused records, that have a line; all others are counted.
_NAMED = 10


def summarise(results: Path, called: Path | None = None) -> tuple[str, int]:
    """Text about a finished run, and the number of targets that failed (refused records are not failures).

    Args:
        called: what the text calls the folder, if it is not for a reader on this machine.
    """
    if not all((results / name).is_file() for name in ("metrics.tsv", "failures.tsv")):
        return f"{results}: there is no metrics.tsv or failures.tsv: its report was not made.", 1
    metrics, failures = read_structures(results), read_failures(results)
    refused = [row for row in failures if row.state == "refused"]
    failed = [row for row in failures if row.state != "refused"]
    lines = []
    if mark := rehearsal_text(sum(row.rehearsal for row in metrics), len(metrics)):
        lines.append(f"{mark}.")
    lines.append(_row("done", count(len(metrics), "target")))
    lines.append(_row("failed", count(len(failed), "target")))
    where = (results if called is None else called) / "failures.tsv"
    lines += _some([f"{row.id}: {row.reason}: {row.message}" for row in failed], where)
    lines.append(_row("refused", count(len(refused), "record")))
    lines += _some([f"{row.source} {row.id}: {row.message}" for row in refused], where)
    lines += [_row("designs", text) for text in _designs(results)]
    lines += [_row("next", text) for text in _what_next(failed, metrics)]
    if aside := count_aside(results):
        folders = f"{count(aside, 'folder')} of earlier structures in {FOLDER}/"
        lines.append(_row("aside", f"{folders}: their targets have none ({TABLE})."))
    lines += [_row("bill", text) for text in _bill(results / "bill.json")]
    page = Path("report", "index.html")
    lines.append(
        _row("report", (results.resolve() / page).as_uri() if called is None else str(called / page))
    )
    return "\n".join(lines), len(failed)


def _some(texts: Sequence[str], where: Path) -> list[str]:
    """The first of them, and how many more there are."""
    rest = len(texts) - _NAMED
    more = [f"… and {rest} more: {where}"] if rest > 0 else []
    return [_row("", text) for text in [*texts[:_NAMED], *more]]


def _row(name: str, text: str) -> str:
    return f"{f'{name}:' if name else '':<9}{text}"


def _what_next(failed: list[FailureRow], metrics: list[StructureRow]) -> list[str]:
    """What the same command would do once more; nothing is advised that would not help."""
    lines = []
    again = sum(row.reason in set(RETRIED) for row in failed)
    if again == len(failed) > 0:
        lines.append("The same command tries them again.")
    elif again:
        lines.append(f"The same command tries {again} of them again; the others would fail again.")
    unstored = sum(f"{Code.NOT_STORED}:" in row.warnings for row in metrics)
    if unstored:
        results = count(unstored, "result")
        lines.append(f"{results} not in the store, which was unavailable: the same command adds them.")
    return lines


def _designs(results: Path) -> list[str]:
    """How many designs pass, and how like their structures are to the backbone, and to the wrong one."""
    if not (results / DESIGNS).is_file():
        return []
    from snakefold.run.designs.table import read_table

    designs = read_table(results)
    told = f"{sum(bool(row['passes']) for row in designs):,} of {len(designs):,} pass"
    for name, what in (("sc_tm", "the backbone"), ("control_tm", "the control")):
        found = [row[name] for row in designs if isinstance(row[name], float)]
        if found:
            told += f"; TM-score with {what} {min(found):.2f} to {max(found):.2f}"
    return [told]


def _bill(path: Path) -> list[str]:
    """Quoted and billed, if there is a bill."""
    from snakefold.run.bill import Bill, bill_line

    return [bill_line(Bill.model_validate_json(path.read_bytes()))] if path.is_file() else []
