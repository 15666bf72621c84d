"""A target with models, whoever predicted it: structures, pLDDT, PAE, alignment, a view and a plot.

Everything is read when it is asked for. What there is not is an error that says so, never a default.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.kernel.errors import MissingProgramError, SnakefoldError
from snakefold.structures import confidence, files

if TYPE_CHECKING:
    import gemmi
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: AlphaFold DB's colours of pLDDT, by the lower edge of each band, the highest first.
PLDDT_COLOURS = {90: "#0053d6", 70: "#65cbf3", 50: "#ffdb13", 0: "#ff7d45"}
_INSTALL = "pip install 'snakefold[notebook]'"


@dataclass(frozen=True)
class Model:
    """One model.

    Attributes:
        name: as its program calls it.
        path: PDB or mmCIF file with the pLDDT as B factors.
        scores: what its program says of it, by our names: ptm, iptm, ranking_confidence, mean_plddt.
        cif: the same as mmCIF, where there are both.
        read_pae: gives [L, L] Å; None: there is none.
        read_plddt: gives [residues]; None: B factors of the file, a residue's is the mean of its atoms'.
    """

    name: str
    path: Path
    scores: Mapping[str, float] = field(default_factory=dict)
    cif: Path | None = None
    read_pae: Callable[[], Floats] | None = field(default=None, repr=False)
    read_plddt: Callable[[], Floats] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Target:
    """A target with a structure. Ranks of models count from 0, the best first.

    Attributes:
        engine: what predicted it.
        rehearsal: the parameters were random: the structures mean nothing.
        alignment: A3M file, if it is known.
        sizes: rows of the PAE by chain; empty: residues of the chains.
    """

    id: str
    folder: Path
    engine: str
    models: Sequence[Model] = field(repr=False)
    rehearsal: bool = False
    alignment: Path | None = field(default=None, repr=False)
    sizes: Sequence[int] = field(default=(), repr=False)

    def __len__(self) -> int:
        """Number of models."""
        return len(self.models)

    def __repr__(self) -> str:
        mark = "REHEARSAL: " if self.rehearsal else ""
        return f"<{mark}{self.id}: {len(self)} models by {self.engine}>"

    def model(self, rank: int = 0) -> Model:
        """A model: its name, file and scores.

        Raises:
            SnakefoldError: there is none of this rank.
        """
        if not 0 <= rank < len(self.models):
            raise SnakefoldError(f"{self.id}: has models of rank 0 to {len(self) - 1}, and none of {rank}.")
        return self.models[rank]

    def scores(self, rank: int = 0) -> Mapping[str, float]:
        """What is known of a model: ptm, iptm, ranking_confidence, mean_plddt; nothing else is there."""
        return self.model(rank).scores

    def path(self, rank: int = 0) -> Path:
        """The file of a model: PDB or mmCIF.

        Raises:
            SnakefoldError: it is missing.
        """
        path = self.model(rank).path
        if not path.is_file():
            raise SnakefoldError(f"{path}: is missing.")
        return path

    def structure(self, rank: int = 0) -> Any:
        """A model as biotite's AtomArray, pLDDT as `b_factor`.

        Raises:
            MissingProgramError: biotite is not installed.
        """
        try:
            import biotite.structure.io as structure_io
        except ImportError as error:
            raise _missing("biotite") from error
        place = self.model(rank).cif or self.path(rank)
        return structure_io.load_structure(place, extra_fields=["b_factor"])

    def gemmi(self, rank: int = 0) -> gemmi.Structure:
        """A model as gemmi's Structure, pLDDT as B factors."""
        return files.read(self.path(rank).read_text())

    def plddt(self, rank: int = 0) -> Floats:
        """[residues] pLDDT, 0 to 100; a ligand counts as a residue."""
        import numpy as np

        given = self.model(rank).read_plddt
        if given is not None:
            return given()
        return np.array([_mean_b(residue) for chain in self.gemmi(rank)[0] for residue in chain])

    def pae(self, rank: int = 0) -> Floats:
        """[L, L] predicted aligned error, Å; row: the residue (token) that is aligned on.

        Raises:
            SnakefoldError: there is none.
        """
        read = self.model(rank).read_pae
        if read is None:
            raise SnakefoldError(f"{self.id}: {self.engine} gave no PAE for this model.")
        return read()

    def msa(self) -> dict[str, str]:
        """Rows of the alignment by name, the query first; of a complex, those of one chain after the other.

        Columns are those of the query: insertions are left out. A name that comes again gets a number.

        Raises:
            SnakefoldError: there is no alignment.
        """
        if self.alignment is None or not self.alignment.is_file():
            raise SnakefoldError(f"{self.id}: was predicted without an alignment, or it was not kept.")
        rows: dict[str, str] = {}
        for name, row in _records(self.alignment.read_text()):
            numbered = (f"{name}.{number}" for number in itertools.count(2))
            free = next(each for each in itertools.chain([name], numbered) if each not in rows)
            rows[free] = "".join(letter for letter in row if not letter.islower())
        return rows

    def view(self, rank: int = 0, *, width: int = 640, height: int = 480) -> Any:
        """A model in py3Dmol, coloured by pLDDT as in AlphaFold DB.

        Raises:
            MissingProgramError: py3Dmol is not installed.
        """
        try:
            import py3Dmol
        except ImportError as error:
            raise _missing("py3Dmol") from error
        path = self.path(rank)
        view = py3Dmol.view(width=width, height=height)
        view.addModel(path.read_text(), path.suffix[1:])
        for (chain, colour), numbers in _bands(self.gemmi(rank)).items():
            style = {"cartoon": {"color": colour}}
            view.setStyle({"chain": chain, "resi": numbers, "hetflag": False}, style)
            view.setStyle({"chain": chain, "resi": numbers, "hetflag": True}, {"stick": {"color": colour}})
        if self.rehearsal:
            view.addLabel(
                "REHEARSAL: random parameters", {"useScreen": True, "position": {"x": 8, "y": 8, "z": 0}}
            )
        view.zoomTo()
        return view

    def plot_pae(self, rank: int = 0, ax: Any = None) -> Any:
        """PAE as a picture, with the borders of chains; matplotlib's Axes."""
        from matplotlib import pyplot

        matrix = self.pae(rank)
        axes = pyplot.subplots()[1] if ax is None else ax
        image = axes.imshow(matrix, cmap="Greens_r", vmin=0, vmax=confidence.PAE_MAX)
        residues = [len(chain) for chain in self.gemmi(rank)[0]]
        sizes = self.sizes or (residues if sum(residues) == len(matrix) else [])
        for border in itertools.accumulate(sizes[:-1]):
            axes.axhline(border - 0.5, color="black", linewidth=0.8)
            axes.axvline(border - 0.5, color="black", linewidth=0.8)
        unit = "residue" if sum(residues) == len(matrix) else "token"
        axes.set(xlabel=f"Scored {unit}", ylabel=f"Aligned {unit}")
        mark = "REHEARSAL: " if self.rehearsal else ""
        axes.set_title(f"{mark}{self.id}, {self.model(rank).name}")
        axes.figure.colorbar(image, ax=axes, label="Expected position error (Å)")
        return axes


def _mean_b(residue: gemmi.Residue) -> float:
    return sum(atom.b_iso for atom in residue) / max(1, len(residue))


def _bands(structure: gemmi.Structure) -> dict[tuple[str, str], list[int]]:
    """Numbers of residues by chain and colour of their pLDDT, for py3Dmol takes no function."""
    found: dict[tuple[str, str], list[int]] = {}
    for chain in structure[0]:
        for residue in chain:
            value = _mean_b(residue)
            colour = next(PLDDT_COLOURS[edge] for edge in PLDDT_COLOURS if value >= edge or not edge)
            found.setdefault((chain.name, colour), []).append(int(residue.seqid.num or 0))
    return found


def _records(text: str) -> Iterator[tuple[str, str]]:
    name = ""
    rows: list[str] = []
    for line in text.splitlines():
        if line.startswith(">"):
            if name:
                yield name, "".join(rows)
            name, rows = (line[1:].split() or ["unnamed"])[0], []
        elif not line.startswith("#"):
            rows.append(line.strip())
    if name:
        yield name, "".join(rows)


def _missing(package: str) -> MissingProgramError:
    return MissingProgramError(f"This needs the package {package}. Install it with: {_INSTALL}")
