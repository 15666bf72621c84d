"""The steps of a run: what the rules of the workflow call, and what a person can call to repeat one."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.cli._command import Commands, command
from snakefold.cli._step import alone, noting
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from snakefold.kernel.contracts import FoldRequest, FoldResponse
    from snakefold.kernel.store import KeptStore, Store


def add(commands: Commands) -> None:
    """Add the commands."""
    msa = command(
        commands,
        "msa",
        noting(_msa),
        summary="search the databases for a chunk of chains",
        example="snakefold msa results/plan/chunks/m0001.json --config results/config.yaml --out m0001.json",
    )
    msa.add_argument("chunk", type=Path, help="chunk file of the plan")
    _config(msa)
    msa.add_argument("--threads", type=int, default=None, help="threads; if not given, msa.threads")
    msa.add_argument("--out", type=Path, required=True, help="summary of the chunk (JSON)")

    configure = command(
        commands,
        "configure",
        _configure,
        summary="write the settings of a run to the file that its steps read (a step of the workflow)",
        example="snakefold configure results/settings/0123456789abcdef.yaml --config results/config.yaml",
    )
    configure.add_argument("settings", type=Path, help="settings file, named by a digest of the run's inputs")
    _config(configure)

    request = command(
        commands,
        "request",
        noting(_request),
        summary="write the request of a batch, and its MSAs beside it",
        example="snakefold request results/plan/batches/b0001.json --config results/config.yaml "
        "--msas results/msa/m0001.json --out results/requests/b0001/request.json",
    )
    request.add_argument("batch", type=Path, help="batch file of the plan")
    _config(request)
    request.add_argument("--msas", type=Path, nargs="*", default=[], help="summaries of the batch's chunks")
    request.add_argument(
        "--out", type=Path, required=True, help="request.json; inputs.tar.zst goes beside it"
    )

    task = command(
        commands,
        "task",
        noting(_task),
        summary="run a request: a batch of the plan, or any request that the endpoints accept",
        example="snakefold task request.json --inputs inputs.tar.zst --store store "
        "--weights ~/alphafold --out b1.tar.zst",
    )
    task.add_argument("request", type=Path, help="request.json (docs/endpoints.md)")
    task.add_argument(
        "--inputs",
        type=Path,
        default=None,
        help="inputs.tar.zst of a batch; if not given, beside the request",
    )
    task.add_argument(
        "--store",
        default=None,
        help="store for finished targets: a folder, or s3://bucket/prefix; if not given, the worker's store",
    )
    task.add_argument(
        "--weights", default=None, help="folder with params/, or `none`; if not given, the worker's folder"
    )
    task.add_argument(
        "--cache",
        type=Path,
        default=None,
        help="folder of compiled programs; if not given, compiled/ in the store, or your cache folder if the "
        "store is on S3",
    )
    task.add_argument("--out", type=Path, required=True, help="archive of the results")

    restore = command(
        commands,
        "restore",
        noting(_restore),
        summary="copy the results of a batch from the store, or rank the models of their parts",
        example="snakefold restore results/plan/batches/s0001.json --config results/config.yaml "
        "--out s0001.tar.zst",
    )
    restore.add_argument("batch", type=Path, help="batch file of the plan")
    _config(restore)
    restore.add_argument("--out", type=Path, required=True, help="archive of the results")
    restore.add_argument(
        "--predicted",
        type=Path,
        nargs="*",
        default=[],
        metavar="ARCHIVE",
        help="results of the batches that predicted parts of the seeds",
    )

    collect = command(
        commands,
        "collect",
        noting(_collect),
        summary="unpack a batch's archive into structures and a table",
        example="snakefold collect b1.tar.zst --config config.yaml --batch results/plan/batches/b1.json "
        "--structures results/structures --table results/tables/b1.parquet",
    )
    collect.add_argument("archive", type=Path, help="archive made by `snakefold task`")
    _config(collect)
    collect.add_argument("--batch", type=Path, required=True, help="batch file of the plan")
    collect.add_argument("--structures", type=Path, required=True, help="folder for the targets' folders")
    collect.add_argument("--table", type=Path, required=True, help="Parquet file for the batch's rows")


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, required=True, help="config.yaml of the run")


def _log(line: str) -> None:
    print(line, flush=True)


def _msa(options: argparse.Namespace) -> None:
    from snakefold.config import read_config
    from snakefold.kernel.store import open_store, write_atomically
    from snakefold.msa.chunk import search_to_store
    from snakefold.msa.planned import PlannedChunk, read_planned

    config = read_config(options.config)
    if options.threads:
        config = config.model_copy(update={"msa": config.msa.model_copy(update={"threads": options.threads})})
    chunk = read_planned(PlannedChunk, options.chunk)
    with (
        alone(options.out, _log),
        tempfile.TemporaryDirectory(prefix="snakefold-msa-") as work,
    ):
        store = _kept(open_store(config.store), options.out.parent)
        summary = search_to_store(chunk, config.msa, store, Path(work), _log)
        store.hand_over()
    write_atomically(options.out, (json.dumps(summary, indent=1) + "\n").encode())


def _configure(options: argparse.Namespace) -> None:
    from snakefold.plan.configure import configure

    for line in configure(options.settings, options.config):
        _log(line)


def _request(options: argparse.Namespace) -> None:
    from snakefold.config import read_config
    from snakefold.kernel.errors import LostError, Reason
    from snakefold.kernel.store import open_store
    from snakefold.msa.planned import read_planned
    from snakefold.plan.files import PlannedBatch
    from snakefold.run.requests import write_request
    from snakefold.run.retries import Final, note_final

    config = read_config(options.config)
    batch = read_planned(PlannedBatch, options.batch)
    failed: dict[str, str] = {}
    for path in options.msas:
        failed |= _failed(path)
    # Beside the chunks' summaries is what the store did not take of them.
    store = _kept(open_store(config.store), options.out.parents[2] / "msa")
    try:
        write_request(batch, config, failed, store, options.out.parent)
    except LostError as error:
        note_final(options.out, Final(Reason.LOST, str(error)))
        raise


def _kept(store: Store, folder: Path) -> KeptStore:
    """The store, given what it did not take before, and a folder for what it does not take now."""
    from snakefold.kernel.store import KeptStore
    from snakefold.kernel.store.kept import FOLDER

    kept = KeptStore(store, folder / FOLDER, _log)
    kept.hand_over()
    return kept


def _task(options: argparse.Namespace) -> int:
    from snakefold.kernel.contracts import FoldRequest
    from snakefold.worker.endpoints import checked

    given = _read_json(options.request)
    if given.keys() == {"input"} and isinstance(given["input"], dict):
        given = given["input"]  # as it is sent to an endpoint
    if "engine" not in given:
        from snakefold.worker.command import perform_into

        return int(perform_into(given, options.out, store=options.store, weights=options.weights) > 0)
    request = checked(FoldRequest, given)
    inputs: Path = options.inputs or options.request.with_name("inputs.tar.zst")
    _enter(request.engine, options)
    # What only the process imports that goes on.
    from snakefold import engines
    from snakefold.kernel import archive
    from snakefold.kernel.devices import take_device
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.kernel.paths import compiled_programs
    from snakefold.kernel.store import open_store
    from snakefold.run import task
    from snakefold.run.progress import ProgressFile
    from snakefold.worker.settings import read_settings

    if not inputs.is_file():
        raise SnakefoldError(f"{inputs}: no such file. Name the batch's inputs with --inputs.")
    with alone(options.out, _log) as waited:
        if waited and _is_answered(request, options.out):
            _log(f"{request.batch}: the other process has finished it")
            return 0
        if engines.get(request.engine).selectable:  # what is taken from a collection needs no GPU
            take_device(_log)
        store = open_store(options.store or read_settings().store)
        shown = ProgressFile(options.out)
        try:
            task.run_request(
                request,
                archive.read(inputs),
                options.out,
                store=store,
                weights=_weights(options.weights, request, store),
                cache=options.cache or compiled_programs(store),
                log=_log,
                shown=shown,
            )
        finally:
            shown.remove()
    return 0


def _enter(name: str, options: argparse.Namespace) -> None:
    """Go on in the engine's own environment, if it has one."""
    from snakefold import engines
    from snakefold.engines.environments import enter

    given = {name: getattr(options, name) for name in ("inputs", "store", "weights", "cache", "out")}
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    enter(engines.get(name), ["task", str(options.request), *words])


