"""Tasks `predict` and `align`; see `worker.endpoints.models`."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.spec import Engine
from snakefold.kernel import archive, recipes
from snakefold.kernel.contracts import Confidence, MsaMeta
from snakefold.kernel.envelope import Result, Sink, Worker, digest_of
from snakefold.kernel.errors import InputError, Reason, Refusal, SnakefoldError, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry
from snakefold.molecules.targets import Target, read_records
from snakefold.msa import a3m
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases import presets as databases
from snakefold.msa.planned import PlannedChain, PlannedChunk
from snakefold.plan.records import target_input
from snakefold.plan.run import recipes_of_searches
from snakefold.worker.endpoints.checked import InvalidInput, checked
from snakefold.worker.endpoints.models import (
    Alignment,
    AlignRequest,
    AlignResponse,
    PredictedModel,
    PredictRequest,
    PredictResponse,
)
from snakefold.worker.fold import ran_out_of_memory
from snakefold.worker.here import Searched, alone, choose_databases, fold_here
from snakefold.worker.tasks import Context

_SHORTEST = 2
GIVEN = "given"
_REHEARSAL = "REHEARSAL: random parameters were used, the structures mean nothing."
_PARSE = {"a3m": a3m.parse_a3m, "sto": a3m.parse_stockholm}


def predict(request: PredictRequest, context: Context) -> tuple[PredictResponse, bool]:
    """Align and predict one target, and whether it ran out of memory.

    Raises:
        InputError, InvalidInput: the target, an alignment or a setting is refused: nothing starts.
        DatabaseMissingError: the worker lacks the databases asked for by name.
        WeightsMissingError: it lacks parameters.
        TargetError: the prediction failed.
    """
    started = time.monotonic()
    engine = _engine(request.engine)
    with target_of(request.sequence, request.alignments) as target:
        several = len(target.chains) > 1
        if request.alignments:
            searched = Searched(GIVEN, alone([]).msa, [])
        else:
            searched = choose_databases(
                request.db_preset, request.max_template_date, context, multimer=several
            )
        config = _configuration(engine, request, searched, context)
        _check(engine, target, config, rehearsal=request.rehearsal)
        response, results = fold_here([target], config, context, rehearsal=request.rehearsal)
    (outcome,) = response.outcomes
    if outcome.state != "done":
        raise TargetError(outcome.reason or Reason.INTERNAL, outcome.message, outcome.advice)
    files = archive.unpack(results[f"targets/{outcome.result_key}.tar.zst"])
    scores = Confidence.model_validate_json(files["confidence.json"])
    with context.transfer.all_room():
        models = _models(scores, files, context)
    answer = PredictResponse(
        digest=digest_of(request.model_dump(mode="json")),
        models=models,
        engine=engine.name,
        db_preset=searched.name,
        msa_depth=scores.msa_depth,
        warnings=[*([_REHEARSAL] if response.rehearsal else []), *searched.warnings, *scores.warnings],
        rehearsal=response.rehearsal,
        seconds={
            **response.seconds,
            **context.transfer.seconds,
            "total": round(time.monotonic() - started, 3),
        },
        worker=Worker(gpu=response.device),
    )
    return answer, ran_out_of_memory(response)


def align(request: AlignRequest, context: Context) -> AlignResponse:
    """Search the alignment of one chain, unless the store has it.

    Raises:
        InputError, InvalidInput: the chain is refused: nothing starts.
        DatabaseMissingError: the worker lacks the databases asked for by name.
        TargetError: the search failed.
    """
    started = time.monotonic()
    with target_of(request.sequence, []) as target:
        (chain,) = target.chains
    searched = choose_databases(request.db_preset, None, context, multimer=False)
    preset = databases.load_preset(searched.msa.db_preset, searched.msa.db_root)
    named = recipes_of_searches(searched.msa, preset, pairing=False)
    key, recipe = sequence_key([chain]), recipes.digest(named["msa"])
    entry = Entry("msa", recipe, key)
    found = context.store.check(entry) is True
    if not found:
        chunk = PlannedChunk(
            chunk="align", recipe=recipe, chains=[PlannedChain(key=key, sequence=chain)], pairing=False
        )
        with tempfile.TemporaryDirectory(prefix="snakefold-msa-") as work:
            told = search_to_store(chunk, searched.msa, context.store, Path(work), context.log)
        if key in told["failed"]:
            raise TargetError(Reason.MSA_FAILED, told["failed"][key], "")
    data = context.store.get(entry)
    if data is None:
        raise SnakefoldError(f"{entry.name}: is no longer in the store. Send the request again.")
    files = archive.unpack(data)
    meta = MsaMeta.model_validate_json(files["meta.json"])
    with context.transfer.all_room():
        text = _sent("msa.a3m", files["msa.a3m"], context)
    return AlignResponse(
        digest=digest_of(request.model_dump(mode="json")),
        a3m=text,
        depth=meta.depth,
        db_preset=searched.name,
        databases=[use.name for use in meta.databases],
        found=found,
        warnings=[*searched.warnings, *meta.warnings],
        seconds={
            **meta.seconds,
            **context.transfer.seconds,
            "total": round(time.monotonic() - started, 3),
        },
    )


def _engine(name: str) -> Engine:
    engine = engines.find(name)
    if engine is None or not engine.selectable:
        raise InvalidInput(f"engine: this worker has no {name!r}; it has {', '.join(engines.names())}.")
    return engine


@contextmanager
def target_of(sequence: str, alignments: Sequence[Alignment]) -> Iterator[Target]:
    """The target; the file of the alignment that it brings is there for as long as the context is."""
    with tempfile.TemporaryDirectory(prefix="snakefold-input-") as folder:
        if alignments:
            path = Path(folder) / "sequence.a3m"
            path.write_text(merged(sequence, alignments), encoding="utf-8", errors="surrogatepass")
        else:
            path = Path(folder) / "sequence.fasta"
            path.write_text(f">sequence\n{sequence}\n", encoding="utf-8", errors="surrogatepass")
        # A request must not name files of the worker.
        (record, *more) = read_records(
            [path], min_length=_SHORTEST, max_length=Config().max_length, own_files=False
        )
        if more:
            raise InvalidInput("sequence: expected one target.")
        if isinstance(record, Refusal):
            raise InputError([replace(record, file="sequence")])
        yield record


def merged(sequence: str, alignments: Sequence[Alignment]) -> str:
    """One A3M of a chain: rows in order, without those that were there before.

    Raises:
        InvalidInput: an alignment cannot be read, or is of another sequence; the text names it.
    """
    query = "".join(sequence.split()).upper()
    read = [a3m.Msa(["sequence"], [query])]
    for each in alignments:
        try:
            msa = _PARSE[each.format](each.text)
        except (ValueError, UnicodeEncodeError, IndexError) as error:
            raise InvalidInput(
                f"alignments: {each.name}: cannot be read as {each.format}: {error}"
            ) from error
        if msa.query.replace("-", "").upper() != query:
            raise InvalidInput(
                f"alignments: {each.name}: its first row is not the sequence. Send the alignment of this "
                "sequence, with the sequence in the first row."
            )
        read.append(msa)
    return a3m.merge(read).to_a3m()


def _configuration(engine: Engine, request: PredictRequest, searched: Searched, context: Context) -> Config:
    """The run's settings that the request amounts to."""
    given = dict(request.settings)
    if searched.msa.templates != "none" and "use_templates" in engine.Settings.model_fields:
        given.setdefault("use_templates", True)
    try:
        settings = checked(engine.Settings, given)
    except InvalidInput as error:
        raise InvalidInput(f"settings of {engine.name}: {error}") from error
    default = Config()
    blocks = {"blocks": context.settings.rehearsal_blocks}
    return default.model_copy(
        update={
            "msa": searched.msa,
            "engine": engine.name,
            engine.name: settings,
            "relax": default.relax.model_copy(update={"models_to_relax": request.models_to_relax}),
            "rehearsal": default.rehearsal.model_copy(update=blocks),
        }
    )


def _check(engine: Engine, target: Target, config: Config, *, rehearsal: bool) -> None:
    try:
        engine.check(target_input(target), config.settings_of(engine.name, rehearsal=rehearsal))
    except TargetError as error:
        raise InvalidInput(f"sequence: {error.message} {error.advice}".strip()) from error


def _models(scores: Confidence, files: Mapping[str, bytes], context: Context) -> list[PredictedModel]:
    found = []
    for rank, model in enumerate(scores.models):
        pdb, cif = files.get(f"ranked_{rank}.pdb"), files[f"ranked_{rank}.cif"]
        found.append(
            PredictedModel(
                name=model.name,
                pdb=None if pdb is None else _sent(f"ranked_{rank}.pdb", pdb, context),
                cif=_sent(f"ranked_{rank}.cif", cif, context),
                mean_plddt=model.mean_plddt,
                plddt=model.plddt,
                ptm=model.ptm,
                iptm=model.iptm,
                max_pae=model.max_pae,
                relaxed=model.relaxed,
            )
        )
    return found


def _sent(name: str, data: bytes, context: Context) -> str | Result:
    result = context.transfer.deliver(name, data, Sink(inline=True), text=True)
    return result if result.text is None else result.text
