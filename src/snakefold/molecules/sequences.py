"""The letters of a sequence: which are accepted, what becomes of them, and what is said of the others.

Accepted are the 20 standard amino acids and X (unknown), in upper or lower case. As AlphaFold maps them in
its MSAs (`residue_constants.HHBLITS_AA_TO_ID`), B becomes D, Z becomes E, U becomes C, J and O become X; each
replacement is noted on the target. `*` at the end of a chain is dropped, blanks are dropped, `:` separates
chains. Everything else refuses the record: accessions, SMILES and the like by what they are.

The letters of DNA (A, C, G, T) are amino acids, too. A longer sequence that has all four of them and hardly
another is refused, since no protein is so; one with two or three of them (poly-GA, silk) is noted.
"""

from __future__ import annotations

import re
import string
import unicodedata

from snakefold.kernel.contracts import MAX_CHAINS
from snakefold.molecules.foreign import recognised
from snakefold.molecules.smiles import is_smiles

#: AlphaFold's `HHBLITS_AA_TO_ID`, for the letters that are no single standard amino acid.
REPLACED = {"B": "D", "J": "X", "O": "X", "U": "C", "Z": "E"}
#: NUL bytes stand where a copy broke off, or a disk was full.
NUL_ADVICE = "The file is damaged here, and more may be missing: copy it again, or correct the record."

_STANDARD = re.compile(r"[ACDEFGHIKLMNPQRSTVWXY]+")
_UNEXPECTED = re.compile(r"[^A-Za-z:*\s]", re.ASCII)
_AMBIGUOUS = re.compile(f"[{''.join(REPLACED)}]")
_BLANK = " \t\n\r\v\f"
_TO_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase, _BLANK)
_TO_STANDARD = str.maketrans(REPLACED)
#: Nucleotides, and IUPAC's letters for several of them: most proteins soon have another letter.
_NUCLEOTIDES = re.compile(r"[ABCDGHKMNRSTUVWY]{16,}")
_ONE_NUCLEOTIDE = "ACGTUN"
#: Share of letters for one nucleotide, and of U in RNA: selenocysteine, the amino acid U, is rare.
_MOST, _RNA = 0.9, 0.125
#: Said of a target, not of a record that is refused.
_LIKE_DNA = "has only letters that DNA has, too"


class BadSequence(Exception):
    """A sequence cannot be folded. `position` is the 0-based index into the text as found, or None."""

    def __init__(self, code: str, message: str, advice: str, position: int | None = None) -> None:
        self.code = code
        self.message = message
        self.advice = advice
        self.position = position
        super().__init__(f"{message} {advice}")


def clean_chains(text: str) -> tuple[tuple[str, ...], str]:
    """Chains of a sequence as found in a file, and a note of the letters that were replaced (mostly empty).

    Raises:
        BadSequence: no sequence, an empty chain, too many chains, or letters that are no amino acid.
    """
    if _STANDARD.fullmatch(text):
        return (text,), _meaning(text, "The sequence", 0)
    if found := _UNEXPECTED.search(text):
        raise _foreign(text) or _unexpected(found.group(), found.start())
    if is_smiles(text.strip()) and (foreign := _foreign(text)):
        raise foreign
    parts = text.split(":")
    if len(parts) > MAX_CHAINS:
        raise BadSequence(
            "too_many_chains", f"There are {len(parts)} chains.", f"At most {MAX_CHAINS} are accepted."
        )
    chains, replaced, offset, like_dna = [], "", 0, ""
    for number, part in enumerate(parts, 1):
        name = f"Chain {number}" if len(parts) > 1 else "The sequence"
        letters, note = _letters(part, name, offset)
        like_dna = like_dna or note
        offset += len(part) + 1
        if _AMBIGUOUS.search(letters):
            replaced += letters
        chains.append(to_standard(letters))
    return tuple(chains), ", ".join(part for part in (replacement_note(replaced), like_dna) if part)


