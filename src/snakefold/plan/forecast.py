"""What the second stage of a design run will take, before the first one has begun: no design is there yet.

Designs are as long as what is folded of their backbones, and an engine says how many it draws. Point mutants
of the native sequences stand for them: a price depends on lengths and on what an engine takes. Designs that
the store has are themselves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, islice
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.designing import NUMBERS, Designs, folded
from snakefold.kernel import archive
from snakefold.kernel.errors import ConfigError, InputError
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.wording import count
from snakefold.molecules.backbone_inputs import structure_bytes
from snakefold.molecules.backbones import read_backbone
from snakefold.molecules.designs import AMINO_ACIDS
from snakefold.molecules.target import Target
from snakefold.plan.draft import Draft
from snakefold.plan.executors import Executor
from snakefold.plan.quote.limits import check_limits
from snakefold.plan.quote.model import Quote

#: Folder of the second stage's plan and quote, below that of the first.
STRUCTURES = "structures"


def forecast(
    config: Config,
    draft: Draft,
    first: Quote,
    folder: Path,
    *,
    log: Callable[[str], None],
    executor: Executor | None,
    strict: bool = False,
) -> None:
    """Tell what both stages take, and hold it against the limits.

    Args:
        draft: plan of the first stage.
        first: its quote.
        folder: of its plan: the second's quote goes below it.
        strict: databases and parameters of the second stage must be here, as those of the first.

    Raises:
        BudgetError, DeadlineError, DiskError, ConfigError (the second stage folds no design),
        WeightsMissingError, DatabaseMissingError: nothing has been started or paid.
    """
    from snakefold.plan.preview import preview

    each = engines.get(config.design.engine).sequences(config.settings_of(config.design.engine))
    targets = draft.records.targets
    store = open_store(config.store)
    seen: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="snakefold-forecast-") as place:
        sheet = Path(place) / "designs.csv"
        with sheet.open("w", encoding="utf-8") as stream:
            stream.write("id,sequence\n")
            for index, target in enumerate(targets):
                known = _stored(draft, index, store)
                found: Iterable[str] = known or islice(
                    (one for one in _mutants(_folded(target)) if one not in seen), each
                )
                for number, sequence in enumerate(found):
                    seen.add(sequence)
                    stream.write(f"{target.id[:80]}_{number},{sequence}\n")
        design = config.design.model_copy(update={"stage": "structures"})
        then = config.model_copy(
            update={"input": [str(sheet)], "design": design, "budget": None, "deadline": None}
        )
        log(
            f"Then {count(each * len(targets), 'design')} are folded. What that takes, before they are there:"
        )
        try:
            second = preview(then, folder / STRUCTURES, log, executor, strict=strict)
        except InputError as error:
            told = error.refusals[0]
            raise ConfigError(
                f"{' or '.join(then.wanted_engines)} folds no design of these backbones. {told.message} "
                f"{told.advice}"
            ) from error
    both = second.model_copy(
        update={
            "dollars": first.dollars + second.dollars,
            "wall_hours": first.wall_hours + second.wall_hours,
        }
    )
    for warning in check_limits(both, config):
        log(f"warning: {warning}")


def _stored(draft: Draft, index: int, store: Store) -> list[str]:
    """Designs of a backbone that the store has, as they are folded; none if it has none."""
    records = draft.records
    recipe = draft.recipes.folds[int(records.groups[index])]
    if not draft.present.stored[index]:
        return []
    data = store.get(Entry("fold", recipe, records.keys[index]))
    content = archive.unpack(data).get(NUMBERS) if data is not None else None
    if content is None:
        return []
    designs = Designs.model_validate_json(content)
    return [":".join(folded(designs, sample.chains).values()) for sample in designs.samples]


def _folded(target: Target) -> list[str]:
    """What is folded of a backbone: its chains without gaps."""
    (_, path), *_ = target.files
    chains = read_backbone(structure_bytes(path))
    return [
        "".join(letter for letter, number in zip(chain.sequence, chain.numbers, strict=True) if number)
        for chain in chains
    ]


def _mutants(chains: Sequence[str]) -> Iterator[str]:
    """Different sequences of the same lengths, chains separated by ':': with one, two, … mutations."""
    native = ":".join(chains)
    places = [place for place, letter in enumerate(native) if letter != ":"]
    for mutations in range(1, len(places) + 1):
        for chosen in combinations(places, mutations):
            for letter in AMINO_ACIDS:
                mutant = list(native)
                for place in chosen:
                    mutant[place] = letter
                if all(native[place] != letter for place in chosen):
                    yield "".join(mutant)
