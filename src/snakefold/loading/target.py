"""Results in Python: `run = snakefold.load("results")`, for notebooks and scripts.

Everything is read when it is asked for. What a run does not have is an error that says so, never a default.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.kernel.contracts import Confidence, ModelScores
from snakefold.kernel.documents import read_document
from snakefold.kernel.errors import MissingProgramError, SnakefoldError
from snakefold.structures import confidence, files

if TYPE_CHECKING:
    import gemmi
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

#: AlphaFold DB's colours of pLDDT, by the lower edge of each band, the highest first.
PLDDT_COLOURS = {90: "#0053d6", 70: "#65cbf3", 50: "#ffdb13", 0: "#ff7d45"}
_INSTALL = "pip install 'snakefold[notebook]'"


@dataclass(frozen=True)
class Target:
    """A target with a structure: its files, read when they are asked for.

    Ranks count from 0, the best model first.
    """

    folder: Path

    @property
    def id(self) -> str:
        """As in metrics."""
        return self.folder.name

    @cached_property
    def confidence(self) -> Confidence:
        """confidence.json: chains, scores of every model, notes.

        Raises:
            SnakefoldError: it is damaged.
        """
        advice = "Run again: it is made anew."
        return read_document(
            Confidence, self.folder / "confidence.json", what="scores of a target", advice=advice
        )

    @property
    def rehearsal(self) -> bool:
        """The parameters were random: the structures mean nothing."""
        return self.confidence.rehearsal

    def __len__(self) -> int:
        """Number of models."""
        return len(self.confidence.models)

    def __repr__(self) -> str:
        mark = "REHEARSAL: " if self.rehearsal else ""
        return f"<{mark}{self.id}: {len(self)} models by {self.confidence.engine}>"

    def scores(self, rank: int = 0) -> ModelScores:
        """Name, pLDDT, pTM, ipTM, seed, … of a model.

        Raises:
            SnakefoldError: there is no such model.
        """
        models = self.confidence.models
        if not 0 <= rank < len(models):
            raise SnakefoldError(f"{self.id}: has models of rank 0 to {len(models) - 1}, and none of {rank}.")
        return models[rank]

    def path(self, rank: int = 0) -> Path:
        """The file of a model: PDB, or mmCIF where that cannot hold it."""
        self.scores(rank)
        path = files.model_file(self.folder, rank)
        if not path.is_file():
            raise SnakefoldError(f"{path}: is missing. Run again: it is made anew.")
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
        cif = self.folder / f"ranked_{rank}.cif"
        self.scores(rank)
        return structure_io.load_structure(cif, extra_fields=["b_factor"])

    def gemmi(self, rank: int = 0) -> gemmi.Structure:
        """A model as gemmi's Structure, pLDDT as B factors."""
        return files.read(self.path(rank).read_text())

    def plddt(self, rank: int = 0) -> Floats:
        """[residues] pLDDT, 0 to 100; a ligand's component counts as a residue."""
        import numpy as np

        return np.array(self.scores(rank).plddt)

    def pae(self, rank: int = 0) -> Floats:
        """[L, L] predicted aligned error, Å; row: the residue (token) that is aligned on.

        Raises:
            SnakefoldError: the network gives none.
        """
        self.scores(rank)
        path = self.folder / "pae.npz"
        found = confidence.read_pae(path.read_bytes()) if path.is_file() else {}
        if rank not in found:
            raise SnakefoldError(f"{self.id}: {self.confidence.engine} gave no PAE for this model.")
        return found[rank]

    def msa(self) -> dict[str, str]:
        """Rows of the alignment by name, the query first; of a complex, those of one chain after the other.

        Columns are those of the query: insertions are left out. A name that comes again gets a number.

        Raises:
            SnakefoldError: the target was predicted without one.
        """
        path = self.folder / "msa.a3m"
        if not path.is_file():
            raise SnakefoldError(f"{self.id}: was predicted without an alignment.")
        rows: dict[str, str] = {}
        for name, row in _records(path.read_text()):
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

        matrix, told = self.pae(rank), self.confidence
        axes = pyplot.subplots()[1] if ax is None else ax
        image = axes.imshow(matrix, cmap="Greens_r", vmin=0, vmax=confidence.PAE_MAX)
        for border in itertools.accumulate((told.chain_tokens or told.chain_lengths)[:-1]):
            axes.axhline(border - 0.5, color="black", linewidth=0.8)
            axes.axvline(border - 0.5, color="black", linewidth=0.8)
        unit = "token" if told.chain_tokens else "residue"
        axes.set(xlabel=f"Scored {unit}", ylabel=f"Aligned {unit}")
        mark = "REHEARSAL: " if self.rehearsal else ""
        axes.set_title(f"{mark}{self.id}, {self.scores(rank).name}")
        axes.figure.colorbar(image, ax=axes, label="Expected position error (Å)")
        return axes


class Run(Mapping[str, Target]):
    """A run's results: targets with a structure by id, and its tables."""

    def __init__(self, results: Path) -> None:
        self.results = results

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """metrics.parquet: a row for every target with a structure, by id (docs/results.md)."""
        import pandas as pd

        return pd.read_parquet(self.results / "metrics.parquet").set_index("id")

    @cached_property
    def failures(self) -> pd.DataFrame:
        """failures.tsv: what has no structure, by id, with reason and advice."""
        import pandas as pd

        path = self.results / "failures.tsv"
        return pd.read_csv(path, sep="\t", keep_default_na=False, dtype=str).set_index("id")

    @property
    def rehearsal(self) -> bool:
        """Some parameters were random."""
        return bool(self.metrics["rehearsal"].any())

    def __getitem__(self, name: str) -> Target:
        if name in self.metrics.index:
            return Target(self.results / "structures" / name)
        if name in self.failures.index:
            row = self.failures.loc[name]
            raise KeyError(f"{name}: has no structure ({row['reason']}: {row['message']})")
        raise KeyError(f"{name}: no target is called so")

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics.index)

    def __len__(self) -> int:
        return len(self.metrics)

    def __repr__(self) -> str:
        mark = "REHEARSAL: " if len(self) and self.rehearsal else ""
        return f"<{mark}run {str(self.results)!r}: {len(self)} structures, {len(self.failures)} without>"


def load(results: str | Path) -> Run:
    """The results of a run that has ended, or has written its tables (`snakefold report results`).

    Raises:
        SnakefoldError: the folder has no metrics.
    """
    folder = Path(results)
    if not (folder / "metrics.parquet").is_file():
        raise SnakefoldError(
            f"{folder}: has no metrics.parquet. Expected the results folder of a run that has ended; of one "
            "that goes on, `snakefold report` makes it."
        )
    return Run(folder)


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


def _bands(structure: gemmi.Structure) -> dict[tuple[str, str], list[int]]:
    """Numbers of residues by chain and colour of their pLDDT, for py3Dmol takes no function."""
    found: dict[tuple[str, str], list[int]] = {}
    for chain in structure[0]:
        for residue in chain:
            value = sum(atom.b_iso for atom in residue) / max(1, len(residue))
            colour = next(PLDDT_COLOURS[edge] for edge in PLDDT_COLOURS if value >= edge or not edge)
            found.setdefault((chain.name, colour), []).append(int(residue.seqid.num or 0))
    return found


def _missing(package: str) -> MissingProgramError:
    return MissingProgramError(f"This needs the package {package}. Install it with: {_INSTALL}")
