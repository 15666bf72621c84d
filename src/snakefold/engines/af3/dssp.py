"""DSSP, by which the family's code counts disordered residues: tried before it is needed, and heard.

The wheel goes on without it, with no residue disordered, and says so in a line of its log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from snakefold.kernel.errors import SnakefoldError

#: Residues of the helix that DSSP is tried with.
_PROBED = 30
#: What went wrong since the list was emptied, model by model.
FAILURES: list[str] = []


def hear_failures() -> None:
    """Have the wheel's call of DSSP tell of every failure in `FAILURES`. Once for a process."""
    from alphafold3.model import confidences

    area = confidences.windowed_solvent_accessible_area

    def heard(cif: str, window: int = 25) -> Any:
        try:
            return area(cif, window)
        except Exception as error:
            FAILURES.append(str(error))
            raise

    confidences.windowed_solvent_accessible_area = heard


def see_that_it_works() -> None:
    """See that DSSP finds the components that it reads.

    The wheel would go on without it, with no residue disordered and another ranking.

    Raises:
        SnakefoldError: it does not.
    """
    from alphafold3 import structure
    from alphafold3.model import confidences

    try:
        text = structure.from_mmcif(_probe()).to_mmcif()  # which says more than gemmi's
        found = confidences.windowed_solvent_accessible_area(text)
    except Exception as error:  # a C++ library of the wheel's
        raise SnakefoldError(
            f"engine af3: DSSP, which counts disordered residues, does not work here ({error}); without it, "
            "models would be ranked otherwise. Look what is wrong: snakefold engines doctor af3"
        ) from error
    if len(found) != _PROBED:
        raise SnakefoldError(
            f"engine af3: DSSP sees {len(found)} of {_PROBED} residues of a helix. Make the environment "
            "again: snakefold engines install af3"
        )


def _probe() -> str:
    """mmCIF text of an ideal helix of alanines: 100 degrees and 1.5 Å a residue."""
    import math

    rows = []
    for residue in range(_PROBED):
        for name, radius, angle, height in (
            ("N", 1.55, -28.0, -0.9),
            ("CA", 2.29, 0.0, 0.0),
            ("C", 1.67, 26.0, 1.1),
            ("O", 2.02, 19.5, 2.28),
            ("CB", 3.30, -19.0, -0.55),
        ):
            turn = math.radians(100.0 * residue + angle)
            rows.append(
                (residue + 1, name, radius * math.cos(turn), radius * math.sin(turn), height + 1.5 * residue)
            )
    return _probe_text(rows)


def _probe_text(rows: Sequence[tuple[int, str, float, float, float]]) -> str:
    import gemmi

    chain = gemmi.Chain("A")
    for number, name, x, y, z in rows:
        if not len(chain) or chain[-1].seqid.num != number:
            residue = gemmi.Residue()
            residue.name, residue.seqid = "ALA", gemmi.SeqId(number, " ")
            chain.add_residue(residue)
        atom = gemmi.Atom()
        atom.name, atom.element, atom.pos, atom.occ = (
            name,
            gemmi.Element(name[0]),
            gemmi.Position(x, y, z),
            1.0,
        )
        chain[-1].add_atom(atom)
    model = gemmi.Model(1)
    model.add_chain(chain)
    found = gemmi.Structure()
    found.name = "HELIX"
    found.add_model(model)
    found.setup_entities()
    for entity in found.entities:
        entity.full_sequence = ["ALA"] * _PROBED
    found.assign_label_seq_id()
    return str(found.make_mmcif_document().as_string())
