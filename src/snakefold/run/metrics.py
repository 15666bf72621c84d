"""metrics.tsv and metrics.parquet: a row for every structure of a run, and what its columns mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.engines.spec import Column
from snakefold.kernel import tables
from snakefold.kernel.contracts import Confidence
from snakefold.kernel.notes import MEANINGS, Code, note
from snakefold.kernel.parquet import write_rows
from snakefold.run.designs.columns import DESIGN_COLUMNS
from snakefold.run.engine_columns import engine_columns, undocumented
from snakefold.structures.scores.poses import Contact, Pose
from snakefold.structures.scores.target import Interface, ReferenceScores, TargetScores

#: Fewer rows than this are said to be few: AlphaFold's accuracy falls off below some 30 (Jumper et al. 2021).
SHALLOW_MSA = 30
#: A mean below the lowest of AlphaFold's bands is worth a word.
LOW_PLDDT = 50.0


#: Columns of metrics.tsv, in order: name → Column. Scores are those of the best model (rank 0).
METRICS_COLUMNS: dict[str, Column] = {
    "id": Column(str, "", "Name of the target, unique in the run and safe as a file name."),
    "key": Column(str, "", "sha256 of the sequences joined by ':'."),
    "state": Column(str, "", "done: a structure exists. Others are in failures.tsv."),
    "engine": Column(str, "", "Engine that predicted the structure."),
    "rehearsal": Column(bool, "", "Random parameters were used: the structure means nothing."),
    "length": Column(int, "residues", "Residues of all polymer chains."),
    "chains": Column(int, "", "Number of chains; each ligand is one."),
    "mean_plddt": Column(float, "0 to 100", "Mean pLDDT over residues; a ligand's component counts as one."),
    "fraction_very_high": Column(float, "0 to 1", "Share of residues with pLDDT of 90 or more."),
    "fraction_confident": Column(float, "0 to 1", "Share of residues with pLDDT from 70 to below 90."),
    "fraction_low": Column(float, "0 to 1", "Share of residues with pLDDT from 50 to below 70."),
    "fraction_very_low": Column(float, "0 to 1", "Share of residues with pLDDT below 50."),
    "ptm": Column(float, "0 to 1", "Predicted TM-score; empty if the model predicts none."),
    "iptm": Column(float, "0 to 1", "Predicted interface TM-score; empty for one chain."),
    "mean_pae": Column(float, "Å", "Mean predicted aligned error over all pairs of residues (tokens)."),
    "max_pae": Column(float, "Å", "Largest predicted aligned error."),
    "interface_pae": Column(float, "Å", "Mean PAE over pairs in different chains; empty for one chain."),
    "interface": Column(
        str,
        "",
        "Chain pair (A-B) with the highest ipSAE; its scores follow. Empty for one chain.",
    ),
    "interface_contacts": Column(int, "", "Residue pairs of this chain pair with CB atoms within 8 Å."),
    "interface_ipsae": Column(float, "0 to 1", "ipSAE of this chain pair (Dunbrack 2025; PAE below 10 Å)."),
    "interface_pdockq2": Column(float, "0 to 1", "pDockQ2 of this chain pair (Zhu et al. 2023)."),
    "model_tm": Column(
        float, "0 to 1", "Mean TM-score between the best model and the others; empty for one model."
    ),
    "msa_depth": Column(
        int, "rows", "Rows of the MSA, query included; in a complex, of the chain with the fewest rows."
    ),
    "neff": Column(float, "rows", "Effective rows of that MSA (80 % identity)."),
    "model": Column(str, "", "Name of the best model."),
    "recycles": Column(int, "", "Recycles of the best model."),
    "seconds": Column(float, "s", "Seconds spent on the target in this run; 0 if it came from the store."),
    "dollars": Column(float, "$", "The target's share of its batch's bill; empty without a bill."),
    "relaxed": Column(bool, "", "The best model was relaxed."),
    "stored": Column(bool, "", "Taken from the store: nothing was computed."),
    "reused": Column(bool, "", "Taken from your own collection (reuse): nothing was predicted."),
    "reference_tm_score": Column(
        float, "0 to 1", "TM-score against the reference, normalised by the reference's length."
    ),
    "reference_lddt": Column(float, "0 to 1", "lDDT of the CA atoms against the reference."),
    "reference_rmsd": Column(float, "Å", "CA RMSD over the residue pairs that TM-align aligned."),
    "pose_clashes": Column(
        int,
        "",
        "Pairs of heavy atoms, of a ligand and of a polymer, that are too near; of all ligands.",
    ),
    "pose_bonds_ok": Column(
        bool, "", "Bond lengths and angles of all ligands are within 25 % of RDKit's bounds (PoseBusters)."
    ),
    "pose_chirality_ok": Column(
        bool,
        "",
        "Stereocentres and double bonds of all ligands are as in the input; empty if there are none.",
    ),
    "warnings": Column(str, "", "Notes on the structure (see below), joined by '; '."),
}


@dataclass(frozen=True, slots=True)
class StructureRow:
    """Columns of metrics.tsv that mean the same for every engine, and which results of any release have."""

    id: str
    key: str = ""
    engine: str = ""
    rehearsal: bool = False
    warnings: str = ""


def columns_for(names: Iterable[str], results: Path) -> dict[str, Column]:
    """The columns of a run whose structures these engines made: those of every run, and the engines' own.

    `results` tell those of an engine that is not installed.
    """
    return {**METRICS_COLUMNS, **engine_columns(names, results, METRICS_COLUMNS)}


def scores_row(scores: TargetScores) -> dict[str, Any]:
    """The columns that scores.json tells."""
    best, found = scores.best_interface(), scores.reference
    others = [value for value in (scores.model_tm[0][1:] if scores.model_tm else []) if value is not None]
    return {
        "interface": f"{best.chain_a}-{best.chain_b}" if best else None,
        "interface_contacts": best.contacts if best else None,
        "interface_ipsae": best.ipsae if best else None,
        "interface_pdockq2": best.pdockq2 if best else None,
        **_poses_row([pose for pose in scores.poses if pose.rank == 0]),
        "model_tm": round(sum(others) / len(others), 4) if others else None,
        "reference_tm_score": found.tm if found else None,
        "reference_lddt": found.lddt if found else None,
        "reference_rmsd": found.rmsd if found else None,
    }


def _poses_row(found: Sequence[Pose]) -> dict[str, Any]:
    """The checks of all ligands of the best model; one that fails fails them all."""
    bonds = [pose.bonds_ok for pose in found if pose.bonds_ok is not None]
    chirality = [pose.chirality_ok for pose in found if pose.chirality_ok is not None]
    return {
        "pose_clashes": sum(pose.clashes for pose in found) if found else None,
        "pose_bonds_ok": all(bonds) if bonds else None,
        "pose_chirality_ok": all(chirality) if chirality else None,
    }


def warnings_of(confidence: Confidence, files: Mapping[str, bytes]) -> list[str]:
    """What a person should know about a target: `snakefold.kernel.notes`.

    Args:
        files: the target's own; msa.json, of whatever version, tells what the search warned of, and which
            databases were cut.
    """
    found = list(confidence.warnings)
    depth = confidence.msa_depth if engines.aligns(confidence.engine) else None
    if depth == 1:
        found.append(note(Code.SINGLE_SEQUENCE, "the MSA has no row but the query"))
    elif depth is not None and depth < SHALLOW_MSA:
        found.append(note(Code.SHALLOW_MSA, f"{depth} rows, fewer than {SHALLOW_MSA}"))
    for chain in json.loads(files.get("msa.json", b"[]")):
        found += chain.get("warnings", [])
        found += [
            note(Code.TRUNCATED_MSA, f"{item['name']}: {item['kept']} of {item['rows']} rows were kept")
            for item in chain.get("databases", [])
            if item["kept"] < item["rows"]
        ]
    means = [model.mean_plddt for model in confidence.models]
    if means and (mean := means[0]) < LOW_PLDDT and not confidence.rehearsal:
        found.append(note(Code.LOW_PLDDT, f"mean of {mean:.1f}, below {LOW_PLDDT:.0f}"))
    return list(dict.fromkeys(found))


def write_metrics(rows: Sequence[Mapping[str, Any]], tsv: Path, parquet: Path) -> None:
    """Write rows as metrics.tsv and, typed, as metrics.parquet; a column that a row lacks is empty.

    Args:
        tsv: in the folder of the results, which tell the columns of engines that are not installed.
    """
    columns = columns_for((str(row["engine"]) for row in rows), tsv.parent)
    columns |= undocumented(rows, columns)
    cells = ([row.get(name) for name in columns] for row in rows)
    tables.write(tsv, tables.lines(list(columns), cells, floats=".6g"))
    _write_parquet(columns, rows, parquet)


def read_structures(results: Path) -> list[StructureRow]:
    """Read what every step knows of metrics.tsv in a results folder.

    Raises:
        SnakefoldError, OSError: see `tables.rows`.
    """
    return tables.read(results / "metrics.tsv", StructureRow)


def read_metrics(results: Path) -> list[dict[str, Any]]:
    """Read metrics.tsv of a results folder: values of the types of `columns_for`, None where empty.

    Raises:
        SnakefoldError, OSError: see `tables.rows`.
    """
    columns = columns_for((row.engine for row in read_structures(results)), results)
    return tables.read_columns(
        results / "metrics.tsv", {name: column.type for name, column in columns.items()}
    )


_CONTACTS = (
    "# contacts.tsv",
    "",
    "In `structures/<id>/` of a target with ligands: residues of polymers with a heavy atom within 4.5 Å of",
    "one of a ligand's, the closest first. Columns:",
    f"{', '.join(f'`{each.name}`' for each in fields(Contact))}.",
    "`residue` is numbered from 1 in its chain; `distance` is of the closest pair of atoms, which follow,",
    "in Å.",
)
_MODELS = (
    "# ranked_<n>.cif",
    "",
    "mmCIF with the categories of ModelCIF (mmcif_ma.dic 1.4.9), valid by that dictionary; ranked_<n>.pdb",
    "is the same for older programs, where the PDB format holds it (62 chains, residue 9,999, 99,999 atoms).",
    "A store that is older has files with less in them, which are read as well.",
    "",
    "| category | what it has |",
    "|---|---|",
    "| `_entity`, `_entity_poly`, `_entity_poly_seq` | sequences of the target, X as UNK |",
    "| `_ma_qa_metric_global` | mean pLDDT, what ranks the models, pTM and ipTM if the engine gives them |",
    "| `_ma_qa_metric_local` | pLDDT of every residue that has atoms; it is in the B column, too |",
    "| `_ma_entry_associated_files` | pae.npz, and which of its arrays is this model's |",
    "| `_software`, `_ma_software_parameter` | names and versions; the engine's settings, "
    "the model's name, seed and recycles |",
    "| `_ma_protocol_step` | alignment with its tool and databases, prediction, relaxation, ranking |",
    "| `_pdbx_audit_revision_history` | 1971-01-01: without a date AlphaFold and ColabFold take no template; "
    "a fixed one keeps equal models equal |",
    "| `_struct.title`, `_ma_model_list.model_name` | REHEARSAL, where parameters were random |",
    "",
    "`snakefold export pae` writes the PAE as AlphaFold DB has it; with `output.pae_json` it lies beside the",
    'models as pae_<n>.json: `[{"predicted_aligned_error": [[…]], "max_predicted_aligned_error": 31.75}]` in',
    "whole Å, row = aligned on. ChimeraX: `alphafold pae #1 file pae_0.json`.",
    "",
    "`snakefold export summary` writes a few scores of each model under AlphaFold 3's names, as",
    "`<id>_summary_confidences_<n>.json`: ptm, iptm, chain_ids, chain_pair_pae_min, and ranking_score, "
    "has_clash and",
    "fraction_disordered of engines that give them. What an engine does not give is left out.",
)


def _columns_rows(columns: Mapping[str, Column]) -> list[str]:
    kinds = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    return [
        f"| `{name}` | {kinds[column.type]} | {column.unit} | {column.meaning} |"
        for name, column in columns.items()
    ]


def designs_table() -> list[str]:
    """What designs.tsv has, as lines of docs/results.md."""
    return [
        "# designs.tsv",
        "",
        "In the results of a run that designs sequences: one row per design, by backbone, temperature and",
        "number. `sc` is self-consistency: the predicted structure against the backbone that it was designed",
        "for. Chains are in the order of the backbone's file; a gap in its numbering is no residue.",
        "An empty cell means that the value does not exist. `snakefold designs results` prints it;",
        "designs/passed.fasta has the designs that pass.",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
        *_columns_rows(DESIGN_COLUMNS),
        "",
    ]


def columns_table() -> str:
    """docs/results.md, and the columns of the engines that are installed."""
    lines = [
        "# metrics.tsv and metrics.parquet",
        "",
        "`results/metrics.tsv` has one row per structure, in the order of the input. Scores are those of the",
        "best model; an empty cell means that the value does not exist. `results/metrics.parquet` has the",
        "same columns with types (string, bool, int64, float64; null for empty), meanings and units.",
        "scores.json (below) has all models and interfaces. An engine may add columns of its own.",
        "This file is made by `snakefold columns > docs/results.md`.",
        "",
        "| column | type | unit | meaning |",
        "|---|---|---|---|",
    ]
    lines += _columns_rows(METRICS_COLUMNS)
    for engine in map(engines.get, engines.names()):
        if engine.columns:
            lines += ["", f"{engine.title} (`engine: {engine.name}`) adds:", ""]
            lines += [
                "| column | type | unit | meaning |",
                "|---|---|---|---|",
                *_columns_rows(engine.columns),
            ]
    lines += [
        "",
        "## Notes",
        "",
        "`warnings` are texts `<code>: <detail>`. Codes of the first table: the target was computed with",
        "less than you requested, or not at the first attempt. If one model fails, the target fails: it",
        "never has fewer models than requested. Texts without a code come from a search, or name the",
        "origin of a structure that was not predicted.",
    ]
    for less in (True, False):
        lines += ["", "| code | meaning | what to do |", "|---|---|---|"]
        lines += [
            f"| `{code}` | {its.text} | {its.advice} |" for code, its in MEANINGS.items() if its.less == less
        ]
    lines += [
        "",
        *designs_table(),
        "# scores.json",
        "",
        "In `structures/<id>/`, computed when the target is collected. A score that cannot be computed is",
        "null, and `missing` says why.",
    ]
    for title, model in (
        ("", TargetScores),
        ("Each of `interfaces`:", Interface),
        ("Each of `poses`:", Pose),
        ("`reference`:", ReferenceScores),
    ):
        lines += ["", *([title, ""] if title else [])]
        lines += ["| field | meaning |", "|---|---|"]
        lines += [
            f"| `{name}` | {field.description} |"
            for name, field in model.model_fields.items()
            if field.description
        ]
    lines += ["", *_CONTACTS, "", *_MODELS]
    return "\n".join(lines) + "\n"


def _write_parquet(columns: Mapping[str, Column], rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    notes = {name: {"meaning": column.meaning, "unit": column.unit} for name, column in columns.items()}
    write_rows(path, rows, {name: column.type for name, column in columns.items()}, notes)
