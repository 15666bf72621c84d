"""At the start of a run: what an earlier one left that cannot stay as it is.

What was deleted or damaged since is made again from the batch's archive, or from the store where the archive
is gone too. Failures whose cause may be gone are planned, priced and computed again, and so are alignments
that the store has lost. Nothing here computes: files are removed, so that Snakemake makes them again, the
plan too where notes (`lost.tsv`) ask for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel import archive, parquet
from snakefold.kernel.errors import RETRIED, Reason, SnakefoldError
from snakefold.kernel.wording import count
from snakefold.plan.files import read_batch, read_rows
from snakefold.plan.mark import changed_files, drop_marks, is_marked
from snakefold.plan.needed import installed_since
from snakefold.run import products, retries
from snakefold.run.products import Made, archive_of, table_of
from snakefold.run.unfinished import forget, note_again

Log = Callable[[str], None]
_NAMED = 5


@dataclass(frozen=True)
class _Found:
    """What is to be done for a batch. `gone`: ids whose archive is gone, too; `again`: reasons by id."""

    batch: str
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    again: tuple[tuple[str, str], ...] = ()
    unstored: tuple[str, ...] = ()


def mend(results: Path, store: str, log: Log, *, dry: bool = False) -> None:
    """Prepare a results folder for a run that goes on with it.

    Args:
        store: location of the store.
        dry: say what would be done, and do nothing.
    """
    if not dry:
        retries.forget_all(results)
    planned = _planned(results, log, dry=dry)
    if not planned:
        return
    adopted, found = 0, []
    for batch in planned:
        made = products.read_batch(results, batch)
        if made is None and table_of(results, batch).is_file():
            adopted += 1
            if dry:
                continue
            made = _adopt(results, batch)
        if made is not None:
            found.append(_look(results, batch, made))
    if adopted:
        log(f"{count(adopted, 'batch', 'batches')} of an earlier snakefold: taken as they are, and noted.")
    _tell(found, log, dry=dry)
    whole = products.report_is_whole(results)
    if not whole:
        log(f"{results}: tables, figures or pages of the report are missing or changed: made again.")
    again = any(each.again or each.gone for each in found)
    unaligned = [] if again else _unaligned(results, store, log, dry=dry)
    if dry:
        return
    for each in found:
        _prepare(results, each)
    note_again(results, unaligned)
    if not whole or not all(table_of(results, batch).is_file() for batch in planned):
        # Snakemake makes a missing table again only on the way to a file that is missing as well. These two
        # are the least that leads there; the rest of the report stays until it is made anew.
        for name in ("summary.txt", "failures.tsv"):
            (results / name).unlink(missing_ok=True)
    _forgive(results, found, store, log)


def _planned(results: Path, log: Log, *, dry: bool) -> list[str]:
    """Batches. Where the plan is not as it was made, it is made anew; then all that was collected."""
    plan = results / "plan"
    changed = changed_files(plan)
    if changed:
        more = f" and {len(changed) - 1} more" if changed[1:] else ""
        will = "would be" if dry else "is"
        log(
            f"{plan / changed[0]}{more}: missing or changed since the plan was made; it {will} planned again."
        )
    elif installed := installed_since(plan):
        will = "would be" if dry else "is"
        log(f"{', '.join(installed)}: installed since records were refused; the run {will} planned again.")
    else:
        try:
            return [row.batch for row in read_rows(plan) if row.part is None]
        except OSError:  # there is none yet, or no more
            pass
        except SnakefoldError as error:
            log(str(error))
    if not dry:
        drop_marks(plan)
    return products.batches(results)


def _look(results: Path, batch: str, made: Made) -> _Found:
    again = tuple((name, reason) for name, reason in made.failed.items() if reason in set(RETRIED))
    structures = results / "structures"
    changed = [name for name, its in made.targets.items() if products.fingerprint(structures / name) != its]
    if not changed and products.digest(table_of(results, batch)) != made.table:
        changed = list(made.targets) or list(made.failed)
    if not again and changed and not _is_whole(archive_of(results, batch), made):
        return _Found(batch, gone=tuple(changed))
    return _Found(batch, tuple(changed), (), again, made.unstored)


def _is_whole(path: Path, made: Made) -> bool:
    """Whether a batch can be collected from its archive; read only if it is not as it was."""
    now = products.status(path)
    if now is None:
        return False
    if now == made.archive and now[0]:
        return True
    try:
        return "response.json" in archive.unpack(path.read_bytes())
    except (OSError, SnakefoldError):
        return False


def _adopt(results: Path, batch: str) -> Made | None:
    """Note what a batch of an earlier snakefold made, without reading more than its table."""
    try:
        made = products.note_batch(results, batch, parquet.read_rows(table_of(results, batch)), ())
    except Exception:  # whatever pyarrow raises of a damaged table: it is made again
        table_of(results, batch).unlink(missing_ok=True)
        return None
    structures = results / "structures"
    lacking = {name: "" for name in made.targets if not (structures / name / "confidence.json").is_file()}
    return Made(made.table, made.archive, {**made.targets, **dict.fromkeys(lacking, "missing")}, made.failed)


def _prepare(results: Path, found: _Found) -> None:
    if found.again or found.gone:
        reasons = [
            *found.again,
            *((name, "its structure and archive are gone") for name in found.gone),
        ]
        note_again(results, ((name, found.batch, why) for name, why in reasons))
        forget(results, found.batch)
    elif found.changed or found.unstored:
        table_of(results, found.batch).unlink(missing_ok=True)


def _unaligned(results: Path, location: str, log: Log, *, dry: bool) -> list[tuple[str, str, str]]:
    """Targets whose alignments must be searched again, by id, batch and why: a new plan has them searched.

    To have a chunk of this plan searched again would make Snakemake predict all its batches, finished ones
    too. A plan that is made anew in any case looks into the store by itself.
    """
    if not is_marked(results / "plan") or changed_files(results / "plan"):
        return []
    from snakefold.kernel.store import open_store
    from snakefold.run.alignments import unaligned

    try:
        found = list(unaligned(results, lambda: open_store(location)))
    except (OSError, ValueError, SnakefoldError) as error:
        log(f"{results}: alignments that may be lost were not looked for: {str(error)[:300]}")
        return []
    for why in dict.fromkeys(why for _, _, why in found):
        names = [name for name, _, its in found if its == why]
        log(f"{_named(names)}: {why}; {_will(names, dry)} planned again, and searched by rule msa.")
    return found


def _forgive(results: Path, found: Iterable[_Found], location: str, log: Log) -> None:
    """A target that was given up after its process died three times gets one more try."""
    for each in found:
        names = {name for name, reason in each.again if reason == Reason.LOST}
        if not names:
            continue
        from snakefold.kernel.store import open_store
        from snakefold.run.task import forgive

        try:
            planned = read_batch(results / "plan", each.batch)
            keys = [item.target.result_key for item in planned.targets if item.target.id in names]
            for recipe in planned.parts or [planned.recipe]:
                forgive(recipe, keys, open_store(location), most=2)
        except (OSError, ValueError, SnakefoldError) as error:
            log(f"{each.batch}: its targets may be given up again: {str(error)[:300]}")


def _tell(found: Iterable[_Found], log: Log, *, dry: bool) -> None:
    found = list(found)
    changed = [name for each in found for name in (*each.changed, *each.gone) if not each.again]
    again = [item for each in found for item in each.again]
    unstored = [name for each in found for name in each.unstored if not each.again]
    if changed:
        log(
            f"{_named(changed)}: structure or table missing or changed; {_will(changed, dry)} made again "
            "from the archive or the store."
        )
    if again:
        reasons = ", ".join(
            f"{reason} {number}" for reason, number in Counter(why for _, why in again).items()
        )
        log(
            f"{_named(name for name, _ in again)}: failed before ({reasons}); {_will(again, dry)} planned "
            "and tried again."
        )
    if unstored:
        log(f"{_named(unstored)}: not in the store yet; {_will(unstored, dry)} put there.")


def _will(names: Sequence[object], dry: bool) -> str:
    return "would be" if dry else ("are" if names[1:] else "is")


def _named(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return f"{count(len(every), 'target')} ({', '.join(every[:_NAMED])}{more})"
