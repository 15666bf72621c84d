"""SMILES as text: is it one, and is it whole. What it means is for an engine's chemistry to say."""

from __future__ import annotations

import re
from collections import Counter

MAX_LENGTH = 5000

_ATOM = r"\[[^\[\]\s]{1,80}\]|Br|Cl|[BCNOPSFI]|[bcnops]|\*"
_TOKEN = re.compile(rf"({_ATOM})|%(\d\d)|(\d)|([-=#$:/\\.()])", re.ASCII)
_HYDROGEN = re.compile(r"\[\d*H[\d+-]*\]|\[\d*H:\d+\]", re.ASCII)
#: No sequence has these, even a mistyped one: '-', '.', ':' and '*' are in many.
_SIGNS = re.compile(r"[\[\]()=#%/\\\d]", re.ASCII)


def problem(text: str) -> str:
    """What is wrong with a SMILES, in a few words; empty if it can be taken apart."""
    if len(text) > MAX_LENGTH:
        return f"it has {len(text)} characters, more than {MAX_LENGTH}"
    depth, place, atoms = 0, 0, 0
    rings: Counter[str] = Counter()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            return f"{text[place]!r} at character {place + 1} is no atom, bond or ring"
        atom, *ring, sign = found.groups()
        atoms += atom is not None
        rings.update(number.zfill(2) for number in ring if number)
        depth += (sign == "(") - (sign == ")")
        if depth < 0:
            return f"')' at character {place + 1} closes nothing"
        place = found.end()
    if not atoms:
        return "it has no atom"
    if depth:
        return "a '(' is not closed"
    if open_rings := sorted(number for number, times in rings.items() if times % 2):
        return f"ring {int(open_rings[0])} is not closed"
    return ""


def heavy_atoms(text: str) -> int:
    """Atoms of a SMILES other than hydrogen, as far as its text tells."""
    atoms = (found.group(1) for found in _TOKEN.finditer(text))
    return sum(atom is not None and not _HYDROGEN.fullmatch(atom) for atom in atoms)


def is_smiles(text: str) -> bool:
    """Whether a text that should be a sequence is a SMILES instead.

    Letters alone (`CCO`) are one if all are atoms and one is O, which no protein of C, N, P, S, F, I has.
    """
    if _SIGNS.search(text):
        return not problem(text)
    return text.isalpha() and "O" in text.upper() and not problem(text)
