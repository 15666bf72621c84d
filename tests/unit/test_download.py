"""Downloads that do not begin: somebody who waits hears why."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from snakefold.kernel.download import DownloadError, download


def test_every_attempt_that_fails_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file"
    told: list[str] = []
    with pytest.raises(DownloadError, match="broke off at 0 bytes"):
        download(url, tmp_path / "file", log=told.append, pause=0.001)
    assert len(told) == 4  # after the fifth there is the error
    assert all(line.startswith(f"{url}: ") and "refused" in line for line in told)
    assert not (tmp_path / "file").exists()
