"""A results folder of thousands of targets: a run of some hundred, whose files stand for those of all.

`python -m tests.browser.make_many <folder> <targets> [distinct]` writes one to look at.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.browser.make_results import atom_line, heavy_atom_names, make_results

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def proteins(count: int, shortest: int, longest: int) -> str:
    """FASTA of random sequences, of lengths that are evenly spread."""
    random = np.random.default_rng(11)
    lengths = np.linspace(shortest, longest, count).round().astype(int)
    records = (
        f">d{number:04} random sequence of {length} residues OS=None\n"
        + "".join(random.choice(list(AMINO_ACIDS), length))
        for number, length in enumerate(lengths)
    )
    return "\n".join(records) + "\n"


def heavy_atoms(chains: list[str], plddt: NDArray[np.float64]) -> str:
    """Random walks with all heavy atoms, as PDB text: as many coordinates as a protein's, as hard to pack."""
    random = np.random.default_rng(len(plddt) * 1000 + round(float(plddt[0] * 10)))
    kinds = heavy_atom_names()
    lines, serial, residue = [], 0, 0
    for number, chain in enumerate(chains):
        place = random.normal(0, 1, 3)
        for index, letter in enumerate(chain):
            step = random.normal(0, 1, 3)
            place = place * 0.999 + 3.8 * step / np.linalg.norm(step)
            names = kinds[letter]
            for atom, where in zip(names, place + random.normal(0, 1.2, (len(names), 3)), strict=True):
                serial += 1
                point = np.clip(where, -900, 9000)
                lines.append(atom_line(serial, atom, (letter, number, index + 1), point, plddt[residue]))
            residue += 1
        lines.append("TER")
    return "\n".join([*lines, "END", ""])


def make_many(folder: Path, targets: int, distinct: int, shortest: int = 150, longest: int = 650) -> Path:
    """Write `folder/results` with `targets` targets of 5 models: `distinct` different ones under many names.

    Files of targets that are alike are hard links, so that the folder stays small.
    """
    results = make_results(
        folder, fasta=proteins(distinct, shortest, longest), models=5, draw=heavy_atoms, rehearsal=True
    )
    names = [f"t{number:05}" for number in range(targets)]
    sources = [f"d{number:04}" for number in range(distinct)]
    multiply(results, names, sources)
    for number, name in enumerate(names):
        place = results / "structures" / name
        place.mkdir()
        for path in os.scandir(results / "structures" / sources[number % distinct]):
            os.link(path.path, place / path.name)
    return results


def multiply(results: Path, names: list[str], sources: list[str]) -> None:
    """Let the tables of a run be of `names`, whose rows are those of `sources` in turn, with other scores."""
    random = np.random.default_rng(3)
    scatter = random.normal(0, 9, len(names))

    def vary(row: Mapping[str, str], number: int) -> dict[str, str]:
        """Plots of thousands of equal points would be drawn too easily."""
        plddt = float(np.clip(float(row["mean_plddt"]) + scatter[number], 20, 98))
        return {**row, "mean_plddt": f"{plddt:.3f}", "msa_depth": str(int(10 ** random.uniform(0.3, 4)))}

    turns = [sources[number % len(sources)] for number in range(len(names))]
    _multiply(results / "plan" / "targets.tsv", names, turns, lambda row, _: dict(row))
    _multiply(results / "metrics.tsv", names, turns, vary)
    _multiply(results / "bill.tsv", names, turns, lambda row, _: dict(row))
    _multiply(results / "failures.tsv", [], [], lambda row, _: dict(row))


def _multiply(
    path: Path, names: list[str], sources: list[str], vary: Callable[[Mapping[str, str], int], dict[str, str]]
) -> None:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, delimiter="\t")
        columns, rows = list(reader.fieldnames or []), list(reader)
    found = {row["id"]: row for row in rows}
    others = [row for row in rows if not row["id"]]  # of the bill: batches
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(others)
        writer.writerows(
            {**vary(found[source], number), "id": name}
            for number, (name, source) in enumerate(zip(names, sources, strict=True))
            if source in found
        )


if __name__ == "__main__":
    print(make_many(Path(sys.argv[1]), int(sys.argv[2]), int((*sys.argv[3:], 20)[0])))
