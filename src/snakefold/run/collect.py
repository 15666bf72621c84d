"""A batch's archive becomes folders of structures and one table; all tables become metrics and failures."""

from __future__ import annotations

import itertools
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.kernel import archive, tables
from snakefold.kernel.contracts import Confidence, FoldResponse, TargetOutcome
from snakefold.kernel.errors import ADVICE, ConfigError, Reason, SnakefoldError, StoreError
from snakefold.kernel.notes import Code, note
from snakefold.kernel.parquet import read_rows, write_rows
from snakefold.kernel.paths import resource
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.kernel.store.folder import FolderStore
from snakefold.kernel.store.kept import FOLDER
from snakefold.molecules.entities import Assembly
from snakefold.msa.planned import read_planned
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.files import PLANNED_ANEW, PlannedBatch, State, TargetRow, read_targets
from snakefold.run import metrics, products
from snakefold.run.failures import FailureRow, write_failures
from snakefold.run.products import is_ours
from snakefold.run.superseded import set_aside
from snakefold.run.task import read_response
from snakefold.run.unfinished import Unfinished, why_unfinished
from snakefold.structures import confidence, scores, superposition
from snakefold.structures.files import model_name
from snakefold.structures.scores import poses
from snakefold.structures.scores.reference import reference_scores

#: What a batch's table tells of a failure.
_FAILURE = ("id", "key", "state", "reason", "message", "advice")


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: str
    chunks: str = ""
    parts: str = ""


def collect_batch(
    archive_path: Path,
    batch_path: Path,
    structures: Path,
    table: Path,
    references: Mapping[str, str] | None = None,
    *,
    gpus: Path | None = None,
    store: Callable[[], Store] | None = None,
    known: Mapping[str, str] | None = None,
    pae_json: bool = False,
    log: Callable[[str], None] = print,
) -> FoldResponse:
    """Unpack a batch's archive into `structures/<id>/` and write its rows to `table` (Parquet).

    The folder of a target that failed is of an earlier run: it is moved aside (`superseded`).

    Args:
        batch_path: the batch's file in the plan, which names the duplicates of its targets.
        references: known structures by id; models are laid over them.
        gpus: table of GPU classes, if it is not resources/gpus.yaml.
        store: opens the store; what it did not take when it was computed is put there.
        known: fingerprints of the folders as they were made (`products.fingerprint`): scores in one that has
            changed since are computed again.
        pae_json: the PAE of every model is written as AlphaFold DB has it, too.
    """
    files = archive.read(archive_path)
    response = read_response(files)
    planned = read_planned(PlannedBatch, batch_path)
    assemblies = {item.target.id: item.target.assembly for item in planned.targets}
    ids = {item.target.id: [item.target.id, *item.duplicates] for item in planned.targets}
    device = _device_notes(_planned_gpu(planned, batch_path), response, gpus)
    response, lacking = _stored(response, files, archive_path, store, log)
    rows: list[dict[str, Any]] = []
    for outcome in response.outcomes:
        for name in ids.get(outcome.id, [outcome.id]):
            if outcome.state == "failed":
                rows.append(_failure_row(name, outcome))
                if moved := set_aside(structures, name, "the target failed"):
                    log(f"{name}: failed; the structure of an earlier run is moved to {moved}")
                continue
            members = archive.unpack(files[f"targets/{outcome.result_key}.tar.zst"])
            reference = resource(references[name]) if references and name in references else None
            trusted = known is None or known.get(name) == products.fingerprint(structures / name)
            row = _collect_target(
                *(structures / name, outcome, members, response, reference),
                assembly=assemblies.get(outcome.id),
                trusted=trusted,
                pae_json=pae_json,
            )
            # First: the report's index shortens what is long.
            notes = [*([] if outcome.stored else device), row["warnings"]]
            if outcome.unstored:
                notes.insert(0, note(Code.NOT_STORED, lacking))
            rows.append({**row, "warnings": "; ".join(filter(None, notes))})
    write_rows(table, rows)
    return response


