"""A3M files: a target with the alignment that it brings, a monomer or ColabFold's format for complexes.

The first row is the query. Upper-case letters and `-` of the other rows are its columns, lower-case letters
are insertions (HH-suite's A3M). ColabFold's complexes begin with `#<lengths>\\t<copies>`, for example
`#10,12\\t1,1`: the lengths of the unique chains and how often each occurs; the rows then span all unique
chains, gaps where a row covers one of them only (colabfold.batch.unserialize_msa).

mmseqs and the ColabFold server close every alignment with a NUL byte, which is ignored (`inputs.nul`).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from snakefold.kernel.contracts import MAX_CHAINS
from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import safe_id, shown
from snakefold.molecules.blocks import Block, no_records, read_blocks
from snakefold.molecules.lines import BadFile, read_lines
from snakefold.molecules.nul import one_alignment
from snakefold.molecules.sequences import BadSequence, clean_chains, replacement_note, to_standard
from snakefold.molecules.target import Limits, Place, Target, check_encoding, refuse

_COMPLEX = re.compile(r"#(\d{1,6}(?:,\d{1,6})*)\t(\d{1,3}(?:,\d{1,3})*)\s*", re.ASCII)
_ROW = re.compile(r"[A-Za-z-]+")
_BLANK = str.maketrans("", "", " \t\r\v\f")
_INSERTIONS = str.maketrans("", "", string.ascii_lowercase)


def msa_text(path: Path) -> str:
    """An A3M that `read_a3m` took, in the one form in which it is hashed and handed on.

    ColabFold's first line if there is one, then one line for each header and one for each row; LF ends every
    line, and comments are gone. Letters of rows are replaced as those of the target's chains are.

    Raises:
        BadFile, BadSequence: the file is no longer what it was.
    """
    first, _, blocks = _parts(read_lines(path, nul=True))
    return first + "".join(map(_normal, blocks))


def read_a3m(path: Path, lines: Iterable[str], limits: Limits) -> Iterator[Target | Refusal]:
    """The target of an A3M file, or one refusal that names its first bad row. The id is the file's name.

    Args:
        lines: of `read_lines` with `nul`.

    Raises:
        BadFile: no record at all, NUL bytes where mmseqs puts none, alignments of several chains, or a first
            line that is nearly ColabFold's.
    """
    first, layout, blocks = _parts(lines)
    digest = hashlib.sha256(first.encode())
    query: _Query | None = None
    place = Place(path, 1, 1, "")
    try:
        for number, block in enumerate(blocks, 1):
            place = Place(path, number, block.line, block.header or "")
            check_encoding(place.header)
            if query is None:
                query = _query(block, layout)
                limits.check(sum(map(len, query.chains)))
            else:
                _check_row(block, query.columns)
            digest.update(_normal(block).encode())
    except BadSequence as problem:
        yield refuse(place, problem)
        return
    if query is None:
        raise no_records()
    yield Target(
        id=safe_id(_stem(path), "record-1"),
        header=query.header,
        chains=query.chains,
        file=shown(str(path), None),
        record=1,
        line=query.line,
        msa=path,
        msa_sha256=digest.hexdigest(),
        note=query.note,
    )


def of_one_chain(lines: Iterable[str]) -> tuple[str, str]:
    """The query of an A3M of one chain, and the text in the form of `msa_text`.

    Raises:
        BadFile: it is no such A3M; at the line of the row that is wrong.
    """
    _, layout, blocks = _parts(lines)
    if layout is not None:
        raise BadFile(
            "complex_header", "This is ColabFold's A3M of a complex.", "Give one alignment for each chain.", 1
        )
    query: _Query | None = None
    text = []
    for block in blocks:
        try:
            check_encoding(block.header or "")
            if query is None:
                query = _query(block, None)
            else:
                _check_row(block, query.columns)
            text.append(_normal(block))
        except BadSequence as problem:
            raise BadFile(problem.code, problem.message, problem.advice, block.line) from problem
    if query is None:
        raise no_records()
    return query.chains[0], "".join(text)


def check_row(letters: str, columns: int | None) -> None:
    """Check a row of an alignment, or with None its first row. Raises BadSequence."""
    block = Block("row", 0, [letters], len(letters))
    if columns is None:
        _query(block, None)
    else:
        _check_row(block, columns)


@dataclass(frozen=True, slots=True)
class _Query:
    """What the first row says."""

    header: str
    line: int
    chains: tuple[str, ...]
    note: str
    columns: int


_Layout = tuple[list[int], list[int]]


def _parts(lines: Iterable[str]) -> tuple[str, _Layout | None, Iterator[Block]]:
    """ColabFold's first line (with its end) and what it means, empty and None without one, and the rows."""
    source = one_alignment(lines)
    first = next(source, "")
    layout = _layout(first)
    if first.startswith("#"):
        return f"{first.strip()}\n" if layout else "", layout, read_blocks(source, 2)
    return "", None, read_blocks(chain([first], source))


