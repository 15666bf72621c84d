"""What the readers of AlphaFold 3's JSON and Boltz's files share."""

from __future__ import annotations

from snakefold.molecules.lines import BadFile
from snakefold.molecules.sequences import BadSequence, clean_chains

#: Said of a target whose file says something that the settings of a run say here.
_LEFT = "the settings say it, not the file"


def protein(text: str, where: str, line: int) -> tuple[str, str]:
    """The sequence of one protein as it is read everywhere, and a note of what was replaced.

    Raises:
        BadFile: it is none.
    """
    try:
        chains, note = clean_chains(text)
    except BadSequence as problem:
        raise BadFile(problem.code, f"{where}: {problem.message}", problem.advice, line) from problem
    if len(chains) > 1:
        raise BadFile("letter", f"{where}: ':' is in the sequence.", "Give each chain an entry.", line)
    return chains[0], note


def left_to_settings(names: list[str]) -> str:
    """A note on keys that have no effect."""
    return f"{', '.join(dict.fromkeys(names))}: {_LEFT}" if names else ""
