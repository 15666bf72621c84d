"""The wheel in an environment without the checkout: what `pip install snakefold` gives."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.e2e.conftest import TRP_ZIPPER, VILLIN

pytestmark = pytest.mark.slow
CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of programs of an environment that has the wheel; other packages are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(CHECKOUT)],
        check=True,
    )
    (wheel,) = folder.glob("snakefold-*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    packages = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    # A path in a .pth file adds the packages there, not what their own .pth files name: not the checkout.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [*pip, "--python", str(environment / "bin" / "python"), "install", "--no-deps", str(wheel)],
        check=True,
    )
    return environment / "bin"


def _run(programs: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _call(programs: Path, folder: Path, *words: str) -> str:
    process = _run(programs, folder, *words)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def test_the_wheel_folds_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "my.fasta").write_text(f">zipper\n{TRP_ZIPPER}\n>villin\n{VILLIN}\n")
    fast = ["rehearsal.models=[1]", "rehearsal.num_recycle=0", "rehearsal.blocks=1"]
    words = [word for setting in fast for word in ("--set", setting)]
    said = _call(installed, tmp_path, str(installed / "snakefold"), "run", "my.fasta", *words)
    assert "done:    2 targets\nfailed:  0 targets\n" in said
    assert "Select jobs" not in said, "Snakemake found the logger plugin in the wheel"
    assert (tmp_path / "results" / "structures" / "villin" / "ranked_0.cif").is_file()
    assert (tmp_path / "results" / "report" / "index.html").is_file()


def test_plain_snakemake_finds_the_workflow_of_the_wheel(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "my.fasta").write_text(f">zipper\n{TRP_ZIPPER}\n")
    snakefile = _call(installed, tmp_path, str(installed / "snakefold"), "path", "workflow").strip()
    assert Path(snakefile).is_file()
    assert not Path(snakefile).is_relative_to(CHECKOUT)
    python = str(installed / "python")
    said = _call(
        installed,
        tmp_path,
        *[python, "-m", "snakemake", "--snakefile", snakefile, "--cores", "1", "--dry-run"],
        *["--config", "input=my.fasta"],
    )
    assert "plan" in said


def test_antibodies_are_folded_with_parameters_that_the_wheel_fetches(
    installed: Path, tmp_path: Path
) -> None:
    """Real parameters, out of flash-abb's wheel; the reference is a crystal structure."""
    snakefold = str(installed / "snakefold")
    demo = Path(_call(installed, tmp_path, snakefold, "path", "resources").strip()) / "demo"
    assert not demo.is_relative_to(CHECKOUT)
    said = _call(installed, tmp_path, snakefold, "weights", "fetch", "flashabb", "./weights")
    assert "29 MB, complete" in said
    settings = ["engine=flashabb", "weights=weights", "relax.models_to_relax=none"]
    settings.append(f"references.EDE1-C10={demo / 'references' / '7CTH-HL.pdb'}")
    words = [word for setting in settings for word in ("--set", setting)]
    process = _run(installed, tmp_path, snakefold, "run", str(demo / "antibodies.fasta"), *words)
    said = process.stdout + process.stderr
    assert "done:    5 targets\nfailed:  0 targets\nrefused: 1 record\n" in said
    assert "REHEARSAL" not in said
    with (tmp_path / "results" / "metrics.tsv").open(newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert float(rows["EDE1-C10"]["reference_tm_score"]) > 0.95
    assert {row["rehearsal"] for row in rows.values() if row["state"] == "done"} == {"False"}
    methods = (tmp_path / "results" / "methods.md").read_text()
    assert "with the network and parameters of flash-abb 0.0.5, computed with jax " in methods
