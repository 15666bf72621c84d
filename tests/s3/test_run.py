"""A whole run whose jobs share nothing but S3 with the machine that Snakemake runs on, or with each other."""

from __future__ import annotations

import os
from dataclasses import dataclass

import pytest

from tests.s3.conftest import TARGETS, Site
from tests.servers.seaweedfs import WRITER, SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.needs("snakemake_storage_plugin_s3")]


@dataclass
class Finished:
    """A site after its first run."""

    site: Site
    log: str


@pytest.fixture(scope="module")
def finished(server: SeaweedFS, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    site = Site(tmp_path_factory.mktemp("site"), server, "first")
    done = site.run()
    logs = "\n".join(path.read_text() for path in site.pods.glob("*/log"))
    assert done.returncode == 0, done.stdout + logs
    return Finished(site, done.stdout)


def test_all_targets_have_structures_here(finished: Finished) -> None:
    site = finished.site
    assert set(site.metrics()) == set(TARGETS)
    for name in TARGETS:
        assert "REHEARSAL" in (site.results / "structures" / name / "ranked_0.pdb").read_text()
    assert (site.results / "report" / "index.html").is_file()
    assert (site.results / "summary.txt").is_file()


def test_searches_and_predictions_ran_where_nothing_was(finished: Finished) -> None:
    """Every job began in an empty folder, and neither its command nor its log names this one."""
    site = finished.site
    for rule in ("msa", "predict"):
        (pod,) = site.started(rule)
        assert f"{site.folder}/" not in (pod / "command").read_text() + (pod / "log").read_text()
        assert (pod / "work" / "workflow" / "Snakefile").is_file()  # fetched: the folder was empty
        assert not (pod / "work" / "results").exists()
    assert {path.name.partition(".")[0] for path in site.pods.iterdir()} == {"msa", "predict"}


def test_what_was_in_transit_is_removed(finished: Finished) -> None:
    """Logs and times stay, results are here and in the store."""
    site = finished.site
    left = {name.split("/")[1] for name in site.names("files/")}
    assert left == {"logs", "benchmarks"}
    (archive,) = (site.results / "predictions").iterdir()
    assert archive.stat().st_size > 1000
    assert list((site.results / "benchmarks" / "predict").iterdir())
    assert {name.partition("/")[0] for name in site.names("store/")} == {"fold", "msa"}


def test_keys_are_written_nowhere(finished: Finished) -> None:
    site = finished.site
    written = [path for folder in (site.folder, site.pods) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if WRITER.secret.encode() in path.read_bytes()]
    assert WRITER.secret not in finished.log


def test_a_second_run_has_nothing_to_do(finished: Finished) -> None:
    """Even if the checkout is new and the server's clock an hour ahead, here done by files an hour older."""
    site = finished.site
    for path in (site.folder / "set.fasta", *site.results.rglob("*")):
        if path.is_file():
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 3600 * 10**9))
    for path in (site.folder / "workflow").rglob("*"):
        path.touch()
    again = site.run()
    assert again.returncode == 0, again.stdout
    assert len(list(finished.site.pods.iterdir())) == 2
    assert "Nothing to be done" in again.stdout, again.stdout


def test_another_machine_goes_on_from_the_store(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The machine that Snakemake ran on is lost: nothing is computed again."""
    site = Site(tmp_path_factory.mktemp("other"), finished.site.server, "first")
    done = site.run()
    assert done.returncode == 0, done.stdout
    assert not site.pods.exists()
    assert {name: row["mean_plddt"] for name, row in site.metrics().items()} == {
        name: row["mean_plddt"] for name, row in finished.site.metrics().items()
    }
