"""NUL bytes in an A3M: mmseqs and the ColabFold server close every alignment of a file with one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from snakefold.kernel.names import shown
from snakefold.molecules.lines import MAX_LINE, BadFile, binary


def one_alignment(lines: Iterable[str]) -> Iterator[str]:
    """The lines of an A3M without the NUL bytes that close its alignments, as ColabFold reads them.

    Alignments of the same query, one database after the other, are one.

    Raises:
        BadFile: a NUL byte that closes no alignment (binary or UTF-16), or alignments of several queries.
    """
    query: _Row | None = None
    row = _Row("", 0, follows_nul=False)
    closed = False
    for number, line in enumerate(lines, 1):
        body = line.strip("\0")
        header = body.startswith(">")
        closed = closed or line.startswith("\0")
        # What follows a NUL is a header, and before the first of them there was one.
        if (closed and (query is None or not (header or not body.strip()))) or "\0" in body:
            raise binary(number)
        if header:
            if line.endswith("\0"):
                raise binary(number)
            row.check(query)
            row = _Row(body[1:], number, closed)
            query = query or row
            closed = False
        elif row is query or row.follows_nul:
            row.add(body)
        closed = closed or line.endswith("\0")
        yield body
    row.check(query)


@dataclass(slots=True)
class _Row:
    """A record: its header, its line, and whether an alignment was closed before it."""

    header: str
    line: int
    follows_nul: bool
    letters: list[str] = field(default_factory=list)
    size: int = 0

    def add(self, text: str) -> None:
        """Take one more line of the sequence; an endless one is refused elsewhere."""
        if self.size <= MAX_LINE and not text.startswith(";"):
            self.size += len(text)
            self.letters.append(text)

    def check(self, query: _Row | None) -> None:
        """Raises BadFile if this is the first row of another chain's alignment."""
        if not self.follows_nul or query is None or self._sequence() == query._sequence():
            return
        names = (shown(row.header.split("\t")[0], 40) for row in (query, self))
        raise BadFile(
            "a3m_blocks",
            "The file holds alignments of several chains, parted by NUL bytes, as mmseqs and the ColabFold "
            "server write them: first {!r}, then {!r}.".format(*names),
            "Cut it at the NUL bytes into an A3M file for each chain. A complex needs one file that begins "
            "with '#<lengths><tab><copies>', as colabfold_batch writes it.",
            self.line,
        )

    def _sequence(self) -> str:
        return "".join("".join(self.letters).split())
