"""FASTA records, and files of records that are one complex."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.molecules.blocks import Block, no_records, read_blocks
from snakefold.molecules.lines import BadFile, binary
from snakefold.molecules.readers import colabfold, labels
from snakefold.molecules.readers.common import Unread
from snakefold.molecules.records import Molecules, record_of, stem
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.target import Limits, Place, Target, check_encoding, make_target, refuse


def read_fasta(path: Path, lines: Iterable[str], limits: Limits) -> Iterator[Target | Molecules | Refusal]:
    """Records of a FASTA file, in order. The id is the header's first word.

    A file whose first header says what its record is, as Boltz's and Chai's do, is one complex.

    Args:
        lines: of `read_lines` with `nul`: a NUL byte refuses its record.

    Raises:
        BadFile: no record at all, or a NUL byte before the first one: a binary file.
    """
    number = 0
    blocks = read_blocks(lines)
    for block in blocks:
        if block.header is None:
            yield _text_without_header(path, block)
            continue
        number += 1
        if "|" in block.header and (label := labels.label_of(block.header)):
            if number == 1:
                yield _labelled(path, chain([block], blocks), block, limits)
                return
            yield refuse(Place(path, number, block.line, block.header), labels.stray(label))
            continue
        yield _target(path, number, block, limits)
    if not number:
        raise no_records()


def _target(path: Path, number: int, block: Block, limits: Limits) -> Target | Molecules | Refusal:
    header = block.header or ""
    place = Place(path, number, block.line, header)
    try:
        text = block.text
    except BadSequence as problem:
        return refuse(place, problem)
    words = header.split(maxsplit=1)
    if "|" in text and "\0" not in text:
        return _typed(place, text, words[0] if words else f"record-{number}", limits)
    return make_target(place, words[0] if words else "", text, limits, block.line_of)


def _typed(place: Place, text: str, name: str, limits: Limits) -> Target | Molecules | Refusal:
    try:
        check_encoding(place.header + text)
        found = colabfold.read(text, name, place.record, place.line)
    except (BadFile, BadSequence) as problem:
        return refuse(place, problem)
    return record_of(place.file, found, limits)


def _labelled(
    path: Path, blocks: Iterable[Block], first: Block, limits: Limits
) -> Target | Molecules | Refusal:
    try:
        found = labels.read(blocks, stem(path))
    except BadFile as problem:
        return record_of(path, Unread(first.header or "", 1, first.line, problem), limits)
    return record_of(path, found, limits)


def _text_without_header(path: Path, block: Block) -> Refusal:
    nul = next((at for at, line in enumerate(block.body, block.line + 1) if "\0" in line), 0)
    if nul:
        raise binary(nul)
    problem = BadSequence(
        "no_header", "There is text before the first '>'.", "Put '>name' above every sequence."
    )
    return refuse(Place(path, 0, block.line_of(0), ""), problem)
