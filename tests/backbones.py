"""Backbones that tests write: an ideal helix as PDB, with whatever a chain of the PDB may have."""

from __future__ import annotations

from collections.abc import Sequence

import gemmi
import numpy as np

#: N, CA, C, O of a residue of an alpha helix: radius, angle and rise (Å, degrees) around its axis.
_HELIX = {"N": (1.55, -28.0, -0.87), "CA": (2.28, 0.0, 0.0), "C": (1.68, 26.0, 1.10), "O": (2.03, 22.0, 2.32)}
_TURN, _RISE = 100.0, 1.5
THREE = {letter: gemmi.expand_one_letter(letter, gemmi.ResidueKind.AA) for letter in "ACDEFGHIKLMNPQRSTVWY"}


def helix(
    sequence: str,
    chain: str = "A",
    numbers: Sequence[str] | None = None,
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    without: Sequence[tuple[str, str]] = (),
) -> str:
    """ATOM records of a helix.

    Args:
        numbers: residue numbers with insertion codes; None: from 1.
        origin: of its axis, in Å.
        without: atoms that are missing, as (number, atom).
    """
    numbers = numbers or [str(place + 1) for place in range(len(sequence))]
    lines = []
    for place, (letter, number) in enumerate(zip(sequence, numbers, strict=True)):
        digits, code = (number[:-1], number[-1]) if number[-1].isalpha() else (number, " ")
        for atom, (radius, angle, rise) in _HELIX.items():
            if (number, atom) in without:
                continue
            turned = np.radians(place * _TURN + angle)
            x, y, z = np.add(origin, (radius * np.cos(turned), radius * np.sin(turned), place * _RISE + rise))
            name = THREE.get(letter, letter) if len(letter) == 1 else letter
            lines.append(
                f"ATOM  {len(lines) + 1:>5}  {atom:<3} {name:>3} {chain}{digits:>4}{code}   "
                f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {atom[0]}"
            )
    return "\n".join(lines) + "\n"
