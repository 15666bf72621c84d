"""What an engine gives for one model of one target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gemmi
    import numpy as np
    from numpy.typing import NDArray

    from snakefold.structures.tokens import Tokens


@dataclass(frozen=True)
class Prediction:
    """One model of one target, not yet relaxed.

    Attributes:
        name: AlphaFold's name, for example `model_1_ptm_pred_0`.
        pdb: PDB text; pLDDT in the B column; chains A, B, … in the target's order, residues numbered from 1
            in each. Empty where the format cannot hold the model.
        structure: the same, where there is no PDB text; chains as `chains.chain_names` has them.
        plddt: float [L], 0 to 100; components of ligands count as residues.
        pae: float [L, L] in Å, row = aligned on, column = scored (AlphaFold's convention), or None.
        tokens: what the T rows of `pae` are, if they are not the residues; then `pae` is [T, T].
        origin: where the model comes from, as a sentence, if it was not computed here.
        ranking_confidence: what AlphaFold ranks by: mean pLDDT (monomer), 0.8 ipTM + 0.2 pTM (multimer).
        ranked_by: what that is, as AlphaFold's ranking_debug.json names it (plddts, iptm+ptm) or by its own
            name; empty: as AlphaFold has it.
        seconds, compile_seconds: wall time of the network, and how much of it went into a new program.
    """

    name: str
    pdb: str
    plddt: NDArray[np.floating[Any]]
    ranking_confidence: float
    pae: NDArray[np.floating[Any]] | None = None
    ptm: float | None = None
    iptm: float | None = None
    recycles: int = 0
    seed: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    origin: str = ""
    structure: gemmi.Structure | None = None
    tokens: Tokens | None = None
    ranked_by: str = ""

    def atoms(self) -> gemmi.Structure:
        """The model, whichever form it came in.

        Raises:
            SnakefoldError: there is neither form, or the text is no PDB.
        """
        from snakefold.structures import files as structures

        return self.structure if self.structure is not None else structures.read(self.pdb)
