"""The flat form of the AlphaFold2 endpoint: the steps of a run, one after the other, on this worker."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snakefold.config import Config
from snakefold.engines.alphafold2 import ENGINE
from snakefold.engines.alphafold2.models import preset_for
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldResponse
from snakefold.kernel.envelope import TELLING, Result, Sink, Worker, digest_of
from snakefold.kernel.errors import (
    InputError,
    Reason,
    Refusal,
    TargetError,
)
from snakefold.kernel.wording import count
from snakefold.molecules.targets import Target, read_records
from snakefold.plan.records import target_input
from snakefold.worker import told
from snakefold.worker.endpoints.alphafold2 import (
    Archive,
    FailedTarget,
    FlatRequest,
    FlatResponse,
    read_flags,
)
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.fetch import Network, fetch
from snakefold.worker.fold import ran_out_of_memory
from snakefold.worker.here import Searched, choose_databases, fold_here
from snakefold.worker.tasks import Context

_LARGEST_FASTA = 8 << 20
_FETCH_SECONDS = 60.0
_SHORTEST = 2
_MOST_TARGETS = 1000
RANKING = "ranking_debug.json"
_REHEARSAL = "REHEARSAL: random parameters were used, the structures mean nothing."
#: AlphaFold's own, where they are not ours: predictions per model, recycles and early stop of complexes.
_MULTIMER = {"num_seeds": 5, "num_recycle": 20, "recycle_early_stop_tolerance": 0.5}


@dataclass(frozen=True)
class _Group:
    """Targets that one kind of network folds, and what came of them."""

    targets: Sequence[Target]
    searched: Searched
    response: FoldResponse
    results: Mapping[str, bytes]


@dataclass(frozen=True)
class Folded:
    """What came of the targets of a request.

    Attributes:
        files: of a target with a structure, by its id.
        failed: targets without one.
        facts: what every answer says of the whole.
    """

    targets: Sequence[Target]
    files: Mapping[str, Mapping[str, bytes]]
    failed: list[FailedTarget]
    facts: Mapping[str, Any]
    rehearsal: bool
    out_of_memory: bool

    def said(self, target: str, result: Result | None = None) -> dict[str, Any]:
        """What a callback says of a target."""
        rehearsal = self.rehearsal or None
        if target in self.files:
            return told.done(result, rehearsal=rehearsal)
        (lost,) = [each for each in self.failed if each.id == target]
        return told.failed(lost.reason, f"{lost.message} {lost.advice}".strip(), rehearsal=rehearsal)


def fold_flat(request: FlatRequest, context: Context) -> tuple[FlatResponse, bool]:
    """Align and fold every sequence, and whether one ran out of memory.

    Raises:
        InputError, InvalidInput: a sequence is refused: nothing starts.
        DatabaseMissingError: the worker lacks the databases asked for by name.
        WeightsMissingError: it lacks parameters.
        TargetError: the only target failed.
    """
    started = time.monotonic()
    text = _fasta(request, context.network)
    targets = targets_of(text)
    sinks = _sinks(request, len(targets))
    digest = digest_of({**_content(request), "text": text})
    with told.telling(request, [target.id for target in targets], digest, context) as telling:
        folded = fold_targets(request, targets, context)
        archives = []
        with context.transfer.all_room():
            for target, sink in zip(targets, sinks, strict=True):
                if target.id in folded.files:
                    name, data = f"{target.id}.tar.gz", _tar_gz(folded.files[target.id])
                    sent = context.transfer.deliver(name, data, sink).model_dump()
                    archives.append(Archive(**sent, name=name, id=target.id, rehearsal=folded.rehearsal))
        placed = {each.id: each for each in archives}
        callback_failures = telling.targets(
            lambda number: folded.said(targets[number].id, placed.get(targets[number].id)),
            rehearsal=folded.rehearsal or None,
        )
    alone = len(targets) == 1
    answer = FlatResponse(
        digest=digest,
        archive=_again(archives[0], context) if alone else None,
        archives=archives,
        files=sorted(folded.files[targets[0].id]) if alone else [],
        failed=folded.failed,
        rehearsal=folded.rehearsal,
        callback_failures=callback_failures,
        **folded.facts,
    )
    seconds = {**answer.seconds, **context.transfer.seconds, "total": round(time.monotonic() - started, 3)}
    return answer.model_copy(update={"seconds": seconds}), folded.out_of_memory


def fold_targets(request: FlatRequest, targets: Sequence[Target], context: Context) -> Folded:
    """Align and fold targets.

    Raises:
        as `fold_flat`.
    """
    groups = [
        _fold(request, [target for target in targets if (len(target.chains) > 1) == several], context)
        for several in {len(target.chains) > 1 for target in targets}
    ]
    files: dict[str, Mapping[str, bytes]] = {}
    failed = []
    for target in targets:
        group = next(group for group in groups if target in group.targets)
        outcome = next(each for each in group.response.outcomes if each.key == target.key)
        if outcome.state == "done":
            found = archive.unpack(group.results[f"targets/{outcome.result_key}.tar.zst"])
            files[target.id] = with_plddts(found)
        else:
            reason = outcome.reason or Reason.INTERNAL
            failed.append(
                FailedTarget(id=target.id, reason=reason, message=outcome.message, advice=outcome.advice)
            )
    if not files and len(failed) == 1:
        raise TargetError(failed[0].reason, failed[0].message, failed[0].advice)
    seconds: dict[str, float] = {}
    for group in groups:
        for name, value in group.response.seconds.items():
            seconds[name] = round(seconds.get(name, 0.0) + value, 3)
    rehearsal = any(group.response.rehearsal for group in groups)
    warnings = dict.fromkeys(each for group in groups for each in group.searched.warnings)
    facts = {
        "warnings": [*([_REHEARSAL] if rehearsal else []), *warnings],
        "db_preset": ", ".join(sorted({group.searched.name for group in groups})),
        "seconds": seconds,
        "worker": Worker(gpu=next((group.response.device for group in groups if group.response.device), "")),
    }
    return Folded(
        targets, files, failed, facts, rehearsal, any(ran_out_of_memory(group.response) for group in groups)
    )


def with_plddts(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """A target's files, with `plddts` in ranking_debug.json whatever models are ranked by.

    AlphaFold writes either `plddts` or, of complexes, `iptm+ptm`; programs look for the first alone.
    """
    ranking = json.loads(files[RANKING])
    if "plddts" in ranking:
        return files
    scores = Confidence.model_validate_json(files["confidence.json"])
    ranking = {"plddts": {model.name: model.mean_plddt for model in scores.models}, **ranking}
    return {**files, RANKING: (json.dumps(ranking, indent=1) + "\n").encode()}


def _again(sent: Archive, context: Context) -> Archive:
    """The only archive under the key of earlier releases; with its bytes, if there is room for them twice."""
    if sent.base64 is None or context.transfer.takes(len(sent.base64)):
        return sent
    return sent.model_copy(update={"base64": None})


def _content(request: FlatRequest) -> dict[str, Any]:
    return request.model_dump(mode="json", exclude={"results", "fasta_url", *TELLING})


def _fasta(request: FlatRequest, network: Network) -> str:
    if request.sequence is not None:
        return f">sequence\n{request.sequence}\n"
    if request.fasta is not None:
        return request.fasta
    # The caller's address: whatever hosts this worker trusts with results, it is none of them.
    public = replace(network, trusted=frozenset())
    data = fetch(str(request.fasta_url), limit=_LARGEST_FASTA, timeout=_FETCH_SECONDS, network=public)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("fasta_url: is no text in UTF-8.") from error


def targets_of(text: str) -> list[Target]:
    """The targets of a FASTA text.

    Raises:
        InputError, InvalidInput: one of them is refused.
    """
    with tempfile.TemporaryDirectory(prefix="snakefold-input-") as folder:
        path = Path(folder) / "input.fasta"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        # A request must not name files of the worker.
        records = read_records([path], min_length=_SHORTEST, max_length=Config().max_length, own_files=False)
        refusals = [replace(each, file="fasta") for each in records if isinstance(each, Refusal)]
    targets = [each for each in records if isinstance(each, Target)]
    for target in targets:
        try:
            ENGINE.check(target_input(target), ENGINE.Settings())
        except TargetError as error:
            raise InvalidInput(f"{target.id}: {error.message} {error.advice}") from error
    if refusals:
        raise InputError(refusals)
    if not targets or len(targets) > _MOST_TARGETS:
        raise InvalidInput(f"{len(targets)} sequences: expected 1 to {_MOST_TARGETS}.")
    return targets


def _sinks(request: FlatRequest, targets: int) -> list[Sink]:
    if isinstance(request.results, Sink):
        if targets > 1 and request.results.inline is None:
            raise InvalidInput(f"results: {targets} targets need a list of {targets} sinks, one each.")
        return [request.results] * targets
    if len(request.results) != targets:
        raise InvalidInput(f"results: {count(len(request.results), 'sink')} for {count(targets, 'target')}.")
    return request.results


def _fold(request: FlatRequest, targets: Sequence[Target], context: Context) -> _Group:
    multimer = len(targets[0].chains) > 1
    searched = choose_databases(request.db_preset, request.max_template_date, context, multimer=multimer)
    config = _configuration(request, searched, context, multimer=multimer)
    response, results = fold_here(targets, config, context, rehearsal=request.rehearsal)
    return _Group(targets, searched, response, results)


def _configuration(request: FlatRequest, searched: Searched, context: Context, *, multimer: bool) -> Config:
    """The run's settings that the request amounts to."""
    preset = preset_for(request.model_preset, 2 if multimer else 1)
    if multimer and not preset.multimer:
        raise InvalidInput(f"model_preset: {preset} cannot fold several chains; take multimer or auto.")
    flags = read_flags(request.alphafold_extra_flags)
    settings: dict[str, object] = {"model_preset": preset, "random_seed": flags.get("random_seed", 0)}
    if preset is ModelPreset.MULTIMER:
        settings |= _MULTIMER
    if preset.multimer:
        settings["num_seeds"] = flags.get("num_multimer_predictions_per_model", _MULTIMER["num_seeds"])
    settings["use_templates"] = searched.msa.templates != "none"
    default = Config()
    relax: dict[str, object] = {
        name: flags[name] for name in ("models_to_relax", "use_gpu_relax") if name in flags
    }
    return default.model_copy(
        update={
            "msa": searched.msa,
            ENGINE.name: AlphaFold2Settings.model_validate(settings),
            "engine": ENGINE.name,
            "relax": default.relax.model_copy(update=relax),
            "rehearsal": default.rehearsal.model_copy(update={"blocks": context.settings.rehearsal_blocks}),
        }
    )


def _tar_gz(files: Mapping[str, bytes]) -> bytes:
    """AlphaFold's files at the top of a tar.gz; equal content gives equal bytes."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))
    return gzip.compress(raw.getvalue(), compresslevel=6, mtime=0)
