"""What tests of several modules look things up with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from reuse_files import Look

from snakefold.engines.reuse.found import Found
from snakefold.engines.reuse.lookup import lookup


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """`lookup` of targets given by their chains; the result is keyed by the chains joined by ':'."""

    def find(*collections: Path, wanted: Sequence[Sequence[str]], **more: bool) -> dict[str, Found]:
        keys = {":".join(chains): chains for chains in wanted}
        return lookup(
            [str(path) for path in collections], keys, log=lambda _: None, cache=tmp_path / "cache", **more
        )

    return find
