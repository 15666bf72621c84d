"""Both stages of a design run, whose jobs share nothing but S3 with the machine that Snakemake runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakefold.kernel.paths import house
from snakefold.run.designs.table import read_table
from tests.s3.conftest import Site
from tests.servers.seaweedfs import SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.needs("snakemake_storage_plugin_s3")]


class _Site(Site):
    """A site whose images have parameters."""

    @property
    def command(self) -> list[str]:
        return [*super().command, "SNAKEFOLD_WEIGHTS"]  # of --envvars


def test_a_job_of_each_stage_designs_and_folds(
    server: SeaweedFS, tmp_path: Path, proteinmpnn_weights: Path, flashabb_weights: Path
) -> None:
    assert proteinmpnn_weights == flashabb_weights
    backbone = house() / "resources" / "demo" / "references" / "7CTH-HL.pdb"
    site = _Site(
        tmp_path / "site",
        server,
        "design",
        settings={
            "weights": "auto",
            "input": [str(backbone)],
            "engine": "flashabb",
            "design": {"engine": "proteinmpnn"},
            "proteinmpnn": {"num_seq_per_target": 1},
        },
        variables={"SNAKEFOLD_WEIGHTS": str(proteinmpnn_weights)},
    )
    done = site.run()
    assert done.returncode == 0, done.stdout
    (design,) = read_table(site.results)
    assert design["sc_tm"] > 0.8 and not design["rehearsal"]
    assert len(site.started("predict")) == 2
    # What was on its way is gone from there; benchmarks and logs stay.
    assert {name.split("/")[-3] for name in site.names("files/")} == {"benchmarks", "logs"}
    again = site.run()
    assert "Nothing to be done" in again.stdout, again.stdout