def _is_answered(request: FoldRequest, out: Path) -> bool:
    """Whether an archive has every target of the request."""
    from snakefold.kernel import archive
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.run.task import read_response

    try:
        response = read_response(archive.read(out))
    except (OSError, ValueError, SnakefoldError):
        return False
    done = {outcome.result_key for outcome in response.outcomes if outcome.state == "done"}
    return response.recipe == request.recipe and done >= {target.result_key for target in request.targets}


def _failed(summary: Path) -> dict[str, str]:
    """What failed in a chunk, by key of the chain."""
    from snakefold.kernel.errors import SnakefoldError

    failed = _read_json(summary).get("failed")
    if not isinstance(failed, dict):
        raise SnakefoldError(f"{summary}: is no summary of a chunk, as `snakefold msa` writes it.")
    return failed


def _read_json(path: Path) -> dict[str, Any]:
    from snakefold.kernel.errors import SnakefoldError

    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SnakefoldError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(given, dict):
        raise SnakefoldError(f"{path}: expected an object.")
    return given


def _weights(given: str | None, request: FoldRequest, store: Store) -> Path | None:
    from snakefold.worker.fetch import Network
    from snakefold.worker.fold import parameters_for
    from snakefold.worker.settings import read_settings
    from snakefold.worker.tasks import Context

    if given is not None:
        return None if given == "none" else Path(given)
    return parameters_for(request, Context(read_settings(), store, Network(), log=_log))


