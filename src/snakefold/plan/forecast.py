"""What the second stage of a design run will take, before the first one has begun: no design is there yet.

Designs are as long as what is folded of their backbones, and an engine says how many it draws. Point mutants
of the native sequences stand for them: a price depends on lengths and on what an engine takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, islice
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.kernel.wording import count
from snakefold.molecules.backbone_inputs import structure_bytes
from snakefold.molecules.backbones import read_backbone
from snakefold.molecules.designs import AMINO_ACIDS
from snakefold.molecules.target import Target
from snakefold.plan.executors import Executor
from snakefold.plan.quote.limits import check_limits
from snakefold.plan.quote.model import Quote


def forecast(
    config: Config,
    targets: Sequence[Target],
    first: Quote,
    folder: Path,
    *,
    log: Callable[[str], None],
    executor: Executor | None,
) -> None:
    """Tell what both stages take, and hold it against the limits.

    Args:
        targets: backbones of the first stage.
        first: its quote.
        folder: of its plan: the second's quote goes below it.

    Raises:
        BudgetError, DeadlineError, DiskError: nothing has been started or paid.
    """
    from snakefold.plan.preview import preview

    each = engines.get(config.design.engine).sequences(config.settings_of(config.design.engine))
    with tempfile.TemporaryDirectory(prefix="snakefold-forecast-") as place:
        sheet = Path(place) / "designs.csv"
        with sheet.open("w", encoding="utf-8") as stream:
            stream.write("id,sequence\n")
            for target in targets:
                for number, sequence in enumerate(islice(_mutants(_folded(target)), each)):
                    stream.write(f"{target.id[:80]}_{number},{sequence}\n")
        design = config.design.model_copy(update={"stage": "structures"})
        then = config.model_copy(
            update={"input": [str(sheet)], "design": design, "budget": None, "deadline": None}
        )
        log(
            f"Then {count(each * len(targets), 'design')} are folded. What that takes, before they are there:"
        )
        second = preview(then, folder / "structures", log, executor)
    both = second.model_copy(
        update={
            "dollars": first.dollars + second.dollars,
            "wall_hours": first.wall_hours + second.wall_hours,
        }
    )
    for warning in check_limits(both, config):
        log(f"warning: {warning}")


def _folded(target: Target) -> list[str]:
    """What is folded of a backbone: its chains without gaps."""
    (_, path), *_ = target.files
    chains = read_backbone(structure_bytes(path))
    return [
        "".join(letter for letter, number in zip(chain.sequence, chain.numbers, strict=True) if number)
        for chain in chains
    ]


def _mutants(chains: Sequence[str]) -> Iterator[str]:
    """Different sequences of the same lengths, chains separated by ':': with no, one, two, … mutations."""
    native = ":".join(chains)
    places = [place for place, letter in enumerate(native) if letter != ":"]
    yield native
    for mutations in range(1, len(places) + 1):
        for chosen in combinations(places, mutations):
            for letter in AMINO_ACIDS:
                mutant = list(native)
                for place in chosen:
                    mutant[place] = letter
                if all(native[place] != letter for place in chosen):
                    yield "".join(mutant)
