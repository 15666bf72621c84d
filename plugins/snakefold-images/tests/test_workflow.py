"""The example for Snakemake, run as README.md says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import file_of, photograph

SNAKEFILE = Path(__file__).parents[1] / "workflow" / "Snakefile"


def test_the_images_of_a_folder_are_edited_a_batch_a_process(tmp_path: Path) -> None:
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        told = "needs snakemake on PATH: make test-images"
        pytest.fail(told) if os.environ.get("SNAKEFOLD_ALLOW_NO_SKIP") else pytest.skip(told)
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(2):
        (photos / f"{number}.jpg").write_bytes(file_of(photograph(seed=number), "JPEG"))
    (photos / "2.png").write_bytes(b"damaged")
    (photos / "notes.txt").write_text("no image")
    command = [snakemake, "-s", str(SNAKEFILE), "--cores", "1", "--config", "images=photos", "rehearsal=yes"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "edited" / "b000.report.json").read_text())
    assert (report["total_items"], report["failed_items"]) == (3, 1)
    assert "2.png" in report["errors"][0]["error"]
    found = sorted(path.name for path in (tmp_path / "edited" / "b000").glob("[!.]*"))
    assert found == ["0.jpg.png", "0.jpg_thumb.jpg", "1.jpg.png", "1.jpg_thumb.jpg"]
    assert len(SNAKEFILE.read_text().splitlines()) <= 30
