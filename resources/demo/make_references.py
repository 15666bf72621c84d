"""Cut the reference structures of the antibody demos out of PDB entries (README-antibodies.md says which).

python resources/demo/make_references.py mmcif_7cth.cif 7CFN.cif 4CUP.cif resources/demo/references
"""

from __future__ import annotations

import sys
from pathlib import Path

import gemmi

BACKBONE = {"N", "CA", "C", "O"}
CUTS = {"7CTH-HL.pdb": ("H", "L"), "7CFN-N.pdb": ("N",), "4CUP-A.pdb": ("A",)}


def cut(source: Path, chains: tuple[str, ...]) -> str:
    """Backbone atoms of chains of an mmCIF file, as PDB text."""
    whole = gemmi.read_structure(str(source))
    whole.remove_alternative_conformations()
    part = gemmi.Structure()
    part.add_model(gemmi.Model(1))
    for name in chains:
        chain = part[0].add_chain(gemmi.Chain(name))
        for residue in whole[0][name]:
            if residue.find_atom("CA", "*", gemmi.Element("C")) is None:
                continue
            kept = chain.add_residue(residue)
            for index in reversed(range(len(kept))):
                if kept[index].name not in BACKBONE:
                    del kept[index]
                else:
                    kept[index].aniso = gemmi.SMat33f(0, 0, 0, 0, 0, 0)
    part.setup_entities()
    text = part.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, cryst1_record=False, end_record=True))
    entry = source.stem.removeprefix("mmcif_").upper()
    return f"REMARK   6 Backbone of PDB entry {entry}, chains {', '.join(chains)} (CC0).\n{text}"


def main() -> None:
    """Write one file per entry."""
    *sources, folder = map(Path, sys.argv[1:])
    for source, (name, chains) in zip(sources, CUTS.items(), strict=True):
        (folder / name).write_text(cut(source, chains))


if __name__ == "__main__":
    main()
