"""The files of a ticket: what a client downloads, made by whoever works off the queue.

`result.tar.gz` is there once a ticket is complete, `error.txt` after it failed. The archive has, as
MMseqs2-App's, `uniref.a3m`, the environmental file and `pdb70.m8`, or `pair.a3m`; each alignment begins with
the query under its own name and ends with a NUL byte. `snakefold.json` beside them says what was searched.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold import __version__
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.store import Store, write_atomically
from snakefold.msa import a3m
from snakefold.msa.bundle import Log
from snakefold.msa.planned import PlannedChain
from snakefold.service.msa import templates
from snakefold.service.msa.pairing import paired
from snakefold.service.msa.queries import Query, Ticket
from snakefold.service.msa.search import Found, Searches, aligned
from snakefold.service.msa.settings import ServedMsa

RESULT, ERROR = "result.tar.gz", "error.txt"
#: Names that clients read. The first has the rows of the first database, the second those of all others.
UNIREF, ENVIRONMENT = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"
TEMPLATES, PAIRED, FACTS = "pdb70.m8", "pair.a3m", "snakefold.json"

_NO_ROWS_FOR_PAIRING = (
    "This server has no database for pairing: each alignment in pair.a3m is the query alone, and no rows are "
    "paired."
)
_NO_ENVIRONMENTAL_PAIRS = "Environmental sequences have no species: pairs are those of the mode without -env."


def answer(
    payload: Mapping[str, Any], folder: Path, served: ServedMsa, store: Store, *, work: Path, log: Log
) -> None:
    """Make the files of one ticket: `RESULT`, or `ERROR`, which says why there is none.

    Runs in a process of its own as well as in a thread. May be repeated: what the store has is not searched.

    Args:
        payload: a ticket (`Ticket`), as the routes hand it to the queue.
        folder: of the ticket's files.
        work: folder for scratch files and locks, shared by all workers of this machine.

    Raises:
        Exception: whatever it was; `ERROR` has been written.
    """
    try:
        ticket = Ticket.model_validate(payload)
        make = _paired if ticket.kind == "pair" else _aligned
        write_atomically(folder / RESULT, _packed(make(ticket, served, store, work, log)))
        (folder / ERROR).unlink(missing_ok=True)
    except Exception as error:
        text = str(error) if isinstance(error, SnakefoldError) else f"{type(error).__name__}: {error}"
        write_atomically(folder / ERROR, f"{text}\n".encode(errors="replace"))
        log(f"ticket {folder.name}: {text}")
        raise


def _aligned(ticket: Ticket, served: ServedMsa, store: Store, work: Path, log: Log) -> dict[str, bytes]:
    settings = served.unfiltered if ticket.unfiltered else served.msa
    what, found = aligned(_chains(ticket), settings, store, work=work, log=log)
    first, others = [], []
    for query in ticket.queries:
        of_query = found[query.chain.key]
        msa = a3m.parse_a3m(of_query.files["msa.a3m"].decode())
        depth = MsaMeta.model_validate_json(of_query.files["meta.json"]).first_depth
        first.append(_block(query, msa.names[1:depth], msa.rows[1:depth]))
        others.append(_block(query, msa.names[depth:], msa.rows[depth:]))
    hits = {query.name: found[query.chain.key].templates for query in ticket.queries}
    return {
        UNIREF: "".join(first).encode(),
        **({ENVIRONMENT: "".join(others).encode()} if ticket.environmental else {}),
        TEMPLATES: templates.hits(hits, templates.structures(served.msa)),
        FACTS: _facts(ticket, what, found, []),
    }


def _paired(ticket: Ticket, served: ServedMsa, store: Store, work: Path, log: Log) -> dict[str, bytes]:
    what, found = aligned(_chains(ticket), served.msa, store, pairing=True, work=work, log=log)
    notes = [_NO_ENVIRONMENTAL_PAIRS] if ticket.environmental else []
    msas = []
    for query in ticket.queries:
        text = found[query.chain.key].files.get("pairing.a3m")
        alone = a3m.Msa([query.name], [query.chain.sequence])
        msas.append(alone if text is None else a3m.parse_a3m(text.decode()))
        if text is None and _NO_ROWS_FOR_PAIRING not in notes:
            notes.append(_NO_ROWS_FOR_PAIRING)
            log(f"ticket {ticket.kind}: {_NO_ROWS_FOR_PAIRING}")
    rows = paired(msas, complete=ticket.complete)
    blocks = [
        _block(query, msa.names[1:], msa.rows[1:]) for query, msa in zip(ticket.queries, rows, strict=True)
    ]
    return {PAIRED: "".join(blocks).encode(), FACTS: _facts(ticket, what, found, notes)}


def _chains(ticket: Ticket) -> list[PlannedChain]:
    return [query.chain for query in ticket.queries]


def _block(query: Query, names: Sequence[str], rows: Sequence[str]) -> str:
    """One alignment. The query has the client's letters, by which clients know it."""
    return a3m.Msa([query.name, *names], [query.sequence, *rows]).to_a3m() + "\0"


def _facts(ticket: Ticket, what: Searches, found: Mapping[str, Found], notes: list[str]) -> bytes:
    metas = [MsaMeta.model_validate_json(each.files["meta.json"]) for each in found.values()]
    used = {use.name: use.fingerprint for meta in metas for use in meta.databases}
    facts = {
        "server": f"snakefold {__version__}",
        "recipe": what.digest,
        "tool": metas[0].tool,
        "databases": used,
        "mode": ticket.mode,
        "notes": [*notes, *dict.fromkeys(text for meta in metas for text in meta.warnings)],
    }
    return (json.dumps(facts, indent=1) + "\n").encode()


def _packed(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz; equal files give equal bytes."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0, filename="") as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()