def merge_tables(
    tables: Iterable[Path],
    targets_tsv: Path,
    metrics_tsv: Path,
    failures: Path,
    dollars: Mapping[str, float] | None = None,
    *,
    unfinished: bool = False,
) -> tuple[int, int, int]:
    """Write metrics.tsv, metrics.parquet beside it, and failures.tsv, in the order of the input.

    Args:
        dollars: what each target was billed, by id; those of a duplicate are its original's.
        unfinished: the run is going on. A target that no table has is still to come, and not lost.

    Returns:
        Numbers of targets with a structure, of targets that failed, and of records that were refused.
    """
    rows = {row["id"]: row for path in tables for row in read_rows(path)}
    planned = list(read_targets(targets_tsv.parent, TargetRow))
    done = [rows[item.id] for item in planned if rows.get(item.id, {}).get("state") == "done"]
    waited = _waited(targets_tsv.with_name("batches.tsv"))
    failed: list[FailureRow] = []
    for item in planned:
        if item.state == State.REFUSED:
            reason, message = str(Reason.INVALID_INPUT), item.reason
            failed.append(FailureRow(item.id, item.key, item.state, reason, message, source=item.source))
        elif item.id not in rows and unfinished:
            continue
        elif item.id not in rows:
            failed.append(_lost(item, metrics_tsv.parent, waited))
        elif rows[item.id]["state"] != "done":
            known = {name: rows[item.id][name] or "" for name in _FAILURE}
            failed.append(FailureRow(**known, source=item.source))
    for row in done:
        row["dollars"] = (dollars or {}).get(row["id"])
    metrics.write_metrics(done, metrics_tsv, metrics_tsv.with_suffix(".parquet"))
    write_failures(failures, failed)
    refused = sum(item.state == State.REFUSED for item in planned)
    return len(done), len(failed) - refused, refused


def _collect_target(
    folder: Path,
    outcome: TargetOutcome,
    members: Mapping[str, bytes],
    response: FoldResponse,
    reference: Path | None,
    *,
    assembly: Mapping[str, Any] | None = None,
    trusted: bool = True,
    pae_json: bool = False,
) -> dict[str, Any]:
    """Write a target's folder, scores.json included, and return its row of metrics.

    `trusted`: scores.json may be taken as it is.
    """
    own = Confidence.model_validate_json(members["confidence.json"])
    pae = confidence.read_pae(members["pae.npz"]) if "pae.npz" in members else None
    jsons = {confidence.pae_json_name(rank): matrix for rank, matrix in (pae or {}).items() if pae_json}
    besides = {scores.FILE, poses.FILE, *(superposition.FILES if reference else ()), *jsons}
    known = None
    if _is_there(members, folder, besides):
        known = _scores_of(folder) if trusted else None
    else:
        _write_folder(members, folder)
    if known is None:
        names = (model_name(members, rank) for rank in range(len(own.models)))
        there = itertools.takewhile(lambda name: name is not None, names)
        texts = [members[name].decode(errors="replace") for name in there if name is not None]
        known = scores.score_target(own, texts, pae)
        if assembly is not None and "ligand" in own.chain_kinds:
            known, contacts = scores.with_poses(known, texts, Assembly.model_validate(assembly))
            _keep(folder / poses.FILE, poses.contacts_table(contacts))
    known = _compared(known, folder, reference)
    _keep(folder / scores.FILE, known.model_dump_json() + "\n")
    for name, matrix in jsons.items():
        _keep(folder / name, confidence.alphafold_db_pae(matrix, rehearsal=own.rehearsal))
    notes = [
        *metrics.warnings_of(own, members),
        *(known.missing[key] for key in ("reference",) if key in known.missing),
    ]
    return {
        **confidence.metrics_row(own, pae),
        **metrics.scores_row(known),
        "id": folder.name,
        "key": outcome.key,
        "state": "done",
        "engine": response.engine,
        "seconds": outcome.seconds,
        "stored": outcome.stored,
        "reused": not engines.computes(response.engine),
        "warnings": "; ".join(notes),
    }


def _keep(path: Path, text: str) -> None:
    """Write a file, unless it says so already: its time would change."""
    said = text.encode()
    if not (path.is_file() and path.read_bytes() == said):
        write_atomically(path, said)


def _stored(
    response: FoldResponse,
    files: Mapping[str, bytes],
    archive_path: Path,
    store: Callable[[], Store] | None,
    log: Callable[[str], None],
) -> tuple[FoldResponse, str]:
    """The response with what the store has by now, and why it lacks the rest."""
    lacking = [outcome for outcome in response.outcomes if outcome.unstored]
    if not lacking or store is None:
        return response, "the store took nothing" if lacking else ""
    kept, taken, why = FolderStore(archive_path.parent / FOLDER), set(), ""
    try:
        place = store()
        for outcome in lacking:
            entry = Entry("fold", response.recipe, outcome.result_key)
            place.put(entry, files[f"targets/{outcome.result_key}.tar.zst"])
            taken.add(outcome.result_key)
            kept.remove(entry)
    except StoreError as error:
        why = str(error)
        log(f"{response.batch}: {len(lacking) - len(taken)} results are still not in the store: {why}")
    outcomes = [
        each.model_copy(update={"unstored": each.unstored and each.result_key not in taken})
        for each in response.outcomes
    ]
    return response.model_copy(update={"outcomes": outcomes}), why


