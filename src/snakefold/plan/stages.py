"""The stages of a run: one, or two in a run that designs sequences, folds them and compares.

Each has a plan, a bill and a report of its own, and settings that its steps read. Snakemake runs all of
them as one workflow: a stage is a folder of results, below those of the run, in the wildcard `stage`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from snakefold.config import Config, inputs_of
from snakefold.kernel import recipes
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.contents import Digests, contents_of, name_of
from snakefold.plan.lock import held_since

#: Results of the stage that designs sequences, below those of the run that folds them.
FIRST_STAGE = "design"
#: What the second stage folds, below the results: the first one makes it.
SEQUENCES = "designs/sequences.csv"
#: Environment variable in which the workflow asks `snakefold run` to fold designs, though some are missing.
FOLD_THE_REST = "SNAKEFOLD_FOLD_THE_REST"


def stages_of(config: Config) -> dict[str, Config]:
    """Settings of each stage by its folder below the results, in order: `design/`, and empty for the last.

    A run that designs nothing, and one that was asked for a single stage (`design.stage`), has only the last.
    """
    if not config.designs or config.design.stage:
        return {"": config}
    results = config.results.rstrip("/")
    first = {"results": f"{results}/{FIRST_STAGE}", "publish": None}
    second = {"input": [f"{results}/{SEQUENCES}"]}
    return {
        f"{FIRST_STAGE}/": _of_stage(config, "sequences", first),
        "": _of_stage(config, "structures", second),
    }


def _of_stage(config: Config, stage: str, changes: Mapping[str, object]) -> Config:
    design = config.design.model_copy(update={"stage": stage})
    return config.model_copy(update={**changes, "design": design})


@dataclass(frozen=True)
class Stage:
    """Settings of a stage, and what it depends on (`plan.contents`)."""

    config: Config
    contents: dict[str, str]


def depend(stages: Mapping[str, Config]) -> tuple[dict[str, Stage], str]:
    """What each stage depends on, and one name for it all, which plans and settings of all stages have.

    What a stage makes for the next one is not there yet: it counts by what the earlier stage depends on.

    Raises:
        ConfigError: there is no such database preset.
    """
    found: dict[str, Stage] = {}
    before: dict[str, str] = {}
    for name, config in stages.items():
        contents = contents_of(config, made=bool(before))
        if before:
            contents["design"] = name_of(before)
        found[name] = Stage(config, contents)
        before = contents
    return found, name_of(before)


def planned_for(config: Config) -> str:
    """Digest of an input that the run itself makes, and a plan of the second stage is for; else empty."""
    made = config.design.stage == "structures"
    return recipes.digest({"input": [Digests().of(path) for path in inputs_of(config)]}) if made else ""


def with_what_is_left(config: Config) -> Config:
    """Settings of the second stage with the budget and the deadline that the first one has left it.

    Raises:
        SnakefoldError: nothing is left.
    """
    if config.design.stage != "structures":
        return config
    results, changes = Path(config.results), dict[str, float]()
    where = f"The designs are in {results / SEQUENCES}"
    if config.budget is not None:
        changes["budget"] = config.budget - _billed(results / FIRST_STAGE)
        if changes["budget"] <= 0:
            raise SnakefoldError(
                f"budget: the first stage has used all of ${config.budget:.2f}. {where}; raise the budget "
                "and run again to fold them."
            )
    if config.deadline is not None:
        changes["deadline"] = config.deadline - held_since(results) / 3600
        if changes["deadline"] <= 0:
            raise SnakefoldError(
                f"deadline: the first stage took all of {config.deadline:g} hours. {where}; raise the "
                "deadline and run again to fold them."
            )
    return config.model_copy(update=changes)


def _billed(results: Path) -> float:
    """Dollars that a stage has cost; 0 if nobody could say."""
    try:
        return float(json.loads((results / "bill.json").read_text(encoding="utf-8"))["dollars"]["billed"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
