"""What a worker looks at before it takes a job: whose its folders are, and whether there is room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from snakefold.kernel.errors import StoreError
from snakefold.worker.ready import NotReadyError, check_ready
from snakefold.worker.settings import Settings, read_settings

#: The image's user, where the tests run as root; else the one who runs them, who is kept out by the mode.
OTHER = 1001 if os.geteuid() == 0 else os.geteuid()
#: The interpreter may be where only root looks: it is loaded before the user changes.
CHECK = """
import os, sys
from snakefold.worker import handler
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(int(sys.argv[1]))
    os.setuid(int(sys.argv[1]))
raise SystemExit(handler.main([]))
"""


def settings_of(folder: Path, **more: str) -> Settings:
    for name in ("volume", "weights/params"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    given = {"RUNPOD_VOLUME_PATH": str(folder / "volume"), "SNAKEFOLD_WEIGHTS": str(folder / "weights")}
    return read_settings({**given, **more})


def as_other(folder: Path) -> subprocess.CompletedProcess[str]:
    """The worker as the container starts it, as another user; what it is checked for ends it."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "TMPDIR": "/tmp",  # noqa: S108 (everybody's)
        "PYTHONDONTWRITEBYTECODE": "1",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_VOLUME_PATH": str(folder / "volume"),
        "SNAKEFOLD_WEIGHTS": str(folder / "volume" / "weights"),
    }
    return subprocess.run(
        [sys.executable, "-c", CHECK, str(OTHER)],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_a_volume_of_another_user_ends_the_worker_before_it_takes_a_job(tmp_path: Path) -> None:
    # pytest's folders are for their owner alone.
    common = Path(tempfile.gettempdir())
    for path in (tmp_path, *tmp_path.parents):
        if path.is_relative_to(common) and path != common:
            path.chmod(path.stat().st_mode | 0o055)
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o755 if os.geteuid() == 0 else 0o555)
    done = as_other(tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(f"handler: this worker (user {OTHER}")
    assert f"{volume} (RUNPOD_VOLUME_PATH) cannot be written (Permission denied)" in line
    assert f"{volume / 'store'} (SNAKEFOLD_STORE) cannot be written" in line
    assert f"chown -R {OTHER}" in line
    assert list(volume.iterdir()) == []


def test_what_a_worker_needs_is_there(tmp_path: Path) -> None:
    check_ready(settings_of(tmp_path))
    assert (tmp_path / "volume" / "store").is_dir()
    # Nothing is left behind, and what an endpoint may lack is no fault.
    assert [path for path in (tmp_path / "volume").rglob("*") if path.is_file()] == []
    shutil.rmtree(tmp_path / "weights")
    check_ready(replace(settings_of(tmp_path), weights=tmp_path / "none", db_root=tmp_path / "nothing"))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("snakefold.worker.ready.shutil.disk_usage", lambda _: usage(10**9, 10**9, 3_000_000))
    with pytest.raises(NotReadyError, match="has 3 MB free, and 500 MB are needed: free disk space"):
        check_ready(settings_of(tmp_path))


def test_parameters_that_cannot_be_read_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(tmp_path)
    kept = tmp_path / "weights" / "params" / "params_model_1_ptm.npz"
    kept.touch()
    access = os.access
    # Root may read everything.
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != kept and access(path, mode))
    with pytest.raises(NotReadyError, match=r"params_model_1_ptm\.npz \(SNAKEFOLD_WEIGHTS\) cannot be read"):
        check_ready(settings)


def test_a_store_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise StoreError("s3://bucket/store: AccessDenied.")

    monkeypatch.setattr("snakefold.worker.ready.open_store", refuse)
    with pytest.raises(NotReadyError, match="SNAKEFOLD_STORE: s3://bucket/store: AccessDenied"):
        check_ready(settings_of(tmp_path))
