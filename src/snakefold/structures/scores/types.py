"""`scores.json` of a target: what is computed from its models, PAE and reference when it is collected."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.documents import read_document

#: Name of the file in a target's folder.
FILE = "scores.json"


class Interface(Model):
    """Scores of a pair of chains in one model; one that cannot be computed is None (`missing` says why)."""

    rank: int = Field(description="Rank of the model; 0 is the best.")
    chain_a: str = Field(description="First chain, named as in the model's files.")
    chain_b: str = Field(description="Second chain, named as in the model's files.")
    contacts: int | None = Field(
        None, description="Residue pairs whose CB atoms (CA of glycine) are within 8 Å."
    )
    iptm: float | None = Field(
        None, description="The engine's ipTM. It is of the whole target: of this pair only with two chains."
    )
    iptm_pae: float | None = Field(
        None,
        description="ipTM approximated from the PAE: the TM term of the expected error, "
        "not the expectation of the TM term that the engine computes.",
    )
    ipsae: float | None = Field(None, description="ipSAE (PAE below 10 Å), the larger of both directions.")
    pdockq2: float | None = Field(None, description="pDockQ2 of the pair, the larger of both directions.")


class ReferenceScores(Model):
    """The best model against a known structure."""

    file: str = Field(description="Name of the reference's file.")
    tm: float | None = Field(None, description="TM-score normalised by the reference's length (TM-align).")
    lddt: float | None = Field(None, description="lDDT of the CA atoms, 0 to 1.")
    rmsd: float | None = Field(None, description="CA RMSD over the pairs that TM-align aligned, Å.")
    aligned: int | None = Field(None, description="Residues that TM-align aligned.")
    length: int | None = Field(None, description="Residues of the reference's chains that were used.")
    chains: list[tuple[str, str]] = Field([], description="Superposed chains: (model, reference).")


class TargetScores(Model):
    """Content of scores.json."""

    version: Literal[1] = 1
    key: str = Field(description="sha256 of the sequences joined by ':'.")
    rehearsal: bool = Field(description="Random parameters were used: the scores mean nothing.")
    model_tm: list[list[float | None]] = Field(
        [], description="TM-score of every pair of models, rank × rank, by residue number; symmetric."
    )
    interfaces: list[Interface] = Field([], description="Chain pairs, by model; empty for a monomer.")
    reference: ReferenceScores | None = Field(
        None, description="The best model compared with the known structure, if there is one."
    )
    missing: dict[str, str] = Field(
        {},
        description="Scores that could not be computed: name → why (model_tm, contacts, ipsae, reference …).",
    )

    def best_interface(self) -> Interface | None:
        """The best model's pair of chains with the highest ipSAE (else pDockQ2, else contacts)."""
        pairs = [item for item in self.interfaces if item.rank == 0]
        return max(pairs, key=_merit, default=None)


def _merit(item: Interface) -> tuple[float, float, float]:
    return (item.ipsae or 0.0, item.pdockq2 or 0.0, float(item.contacts or 0))


def read_scores(folder: Path) -> TargetScores | None:
    """Scores of the target in `folder`; None if it has none (a run of an earlier version).

    Raises:
        SnakefoldError: the file is damaged; the text names it.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    return read_document(
        TargetScores, path, what="scores of a target", advice="Delete the folder and run again."
    )