def replacement_note(letters: str) -> str:
    """What is said of the replaced letters among upper-case `letters`, for example `U→C at 1 place`."""
    counts = {letter: letters.count(letter) for letter in REPLACED}
    return ", ".join(
        f"{letter}→{REPLACED[letter]} at {count} place{'s' if count > 1 else ''}"
        for letter, count in counts.items()
        if count
    )


def to_standard(letters: str) -> str:
    """`letters` with every capital B, J, O, U and Z replaced."""
    return letters.translate(_TO_STANDARD) if _AMBIGUOUS.search(letters) else letters


def _letters(part: str, name: str, offset: int) -> tuple[str, str]:
    """Capital letters of a chain, and a note."""
    body = part.rstrip(_BLANK + "*")
    stop = body.find("*")
    if stop >= 0:
        raise BadSequence(
            "stop_codon",
            f"{name} has a stop ('*') before its end.",
            "Give the protein that is meant; only a '*' at the very end is dropped.",
            offset + stop,
        )
    letters = body.translate(_TO_UPPER)
    if not letters:
        raise BadSequence(
            "no_sequence",
            f"{name} is empty.",
            "Add the sequence, or take the ':' away." if name != "The sequence" else "Add the sequence.",
            offset - 1 if offset else None,
        )
    return letters, _meaning(letters, name, offset)


def _meaning(letters: str, name: str, offset: int) -> str:
    """A note on letters that may not be what they seem. Raises BadSequence where they surely are not."""
    note = _LIKE_DNA if _NUCLEOTIDES.fullmatch(letters) and _like_dna(letters, name, offset) else ""
    if not letters.strip("XJO"):
        raise BadSequence(
            "all_unknown",
            f"{name} has unknown residues (X) only.",
            "Give the amino acids.",
            offset or None,
        )
    return note


def _like_dna(letters: str, name: str, offset: int) -> bool:
    """Whether letters, all of them IUPAC's of nucleotides, may be DNA. Raises BadSequence if they must be."""
    counts = {letter: letters.count(letter) for letter in _ONE_NUCLEOTIDE}
    share = sum(counts.values()) / len(letters)
    every = all(counts[letter] for letter in "ACG") and (counts["T"] or counts["U"])
    if (every and share >= _MOST) or (share == 1 and counts["U"] >= _RNA * len(letters)):
        raise BadSequence(
            "nucleotides",
            f"{name} looks like DNA or RNA.",
            "Translate it to protein first.",
            offset or None,
        )
    return share == 1 and sum(count > 0 for letter, count in counts.items() if letter != "N") > 1


def _foreign(text: str) -> BadSequence | None:
    """What a text is that is no sequence, if it is known; at its first line."""
    found = recognised(text)
    return None if found is None else BadSequence(found.code, found.message, found.advice, 0)


def _unexpected(letter: str, position: int) -> BadSequence:
    accepted = "Accepted are the 20 amino acids and X, B, Z, U, J, O, with ':' between chains."
    if letter.isdecimal():
        return BadSequence("digit", f"The digit {letter!r} is in the sequence.", accepted, position)
    if letter in "-.":
        return BadSequence(
            "gap",
            f"The gap {letter!r} is in the sequence.",
            "Take gaps out; an alignment needs a file name ending in .a3m.",
            position,
        )
    if letter == "\0":
        return BadSequence("nul", "A NUL byte is in the sequence.", NUL_ADVICE, position)
    if letter == "/":
        return BadSequence("letter", "'/' is in the sequence.", "':' separates chains, not '/'.", position)
    if "\udc80" <= letter <= "\udcff":
        return BadSequence(
            "encoding",
            f"The byte 0x{ord(letter) - 0xDC00:02X} in the sequence is not UTF-8.",
            accepted,
            position,
        )
    name = unicodedata.name(letter, "a control character")
    return BadSequence(
        "letter",
        f"{letter!r} (U+{ord(letter):04X}, {name}) in the sequence is no amino acid.",
        accepted,
        position,
    )
