"""A target that fails for real when its batch is predicted: the store says that processes died on it."""

from __future__ import annotations

import json
from pathlib import Path

from snakefold.kernel.store import Entry, open_store
from snakefold.plan.files import read_batch, read_rows


def gave_up(results: Path, name: str) -> None:
    """Leave in the store of a planned run what three processes leave that were killed on this target."""
    for row in read_rows(results / "plan"):
        batch = read_batch(results / "plan", row.batch)
        for item in batch.targets:
            if item.target.id == name:
                entry = Entry("attempt", batch.recipe, item.target.result_key)
                open_store(str(results / "store")).put(entry, json.dumps({"count": 3}).encode())
                return
    raise AssertionError(f"{results}: {name} is in no batch")
