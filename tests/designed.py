"""Both stages of a design, written without an engine: helices, and sequences for them.

`python -m tests.designed <folder> <designs> <backbones>` writes a finished run to look at.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from snakefold.config import DesignSettings
from snakefold.engines.designing import Designs, Native, Sample
from snakefold.molecules.backbones import read_backbone
from snakefold.run.designs.compare import compare_batch
from snakefold.run.designs.listed import write_list
from snakefold.run.designs.made import write_sequences
from snakefold.run.designs.places import COMPARED, LIST, STAGE
from snakefold.run.designs.table import write_designs
from tests.backbones import helix
from tests.browser.make_results import helices, make_results

#: A has positions 1 to 22, of which 11 and 12 are a gap; B is not designed.
A, B = "ACDEFGHIKLMNPQRSTVWY", "GHIKLMNPQRST"
NUMBERS = [str(number) for number in (*range(1, 11), *range(13, 23))]
#: Positions of A that keep their residue.
MOTIF = [3, 4, 5, 6]
PDB = helix(A, "A", numbers=NUMBERS) + helix(B, "B", origin=(12, 0, 0))
_LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def write_backbone(
    results: Path,
    name: str,
    samples: Sequence[str],
    *,
    pdb: str = PDB,
    fixed: Mapping[str, list[int]] | None = None,
) -> None:
    """The first stage's folder of a backbone: `samples` are sequences of chain A, X in gaps."""
    chains = {chain.name: chain for chain in read_backbone(pdb.encode())}
    native = chains["A"].sequence
    folder = results / STAGE / "structures" / name
    folder.mkdir(parents=True)
    (folder / "backbone.pdb").write_text(pdb)
    designs = Designs(
        settings={},
        designed_chains=["A"],
        fixed_chains=[other for other in chains if other != "A"],
        fixed_positions={"A": MOTIF} if fixed is None else dict(fixed),
        sequences={each: chain.sequence for each, chain in chains.items()},
        numbering={each: list(chain.numbers) for each, chain in chains.items()},
        native=Native(header="native", sequence=native, chains={"A": native}, score=2.0, global_score=2.1),
        samples=[
            Sample(
                header=f"T=0.1, sample={number}",
                sequence=letters,
                chains={"A": letters},
                score=round(1 + number / 100, 4),
                global_score=1.5,
                sample=number,
                temperature=0.1,
                seed=0,
                recovery=round(np.mean([a == b for a, b in zip(letters, native, strict=True)]), 4),
            )
            for number, letters in enumerate(samples, 1)
        ],
    )
    (folder / "designs.json").write_text(designs.model_dump_json())


def drawn(
    count: int, seed: int = 1, native: str = A[:10] + "XX" + A[10:], motif: Iterable[int] = MOTIF
) -> list[str]:
    """Sequences with random letters but in gaps and at the motif."""
    random, fixed = np.random.default_rng(seed), {place - 1 for place in motif}
    found = []
    for _ in range(count):
        letters = random.choice(_LETTERS, len(native))
        text = [
            a if at in fixed or a == "X" else b for at, (a, b) in enumerate(zip(native, letters, strict=True))
        ]
        found.append("".join(text))
    return found


def make_designs(folder: Path, designs: int = 6, backbones: int = 2) -> Path:
    """A finished run of both stages in `folder/results`, without its report; some structures are bent."""
    results, each = folder / "results", -(-designs // backbones)
    for number in range(backbones):
        write_backbone(results, f"helix{number + 1}", drawn(min(each, designs - number * each), seed=number))
    write_sequences(results)
    records = (results / "designs" / "sequences.csv").read_text().split()[1:]
    fasta = "".join(">{}\n{}\n".format(*line.split(",")) for line in records)
    make_results(folder, fasta=fasta, models=1, draw=_draw, rehearsal=False)
    write_list(results)
    tables = sorted((results / "tables").glob("*.parquet"))
    for table in tables:
        compare_batch(table, results / LIST, results, results / COMPARED / table.name, print)
    settings = DesignSettings(engine="proteinmpnn", stage="structures", min_plddt=60)
    config = yaml.safe_load((results / "config.yaml").read_text())
    (results / "config.yaml").write_text(yaml.safe_dump({**config, "design": settings.model_dump()}))
    write_designs(results, settings, [results / COMPARED / table.name for table in tables])
    return results


def _draw(chains: list[str], plddt: NDArray[np.float64]) -> str:
    """The helices, the second farther away in a third of them."""
    text = helices(chains, plddt)
    if sum(map(ord, chains[0])) % 3:
        return text
    lines = text.splitlines()
    return (
        "\n".join(
            f"{line[:30]}{float(line[30:38]) + 9:8.3f}{line[38:]}" if line[21:22] == "B" else line
            for line in lines
        )
        + "\n"
    )


if __name__ == "__main__":
    from snakefold.report import build

    print(build(make_designs(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
