"""How a run ended, in a few lines for the terminal."""

from __future__ import annotations

from pathlib import Path

from snakefold.kernel.errors import RETRIED
from snakefold.kernel.notes import Code
from snakefold.kernel.wording import count, rehearsal_text
from snakefold.run.failures import FailureRow, read_failures
from snakefold.run.metrics import StructureRow, read_structures
from snakefold.run.superseded import FOLDER, TABLE, count_aside


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
    folded, kept_out = count(len(metrics), "target"), count(len(refused), "record")
    lines.append(f"{folded} folded, {len(failed)} failed, {kept_out} refused.")
    lines += [f"  refused {row.source} {row.id}: {row.message}" for row in refused[:10]]
    lines += [f"  failed  {row.id}: {row.reason}: {row.message}" for row in failed[:10]]
    more = max(0, len(refused) - 10) + max(0, len(failed) - 10)
    if more:
        lines.append(f"  … and {more} more: {(results if called is None else called) / 'failures.tsv'}")
    lines += _what_next(failed, metrics)
    if aside := count_aside(results):
        lines.append(
            f"{count(aside, 'folder')} of earlier structures in {FOLDER}/: their targets have none ({TABLE})."
        )
    lines += _bill(results / "bill.json")
    place = results.resolve() if called is None else called
    lines.append(f"Report: {place / 'report' / 'index.html'}")
    return "\n".join(lines), len(failed)


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


def _bill(path: Path) -> list[str]:
    """Quoted and billed, if there is a bill."""
    from snakefold.run.bill import Bill, bill_line

    return [bill_line(Bill.model_validate_json(path.read_bytes()))] if path.is_file() else []
