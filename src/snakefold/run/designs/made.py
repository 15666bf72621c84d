"""The designs that the first stage of a run made, as the input of the second: sequences to fold.

The first stage has its results in `design/` below those of the run. A design is called as its backbone, with
temperature and number. It is folded with all protein chains of its file, in the file's order; a gap in the
numbering of a chain is no residue of what is folded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from snakefold.engines.designing import NUMBERS, Designs, Sample, folded, read_designs
from snakefold.kernel import tables
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.names import safe_id, unique_ids
from snakefold.plan.stages import SEQUENCES
from snakefold.run.designs.places import STAGE


@dataclass(frozen=True, slots=True)
class Design:
    """One designed sequence.

    Attributes:
        design: its id, and that of the target that is folded.
        backbone: id of the backbone (of the first stage's target).
        conserved: share of the positions that stayed as the most conserved ones.
        score, global_score: mean negative log-probability, lower is better; see `engines.designing`.
        recovery: share of designed positions with the native residue.
        chains: names of the folded chains, separated by ':'.
        sequence: what is folded, chains separated by ':'.
    """

    design: str
    backbone: str
    conserved: float
    temperature: float
    sample: int
    score: float
    global_score: float
    recovery: float
    chains: str
    sequence: str


def read_made(results: Path) -> list[Design]:
    """All designs of the first stage, by backbone, temperature and number.

    Raises:
        SnakefoldError: there is none, or one cannot be read.
    """
    folders = sorted(path.parent for path in (results / STAGE / "structures").glob(f"*/{NUMBERS}"))
    found = [design for folder in folders for design in _of_backbone(folder.name, read_designs(folder))]
    if not found:
        raise SnakefoldError(
            f"{results / STAGE}: no sequence was designed. See failures.tsv there for the reasons."
        )
    ids = unique_ids(each.design for each in found)
    return [replace(each, design=name) for each, name in zip(found, ids, strict=True)]


def write_sequences(results: Path) -> int:
    """Write the input of the second stage; how many sequences it has.

    The file stays as it is where nothing changed: its time is what Snakemake goes by.

    Raises:
        SnakefoldError: nothing was designed.
    """
    made = read_made(results)
    path = results / SEQUENCES
    text = "id,sequence\n" + "".join(f"{each.design},{each.sequence}\n" for each in made)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        tables.write(path, [text])
    return len(made)


def _of_backbone(backbone: str, designs: Designs) -> Iterator[Design]:
    for each in designs.samples:
        sequences = folded(designs, each.chains)
        yield Design(
            design=design_id(backbone, each),
            backbone=backbone,
            conserved=designs.conserved,
            temperature=each.temperature,
            sample=each.sample,
            score=each.score,
            global_score=each.global_score,
            recovery=each.recovery,
            chains=":".join(sequences),
            sequence=":".join(sequences.values()),
        )


def design_id(backbone: str, sample: Sample) -> str:
    """What a design is called."""
    return safe_id(f"{backbone[:80]}_t{sample.temperature:g}_{sample.sample}", "design")