def _normal(block: Block) -> str:
    # A header is split into lines by more characters downstream than here; tabs separate ColabFold's labels.
    header = "\t".join(shown(part, None) for part in (block.header or "").split("\t"))
    return f">{header}\n{to_standard(_letters(block))}\n"


def _layout(first: str) -> _Layout | None:
    """Lengths and copies of ColabFold's first line; None for another file."""
    found = _COMPLEX.fullmatch(first)
    if found is None:
        if first[1:2].isdecimal() and first.startswith("#"):
            raise BadFile(
                "complex_header",
                f"The first line {shown(first, 60)!r} is not ColabFold's.",
                "Expected is '#<lengths><tab><copies>', for example '#10,12<tab>1,1'.",
                1,
            )
        return None
    lengths, copies = ([int(number) for number in group.split(",")] for group in found.groups())
    if len(lengths) != len(copies) or 0 in lengths or 0 in copies or sum(copies) > MAX_CHAINS:
        raise BadFile(
            "complex_header",
            f"The first line has {len(lengths)} lengths and {len(copies)} numbers of copies, {sum(copies)} "
            "chains in all.",
            f"Expected are as many copies as lengths, none of them 0, and at most {MAX_CHAINS} chains.",
            1,
        )
    return lengths, copies


def _query(block: Block, layout: _Layout | None) -> _Query:
    if block.header is None:
        raise BadSequence("no_header", "There is text before the first '>'.", "The query comes first.")
    letters = _letters(block)
    if not letters.isupper() or "-" in letters:
        raise BadSequence(
            "a3m_query",
            "The query (first row) has gaps or lower-case letters.",
            "The first row must be the sequence to fold, in upper case.",
        )
    lengths, copies = layout or ([len(letters)], [1])
    if sum(lengths) != len(letters):
        raise BadSequence(
            "a3m_query",
            f"The query has {len(letters)} residues, the first line says {sum(lengths)}.",
            "Make the file again.",
        )
    unique, start = [], 0
    for length in lengths:
        (found,), _ = clean_chains(letters[start : start + length])
        unique.append(found)
        start += length
    chains = tuple(found for found, times in zip(unique, copies, strict=True) for _ in range(times))
    return _Query(
        header=block.header,
        line=block.line,
        chains=chains,
        note=replacement_note(letters),
        columns=len(letters),
    )


def _check_row(block: Block, columns: int) -> None:
    letters = _letters(block)
    aligned = len(letters.translate(_INSERTIONS))
    if aligned != columns:
        raise BadSequence(
            "a3m_row",
            f"The row has {aligned} columns, the query {columns}.",
            "Make the alignment again: capitals and '-' are columns, lower-case letters insertions.",
        )


def _letters(block: Block) -> str:
    if (block.header or "").startswith(("ss_pred", "ss_conf", "ss_dssp")):
        raise BadSequence(
            "a3m_row", "Secondary structure rows are not part of an MSA.", "Take the ss_ rows out."
        )
    letters = block.text.translate(_BLANK)
    if not _ROW.fullmatch(letters):
        bad = next((letter for letter in letters if not _ROW.fullmatch(letter)), "")
        raise BadSequence(
            "a3m_row",
            f"{bad!r} is in a row of the alignment." if bad else "A row of the alignment is empty.",
            "Rows of an A3M have letters and '-' only.",
        )
    return letters


def _stem(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return name[: -len(".a3m")] if name.lower().endswith(".a3m") else name
