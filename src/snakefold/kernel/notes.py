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
    LIMITED_MSA = "limited_msa"
    SINGLE_SEQUENCE = "single_sequence"
    UNPAIRED_MSA = "unpaired_msa"
    NO_TEMPLATES = "no_templates"
    DROPPED_TEMPLATE = "dropped_template"
    RELAX_FAILED = "relax_failed"
    RELAX_ON_CPU = "relax_on_cpu"
    PREDICTED_ON_CPU = "predicted_on_cpu"
    RETRIED = "retried"
    UNKNOWN_RESIDUES = "unknown_residues"
    SHALLOW_MSA = "shallow_msa"
    LOW_PLDDT = "low_plddt"
    NOT_STORED = "not_stored"


@dataclass(frozen=True)
class Meaning:
    """Of a code; `less`: the target was computed with less than was asked, or not at the first attempt."""

    text: str
    advice: str
    less: bool = True


MEANINGS: dict[Code, Meaning] = {
    Code.TRUNCATED_MSA: Meaning(
        "A database had more rows than are kept of it; the first ones were kept, as AlphaFold does.",
        "The limits are AlphaFold's; a preset of your own may have others (docs/databases.md).",
    ),
    Code.LIMITED_MSA: Meaning(
        "The MSA has more rows than the network reads; each pass draws some of them by chance.",
        "Raise or clear alphafold2.max_msa_clusters and max_extra_msa where they are set (a rehearsal has "
        "its own); 512 and 5,120 rows, for complexes 508 and 2,048, are AlphaFold's limits.",
    ),
    Code.SINGLE_SEQUENCE: Meaning(
        "The network had the sequence alone: no other like it was found.",
        "Search more databases (msa.db_preset), or bring an A3M. An orphan or a designed protein has none.",
    ),
    Code.UNPAIRED_MSA: Meaning(
        "Chains of a complex have no rows to be paired by species: their contacts are guessed without.",
        "Search a preset with a database for pairing (uniprot), or bring a paired A3M.",
    ),
    Code.NO_TEMPLATES: Meaning(
        "Templates were asked for, and a chain has none.",
        "None was found before msa.max_template_date; for an A3M of your own none is searched.",
    ),
    Code.DROPPED_TEMPLATE: Meaning(
        "A template was found and could not be used.",
        "Bring the mmCIF files up to date with the database that is searched (snakefold db fetch).",
    ),
    Code.RELAX_FAILED: Meaning(
        "The model is as the network gave it: relaxation failed.",
        "See the detail; relax.models_to_relax: none goes without. The fold itself is the same.",
    ),
    Code.RELAX_ON_CPU: Meaning(
        "Relaxed on the CPU though a GPU predicted: OpenMM found none through CUDA.",
        "The result is sound, but took longer: install OpenMM for the machine's CUDA version.",
    ),
    Code.PREDICTED_ON_CPU: Meaning(
        "Predicted on a CPU though a GPU was planned.",
        "The result is sound, but took longer. Look whether the worker sees its GPU, or fell back to here.",
    ),
    Code.RETRIED: Meaning(
        "Earlier processes died while they worked on the target.",
        "Most often memory ran out: give the job more (predict.mem_mb), or a larger GPU class.",
    ),
    Code.UNKNOWN_RESIDUES: Meaning(
        "Residues X have no atoms in the model, as AlphaFold leaves them out.",
        "Give the residues, if they are known.",
        less=False,
    ),
    Code.SHALLOW_MSA: Meaning(
        "So few rows seldom make a good model.",
        "Search more databases (msa.db_preset), and look at pLDDT and PAE with care.",
        less=False,
    ),
    Code.LOW_PLDDT: Meaning(
        "The model is not confident of most residues.",
        "It may be disordered, or its MSA too shallow; the coordinates mean little.",
        less=False,
    ),
    Code.NOT_STORED: Meaning(
        "The result is here and not in the store, which took nothing when it was computed.",
        "Run again once the store is back: the result is put there, and nothing is computed.",
        less=False,
    ),
}


def note(code: Code, detail: str) -> str:
    """The text of a note, on one line."""
    return f"{code}: {' '.join(detail.split())}"