def _restore(options: argparse.Namespace) -> None:
    from snakefold.config import read_config
    from snakefold.kernel.store import open_store
    from snakefold.msa.planned import read_planned
    from snakefold.plan.files import PlannedBatch
    from snakefold.run.restore import restore_batch

    batch = read_planned(PlannedBatch, options.batch)
    store = open_store(read_config(options.config).store)
    restore_batch(batch, store, options.out, _log, options.predicted)


def _collect(options: argparse.Namespace) -> None:
    from snakefold.config import read_config
    from snakefold.kernel.parquet import read_rows
    from snakefold.kernel.store import open_store
    from snakefold.run import products
    from snakefold.run.collect import collect_batch

    config = read_config(options.config)
    results = options.structures.parent
    made = products.read_batch(results, options.table.stem)
    response = collect_batch(
        options.archive,
        options.batch,
        options.structures,
        options.table,
        references=config.references,
        gpus=Path(config.gpu.table) if config.gpu.table else None,
        store=lambda: open_store(config.store),
        known=None if made is None else made.targets,
        pae_json=config.output.pae_json,
        log=_log,
    )
    done = sum(outcome.state == "done" for outcome in response.outcomes)
    _log(f"{response.batch}: structures of {done} of {count(len(response.outcomes), 'target')}")
    _prepare_pages(options.batch, response, options.structures)
    unstored = [outcome.id for outcome in response.outcomes if outcome.unstored]
    products.note_batch(results, options.table.stem, read_rows(options.table), unstored)


def _prepare_pages(batch: Path, response: FoldResponse, structures: Path) -> None:
    """The report is made while others are predicted; what cannot be, it tells of itself."""
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.msa.planned import read_planned
    from snakefold.plan.files import PlannedBatch
    from snakefold.report.pages import prepare

    planned = read_planned(PlannedBatch, batch)
    duplicates = {item.target.id: item.duplicates for item in planned.targets}
    done = [item.id for item in response.outcomes if item.state == "done"]
    try:
        prepare(structures.parent, [each for name in done for each in (name, *duplicates.get(name, ()))])
    except SnakefoldError as error:
        _log(f"report: {error}")
