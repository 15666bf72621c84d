"""A request from the command line: done by the same functions, its answer and files in one archive."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from snakefold.kernel import archive
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.worker.failures import as_job_error
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import new_context, perform

_TEXTS = {
    "tsv": "hits.tsv",
    "cluster_tsv": "clusters.tsv",
    "representatives_fasta": "representatives.fasta",
}


def perform_into(given: object, out: Path, *, store: str | None, weights: str | None) -> int:
    """Do what is asked and write `out` (.tar.zst): response.json, and every result as a file.

    Args:
        store, weights: in place of what the environment says.

    Returns:
        How many targets failed.

    Raises:
        SnakefoldError: the request as a whole failed.
    """
    settings = read_settings()
    settings = replace(
        settings,
        store=store or settings.store,
        weights=Path(weights) if weights and weights != "none" else settings.weights,
    )
    context = new_context(settings)
    # Nothing is sent anywhere.
    context.transfer.inline_left = 1 << 62
    try:
        answer = perform(given, context)
    except Exception as error:
        failed = as_job_error(error)
        if str(failed.reason) == "internal" and not isinstance(error, SnakefoldError):
            raise
        raise SnakefoldError(str(failed)) from error
    answer.pop("refresh_worker", None)
    files = dict(_files(answer))
    files["response.json"] = _json(answer)
    write_atomically(out, archive.pack(files))
    return len(answer.get("failed", []))


def _files(answer: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Results by name; what the answer keeps of them are size and sha256."""
    named: list[tuple[str, dict[str, Any]]] = list(answer.get("results", {}).items())
    named += [
        (each["name"], each) for each in [*(answer.get("archives") or []), answer.get("archive")] if each
    ]
    yield from _texts(answer)
    if isinstance(answer.get("tsv"), dict):
        named.append(("hits.tsv", answer["tsv"]))
    named += [(f"{query}.a3m", each) for query, each in (answer.get("a3m") or {}).items()]
    # Programs read these as base64 in the answer, where they stay.
    for name, text in [*answer.get("pose_files", {}).items(), *answer.get("output_files", {}).items()]:
        yield name, base64.b64decode(text)
    for name, result in named:
        if (text := result.pop("text", None)) is not None:
            yield name, text.encode()
        elif (data := result.pop("base64", None)) is not None:
            yield name, base64.b64decode(data)


def _texts(answer: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Results that are texts in the answer itself."""
    if isinstance(answer.get("files"), dict):
        del answer["files"]  # the same again, as parts
    if isinstance(answer.get("tsv"), str):
        answer["tsv"] = "\t".join(answer["columns"]) + "\n" + answer["tsv"]
    for key, name in _TEXTS.items():
        if isinstance(text := answer.get(key), str):
            data = text.encode()
            answer[key] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            yield name, data
    if isinstance(packed := answer.get("a3m_gz_b64"), str):
        data = gzip.decompress(base64.b64decode(packed))
        answer["a3m_gz_b64"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if not answer.get("a3m"):
            yield "alignments.a3m", data


def _json(answer: dict[str, Any]) -> bytes:
    return (json.dumps(answer, indent=1) + "\n").encode()
