"""Results of a run of snakefold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.kernel.contracts import Confidence, ModelScores
from snakefold.kernel.documents import read_document
from snakefold.kernel.errors import SnakefoldError
from snakefold.loading.target import Model, Target
from snakefold.structures import confidence, files

if TYPE_CHECKING:
    import pandas as pd

    from snakefold.loading.target import Floats

_SCORES = ("mean_plddt", "ptm", "iptm", "ranking_confidence", "max_pae")


def read_target(folder: Path) -> Target:
    """A target's folder.

    Raises:
        SnakefoldError: confidence.json is missing or damaged.
    """
    advice = "Run again: it is made anew."
    told = read_document(Confidence, folder / "confidence.json", what="scores of a target", advice=advice)
    pae = folder / "pae.npz"
    return Target(
        id=folder.name,
        folder=folder,
        engine=told.engine,
        models=[_model(folder, rank, each, pae.is_file()) for rank, each in enumerate(told.models)],
        rehearsal=told.rehearsal,
        alignment=folder / "msa.a3m",
        sizes=told.chain_tokens or told.chain_lengths,
    )


def read_tables(results: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics and failures, by id."""
    import pandas as pd

    metrics = pd.read_parquet(results / "metrics.parquet").set_index("id")
    failures = pd.read_csv(results / "failures.tsv", sep="\t", keep_default_na=False, dtype=str)
    return metrics, failures.set_index("id")


def _model(folder: Path, rank: int, told: ModelScores, has_pae: bool) -> Model:
    def pae() -> Floats:
        found = confidence.read_pae((folder / "pae.npz").read_bytes())
        if rank not in found:
            raise SnakefoldError(f"{folder.name}: there is no PAE for this model.")
        return found[rank]

    def plddt() -> Floats:
        import numpy as np

        return np.array(told.plddt)

    scores = {name: value for name in _SCORES if (value := getattr(told, name)) is not None}
    return Model(
        name=told.name,
        path=files.model_file(folder, rank),
        scores=scores,
        cif=folder / f"ranked_{rank}.cif",
        read_pae=pae if has_pae else None,
        read_plddt=plddt,
    )
