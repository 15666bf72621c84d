"""What a reader gives: an assembly and where it stands, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from snakefold.molecules.entities import Assembly
from snakefold.molecules.lines import BadFile


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to predict.

    Attributes:
        name: what it is called, as found; not safe as a file name.
        record, line: 1-based.
        note: what was changed or is left to the settings, for the user to see.
    """

    name: str
    assembly: Assembly
    record: int
    line: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """A record that cannot be read; the line of the problem counts, and the record's if it has none."""

    name: str
    record: int
    line: int
    problem: BadFile
