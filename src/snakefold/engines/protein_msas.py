"""Alignments of the proteins of an assembly, as engines take them that read assemblies.

An engine writes them in a format of its own; which alignment is whose, what is paired, and what fits a
sequence is the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.errors import Reason, TargetError

_COMPLEX = re.compile(r"#(\d+(?:,\d+)*)\t(\d+(?:,\d+)*)")
_INSERTIONS = re.compile(r"[a-z]")

#: Name and row of a sequence of an A3M.
Row = tuple[str, str]
#: A key and a row: rows of several proteins with one key are paired.
Keyed = tuple[int, str]


def by_protein(proteins: Sequence[str], msas: TargetMsas, without: Iterable[str] = ()) -> dict[str, ChainMsa]:
    """The alignment of each different protein that has one; the first, where equal proteins have several.

    Args:
        proteins: sequences of what `msas.chains` has an entry for, in order.
        without: sequences that are predicted without an alignment.

    Raises:
        TargetError: msa_failed if an alignment is missing.
    """
    bare = set(without)
    wanted = [sequence for sequence in dict.fromkeys(proteins) if sequence not in bare]
    found = dict(zip(reversed(proteins), reversed(msas.chains), strict=False)) if msas.chains else {}
    chains = {sequence: msa for sequence in wanted if (msa := found.get(sequence)) is not None}
    if len(msas.chains) not in (0, len(proteins)) or len(chains) < len(wanted):
        raise TargetError(
            Reason.MSA_FAILED,
            f"{len(proteins)} proteins, but alignments of {len(msas.given)}.",
            "Run the MSA step again.",
        )
    return chains


def paired_by_server(chains: Mapping[str, ChainMsa], together: Sequence[str]) -> dict[str, list[Keyed]]:
    """Rows that an MSA server paired, by protein; their key is their place. The query is left out.

    Raises:
        TargetError: msa_failed if it paired other proteins.
    """
    if len(together) != len(chains):
        raise TargetError(
            Reason.MSA_FAILED,
            f"{len(chains)} different proteins, but paired rows of {len(together)}.",
            "Run the MSA step again.",
        )
    return {
        sequence: [(number, row) for number, (_, row) in enumerate(rows(a3m)) if number and row.strip("-")]
        for sequence, a3m in zip(chains, together, strict=True)
    }


def see_that_rows_fit(sequence: str, aligned: Sequence[str]) -> None:
    """See that the first row is the protein's sequence, and that all have its columns.

    Raises:
        TargetError: invalid_input; the text names the row.
    """
    if not aligned or _INSERTIONS.sub("", aligned[0]) != sequence:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"msa.a3m: the first row is not the protein's sequence ({sequence[:20]}…).",
            "The alignment belongs to another sequence, or its query is not first.",
        )
    for number, row in enumerate(aligned, 1):
        columns = len(_INSERTIONS.sub("", row))
        if columns != len(sequence):
            raise TargetError(
                Reason.INVALID_INPUT,
                f"msa.a3m: row {number} has {columns} aligned columns, expected {len(sequence)}.",
                "Lower-case letters are insertions, every other character is a column.",
            )


def rows(a3m: str) -> Iterator[Row]:
    """Name and row of each sequence of an A3M."""
    name, parts = "", list[str]()
    for line in a3m.splitlines():
        if line.startswith(">"):
            if parts:
                yield name, "".join(parts)
            name, parts = line[1:], []
        elif line and not line.startswith("#"):
            parts.append(line.strip())
    if parts:
        yield name, "".join(parts)


def split(a3m: str, proteins: Sequence[str]) -> dict[str, tuple[list[tuple[int, str]], list[Row]]]:
    """The A3M that a target brought, by protein: rows of several proteins with keys, and all others.

    Args:
        a3m: of one protein, or ColabFold's of a complex (`#lengths<tab>copies`, rows over all proteins).
        proteins: the different sequences, in order.

    Raises:
        TargetError: it describes other proteins.
    """
    first = a3m.partition("\n")[0]
    layout = _COMPLEX.match(first)
    lengths = [int(each) for each in layout.group(1).split(",")] if layout else [len(proteins[0])]
    if lengths != [len(each) for each in proteins]:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"The target's A3M is of chains of {lengths} residues, the target's have "
            f"{[len(each) for each in proteins]}.",
            "Its first line (#lengths, tab, copies) and first row must give the target's sequences.",
        )
    edges = [0, *accumulate(lengths)]
    found: dict[str, tuple[list[tuple[int, str]], list[Row]]] = {each: ([], []) for each in proteins}
    for number, (name, row) in enumerate(rows(a3m)):
        columns = list(re.finditer(r"[a-z]*[^a-z]", row))
        if len(columns) != edges[-1]:
            raise TargetError(
                Reason.INVALID_INPUT,
                f"The target's A3M: row {number + 1} has {len(columns)} aligned columns, "
                f"expected {edges[-1]}.",
                "Lower-case letters are insertions, every other character is a column.",
            )
        parts = ["".join(column.group() for column in columns[start:end]) for start, end in pairwise(edges)]
        there = [place for place, part in enumerate(parts) if part.strip("-")]
        for place in there:
            paired, alone = found[proteins[place]]
            if number == 0 or len(there) == 1:
                alone.append((name, parts[place]))
            else:
                paired.append((number, parts[place]))
    return found
