"""Jobs that fail for good are not tried again; with Snakemake's own scheduler, and a disk that is full."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakefold.kernel.errors import DiskError, Reason
from snakefold.run.retries import Final, check_writable, forget, forget_all, note_final, read_final

WORKFLOW = """
from pathlib import Path
from snakefold.kernel.paths import put_programs_on_path
from snakefold.run.retries import honour, stopped
from snakemake.logging import logger

put_programs_on_path()
if workflow.is_main_process:
    honour(Path("results"), logger.error)

onerror:
    print("stopped:", stopped() and stopped().reason)
"""
ALL = """
rule all:
    input:
        expand("results/predictions/{name}", name=["dies", "final"])

rule dies:
    output: "results/predictions/dies"
    retries: 2
    shell: "echo x >> dies.tries; exit 1"

rule final:
    output: "results/predictions/final"
    retries: 2
    shell: "echo x >> final.tries; python note.py {output}; exit 1"
"""
NOTE = """
import sys
from pathlib import Path
from snakefold.kernel.errors import Reason
from snakefold.run.retries import Final, note_final
note_final(Path(sys.argv[1]), Final(Reason.TIMEOUT, "It never ends.", "Give it less."))
"""
FULL = """
rule all:
    input:
        expand("results/predictions/{name}", name=["1", "2", "3"])

rule fill:
    output: "results/predictions/{name}"
    retries: 2
    shell: "echo x >> fill.tries; head -c 4M /dev/zero > {output}"
"""


def run(folder: Path, text: str) -> str:
    (folder / "Snakefile").write_text(WORKFLOW + text)
    (folder / "note.py").write_text(NOTE)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--keep-going"]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stderr
    return process.stdout + process.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_job_that_failed_for_good_is_not_tried_again(tmp_path: Path) -> None:
    said = run(tmp_path, ALL)
    assert (tmp_path / "dies.tries").read_text().split() == ["x"] * 3
    assert (tmp_path / "final.tries").read_text().split() == ["x"]
    assert "final: It never ends. Give it less. It is not tried again." in said
    assert "stopped: None" in said


@pytest.mark.needs("root")
def test_a_full_disk_ends_a_run_and_is_said(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "results").symlink_to(small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_000_000))
    said = run(tmp_path, FULL)
    assert (tmp_path / "fill.tries").read_text().split() == ["x"], "neither again nor another one"
    assert "stopped: no_space" in said
    assert "results: the disk is full" in said
    assert "Traceback" not in said


@pytest.mark.needs("root")
def test_what_cannot_be_written_is_named(small_disk: Path) -> None:
    check_writable(small_disk / "new")
    assert not list((small_disk / "new").iterdir())
    with pytest.raises(
        DiskError, match=r"new: the disk is full \(1\.0 MB are free\)\. Free disk space"
    ) as found:
        check_writable(small_disk / "new", 2_000_000)
    assert found.value.reason == Reason.NO_SPACE
    assert not list((small_disk / "new").iterdir())
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(DiskError, match="may only be read") as found:
        check_writable(small_disk / "new")
    assert found.value.reason == Reason.NOT_WRITABLE


def test_notes_are_forgotten(tmp_path: Path) -> None:
    outputs = [tmp_path / "predictions" / "b.tar.zst", tmp_path / "requests" / "b" / "request.json"]
    final = Final(Reason.NO_SPACE, "Full.", "Free disk space.")
    for output in outputs:
        assert read_final(output) is None
        note_final(output, final)
        assert read_final(output) == final
    forget_all(tmp_path)
    assert [read_final(output) for output in outputs] == [None, None]
    note_final(outputs[0], final)
    forget(outputs[0])
    assert read_final(outputs[0]) is None
