"""Known structures that targets bring: helices, written as PDB."""

from __future__ import annotations

from collections.abc import Collection

import gemmi
import numpy as np


def toy_pdb(*chains: str, first: int = 1, left_out: Collection[int] = ()) -> str:
    """A PDB of these chains, called A, B, …: helices side by side, with the atoms N, CA, C, O and CB.

    Args:
        first: number of the first residue of each chain.
        left_out: residues of each chain, from 0, that are not modelled.
    """
    atoms = {"N": (1.5, 0.0, 0.0), "CA": (2.3, 0.3, 0.4), "C": (1.7, 1.3, 1.2), "O": (2.0, 2.2, 0.6)}
    atoms["CB"] = (3.3, 0.1, 1.1)
    lines: list[str] = []
    for letter, sequence in zip("ABCDEFGH", chains, strict=False):
        names = gemmi.expand_one_letter_sequence(sequence, gemmi.ResidueKind.AA)
        for number, name in enumerate(names):
            if number in left_out:
                continue
            angle = np.radians(100.0 * number)
            for atom, (radius, turn, rise) in atoms.items():
                x = radius * np.cos(angle + turn) + 12.0 * (ord(letter) - 65)
                y, z = radius * np.sin(angle + turn), 1.5 * number + rise
                if atom != "CB" or name != "GLY":
                    lines.append(
                        f"ATOM  {len(lines) + 1:5d}  {atom:<3s} {name:3s} {letter}{number + first:4d}    "
                        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {atom[0]}"
                    )
        lines.append("TER")
    return "\n".join([*lines, "END", ""])
