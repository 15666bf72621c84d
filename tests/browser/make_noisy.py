"""A target as hard to compress as a real one: 400 residues of all kinds, five models, rough PAE and pLDDT.

`python -m tests.browser.make_noisy <folder>` writes one to look at. Bonds point in random directions, which
no real chain does; the PAE has noise of every scale and is harder to compress than that of a real prediction:
5.3 bits a value by zlib, where one of 372 residues (AURKA with TPX2, mean PAE 5.3 Å as here) takes 4.9.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.contracts import Confidence, ModelScores
from snakefold.structures import files as structures
from snakefold.structures.confidence import pae_archive
from tests.browser.make_results import atom_line, heavy_atom_names

LENGTH, MODELS = 400, 5
LETTERS = "ARNDCQEGHILKMFPSTWYV"


def rough_pae(length: int, random: np.random.Generator) -> NDArray[np.float64]:
    """PAE in Å of two domains, [length, length]: rows and columns of their own, waves, and grain."""
    domain = np.arange(length) * 6 // (5 * length)
    apart = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
    base = 1 + 0.12 * np.sqrt(apart) + 10.0 * (domain[:, None] != domain)
    rows = np.exp(0.3 * _smooth(random.normal(size=length)))
    columns = np.exp(0.06 * random.normal(size=length))
    waves = np.exp(0.1 * _smooth(random.normal(size=(length, length))))
    grain = 1 + 0.04 * random.normal(size=(length, length))
    return np.clip(base * rows[:, None] * columns * waves * grain, 0.25, 31.75)


def _smooth(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    for axis in range(noise.ndim):
        noise = np.sum([np.roll(noise, shift, axis) for shift in range(-2, 3)], axis=0) / np.sqrt(5)
    return noise


def rough_pdb(sequence: str, plddt: NDArray[np.float64], random: np.random.Generator) -> str:
    """All heavy atoms of a chain that fills a ball, as PDB text; bonds of 1.5 Å point anywhere."""
    kinds = heavy_atom_names()
    lines, serial, end = [], 0, np.zeros(3)
    for place, letter in enumerate(sequence):
        points: list[NDArray[np.float64]] = []
        for number, atom in enumerate(kinds[letter]):
            before = (
                end if number == 0 else points[max(0, number - 1 - int(number > 3 and random.random() < 0.3))]
            )
            step = random.normal(size=3) - (0.02 * before if number < 3 else 0)
            points.append(before + 1.5 * step / np.linalg.norm(step))
            serial += 1
            lines.append(atom_line(serial, atom, (letter, 0, place + 1), points[-1], plddt[place]))
        end = points[2]
    return "\n".join([*lines, "TER", "END", ""])


def alignment(query: str, rows: int, random: np.random.Generator) -> str:
    """An A3M of rows with gaps of their own."""
    letters = np.array(list(query))
    lines = [f">query\n{query}"]
    for row in range(rows):
        text = np.where(random.random(len(query)) < 0.6, random.choice(list(LETTERS), len(query)), letters)
        for start in random.integers(0, len(query), 4):
            text[start : start + random.integers(1, 40)] = "-"
        lines.append(f">row{row}\n{''.join(text)}")
    return "\n".join([*lines, ""])


def make_noisy(folder: Path) -> Path:
    """Write the folder of such a target, and return it."""
    random = np.random.default_rng(3)
    sequence = "".join(random.choice(list(LETTERS), LENGTH))
    folder.mkdir(parents=True)
    models, matrices = [], []
    for rank in range(MODELS):
        plddt = np.clip(random.normal(80, 15, LENGTH), 20, 98.9).round(2)
        pdb = rough_pdb(sequence, plddt, random)
        (folder / f"ranked_{rank}.pdb").write_text(pdb)
        cif = structures.read(pdb).make_mmcif_document().as_string()
        (folder / f"ranked_{rank}.cif").write_text(cif)
        matrices.append(rough_pae(LENGTH, random))
        models.append(
            ModelScores(
                name=f"model_{rank + 1}_ptm_pred_0",
                plddt=plddt.tolist(),
                mean_plddt=float(plddt.mean().round(3)),
                ptm=0.8123,
                ranking_confidence=float(plddt.mean().round(6)),
                max_pae=31.75,
                recycles=3,
            )
        )
    scores = Confidence(
        key="0" * 64, engine="alphafold2", rehearsal=True, chain_lengths=[LENGTH], models=models
    )
    (folder / "confidence.json").write_text(scores.model_dump_json())
    (folder / "pae.npz").write_bytes(pae_archive(matrices))
    (folder / "msa.a3m").write_text(alignment(sequence, 2000, random))
    (folder / "timings.json").write_text(json.dumps({"features": 3.21, "predict": 81.2, "relax": 40.12}))
    return folder


def stored_bytes(folder: Path) -> NDArray[np.uint8]:
    """The 8-bit PAE of the best model."""
    with np.load(io.BytesIO((folder / "pae.npz").read_bytes())) as arrays:
        return np.asarray(arrays["rank_0"])


if __name__ == "__main__":
    print(make_noisy(Path(sys.argv[1])))
