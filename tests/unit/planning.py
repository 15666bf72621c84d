"""Plans for tests: a set with everything in it, names of results, and what a plan wrote."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from sequence_files import CRN, UBQ

from snakefold.config import load_config
from snakefold.kernel.store import Store
from snakefold.plan.draft import Draft
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.plan.records import Check

RECIPE, COMPLEX_RECIPE, MSA_RECIPE, PAIRED_RECIPE = (digit * 16 for digit in "0123")
RECIPES = Recipes(
    # Of targets that bring templates the last two.
    folds=[RECIPE, COMPLEX_RECIPE] * 2,
    msa=MSA_RECIPE,
    paired_msa=PAIRED_RECIPE,
    rehearsals=[True] * 4,
)
VIL = "MLSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"
SET = f">a first\n{UBQ}\n>b\n{CRN}\n>c\tagain\n{UBQ}\n>d\n{CRN}:{UBQ}\n>bad \x1b[1m\nMQ-\n>a\n{CRN}A\n"


def plan(
    sequences: Path | list[Path],
    folder: Path,
    store: Store | None = None,
    check: Check | None = None,
    **values: Any,
) -> Draft:
    paths = sequences if isinstance(sequences, list) else [sequences]
    config = load_config({"input": [str(path) for path in paths], **values})
    return make_plan(
        config,
        folder,
        name=lambda targets: RECIPES,
        store=store,
        check=check,
    )


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
