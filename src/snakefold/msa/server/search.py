"""Alignments of chains, and paired rows of complexes, from an MSA server.

Rows are those that ColabFold's client gives to its network (`run_mmseqs2` of colabfold 1.6.3): of a chain,
UniRef30's and then the environmental sequences', each alignment with its own copy of the query; of a complex,
an alignment of each different chain in which equal rows belong together. No row is dropped.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.wording import count
from snakefold.msa import a3m
from snakefold.msa.bundle import Hit, Log, RawMsa
from snakefold.msa.mmseqs import read_hits
from snakefold.msa.planned import PlannedChain, PlannedComplex
from snakefold.msa.server import answers
from snakefold.msa.server.client import Client, Kind, QueryError, ServerError
from snakefold.msa.server.facts import today
from snakefold.msa.server.settings import ServerSettings

#: Files of an archive, and what the databases behind them are called here.
_UNIREF, _ENVIRONMENT = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"
_NAMES = {_UNIREF: "uniref", _ENVIRONMENT: "environmental"}
_HITS, _PAIRED = "pdb70.m8", "pair.a3m"
#: Templates that are asked for, as ColabFold does.
MOST_TEMPLATES = 20
#: How often an archive that cannot be read is fetched; and failed queries in a row that end a job.
_DOWNLOADS, _MOST_FAILURES = 3, 3

Found = TypeVar("Found")


def search(
    chains: Sequence[PlannedChain], client: Client, log: Log
) -> Iterator[tuple[str, tuple[list[RawMsa], list[str]] | TargetError]]:
    """Key of one chain after the other, with its alignments by database and its template hits.

    Several chains are asked for at once. Where that fails, each is asked for alone, so that one does not lose
    the others.

    Yields:
        In place of alignments a TargetError for a chain that the server has none for.

    Raises:
        ServerError: nobody can be asked any more.
    """
    size = client.settings.chains_per_query
    failures = _Failures(client)
    for start in range(0, len(chains), size):
        together = chains[start : start + size]
        log(f"{client.settings.url}: {count(len(together), 'chain')} to align ({client.settings.mode})")
        try:
            found = _aligned(together, client)
        except _NoResultError as error:
            if len(together) > 1:
                log(f"{client.settings.url}: {error}: each of these chains is asked for alone")
                yield from _one_by_one(together, client, failures)
            else:
                yield together[0].key, failures.add(error)
            continue
        failures.reset()
        yield from zip((chain.key for chain in together), found, strict=True)


def _one_by_one(
    chains: Sequence[PlannedChain], client: Client, failures: _Failures
) -> Iterator[tuple[str, tuple[list[RawMsa], list[str]] | TargetError]]:
    for chain in chains:
        try:
            [found] = _aligned([chain], client)
        except _NoResultError as error:
            yield chain.key, failures.add(error)
        else:
            failures.reset()
            yield chain.key, found


def pair(
    complexes: Sequence[PlannedComplex], client: Client, log: Log
) -> Iterator[tuple[str, dict[str, bytes] | TargetError]]:
    """Key and files of the paired rows of one complex after the other: `paired_<n>.a3m`, and `pairs.json`.

    The n-th file has the rows of the n-th different chain, its query first. Rows with the same number belong
    together; a chain without a partner there has a row of gaps.

    Yields, raises: as `search`.
    """
    failures = _Failures(client)
    for each in complexes:
        log(f"{client.settings.url}: a complex of {len(each.chains)} chains to pair")
        try:
            yield each.key, _paired(each, client)
        except _NoResultError as error:
            yield each.key, failures.add(error)
        else:
            failures.reset()


def _aligned(chains: Sequence[PlannedChain], client: Client) -> list[tuple[list[RawMsa], list[str]]]:
    """Alignments and template hits of each chain."""
    settings, mode = client.settings, client.settings.mode
    names = [_UNIREF, _ENVIRONMENT] if "env" in mode.split("-") else [_UNIREF]
    sequences = [chain.sequence for chain in chains]
    started = time.monotonic()

    def read(data: bytes) -> tuple[list[list[a3m.Msa]], list[list[str]]]:
        files = answers.read_archive(data, {*names, _HITS}.__contains__)
        answers.require(files, names)
        msas = [answers.alignments(files[name], name, sequences) for name in names]
        return msas, answers.template_hits(files.get(_HITS, b""), len(chains), MOST_TEMPLATES)

    msas, templates = _read(client, "msa", mode, sequences, read)
    seconds = (time.monotonic() - started) / len(chains) / len(names)
    found = []
    for number, chain in enumerate(chains):
        raws = []
        for place, (name, of_chains) in enumerate(zip(names, msas, strict=True)):
            msa = of_chains[number]
            # The server calls it by its number in the query.
            text = a3m.Msa([chain.key, *msa.names[1:]], msa.rows).to_a3m()
            raws.append(
                RawMsa(
                    database=_NAMES[name],
                    format="a3m",
                    text=text,
                    hits=_hits(text),
                    found=len(msa) - 1,
                    # Both came with one answer.
                    commands=[] if place else [_command(settings, "msa", mode)],
                    seconds=seconds,
                )
            )
        found.append((raws, templates[number]))
    return found


def _hits(text: str) -> list[Hit]:
    """Hits by the columns in the rows' names; none where a server writes no columns."""
    try:
        return list(read_hits(text))
    except ValueError:
        return []


