"""The README and the tutorials, as a reader goes through them: their commands, in an empty folder."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.msa_server import msa_server

pytestmark = pytest.mark.slow

HOUSE = Path(__file__).resolve().parents[2]
DOCS = HOUSE / "docs"
#: A rehearsal in a minute, in place of official parameters.
FAST = "--set rehearsal.models=[1] --set rehearsal.num_recycle=0 --set relax.models_to_relax=none"


def commands(page: str) -> list[str]:
    """Blocks of a tutorial that are to be typed."""
    return re.findall(
        r"^```sh\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def typed(block: str, folder: Path) -> str:
    """What a block prints; each of its commands must end well."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, block + done.stdout + done.stderr
    return done.stdout + done.stderr


def rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as stream:
        return {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}


def test_an_antibody_with_real_parameters(tmp_path: Path) -> None:
    *first, tables = commands("tutorial-antibody.md")
    said = "".join(typed(block, tmp_path) for block in first)
    assert "done:    1 target\nfailed:  0 targets\nrefused: 0 records\n" in said
    assert "REHEARSAL" not in said
    text = (DOCS / "tutorial-antibody.md").read_text(encoding="utf-8")
    (row,) = rows(tmp_path / "results" / "metrics.tsv").values()
    # The figures that the page explains, as it gives them.
    assert f"mean pLDDT {float(row['mean_plddt']):.1f} |" in text
    # Relaxation is not deterministic.
    assert "TM-score 0.98, RMSD 0.71 Å over" in text and "lDDT 0.92 |" in text
    assert float(row["reference_tm_score"]) == pytest.approx(0.98, abs=0.01)
    assert float(row["reference_rmsd"]) == pytest.approx(0.71, abs=0.04)
    assert float(row["reference_lddt"]) == pytest.approx(0.92, abs=0.02)
    assert not row["warnings"]
    printed = typed(tables, tmp_path)
    assert f"EDE1-C10\t{row['mean_plddt']}\t{row['reference_tm_score']}" in printed
    assert "flash-abb" in printed
    assert (tmp_path / "run.bib").read_text().count("@") >= 3


def test_the_demo(tmp_path: Path) -> None:
    """What `make demo` runs: real antibodies and a rehearsal of AlphaFold2 in one run."""
    (recipe,) = re.findall(
        r"^demo:.*\n\t\$\(BIN\)/(snakefold .+)$", (HOUSE / "Makefile").read_text(), re.MULTILINE
    )
    said = typed(recipe, tmp_path)
    shown = (HOUSE / "README.md").read_text(encoding="utf-8")
    for line in said.splitlines()[-7:-3]:
        assert line in shown, line
    results = tmp_path / "results-demo"
    found = rows(results / "metrics.tsv")
    real = {name for name, row in found.items() if row["rehearsal"] == "False"}
    assert real == {"EDE1-C10", "Nb35"} and len(found) == 6
    assert float(found["EDE1-C10"]["reference_tm_score"]) > 0.95
    # The mark is on every file of a rehearsal, and on no other.
    for name in found:
        texts = [path.read_text() for path in (results / "structures" / name).glob("ranked_0.*")]
        assert len(texts) == 2 and all(("REHEARSAL:" in text) == (name not in real) for text in texts), name
    assert int(found["crambin"]["msa_depth"]) > 1
    methods = (results / "methods.md").read_text()
    assert methods.startswith("REHEARSAL: the structures by alphafold2 are made with random parameters")
    assert "flash-abb" in methods


def test_the_price_is_told_first(tmp_path: Path) -> None:
    (tmp_path / "my.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n>b\nGSHMFVKSHFSRQLEERLGLIE\n")
    section = (HOUSE / "README.md").read_text(encoding="utf-8").partition("\n## Know the price first\n")[2]
    said = typed(section.split("```")[1].replace(".venv/bin/", ""), tmp_path)
    assert "dollars" in said and "ada_24" in said
    assert (tmp_path / "run.svg").read_text().startswith("<")


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[tuple[Path, str, list[str]]]:
    """A folder, what was printed, and what the MSA server was asked, after the tutorial's commands."""
    with msa_server() as server:
        said = ""
        for block in commands("tutorial-laptop.md"):
            if block == "snakefold weights fetch alphafold2\n":
                continue  # 5 GB; tests/engine/test_weights_fetch.py has it from a server of its own
            here = f"msa.server.contact=you@example.org --set msa.server.url={server.url} {FAST}"
            said += typed(block.replace("msa.server.contact=you@example.org", here), tmp_path)
        yield tmp_path, said.replace(server.url, "SERVER"), [each.agent for each in server.asked]
        assert [len(server.submitted(kind)) for kind in ("msa", "pair")] == [1, 1]
        assert server.most_at_once == 1


def test_a_laptop_without_databases(laptop: tuple[Path, str, list[str]]) -> None:
    folder, said, agents = laptop
    assert "done:    2 targets\nfailed:  0 targets\nrefused: 0 records\n" in said
    # By `plan`, and on the screen of the run.
    assert said.count("The sequences of 3 chains are sent to SERVER, whose operator can read them.") == 2
    assert "results: finished; report: file://" in said
    assert all(agent.startswith("snakefold/") and "you@example.org" in agent for agent in agents)
    log = (folder / "results" / "logs" / "run.log").read_text()
    assert log.index("are sent to") < log.index("(Rule: msa)")

    metas = json.loads((folder / "results" / "structures" / "pair" / "msa.json").read_text())
    assert [(meta["tool"], meta["depth"]) for meta in metas] == [("server", 6)] * 2
    confidence = json.loads((folder / "results" / "structures" / "pair" / "confidence.json").read_text())
    assert not any("unpaired_msa" in warning for warning in confidence["warnings"])
    chains = (folder / "results" / "plan" / "chains.tsv").read_text().splitlines()[1:]
    assert sorted(line.split("\t")[2] for line in chains) == ["msa", "msa", "msa", "pairs"]
    methods = (folder / "results" / "methods.md").read_text()
    assert "MMseqs2 by the MSA server http://127.0.0.1" in methods
    assert "(mode env; databases: the release" in methods

    # What is in the store is not asked for again: the server is not there any more.
    again = typed(
        f"snakefold run my.fasta --set msa.tool=server {FAST} --set results=again --set store=results/store "
        "--set msa.server.contact=you@example.org --set msa.server.url="
        + json.loads((folder / "results" / "provenance.json").read_text())["settings"]["msa"]["server"][
            "url"
        ],
        folder,
    )
    assert "are sent to" not in again
