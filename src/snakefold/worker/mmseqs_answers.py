"""What a search found, in the form that was asked for: parts, texts, or both."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snakefold.kernel.envelope import Result, Sink
from snakefold.kernel.errors import Reason
from snakefold.kernel.wording import count
from snakefold.molecules.targets import Target
from snakefold.msa.names import first_word
from snakefold.worker.endpoints.mmseqs2 import SCORED_A3M, SearchRequest, SearchResponse, SearchTexts
from snakefold.worker.failures import JobError
from snakefold.worker.tasks import Context

_MOST_NOTES = 50
_TSV, _INLINE = "tsv", Sink(inline=True)


@dataclass(frozen=True)
class Found:
    """A finished search.

    Attributes:
        tsv: rows of hits with a header line; queries have the ids of `queries`.
        alignments: A3M with scores beside the names, by the query's id.
    """

    request: SearchRequest
    queries: Sequence[Target]
    digest: str
    tsv: bytes
    alignments: dict[str, bytes]
    hits: int
    database: str
    commands: list[str]
    warnings: list[str]


def given_names(targets: Sequence[Target]) -> tuple[list[str], list[str]]:
    """Names as the FASTA has them, each once, and what is said of names and sequences that were changed.

    `-2`, `-3`, … follow a name that was there before.
    """
    wanted = [first_word(target.header) or target.id for target in targets]
    taken, met, last = set(wanted), set[str](), dict[str, int]()
    names, changed = [], []
    for name, target in zip(wanted, targets, strict=True):
        free = name
        while free in met or (free != name and free in taken):
            last[name] = last.get(name, 1) + 1
            free = f"{name}-{last[name]}"
        if free != name:
            changed.append(f"{name}: is {free} here, because another sequence has the name.")
        if target.note:
            changed.append(f"{free}: {target.note}")
        met.add(free)
        names.append(free)
    more = [f"… and {len(changed) - _MOST_NOTES} more."] if len(changed) > _MOST_NOTES else []
    return names, changed[:_MOST_NOTES] + more


def in_parts(found: Found, context: Context) -> SearchResponse:
    """An answer of version 1."""
    tsv = context.transfer.deliver("hits.tsv", found.tsv, _INLINE, text=True)
    return SearchResponse(
        digest=found.digest,
        tsv=tsv,
        a3m=_parts(found, context) if found.request.return_a3m else None,
        queries=len(found.queries),
        hits=found.hits,
        database=found.database,
        commands=found.commands,
    )


def in_texts(found: Found, context: Context) -> SearchTexts:
    """An answer of version 2.

    Raises:
        JobError: the table is too large for an answer; the text says where it is.
    """
    names, changed = given_names(found.queries)
    by_id = {query.id: name for query, name in zip(found.queries, names, strict=True)}
    columns, *rows = found.tsv.decode().removesuffix("\n").split("\n")
    tsv = "".join(f"{by_id[query]}\t{rest}\n" for query, _, rest in (row.partition("\t") for row in rows))
    a3m = None
    with context.transfer.all_room():
        sent = inline_text(_TSV, tsv, context)
        if found.request.return_a3m:
            a3m = _compressed(found, by_id, context)
    parts: dict[str, Result] = {}
    files: dict[str, Result] = {}
    if found.request.wants_parts:
        try:
            files = {_TSV: context.transfer.deliver("hits.tsv", found.tsv, _INLINE, text=True)}
            parts = _parts(found, context)
        except JobError:
            # They say again what is there as text already.
            context.log("There is no room for the hits and alignments as parts: they are there as texts.")
    return SearchTexts(
        digest=found.digest,
        columns=columns.split("\t"),
        tsv=sent,
        a3m_gz_b64=a3m,
        a3m=parts if found.request.return_a3m and parts else None,
        files=files,
        queries=len(found.queries),
        hits=found.hits,
        database=found.database,
        warnings=[*found.warnings, *changed],
        commands=found.commands,
    )


def inline_text(name: str, text: str, context: Context) -> str:
    """A text that must be in the answer itself: whoever reads it takes an object for a text, and goes on.

    Raises:
        JobError: it is too large; the text says where it is.
    """
    if not text:
        return text
    result = context.transfer.deliver(name, text.encode(), _INLINE, text=True)
    if result.text is not None:
        return result.text
    place = next(f"{key} {value}" for key in ("path", "url", "store") if (value := getattr(result, key)))
    raise JobError(
        Reason.INVALID_INPUT,
        f"{name}: {result.size} bytes (sha256 {result.sha256}) are more than an answer takes. It is at "
        f"{place}. Ask for less in one job; what was computed is in the worker's store.",
    )


def _parts(found: Found, context: Context) -> dict[str, Result]:
    return {
        query.id: context.transfer.deliver(f"{query.id}.a3m", found.alignments[query.id], _INLINE, text=True)
        for query in found.queries
        if found.request.return_a3m
    }


def _compressed(found: Found, names: dict[str, str], context: Context) -> str | Result:
    scored = found.request.a3m_format_mode == SCORED_A3M
    text = "".join(
        line
        for query in found.queries
        for line in _renamed(found.alignments[query.id].decode(), names[query.id], scored=scored)
    )
    data = gzip.compress(text.encode(), compresslevel=6, mtime=0)
    most = found.request.a3m_max_return_bytes
    try:
        result = context.transfer.deliver("alignments.a3m.gz", data, _INLINE, most=most)
    except JobError as error:
        raise JobError(
            error.reason,
            f"a3m_gz_b64: {len(data)} bytes are more than a3m_max_return_bytes ({most}), or than an answer "
            f"takes, for {count(found.hits, 'hit')}. Set max_seqs lower. {error.message}",
        ) from error
    return result.base64 if result.base64 is not None else result


def _renamed(a3m: str, query: str, *, scored: bool) -> Iterator[str]:
    """Lines of an A3M whose first row is called `query`; scores are behind a tab."""
    _, *lines = a3m.removesuffix("\n").split("\n")
    yield f">{query}\n"
    for line in lines:
        yield (line if scored or line[0] != ">" else line.partition("\t")[0]) + "\n"
