"""Runs from the repository's root, whose `snakefold.clusters.emulator` stands in for RunPod."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
for folder in (str(ROOT), str(HERE)):
    if folder not in sys.path:
        sys.path.insert(0, folder)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An S3 server with a bucket `files`; tests tell their objects by a prefix."""
    from tests.servers.seaweedfs import serving

    with serving(tmp_path_factory.mktemp("weed"), "files") as found:
        yield found


@pytest.fixture
def storage(server: Any) -> Any:
    from stored import storage_of

    return storage_of(server)
