"""What a search tool hands to the MSA step: one alignment per chain and database, with its hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from snakefold.kernel.contracts import SearchStep
from snakefold.kernel.errors import TargetError

#: Takes one line of progress.
Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Hit:
    """One reported alignment: a row of hits.tsv.

    `pident` is the percentage of identical residues among the aligned pairs, `alnlen` the number of alignment
    columns (gaps included), as MMseqs2's convertalis and BLAST define them.
    """

    target: str
    evalue: float
    pident: float
    alnlen: int


@dataclass(frozen=True)
class RawMsa:
    """The alignment that a search of one chain in one database wrote.

    Attributes:
        database: name of the database in the preset (several searched as one are joined by `+`).
        format: of `text`: `a3m` or `sto` (Stockholm).
        text: the alignment as the tool gives it, query first; the query alone if nothing was found.
        hits: in the tool's order, best first.
        found: rows before any limit, the query's own not counted.
        pairing: the rows are for pairing chains by species (AlphaFold-Multimer's UniProt search), kept
            out of the chain's own MSA.
        commands: shell-quoted command lines that give the same alignment.
        seconds: of the search; a batched search divides its seconds among its chains.
        steps: of a search by MMseqs2: what each of them passed on.
        warnings: what a person should know, for example that a database was left out.
    """

    database: str
    format: Literal["a3m", "sto"]
    text: str
    hits: Sequence[Hit] = ()
    found: int = 0
    pairing: bool = False
    commands: Sequence[str] = ()
    seconds: float = 0.0
    steps: Sequence[SearchStep] = ()
    warnings: Sequence[str] = ()


#: By chain key: the alignments in AlphaFold's order of databases, or why this chain has none. One chain's
#: failure is a value, so that it does not lose the others.
Found = Mapping[str, Sequence[RawMsa] | TargetError]
