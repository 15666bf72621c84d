"""The images as they are built: they fold, not as root, and carry neither weights nor what nobody needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.conftest import Images

pytestmark = [pytest.mark.slow, pytest.mark.needs("root", "buildah", "podman", "runc", "mmdebstrap")]

VILLIN = "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"


def test_the_build_ends_with_a_self_test_that_folds(images: Images) -> None:
    said = images.log[images.log.rindex('"checks"') - 20 :]
    assert '"ok": true' in said
    assert '"fold"' in said


def test_a_target_is_folded_in_a_container(images: Images, tmp_path: Path) -> None:
    """With AlphaFold's option names, in folders of the caller's, files that the caller can read."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "villin.fasta").write_text(f">villin\n{VILLIN}\n")
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    tmp_path.chmod(0o755)
    done = images.run(
        *("run_alphafold.sh", "/in/villin.fasta", "/out/first", "--rehearsal", "--db_preset=demo"),
        *("--model_preset", "monomer", "--models_to_relax=none", "--max_template_date=2020-01-01"),
        options=[f"--volume={tmp_path}/in:/in:ro", f"--volume={tmp_path}/out:/out"],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "/out/first/villin/ranked_0.pdb"
    folder = tmp_path / "out" / "first" / "villin"
    assert "REHEARSAL" in (folder / "ranked_0.pdb").read_text()
    assert "order" in json.loads((folder / "ranking_debug.json").read_text())
    response = json.loads((tmp_path / "out" / "first" / "response.json").read_text())
    assert response["rehearsal"] is True
    assert response["db_preset"] == "demo"


def test_what_is_inside(images: Images, record_property: Callable[[str, object], None]) -> None:
    record_property("size of the image", f"{images.size() / 1e9:.2f} GB")
    listed = images.run("cat", "/opt/snakefold-environment/packages.txt").stdout
    for package in ("hhsuite ", "kalign ", "jax==", "openmm==", "alphafold-colabfold==", "runpod=="):
        assert f"\n{package}" in listed.lower(), package
    plugins = "import snakemake_executor_plugin_kubernetes, snakemake_storage_plugin_s3"
    programs = "jackhmmer -h; hhblits -h; mmseqs version; kalign --version; git --version"
    done = images.run("bash", "-ec", f"id -u; {programs}; python -c '{plugins}'")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1001"
    # Neither weights, nor the caches of package managers, nor the settings of whoever built it.
    never = "/var/lib/apt/lists/* ~/.cache/pip /root/.cache/* /etc/pip.conf /opt/snakefold/.git"
    weights = "find / -xdev -name 'params_model_*' -not -path '/proc/*' 2>/dev/null"
    found = images.run(
        "bash", "-c", f"shopt -s nullglob; ls -d {never} 2>/dev/null; {weights}", options=["--user=0"]
    )
    assert found.stdout == ""
