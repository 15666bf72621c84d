"""Several sequences by name: what programs read of each, in place of an archive."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace

from snakefold.kernel.envelope import TELLING, Sink, digest_of
from snakefold.kernel.errors import InputError, Reason, TargetError
from snakefold.kernel.names import safe_id
from snakefold.worker import told
from snakefold.worker.endpoints.alphafold2 import SequenceResult, SequencesRequest, SequencesResponse
from snakefold.worker.flat import RANKING, fold_targets, targets_of
from snakefold.worker.tasks import Context

_BEST = "ranked_0.pdb"


def fold_sequences(request: SequencesRequest, context: Context) -> tuple[SequencesResponse, bool]:
    """Align and fold every sequence, and whether one ran out of memory.

    Raises:
        as `flat.fold_flat`; TargetError if every target failed.
    """
    started = time.monotonic()
    flat = request.flat
    names = [each.id for each in request.sequences]
    try:
        targets = targets_of(str(flat.fasta))
    except InputError as error:
        raise InputError(
            [
                replace(each, file="sequences", line=0, header=names[each.record - 1][:200])
                for each in error.refusals
            ]
        ) from error
    by_target = {target.id: name for target, name in zip(targets, names, strict=True)}
    digest = digest_of(request.model_dump(mode="json", exclude={"resume_job_ids", *TELLING}))
    with told.telling(request, names, digest, context) as telling:
        folded = fold_targets(flat, targets, context)
        failed = [each.model_copy(update={"id": by_target[each.id]}) for each in folded.failed]
        if not folded.files:
            said = " ".join(f"{each.id}: {each.message}" for each in failed[:5])
            raise TargetError(failed[0].reason if failed else Reason.INTERNAL, said, "")
        with context.transfer.all_room():
            results = {
                name: _result(name, folded.files[target], context, rehearsal=folded.rehearsal)
                for target, name in by_target.items()
                if target in folded.files
            }
        callback_failures = telling.targets(
            lambda number: folded.said(targets[number].id), rehearsal=folded.rehearsal or None
        )
    answer = SequencesResponse(
        digest=digest,
        results=results,
        failed=failed,
        rehearsal=folded.rehearsal,
        callback_failures=callback_failures,
        **folded.facts,
    )
    seconds = {**answer.seconds, **context.transfer.seconds, "total": round(time.monotonic() - started, 3)}
    return answer.model_copy(update={"seconds": seconds}), folded.out_of_memory


def _result(name: str, files: Mapping[str, bytes], context: Context, *, rehearsal: bool) -> SequenceResult:
    ranking = json.loads(files[RANKING])
    best = ranking["order"][0]
    model = None
    if _BEST in files:
        sent = context.transfer.deliver(_BEST, files[_BEST], Sink(inline=True), text=True)
        model = sent if sent.text is None else sent.text
    return SequenceResult(
        ranked_0_pdb=model,
        best_plddt=ranking["plddts"][best],
        best_model=best,
        ranking_debug=ranking,
        archive_name=f"{safe_id(name, 'sequence')}.tar.gz",
        files=sorted(files),
        rehearsal=rehearsal,
    )
