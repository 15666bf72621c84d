"""docs/adding-an-engine.md: its engine is built from the page, planned, run and tested."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
PAGE = (HOUSE / "docs" / "adding-an-engine.md").read_text(encoding="utf-8")
#: A file's name on a line of its own, and its content in the block below.
FILES = dict(re.findall(r"^`(\S+)`:\n```\w*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and the metadata that pip would write: no other test sees the engine."""
    folder = tmp_path_factory.mktemp("snakefold-straight")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (entry,) = re.findall(r'^\[project.entry-points."(\S+)"\]\n(.*)$', FILES["pyproject.toml"], re.MULTILINE)
    metadata = folder / "src" / "snakefold_straight-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: snakefold-straight\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{entry[0]}]\n{entry[1].replace(chr(34), '')}\n")
    return folder


def run(distribution: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=distribution,
        env={**os.environ, "PYTHONPATH": str(distribution / "src")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_its_own_tests_pass(distribution: Path) -> None:
    assert "5 passed" in run(
        distribution, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_straight.py"
    )


def test_its_quote_needs_no_alignment(distribution: Path) -> None:
    text = run(
        distribution,
        "-c",
        "import sys; from snakefold.cli import main; sys.exit(main())",
        "plan",
        "two.fasta",
        "--set",
        "engine=straight",
        "--set",
        "relax.models_to_relax=none",
        "--out",
        "quote",
    )
    assert "0 chains to align in 0 chunks" in text
    with (distribution / "quote" / "batches.tsv").open(newline="") as stream:
        (batch,) = csv.DictReader(stream, delimiter="\t")
    assert (batch["engine"], batch["group"], batch["memory_gb"]) == ("straight", "line", "0.5")
