"""FASTA records, with the line numbers that Biopython's parser does not keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from snakefold.kernel.errors import Refusal
from snakefold.molecules.lines import MAX_LINE, BadFile, binary
from snakefold.molecules.readers import labels
from snakefold.molecules.readers.common import Unread
from snakefold.molecules.records import Molecules, record_of, stem
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.target import Limits, Place, Target, make_target, refuse

#: Records of one file at the most: the refusals of a file made of nothing but '>' must fit in memory.
MAX_RECORDS = 2_000_000


@dataclass(slots=True)
class Block:
    """A header without its `>` (None for text before the first one), its line, and the lines below it.

    `body` has one item a line; comment lines are empty in it.
    """

    header: str | None
    line: int
    body: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def text(self) -> str:
        """The sequence as found.

        Raises:
            BadSequence: it is too long to be looked at.
        """
        if self.size > MAX_LINE:
            raise BadSequence(
                "too_long", f"The record has more than {MAX_LINE} letters.", "No protein is that long."
            )
        return "".join(self.body)

    def line_of(self, position: int) -> int:
        """Line of an index into `text`."""
        number = self.line + 1
        for line in self.body:
            if position < len(line):
                break
            position -= len(line)
            number += 1
        return number


def read_blocks(lines: Iterable[str], first_line: int = 1) -> Iterator[Block]:
    """Cut lines into records. Blank lines and comments (`;`) are passed over."""
    block = Block(None, first_line - 1)
    records = 0
    for number, line in enumerate(lines, first_line):
        if line.startswith(">"):
            if block.header is not None or block.size:
                yield block
            records += 1
            if records > MAX_RECORDS:
                raise BadFile(
                    "too_many_records", f"More than {MAX_RECORDS} records.", "Split the file.", number
                )
            block = Block(line[1:].strip(), number)
        elif block.size <= MAX_LINE:
            content = "" if line.startswith(";") or line.isspace() else line
            block.size += len(content)
            block.body.append(content)
    if block.header is not None or block.size:
        yield block


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


def no_records() -> BadFile:
    """What is said of a file in which no line begins with `>`."""
    return BadFile(
        "no_records", "No line begins with '>': this is no FASTA.", "Put '>name' above a sequence."
    )


def _target(path: Path, number: int, block: Block, limits: Limits) -> Target | Refusal:
    header = block.header or ""
    place = Place(path, number, block.line, header)
    try:
        text = block.text
    except BadSequence as problem:
        return refuse(place, problem)
    words = header.split(maxsplit=1)
    return make_target(place, words[0] if words else "", text, limits, block.line_of)


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
