"""The restore step: results that are there become the archive of a batch.

The plan found them in the store, or their seeds are predicted in parts by jobs of this run: then the models
of all parts are ranked together here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from snakefold import engines
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldResponse, TargetInput, TargetOutcome
from snakefold.kernel.errors import Reason, SnakefoldError, TargetError
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.kernel.wording import count
from snakefold.plan.files import PlannedBatch
from snakefold.run.bill.execution import answer_in
from snakefold.run.ranked import ranked_together
from snakefold.run.task import outcome_of, pack_response

Log = Callable[[str], None]

_GONE = (
    "The result was in the store when the run was planned; since then it was removed, or its checksum is "
    "wrong and it was moved aside."
)
_AGAIN = "Run again: the target is planned and computed again."


def restore_batch(
    batch: PlannedBatch, store: Store, out: Path, log: Log, predicted: Iterable[Path] = ()
) -> FoldResponse:
    """Write the batch's archive, as `task.run_request` does.

    A result that the store no longer has, or that is damaged, makes its target `lost`: the price of computing
    it was in no quote, so that it is left to the next run, which plans it.

    Args:
        predicted: archives of the batches that predicted parts of this one's targets.
    """
    parts = _Parts(store, batch.parts, predicted)
    outcomes, results = [], {}
    for planned in batch.targets:
        target = planned.target
        try:
            data, outcome = parts.of(target) if batch.parts else (_stored(batch.recipe, target, store), None)
        except TargetError as error:
            log(f"{batch.batch}: {target.id}: {error}")
            outcomes.append(outcome_of(target, error))
            continue
        results[target.result_key] = data
        outcomes.append(outcome or outcome_of(target, stored=True))
    response = FoldResponse(
        batch=batch.batch,
        engine=batch.engine,
        engine_version=engines.get(batch.engine).version,
        recipe=batch.recipe,
        rehearsal=batch.rehearsal,
        outcomes=outcomes,
        device=parts.device,
    )
    write_atomically(out, pack_response(response, results))
    made = f"ranked from {len(batch.parts)} parts" if batch.parts else "taken from the store"
    log(f"{batch.batch}: {len(results)} of {count(len(outcomes), 'result')} {made}")
    return response


def _stored(recipe: str, target: TargetInput, store: Store) -> bytes:
    data = store.get(Entry("fold", recipe, target.result_key))
    if data is None:
        raise TargetError(Reason.LOST, _GONE, _AGAIN)
    return data


class _Parts:
    """Results of parts: from the store, or from the archives of the jobs if it did not take them."""

    def __init__(self, store: Store, recipes: list[str], predicted: Iterable[Path]) -> None:
        self._store, self._recipes, self.device = store, recipes, ""
        self._archives: dict[str, list[tuple[dict[str, TargetOutcome], dict[str, bytes]]]] = {}
        for path in predicted:
            response = answer_in(path)
            # One part on a CPU is what somebody who planned GPUs should know.
            self.device = "cpu" if "cpu" in (self.device, response.device.lower()) else response.device
            by_key = {each.result_key: each for each in response.outcomes}
            lacking = [
                key
                for key, each in by_key.items()
                if each.state == "done" and not store.has(Entry("fold", response.recipe, key))
            ]
            # Gigabytes, and mostly the store has it all.
            files = archive.read(path) if lacking else {}
            unstored = {key: files[f"targets/{key}.tar.zst"] for key in lacking}
            self._archives.setdefault(response.recipe, []).append((by_key, unstored))

    def of(self, target: TargetInput) -> tuple[bytes, TargetOutcome]:
        """Files of a target, packed, and what became of it. Raises TargetError if a part failed."""
        key, members, seconds, computed = target.result_key, [], 0.0, False
        for number, recipe in enumerate(self._recipes, start=1):
            told, unstored = None, None
            for outcomes, data in self._archives.get(recipe, ()):
                told, unstored = outcomes.get(key, told), data.get(key, unstored)
            if told is not None and told.state != "done":
                where = f"Part {number} of {len(self._recipes)} of its seeds: {told.message}"
                raise TargetError(told.reason or Reason.INTERNAL, where, told.advice)
            members.append(archive.unpack(unstored or _stored(recipe, target, self._store)))
            if told is not None:
                seconds, computed = seconds + told.seconds, computed or not told.stored
        try:
            files = ranked_together(members)
        except SnakefoldError as error:
            raise TargetError(Reason.INTERNAL, str(error)) from error
        outcome = outcome_of(target, stored=not computed)
        return archive.pack(files), outcome.model_copy(update={"seconds": round(seconds, 3)})
