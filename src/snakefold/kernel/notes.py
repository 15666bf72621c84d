"""Notes on a result: what a person should know of it, each a text `<code>: <detail>`.

They are taken where they arise and travel as texts (`confidence.json`, `msa.json`, `metrics.tsv`); this table
says what their codes mean. A text without a known code is a note all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What a note is about."""

    TRUNCATED_MSA = "truncated_msa"
    LIMITED_SEARCH = "limited_search"
    LIMITED_MSA = "limited_msa"
    SINGLE_SEQUENCE = "single_sequence"
    UNPAIRED_MSA = "unpaired_msa"
    NO_TEMPLATES = "no_templates"
    DROPPED_TEMPLATE = "dropped_template"
    RELAX_FAILED = "relax_failed"
    RELAX_ON_CPU = "relax_on_cpu"
    PREDICTED_ON_CPU = "predicted_on_cpu"
    WITHOUT_KERNELS = "without_kernels"
    RETRIED = "retried"
    UNKNOWN_RESIDUES = "unknown_residues"
    SHALLOW_MSA = "shallow_msa"
    LOW_PLDDT = "low_plddt"
    NO_PAE = "no_pae"
    NOT_STORED = "not_stored"
    LARGE_LIGAND = "large_ligand"
    SEVERAL_MOLECULES = "several_molecules"
    UNDEFINED_STEREO = "undefined_stereo"
    SAME_MOLECULE = "same_molecule"


@dataclass(frozen=True)
class Meaning:
    """Of a code; `less`: the target was computed with less than was asked, or not at the first attempt."""

    text: str
    advice: str
    less: bool = True


MEANINGS: dict[Code, Meaning] = {
    Code.TRUNCATED_MSA: Meaning(
        "The search found more rows than the database's limit; the first rows were kept, as in AlphaFold.",
        "The limits are AlphaFold's. A preset of your own may have others (docs/databases.md).",
    ),
    Code.LIMITED_SEARCH: Meaning(
        "The prefilter of MMseqs2 passed on as many candidates as it may, with homologs among the weakest of "
        "them: there are probably more homologs, which were not aligned.",
        "Raise msa.mmseqs.max_seqs. The search takes longer; alignments with another limit are new ones in "
        "the store.",
    ),
    Code.LIMITED_MSA: Meaning(
        "The MSA has more rows than the network reads; each pass samples rows at random.",
        "If alphafold2.max_msa_clusters or max_extra_msa is set, raise or clear it (a rehearsal has its own "
        "settings). AlphaFold's limits are 512 and 5,120 rows, for complexes 508 and 2,048.",
    ),
    Code.SINGLE_SEQUENCE: Meaning(
        "The network had a single sequence: no homolog was found.",
        "Search more databases (msa.db_preset), or bring an A3M. Orphan and designed proteins have no "
        "homologs.",
    ),
    Code.UNPAIRED_MSA: Meaning(
        "No rows could be paired by species between the chains: contacts are predicted without pairing.",
        "Use a preset with a database for pairing (uniprot), or bring a paired A3M.",
    ),
    Code.NO_TEMPLATES: Meaning(
        "Templates were requested, but a chain has none.",
        "No template was found before msa.max_template_date. For an A3M of your own none is searched.",
    ),
    Code.DROPPED_TEMPLATE: Meaning(
        "A template was found but could not be used.",
        "Update the mmCIF files to the release of the template database (snakefold db fetch).",
    ),
    Code.RELAX_FAILED: Meaning(
        "Relaxation failed: the model is unrelaxed.",
        "See the detail. relax.models_to_relax: none skips relaxation. The fold itself is the same.",
    ),
    Code.RELAX_ON_CPU: Meaning(
        "Relaxed on the CPU although a GPU predicted: OpenMM found no GPU through CUDA.",
        "The result is valid but took longer. Install OpenMM for the machine's CUDA version.",
    ),
    Code.PREDICTED_ON_CPU: Meaning(
        "Predicted on a CPU although a GPU was planned.",
        "The result is valid but took longer. Check whether the worker sees its GPU, or whether the job ran "
        "on this machine.",
    ),
    Code.WITHOUT_KERNELS: Meaning(
        "Predicted without the fused kernels that were planned: that takes about twice as long. The result "
        "is not kept in the store, where its name would promise them.",
        "Check which GPU the worker sees, and what your table of GPU classes says of it "
        "(compute_capability). With kernels: stock, results are kept.",
    ),
    Code.RETRIED: Meaning(
        "Earlier processes died while they computed this target.",
        "Usually memory ran out: raise predict.mem_mb, or use a larger GPU class.",
    ),
    Code.UNKNOWN_RESIDUES: Meaning(
        "Residues X have no atoms in the model, as in AlphaFold.",
        "Replace X by the residues, if they are known.",
        less=False,
    ),
    Code.SHALLOW_MSA: Meaning(
        "The MSA is shallow: models from so few rows are rarely good.",
        "Search more databases (msa.db_preset), and check pLDDT and PAE.",
        less=False,
    ),
    Code.LOW_PLDDT: Meaning(
        "Most residues have low confidence.",
        "The protein may be disordered, or its MSA too shallow. Do not interpret the coordinates.",
        less=False,
    ),
    Code.NO_PAE: Meaning(
        "The parameters have no pTM head: their models have no PAE and no pTM.",
        "Predict with parameters that have one: alphafold2.model_preset monomer_ptm; of OpenFold's files, "
        "those with ptm in their name.",
        less=False,
    ),
    Code.NOT_STORED: Meaning(
        "The result is in the results folder but not in the store: the store was unavailable.",
        "Run again when the store is available: the result is copied there, nothing is computed.",
        less=False,
    ),
    Code.LARGE_LIGAND: Meaning(
        "The ligand is larger than those that the network of affinities was trained with.",
        "Do not compare its affinity with those of smaller ligands.",
        less=False,
    ),
    Code.SEVERAL_MOLECULES: Meaning(
        "A ligand has several molecules: a salt with its counter-ion, or components that no bond joins.",
        "Remove the counter-ion from the SMILES, add the bonds, or give each molecule an entry of its own.",
        less=False,
    ),
    Code.UNDEFINED_STEREO: Meaning(
        "A SMILES leaves stereocentres or double bonds open: one of the isomers is predicted, which nobody "
        "chose.",
        "Give the isomer (@, /), or each isomer as a target.",
        less=False,
    ),
    Code.SAME_MOLECULE: Meaning(
        "Two targets have the same molecules, whose SMILES are written differently. Both are predicted: "
        "results depend on the order of the atoms.",
        "Leave one out.",
        less=False,
    ),
}


def note(code: Code, detail: str) -> str:
    """The text of a note, on one line."""
    return f"{code}: {' '.join(detail.split())}"
