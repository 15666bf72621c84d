"""designs.tsv: what its columns mean."""

from __future__ import annotations

from snakefold.engines.spec import Column

#: Columns of designs.tsv, in order: name → Column. One row per design; an empty cell: there is no such value.
DESIGN_COLUMNS: dict[str, Column] = {
    "id": Column(str, "", "Name of the design, and of its structure in `structures/<id>/`."),
    "backbone": Column(str, "", "Backbone that it was designed for: a folder of `design/structures/`."),
    "temperature": Column(float, "", "Sampling temperature."),
    "sample": Column(int, "", "Number of the design, for each backbone and temperature from 1."),
    "conserved": Column(float, "0 to 1", "Share of the positions that stayed as the most conserved ones."),
    "passes": Column(
        bool,
        "",
        "`sc_rmsd` is at most `design.max_rmsd` and `mean_plddt` at least `design.min_plddt`; empty if one "
        "of them is.",
    ),
    "sc_rmsd": Column(
        float, "Å", "RMSD of CA atoms between best model and backbone, over all positions with a backbone."
    ),
    "sc_rmsd_designed": Column(float, "Å", "The same superposition; RMSD over the designed positions alone."),
    "sc_rmsd_motif": Column(
        float,
        "Å",
        "RMSD over the fixed positions of designed chains, superposed on these; empty if fewer than 3.",
    ),
    "sc_tm": Column(float, "0 to 1", "TM-score of the same positions, residue on residue, by their number."),
    "control_tm": Column(
        float,
        "0 to 1",
        "TM-score between best model and `design.control`, a structure that no sequence was designed for "
        "(TM-align of all chains, by the length of the shorter structure); empty without one.",
    ),
    "mean_plddt": Column(float, "0 to 100", "Mean pLDDT of the best model."),
    "ptm": Column(float, "0 to 1", "Predicted TM-score; empty if the engine predicts none."),
    "iptm": Column(float, "0 to 1", "Predicted interface TM-score; empty for one chain."),
    "recovery": Column(float, "0 to 1", "Share of designed positions with the native residue."),
    "score": Column(
        float, "", "The design engine's mean negative log-probability over the designed positions."
    ),
    "global_score": Column(float, "", "The same over all positions with a backbone; lower is better."),
    "identity": Column(
        float,
        "0 to 1",
        "Mean share of designed positions with the same residue as in another design of this backbone; empty "
        "for a single design.",
    ),
    "nearest_chain": Column(
        str, "", "Designed chain that has the nearest known sequence; the columns that follow are of it."
    ),
    "nearest": Column(str, "", "Name of the nearest sequence in `design.novelty`; empty without a hit."),
    "nearest_identity": Column(float, "0 to 1", "Share of identical residues in the alignment (MMseqs2)."),
    "nearest_coverage": Column(float, "0 to 1", "Share of the chain's residues in the alignment."),
    "nearest_evalue": Column(float, "", "E-value of the hit."),
    "engine": Column(str, "", "Engine that predicted the structure; empty without a structure."),
    "rehearsal": Column(bool, "", "Random parameters were used: the structure means nothing."),
    "length": Column(int, "residues", "Residues of all chains."),
    "chains": Column(str, "", "Chains of the backbone's file, separated by ':'."),
    "sequence": Column(str, "", "What was folded, chains separated by ':'."),
}
#: Of these the highest is the best; of other numbers the lowest, if there is a best.
HIGHER_IS_BETTER = frozenset({"passes", "sc_tm", "mean_plddt", "ptm", "iptm", "recovery"})
