"""A ticket as a client asks for it, read with care: a form becomes sequences, or is refused in a sentence."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import parse_qs

from pydantic import Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.envelope import digest_of
from snakefold.kernel.names import shown
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.wording import count
from snakefold.molecules.sequences import BadSequence, clean_chains
from snakefold.msa.planned import PlannedChain
from snakefold.service.msa.settings import ServedMsa

Kind = Literal["msa", "pair"]

#: Modes of the API, by the kind of the ticket. `env`: the second file of alignments is asked for.
MODES: dict[str, tuple[str, ...]] = {
    "msa": ("env", "all", "env-nofilter", "nofilter"),
    "pair": ("pairgreedy", "paircomplete", "pairgreedy-env", "paircomplete-env"),
}
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.|-]{0,63}")
_LETTERS = re.compile(r"[A-Za-z]+")
_FIELDS = 20


class RefusedError(Exception):
    """A ticket is not taken. The text is for the client; it repeats no more of the query than a name."""


class Query(Model):
    """One sequence of a ticket. `sequence` has the client's letters, in upper case."""

    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$")]
    sequence: Annotated[str, Field(pattern="^[A-Z]+$")]

    @property
    def chain(self) -> PlannedChain:
        """The chain that is searched: letters of no single amino acid replaced, as in every run."""
        [standard], _ = clean_chains(self.sequence)
        return PlannedChain(key=sequence_key([standard]), sequence=standard)


class Ticket(Model):
    """What a client asks for."""

    kind: Kind
    mode: str
    queries: Annotated[list[Query], Field(min_length=1)]

    @property
    def environmental(self) -> bool:
        """Whether the client reads the second file of alignments."""
        return "env" in self.mode.split("-")

    @property
    def unfiltered(self) -> bool:
        """Whether all rows are asked for."""
        return self.mode.endswith("nofilter")

    @property
    def complete(self) -> bool:
        """Whether rows are paired only where all chains have one."""
        return self.mode.startswith("paircomplete")

    def digest(self, recipe: str) -> str:
        """The ticket's id, from its content and the digest of what the server searches."""
        return digest_of({"service": "msa", "recipe": recipe, "ticket": self.model_dump(mode="json")})


def read_ticket(kind: Kind, form: bytes, served: ServedMsa) -> Ticket:
    """The ticket of a form (`q`: FASTA, `mode`; application/x-www-form-urlencoded).

    Raises:
        RefusedError: says what was expected.
    """
    try:
        values = parse_qs(form.decode("ascii"), errors="strict", max_num_fields=_FIELDS)
    except ValueError as error:
        raise RefusedError("The form cannot be read: expected q and mode, URL-encoded.") from error
    mode = values.get("mode", [""])[0]
    if mode not in MODES[kind]:
        raise RefusedError(
            f"mode: {shown(mode, 40)!r} is no mode of ticket/{kind}. Expected {', '.join(MODES[kind])}."
        )
    queries = _read_fasta(values.get("q", [""])[0], served)
    return Ticket(kind=kind, mode=mode, queries=queries)


def _read_fasta(text: str, served: ServedMsa) -> list[Query]:
    lead, *records = f"\n{text.strip()}".replace("\r\n", "\n").split("\n>")
    if lead.strip() or not records:
        raise RefusedError("q: expected FASTA, whose first line begins with '>'.")
    if len(records) > served.max_queries:
        raise RefusedError(
            f"q: {count(len(records), 'sequence')}; this server takes {served.max_queries} per ticket."
        )
    queries = [_query(record, served) for record in records]
    if len({query.name for query in queries}) < len(queries):
        raise RefusedError("q: two sequences have the same name.")
    total = sum(len(query.sequence) for query in queries)
    if total > served.max_residues:
        raise RefusedError(f"q: {total:,} residues; this server takes {served.max_residues:,} per ticket.")
    return queries


def _query(record: str, served: ServedMsa) -> Query:
    header, _, body = record.partition("\n")
    name = header.split(maxsplit=1)[0] if header.split() else ""
    if not _NAME.fullmatch(name):
        raise RefusedError(
            f"q: {shown(name, 40)!r} is no name of a sequence. Expected letters, digits, '_', '.', '|' and "
            "'-', 64 at most."
        )
    letters = "".join(body.split()).upper()
    if len(letters) > served.max_length:
        raise RefusedError(
            f"q: {name} has {len(letters):,} residues; this server takes {served.max_length:,} per sequence."
        )
    if not _LETTERS.fullmatch(letters):
        raise RefusedError(f"q: {name} is no sequence. Expected the letters of amino acids, and no others.")
    try:
        clean_chains(letters)
    except BadSequence as error:
        raise RefusedError(f"q: {name}: {error.message} {error.advice}") from error
    return Query(name=name, sequence=letters)
