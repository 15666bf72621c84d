"""The page of designs, `report/designs.html`: their table, and what was designed for each backbone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from snakefold.config import DesignSettings, read_recorded
from snakefold.kernel.errors import SnakefoldError
from snakefold.molecules.backbones import ATOMS
from snakefold.report.coordinates import Atoms, Packer
from snakefold.report.index import is_safe
from snakefold.report.libraries import packed, script_call
from snakefold.run.designs.columns import DESIGN_COLUMNS
from snakefold.run.designs.listed import read_positions
from snakefold.run.designs.places import PASSED, TABLE
from snakefold.run.designs.positions import Positions
from snakefold.run.designs.table import read_table

#: The page, its script of data, and the folder of the backbones' atoms, in the report.
PAGE, DATA, BACKBONES = "designs.html", "assets/designs-run.js", "data/backbones"
#: Of designs.tsv: what only a program needs, or another column says.
_LEFT_OUT = {"chains", "conserved", "global_score", "rehearsal", "length"}


@dataclass(frozen=True)
class Designs:
    """What the page shows: rows of designs.tsv, what passes by which settings, and backbones by id."""

    rows: Sequence[Mapping[str, Any]]
    settings: DesignSettings
    backbones: Mapping[str, Positions]

    @property
    def passed(self) -> int:
        """How many pass."""
        return sum(bool(row["passes"]) for row in self.rows)

    @property
    def rehearsal(self) -> bool:
        """Whether a structure was made with random parameters."""
        return any(row["rehearsal"] for row in self.rows)


def read_designs(results: Path) -> Designs | None:
    """The designs of a run; None of a run that has none.

    Raises:
        SnakefoldError: a file of theirs is missing or damaged; the text names it.
    """
    if not (results / TABLE).is_file():
        return None
    rows = [row for row in read_table(results) if is_safe(row["id"]) and is_safe(row["backbone"])]
    names = dict.fromkeys(row["backbone"] for row in rows)
    backbones = {name: read_positions(results, name) for name in names}
    for row in rows:
        if len(row["sequence"].replace(":", "")) != len(backbones[row["backbone"]].native):
            raise SnakefoldError(
                f"{results / TABLE}: {row['id']} is no design of {row['backbone']}. Remove it and run again."
            )
    return Designs(rows, read_recorded(results).design, backbones)


def write_data(folder: Path, designs: Designs, pages: Sequence[str]) -> None:
    """Write what the page loads into the folder of a report.

    Args:
        pages: ids of the targets that have a page.
    """
    (folder / DATA).write_bytes(script_call("snakefold.startDesigns", packed(_content(designs, pages))))
    (folder / BACKBONES).mkdir()
    for name, positions in designs.backbones.items():
        script = script_call("snakefold.receive", f"backbones/{name}", _molecule(positions))
        (folder / BACKBONES / f"{name}.js").write_bytes(script)


def links(results: Path) -> dict[str, str]:
    """Files beside the report that the page links to: what they are, and where."""
    named = {"FASTA of the designs that pass": PASSED, "All scores": TABLE}
    return {what: f"../{name}" for what, name in named.items() if (results / name).is_file()}


def _content(designs: Designs, pages: Sequence[str]) -> bytes:
    """Columns of equal length, backbones, and what passes, as static/designs.js reads them."""
    there = set(pages)
    names = [name for name in DESIGN_COLUMNS if name not in _LEFT_OUT]
    columns = {name: [_short(row[name]) for row in designs.rows] for name in names}
    kept = {
        name: values
        for name, values in columns.items()
        if name in ("id", "backbone", "sequence") or any(value not in (None, "") for value in values)
    }
    content = {
        "columns": {**kept, "open": [int(row["id"] in there) for row in designs.rows]},
        "meanings": {
            name: f"{column.meaning} ({column.unit})" if column.unit else column.meaning
            for name, column in DESIGN_COLUMNS.items()
        },
        "max_rmsd": designs.settings.max_rmsd,
        "min_plddt": designs.settings.min_plddt,
        "backbones": {name: _backbone(positions) for name, positions in designs.backbones.items()},
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _backbone(positions: Positions) -> dict[str, Any]:
    """Chains, native letters, residue numbers, and a letter a position: d(esigned), m(otif) or o(ther)."""
    kinds = np.where(positions.designed, "d", np.where(positions.motif, "m", "o"))
    return {
        "chains": positions.chains,
        "native": positions.native,
        "numbers": positions.numbers,
        "kinds": "".join(kinds.tolist()),
    }


def _molecule(positions: Positions) -> dict[str, Any]:
    """Backbone atoms as `Packer` has them; `places`: of each residue its place in what is folded."""
    places = np.flatnonzero(np.isfinite(positions.ca).all(axis=1))
    chains = np.repeat([name for name, _ in positions.chains], [count for _, count in positions.chains])
    residues = gemmi.expand_one_letter_sequence(positions.native, gemmi.ResidueKind.AA)
    repeated = np.repeat(places, len(ATOMS))
    atoms = Atoms(
        chain=chains[repeated].astype("S"),
        number=repeated + 1,
        residue=np.array(residues)[repeated].astype("S"),
        name=np.tile(np.array(ATOMS, "S"), len(places)),
        element=np.tile(np.array([name[0] for name in ATOMS], "S"), len(places)),
        xyz=positions.coordinates[places].reshape(-1, 3),
        starts=np.arange(len(places)) * len(ATOMS),
    )
    packer = Packer()
    molecule = packer.pack(atoms)
    return {"molecule": molecule, "kinds": packer.kinds, "places": places.tolist()}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
