"""Fetches that are stopped: by Ctrl-C, by a full disk, by another fetch in the same folder."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold.kernel.errors import SnakefoldError
from snakefold.msa.databases import record
from snakefold.msa.databases.fetch import Options, fetch
from snakefold.msa.databases.progress import Reporter
from tests.data import site as faults
from tests.data.conftest import FASTA, preset, tar
from tests.data.site import Site

URL = "https://publisher.example/pub/small.fasta.gz"
#: Does not compress: the archive is larger than one block of the network.
NOISE = b">noise\n" + os.urandom(3 << 20).hex().upper().encode() + b"\n"

_FETCH = """
import resource, sys
from pathlib import Path
from snakefold.msa.databases import known
from snakefold.msa.databases import record
from snakefold.msa.databases.fetch import Options, fetch
from snakefold.msa.databases.progress import Reporter
from snakefold.kernel.errors import SnakefoldError

folder, mirror, largest = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if largest:
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
_, entries = known.entries(
    "tiny", folder / "root", listing=folder / "databases.yaml", downloads=folder / "downloads.yaml"
)
try:
    fetch(folder / "root", entries, Options(mirror=mirror, timeout=600, pause=0.001), Reporter())
except SnakefoldError as error:
    sys.exit(f"said: {error}")
"""


def start(folder: Path, site: Site, largest: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _FETCH, str(folder), site.address, str(largest)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_is_heeded_and_the_next_call_goes_on(site: Site, tmp_path: Path) -> None:
    archive = gzip.compress(NOISE, 1)
    site.put(URL, archive, faults=[faults.stalls(1 << 20)])
    entries = preset(tmp_path, {"path": "small.fasta", "urls": [URL]})
    process = start(tmp_path, site)
    part = entries[0].staging / "small.fasta.gz.part"
    deadline = time.monotonic() + 600
    while not (part.exists() and part.stat().st_size >= 1 << 20):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=600)
    assert process.returncode != 0
    assert not entries[0].database.path.exists()
    fetch(entries[0].root, entries, Options(mirror=site.address), Reporter())
    assert site.gets()[-1] == ("small.fasta.gz", f"bytes={1 << 20}-")
    assert entries[0].database.path.read_bytes() == NOISE


@pytest.mark.parametrize("room", [1 << 20, 4 << 20], ids=["downloading", "unpacking"])
def test_a_full_disk_is_said_and_nothing_half_written_is_used(site: Site, tmp_path: Path, room: int) -> None:
    """The process may write no file larger than `room`: the same error path as a disk that is full."""
    archive = gzip.compress(NOISE, 6)
    assert 3 << 20 < len(archive) < 4 << 20
    site.put(URL, archive)
    entries = preset(tmp_path, {"path": "small.fasta", "urls": [URL]})
    process = start(tmp_path, site, room)
    _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "said: " in said
    assert "room" in said
    assert not entries[0].database.path.exists()
    assert entries[0].state == "unfinished"
    fetch(entries[0].root, entries, Options(mirror=site.address), Reporter())
    assert entries[0].database.path.read_bytes() == NOISE
    whole = [asked for _, asked in site.gets() if not asked]
    assert len(whole) == 1


def test_a_small_disk_is_full(site: Site, tmp_path: Path) -> None:
    """A disk of its own, where the machine lets us make one."""
    disk = tmp_path / "root"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        site.put(URL, gzip.compress(NOISE, 6))
        entries = preset(tmp_path, {"path": "small.fasta", "urls": [URL]})
        with pytest.raises(SnakefoldError, match="no room for more than"):
            fetch(disk, entries, Options(mirror=site.address, force=True), Reporter())
        site.put(URL, gzip.compress(FASTA), etag='"two"')
        fetch(disk, entries, Options(mirror=site.address), Reporter())
        assert entries[0].database.path.read_bytes() == FASTA
    finally:
        subprocess.run(["umount", str(disk)], check=True)


class StoppedError(BaseException):
    """Stands for a kill: nothing of ours catches it."""


#: Every call by which a fetch changes what is on the disk.
_STEPS = (
    (Path, "replace"),
    (Path, "rename"),
    (Path, "unlink"),
    (Path, "mkdir"),
    (Path, "symlink_to"),
    (shutil, "rmtree"),
    (os, "fsync"),
)


def test_a_fetch_may_stop_at_any_step(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first change of the disk, before the second, … until one fetch gets through: the next call
    makes it whole, and downloads nothing again that had arrived."""
    packed = "https://publisher.example/pub/db.tar.gz"
    parts = {"db_a.ffdata": FASTA, "db_a.ffindex": b"x\t0\t1\n", "db_more": b"more"}
    site.put(URL, gzip.compress(FASTA))
    site.put(packed, gzip.compress(tar(parts, {"db_link": "db_more"})))
    left = 0

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise StoppedError
            return original(*arguments, **options)

        return step

    monkeypatch.setattr(os, "fsync", lambda _: None)  # the machine does not lose power here
    for owner, name in _STEPS:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    stopped = 0
    for first in range(1, 200):
        listed = [
            {"path": "small.fasta", "urls": [URL]},
            {
                "path": "hh/db",
                "name": "db",
                "urls": [packed],
                "prepare": "unpack",
                "files": ["hh/db_a.ffdata"],
            },
        ]
        left = 0
        entries = preset(tmp_path / str(first), *listed)
        site.asked.clear()
        try:
            left = first
            fetch(entries[0].root, entries, Options(mirror=site.address), Reporter())
        except StoppedError:
            stopped += 1
        else:
            break
        finally:
            left = 0
        for entry in entries:
            if entry.state == "there":
                assert all(file.read_bytes() == FASTA for file in entry.database.files)
        fetch(entries[0].root, entries, Options(mirror=site.address), Reporter())
        assert [entry.state for entry in entries] == ["there", "there"]
        assert (entries[0].root / "small.fasta").read_bytes() == FASTA
        assert {path.name: path.read_bytes() for path in (entries[0].root / "hh").iterdir()} == {
            **parts,
            "db_link": b"more",
        }
        assert sorted(record.read(entries[0].root)) == ["hh/db", "small.fasta"]
        assert sorted(path.name for path in (entries[0].root / ".snakefold").iterdir()) == ["lock"]
        # At most one download had not got its name when it was stopped.
        assert len([name for name, asked in site.gets() if not asked]) <= 3
    assert stopped > 15


def test_two_fetches_into_one_folder_are_not_at_work_at_a_time(site: Site, tmp_path: Path) -> None:
    go_on = threading.Event()
    site.put(URL, gzip.compress(FASTA), faults=[faults.stalls(10, go_on)])
    entries = preset(tmp_path, {"path": "small.fasta", "urls": [URL]})
    first = start(tmp_path, site)
    while not site.gets():
        assert first.poll() is None
        time.sleep(0.02)
    with pytest.raises(SnakefoldError, match="another `snakefold db fetch`"):
        fetch(entries[0].root, entries, Options(mirror=site.address), Reporter())
    go_on.set()
    _, said = first.communicate(timeout=600)
    assert first.returncode == 0, said
    assert entries[0].database.path.read_bytes() == FASTA
