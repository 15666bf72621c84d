"""Make components.tsv.gz: codes of the Chemical Component Dictionary (wwPDB, CC0), as biotite's wheel has it.

python resources/make_components.py

Columns: code, atoms without hydrogen, letter of the amino acid or nucleotide that it is or derives from (or
empty). The first line has the day of the youngest entry.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
from biotite.structure.info.ccd import get_ccd

STANDARD = "ALA CYS ASP GLU PHE GLY HIS ILE LYS LEU MET ASN PRO GLN ARG SER THR VAL TRP TYR"
LETTER = {
    **dict(zip(re.split(" ", STANDARD), "ACDEFGHIKLMNPQRSTVWY", strict=True)),
    **{name: name for name in "ACGU"},
    **{f"D{name}": name for name in "ACGT"},
}


def text() -> str:
    """The table."""
    dictionary = get_ccd()
    components, atoms = dictionary["chem_comp"], dictionary["chem_comp_atom"]
    heavy = ~np.isin(atoms["type_symbol"].as_array(str), ("H", "D"))
    codes, counts = np.unique(atoms["comp_id"].as_array(str)[heavy], return_counts=True)
    atoms_of = dict(zip(codes.tolist(), counts.tolist(), strict=True))
    parents = components["mon_nstd_parent_comp_id"].as_array(str).tolist()
    names = components["id"].as_array(str).tolist()
    rows = [
        f"{name}\t{atoms_of.get(name, 0)}\t{LETTER.get(name) or LETTER.get(parent, '')}\n"
        for name, parent in sorted(zip(names, parents, strict=True))
    ]
    day = max(components["pdbx_modified_date"].as_array(str).tolist())
    return f"# {day}\n" + "".join(rows)


if __name__ == "__main__":
    data = gzip.compress(text().encode(), 9, mtime=0)
    (Path(__file__).parent / "components.tsv.gz").write_bytes(data)