def _planned_gpu(planned: PlannedBatch, batch_path: Path) -> str:
    """The class that a batch was planned for, or the first of those that predicted its parts."""
    if not planned.part_batches:
        return planned.gpu
    return read_planned(PlannedBatch, batch_path.with_name(f"{planned.part_batches[0]}.json")).gpu


def _device_notes(gpu: str, response: FoldResponse, gpus: Path | None) -> list[str]:
    """A note if a GPU was planned and a CPU predicted."""
    if response.device.lower() != "cpu" or not gpu:
        return []
    try:
        (expected,) = load_classes([gpu], gpus)
    except ConfigError:  # the table has changed since the plan
        return []
    if expected.device == "cpu":
        return []
    return [note(Code.PREDICTED_ON_CPU, f"planned for {expected.title} ({expected.name})")]


def _scores_of(folder: Path) -> scores.TargetScores | None:
    """Scores that were computed from these very files, unless they are damaged or of another version."""
    try:
        return scores.read_scores(folder)
    except SnakefoldError:
        return None


def _compared(known: scores.TargetScores, folder: Path, reference: Path | None) -> scores.TargetScores:
    """With the comparison with a known structure; one that cannot be used is said in `missing`."""
    missing = {name: why for name, why in known.missing.items() if name != "reference"}
    found = None
    if reference is not None:
        try:
            found = reference_scores(folder, reference)
        except Exception as error:  # whatever an odd file makes gemmi or numpy raise, the target is sound
            missing["reference"] = str(error)
    return known.model_copy(update={"reference": found, "missing": missing})


def _failure_row(name: str, outcome: TargetOutcome) -> dict[str, Any]:
    return {
        "id": name,
        "key": outcome.key,
        "state": "failed",
        "reason": str(outcome.reason),
        "message": outcome.message,
        "advice": outcome.advice or (ADVICE.get(outcome.reason, "") if outcome.reason else ""),
        "seconds": outcome.seconds,
    }


def _waited(batches_tsv: Path) -> dict[str, _Waiting]:
    """What each batch waits for."""
    if not batches_tsv.is_file():
        return {}
    return {row.batch: row for row in tables.rows(batches_tsv, _Waiting, advice=PLANNED_ANEW)}


def _lost(item: TargetRow, results: Path, waited: Mapping[str, _Waiting]) -> FailureRow:
    batch, why = item.batch, Unfinished()
    message = "The batch's table has no row for this target."
    if not (results / "tables" / f"{batch}.parquet").is_file():
        for part in filter(None, waited[batch].parts.split(",") if batch in waited else ()):
            if not products.archive_of(results, part).is_file():
                batch = part
                break
        chunks = waited[batch].chunks.split(",") if batch in waited else ()
        why = why_unfinished(results, batch, filter(None, chunks))
        message = f"Its batch {batch} was not finished{why.message and f': {why.message}'}"
    return FailureRow(item.id, item.key, "failed", str(why.reason), message, why.advice, item.source)


def _is_there(members: Mapping[str, bytes], folder: Path, besides: set[str]) -> bool:
    """Whether a folder has these files, and of ours none but these and `besides`."""
    if not folder.is_dir():
        return False
    # An engine has files of its own, which no list has.
    names = {path.name for path in folder.iterdir() if is_ours(path.name) or path.name in members}
    return names - besides == set(members) and all(
        (folder / name).read_bytes() == content for name, content in members.items()
    )


def _write_folder(members: Mapping[str, bytes], folder: Path) -> None:
    """Replace `folder` by one with `members`; a reader sees the old folder, none, or the whole new one.

    What others have put into it goes into the new one.
    """
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    for name, content in members.items():
        (part / name).write_bytes(content)
    if folder.is_dir() and not folder.is_symlink():
        for path in folder.iterdir():
            if not is_ours(path.name) and path.name not in members:
                path.replace(part / path.name)
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
    part.replace(folder)
