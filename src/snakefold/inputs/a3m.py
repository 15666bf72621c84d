"""A3M files: a target with the alignment that it brings, a monomer or ColabFold's format for complexes.

The first row is the query. Upper-case letters and `-` of the other rows are its columns, lower-case letters
are insertions (HH-suite's A3M). ColabFold's complexes begin with `#<lengths>\\t<copies>`, for example
`#10,12\\t1,1`: the lengths of the unique chains and how often each occurs; the rows then span all unique
chains, gaps where a row covers one of them only (colabfold.batch.unserialize_msa).
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from snakefold.errors import Refusal
from snakefold.inputs.fasta import Block, no_records, read_blocks
from snakefold.inputs.lines import BadFile, read_lines
from snakefold.inputs.names import safe_id, shown
from snakefold.inputs.sequences import MAX_CHAINS, BadSequence, clean_chains, replacement_note
from snakefold.inputs.target import Limits, Place, Target, check_encoding, refuse

_COMPLEX = re.compile(r"#(\d{1,6}(?:,\d{1,6})*)\t(\d{1,3}(?:,\d{1,3})*)\s*", re.ASCII)
_ROW = re.compile(r"[A-Za-z-]+")
_BLANK = str.maketrans("", "", " \t\r\v\f")
_INSERTIONS = str.maketrans("", "", string.ascii_lowercase)


def msa_text(path: Path) -> str:
    """An A3M in the one form in which it is hashed and handed on: unpacked, UTF-8, LF at every line's end."""
    return "".join(f"{line}\n" for line in read_lines(path))


def read_a3m(path: Path, lines: Iterable[str], limits: Limits) -> Iterator[Target | Refusal]:
    """The target of an A3M file, or one refusal that names its first bad row. The id is the file's name.

    Raises:
        BadFile: no record at all, or a first line that is nearly ColabFold's.
    """
    digest = hashlib.sha256()
    source = _hashed(lines, digest)
    first = next(source, "")
    layout = _layout(first)
    rest, first_line = (source, 2) if first.startswith("#") else (chain([first], source), 1)
    number, place = 0, Place(path, 1, 1, "")
    chains: tuple[str, ...] = ()
    note, columns = "", 0
    try:
        for block in read_blocks(rest, first_line):
            number += 1
            place = Place(path, number, block.line, block.header or "")
            check_encoding(place.header)
            if number == 1:
                header = place.header
                chains, note, columns = _query(block, layout)
                limits.check(sum(map(len, chains)))
            else:
                _check_row(block, columns)
    except BadSequence as problem:
        yield refuse(place, problem)
        return
    if not number:
        raise no_records()
    yield Target(
        id=safe_id(_stem(path), "record-1"),
        header=header,
        chains=chains,
        file=shown(str(path), None),
        record=1,
        line=first_line,
        msa=path,
        msa_sha256=digest.hexdigest(),
        note=note,
    )


def _hashed(lines: Iterable[str], digest: hashlib._Hash) -> Iterator[str]:
    """The lines, each put into the hash as `msa_text` has it."""
    for line in lines:
        digest.update(f"{line}\n".encode("utf-8", "surrogateescape"))
        yield line


def _layout(first: str) -> tuple[list[int], list[int]] | None:
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


def _query(block: Block, layout: tuple[list[int], list[int]] | None) -> tuple[tuple[str, ...], str, int]:
    """Chains of the first row, what was replaced in them, and the number of columns."""
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
    return chains, replacement_note(letters), len(letters)


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
