"""`results/multiqc/`: a run's figures as MultiQC's custom content (https://docs.seqera.io/multiqc/custom_content).

MultiQC finds the files by their names (`*_mqc.json`) wherever it searches.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import rehearsal_text
from snakefold.run.failures import FailureRow, read_failures
from snakefold.run.metrics import METRICS_COLUMNS, read_metrics
from snakefold.structures.confidence import PLDDT_BANDS

#: Column → title, greatest value (None: MultiQC takes the data's), decimals, shown at first.
_GENERAL: dict[str, tuple[str, float | None, int, bool]] = {
    "length": ("Length", None, 0, True),
    "mean_plddt": ("pLDDT", 100, 1, True),
    "ptm": ("pTM", 1, 2, True),
    "iptm": ("ipTM", 1, 2, True),
    "interface_ipsae": ("ipSAE", 1, 2, True),
    "interface_pdockq2": ("pDockQ2", 1, 2, False),
    "mean_pae": ("PAE", 31.75, 1, False),
    "model_tm": ("TM of models", 1, 2, False),
    "msa_depth": ("MSA rows", None, 0, True),
    "neff": ("Neff", None, 1, False),
    "reference_tm_score": ("TM to reference", 1, 2, True),
    "reference_lddt": ("lDDT", 1, 2, True),
    "seconds": ("Seconds", None, 0, False),
    "dollars": ("Dollars", None, 3, False),
}
#: AlphaFold DB's colours of the bands.
_COLOURS = {"very_high": "#0053d6", "confident": "#65cbf3", "low": "#ffdb13", "very_low": "#ff7d45"}
_PARENT = {"parent_id": "snakefold", "parent_name": "snakefold"}


def write_multiqc(results: Path) -> None:
    """Write the files of a run; a section without data has none.

    Raises:
        OSError: metrics.tsv or failures.tsv is missing.
    """
    rows, failures = read_metrics(results), read_failures(results)
    mark = rehearsal_text(sum(bool(row["rehearsal"]) for row in rows), len(rows))
    rehearsal = f"{mark}. " if mark else ""
    sections = {
        "general": _general(rows, rehearsal),
        "plddt": _bands(rows, rehearsal),
        "failures": _failures(failures, rehearsal),
    }
    for name, section in sections.items():
        path = results / "multiqc" / f"snakefold_{name}_mqc.json"
        if section["data"]:
            write_atomically(path, (json.dumps(section, indent=1) + "\n").encode())
        else:
            path.unlink(missing_ok=True)


def _general(rows: Sequence[Mapping[str, Any]], rehearsal: str) -> dict[str, Any]:
    """Columns that some target has, in MultiQC's table of all tools."""
    shown = {name: look for name, look in _GENERAL.items() if any(row[name] is not None for row in rows)}
    headers = {
        name: {
            "title": title,
            "namespace": "snakefold",
            "description": html.escape(rehearsal + METRICS_COLUMNS[name].meaning),
            "min": 0,
            **({} if most is None else {"max": most}),
            "format": f"{{:,.{decimals}f}}",
            "hidden": not visible,
        }
        for name, (title, most, decimals, visible) in shown.items()
    }
    data = {row["id"]: {name: float(row[name]) for name in shown if row[name] is not None} for row in rows}
    # MultiQC takes the headers of this type as a list.
    return {
        "id": "snakefold_general",
        "plot_type": "generalstats",
        "pconfig": [{name: header} for name, header in headers.items()],
        "data": data,
    }


def _bands(rows: Sequence[Mapping[str, Any]], rehearsal: str) -> dict[str, Any]:
    data = {
        row["id"]: {band: round(100 * row[f"fraction_{band}"], 2) for band in PLDDT_BANDS}
        for row in rows
        if row["mean_plddt"] is not None
    }
    return {
        "id": "snakefold_plddt",
        **_PARENT,
        "section_name": "REHEARSAL: pLDDT" if rehearsal else "pLDDT",
        "description": html.escape(
            f"{rehearsal}Share of residues in AlphaFold's bands of pLDDT, best model of every target."
        ),
        "plot_type": "bargraph",
        "pconfig": {
            "id": "snakefold_plddt_plot",
            "title": "snakefold: pLDDT",
            "ylab": "% of residues",
            "cpswitch": False,
        },
        "categories": {
            band: {"name": band.replace("_", " "), "color": colour} for band, colour in _COLOURS.items()
        },
        "data": data,
    }


def _failures(rows: Iterable[FailureRow], rehearsal: str) -> dict[str, Any]:
    """Text comes from the input: MultiQC would show it as HTML."""
    data = {
        row.id: {
            name: html.escape(getattr(row, name)[:300]) for name in ("state", "reason", "message", "advice")
        }
        for row in rows
    }
    return {
        "id": "snakefold_failures",
        **_PARENT,
        "section_name": "Targets without a structure",
        "description": html.escape(f"{rehearsal}What failed and what was refused, and what to do."),
        "plot_type": "table",
        "pconfig": {"id": "snakefold_failures_table", "title": "snakefold: failures", "no_violin": True},
        "headers": {
            name: {"title": name.capitalize(), "scale": False}
            for name in ("state", "reason", "message", "advice")
        },
        "data": data,
    }
