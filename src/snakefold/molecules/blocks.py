"""Text cut at its `>` headers, with the line numbers that Biopython's parser does not keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from snakefold.molecules.lines import MAX_LINE, BadFile
from snakefold.molecules.sequences import BadSequence

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


def no_records() -> BadFile:
    """What is said of a file in which no line begins with `>`."""
    return BadFile(
        "no_records", "No line begins with '>': this is no FASTA.", "Put '>name' above a sequence."
    )