def _paired(each: PlannedComplex, client: Client) -> dict[str, bytes]:
    mode = client.settings.pairing

    def read(data: bytes) -> list[a3m.Msa]:
        files = answers.read_archive(data, {_PAIRED}.__contains__)
        answers.require(files, [_PAIRED])
        msas = answers.alignments(files[_PAIRED], _PAIRED, each.chains)
        if len({len(msa) for msa in msas}) > 1:
            rows = ", ".join(str(len(msa)) for msa in msas)
            raise answers.BrokenAnswerError(f"{_PAIRED}: the chains have different numbers of rows: {rows}")
        return msas

    msas = _read(client, "pair", mode, each.chains, read)
    facts = {
        "server": client.settings.url,
        "asked": today(),
        "mode": mode,
        "rows": len(msas[0]),
        "commands": [_command(client.settings, "pair", mode)],
    }
    texts = {f"paired_{number}.a3m": msa.to_a3m().encode() for number, msa in enumerate(msas, 1)}
    return {**texts, "pairs.json": (json.dumps(facts, indent=1) + "\n").encode()}


class _NoResultError(Exception):
    """A query has no result that can be used."""


class _Failures:
    """Queries in a row without a result: after a few, it is the server's fault, and it is left alone."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._number = 0

    def reset(self) -> None:
        """A query had a result."""
        self._number = 0

    def add(self, error: _NoResultError) -> TargetError:
        """What to say of the query's chains.

        Raises:
            ServerError: too many failed.
        """
        self._number += 1
        if self._number >= _MOST_FAILURES:
            raise ServerError(
                f"{self._client.settings.url}: {self._number} queries in a row failed; the last: {error}. "
                "No further query was sent. Run again later."
            )
        return TargetError(
            Reason.MSA_FAILED,
            f"{self._client.settings.url} has no alignment: {error}.",
            "Run again later, or give the target's alignment as an A3M file.",
        )


def _read(
    client: Client, kind: Kind, mode: str, sequences: Sequence[str], read: Callable[[bytes], Found]
) -> Found:
    """What `read` makes of the answer; an answer that it cannot read is fetched again."""
    told = ""
    for _ in range(_DOWNLOADS):
        try:
            return read(client.ask(kind, mode, sequences))
        except answers.BrokenAnswerError as error:
            told = str(error)
            client.log(f"{client.settings.url}: {told}")
        except QueryError as error:
            raise _NoResultError(str(error)) from error
    raise _NoResultError(f"{told} (fetched {_DOWNLOADS} times)")


def _command(settings: ServerSettings, kind: Kind, mode: str) -> str:
    """A command line that asks the same, for query.fasta."""
    form = ["--data-urlencode", "q@query.fasta", "--data-urlencode", f"mode={mode}"]
    return shlex.join(["curl", *form, f"{settings.url}/ticket/{kind}"])
