"""A batch's archive becomes folders of structures and one table; all tables become metrics and failures."""

from __future__ import annotations

import csv
import math
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from snakefold import archive, confidence, superposition
from snakefold.contracts import Confidence, FoldResponse, TargetOutcome
from snakefold.errors import SnakefoldError
from snakefold.paths import resource
from snakefold.plan.files import PlannedBatch, State
from snakefold.store import write_atomically

FAILURE_COLUMNS = ("id", "key", "state", "reason", "message", "advice", "source")


def read_response(files: Mapping[str, bytes]) -> FoldResponse:
    """The response inside a batch's archive."""
    if "response.json" not in files:
        raise SnakefoldError("The archive holds no response.json: it was not made by `snakefold task`.")
    return FoldResponse.model_validate_json(files["response.json"])


def collect_batch(
    archive_path: Path,
    batch_path: Path,
    structures: Path,
    table: Path,
    references: Mapping[str, str] | None = None,
) -> FoldResponse:
    """Unpack a batch's archive into `structures/<id>/` and write its rows to `table` (Parquet).

    Args:
        batch_path: the batch's file in the plan, which names the duplicates of its targets.
        references: known structures by id; models are laid over them.
    """
    files = archive.unpack(archive_path.read_bytes())
    response = read_response(files)
    planned = PlannedBatch.model_validate_json(batch_path.read_bytes())
    ids = {item.target.id: [item.target.id, *item.duplicates] for item in planned.targets}
    rows: list[dict[str, Any]] = []
    for outcome in response.outcomes:
        for name in ids.get(outcome.id, [outcome.id]):
            if outcome.state == "failed":
                rows.append(_failure_row(name, outcome))
                continue
            members = archive.unpack(files[f"targets/{outcome.result_key}.tar.zst"])
            besides = {superposition.FILE} if references and name in references else set()
            if not _is_there(members, structures / name, besides):
                _write_folder(members, structures / name)
            row = _metrics_row(name, outcome, members, response)
            if references and name in references:
                row |= _compared(structures / name, Path(references[name]), str(row["warnings"]))
            rows.append(row)
    table.parent.mkdir(parents=True, exist_ok=True)
    part = table.with_name(f".{table.name}.{os.getpid()}.part")
    pd.DataFrame(rows).to_parquet(part, index=False)
    part.replace(table)
    return response


def merge_tables(
    tables: Iterable[Path], targets_tsv: Path, metrics: Path, failures: Path
) -> tuple[int, int, int]:
    """Write metrics.tsv and failures.tsv in the order of the input.

    Returns:
        Numbers of targets with a structure, of targets that failed, and of records that were refused.
    """
    frames = [frame for frame in (pd.read_parquet(path) for path in tables) if not frame.empty]
    rows = {row["id"]: row for frame in frames for row in frame.to_dict("records")}
    with targets_tsv.open(newline="", encoding="utf-8") as stream:
        planned = list(csv.DictReader(stream, delimiter="\t"))
    done = [rows[item["id"]] for item in planned if rows.get(item["id"], {}).get("state") == "done"]
    failed = []
    for item in planned:
        if item["state"] == State.REFUSED:
            failed.append({**item, "message": item["reason"], "reason": "invalid_input", "advice": ""})
        elif rows.get(item["id"], {}).get("state") != "done":
            failed.append({**rows.get(item["id"], _lost(item)), "source": item["source"]})
    _write_tsv(metrics, list(confidence.METRICS_COLUMNS), done)
    _write_tsv(failures, FAILURE_COLUMNS, failed)
    refused = sum(item["state"] == State.REFUSED for item in planned)
    return len(done), len(failed) - refused, refused


def _metrics_row(
    name: str, outcome: TargetOutcome, members: Mapping[str, bytes], response: FoldResponse
) -> dict:
    scores = Confidence.model_validate_json(members["confidence.json"])
    pae = confidence.read_pae(members["pae.npz"]) if "pae.npz" in members else None
    row = confidence.metrics_row(scores, pae)
    state = {"id": name, "key": outcome.key, "state": "done", "stored": outcome.stored}
    return {**row, **state, "engine": response.engine, "seconds": outcome.seconds}


def _compared(folder: Path, reference: Path, warnings: str) -> dict[str, Any]:
    """Columns from the comparison with a known structure; one that cannot be used is a warning."""
    try:
        return {**superposition.compare(folder, resource(reference))}
    except SnakefoldError as error:
        return {"warnings": "; ".join(filter(None, [warnings, str(error)]))}


def _failure_row(name: str, outcome: TargetOutcome) -> dict[str, Any]:
    return {
        "id": name,
        "key": outcome.key,
        "state": "failed",
        "reason": str(outcome.reason),
        "message": outcome.message,
        "advice": outcome.advice,
        "seconds": outcome.seconds,
    }


def _lost(item: Mapping[str, str]) -> dict[str, Any]:
    message = "The batch's table has no row for this target."
    return {**item, "state": "failed", "reason": "lost", "message": message, "advice": "Run again."}


def _is_there(members: Mapping[str, bytes], folder: Path, besides: set[str]) -> bool:
    """Whether a folder has these files, and none but these and `besides`."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    return names - besides == set(members) and all(
        (folder / name).read_bytes() == content for name, content in members.items()
    )


def _write_folder(members: Mapping[str, bytes], folder: Path) -> None:
    """Replace `folder` by one with `members`; a reader sees the old folder, none, or the whole new one."""
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    part.mkdir(parents=True)
    for name, content in members.items():
        (part / name).write_bytes(content)
    if folder.exists():
        shutil.rmtree(folder)
    part.replace(folder)


def _write_tsv(path: Path, columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> None:
    lines = ["\t".join(columns := list(columns))]
    lines += ["\t".join(_cell(row.get(column)) for column in columns) for row in rows]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.split())
