"""Alignments as Boltz reads them: a CSV of each protein, `key,sequence`; rows with one key are paired.

Rows that are paired come first, as in what Boltz itself makes of an MSA server's answer. The query has no
key: Boltz puts the queries of all chains side by side anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise

from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.errors import Reason, TargetError

#: Boltz's own bound on paired rows (boltz.data.const.max_paired_seqs).
MAX_PAIRED = 8192
_UNPAIRED = -1
#: UniProt's entry names, with the range that a search appends: the species is what follows the last `_`.
_SPECIES = re.compile(
    r"(?:tr|sp)\|[A-Za-z0-9]{6,10}(?:_\d+)?\|[A-Za-z0-9]{1,10}_([A-Za-z0-9]{1,5})(?:/\d+-\d+)?"
)
_COMPLEX = re.compile(r"#(\d+(?:,\d+)*)\t(\d+(?:,\d+)*)")
_INSERTIONS = re.compile(r"[a-z]")

Row = tuple[str, str]


def alignments(
    proteins: Sequence[str], msas: TargetMsas, without: Iterable[str] = (), *, most: int
) -> dict[str, str]:
    """The CSV of each different protein.

    Args:
        proteins: sequences of what `msas.chains` has an entry for, in order.
        without: sequences that are predicted without an alignment.
        most: rows of a CSV.

    Raises:
        TargetError: msa_failed if an alignment is missing; invalid_input if one is of another sequence.
    """
    if msas.own_a3m is not None:
        return {
            sequence: _csv(sequence, paired, unpaired, most)
            for sequence, (paired, unpaired) in split(msas.own_a3m, list(dict.fromkeys(proteins))).items()
        }
    wanted = [sequence for sequence in dict.fromkeys(proteins) if sequence not in set(without)]
    found = dict(zip(reversed(proteins), reversed(msas.chains), strict=False)) if msas.chains else {}
    if len(msas.chains) not in (0, len(proteins)) or any(found.get(each) is None for each in wanted):
        raise TargetError(
            Reason.MSA_FAILED,
            f"{len(proteins)} proteins, but alignments of {len([each for each in msas.chains if each])}.",
            "Run the MSA step again.",
        )
    chains = {sequence: msa for sequence in wanted if (msa := found[sequence]) is not None}
    paired = _paired(chains, msas.paired)
    return {
        sequence: _csv(sequence, paired.get(sequence, []), list(rows(msa.a3m)), most)
        for sequence, msa in chains.items()
    }


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


def species(name: str) -> str:
    """The species in a UniProt name; empty if there is none."""
    found = _SPECIES.fullmatch(name.split(maxsplit=1)[0] if name.split() else "")
    return found.group(1) if found else ""


def by_species(pairing: Mapping[str, str]) -> dict[str, list[tuple[int, str]]]:
    """Rows for pairing with keys, by sequence: rows of species that two proteins or more have.

    Args:
        pairing: A3M of each protein, the query first, by its sequence.
    """
    known = {
        sequence: [(found, row) for name, row in list(rows(a3m))[1:] if (found := species(name))]
        for sequence, a3m in pairing.items()
    }
    counts: dict[str, int] = {}
    for each in known.values():
        for name in dict.fromkeys(found for found, _ in each):
            counts[name] = counts.get(name, 0) + 1
    keys = {name: number for number, name in enumerate(each for each, n in counts.items() if n > 1)}
    return {
        sequence: [(keys[found], row) for found, row in each if found in keys]
        for sequence, each in known.items()
    }


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


def _paired(
    chains: Mapping[str, ChainMsa], together: Sequence[str] | None
) -> dict[str, list[tuple[int, str]]]:
    """Rows with keys of each protein: what an MSA server paired, or rows of the same species."""
    if len(chains) < 2:
        return {}
    if together is None:
        return by_species({sequence: msa.pairing for sequence, msa in chains.items() if msa.pairing})
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


def _csv(sequence: str, paired: Sequence[tuple[int, str]], unpaired: Sequence[Row], most: int) -> str:
    query = _INSERTIONS.sub("", unpaired[0][1]) if unpaired else ""
    if query != sequence:
        raise TargetError(
            Reason.INVALID_INPUT,
            f"msa.a3m: the first row is not the protein's sequence ({sequence[:20]}…).",
            "The alignment belongs to another sequence, or its query is not first.",
        )
    all_rows = [
        (_UNPAIRED, query),
        *paired[: min(MAX_PAIRED, most) - 1],
        *((_UNPAIRED, row) for _, row in unpaired[1:]),
    ]
    for number, (_, row) in enumerate(all_rows, 1):
        if len(_INSERTIONS.sub("", row)) != len(sequence):
            raise TargetError(
                Reason.INVALID_INPUT,
                f"msa.a3m: row {number} has {len(_INSERTIONS.sub('', row))} aligned columns, expected "
                f"{len(sequence)}.",
                "Lower-case letters are insertions, every other character is a column.",
            )
    return "key,sequence\n" + "".join(f"{key},{row}\n" for key, row in all_rows[:most])
