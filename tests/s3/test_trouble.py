"""What goes wrong between a run and its S3: said in words before anything is done, or got over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.s3.conftest import Site
from tests.servers.seaweedfs import WRITER, Keys, SeaweedFS

pytestmark = pytest.mark.needs("snakemake_storage_plugin_s3")

#: Python runs a module of this name first, in every process of the run.
_HOUR_BEHIND = """
import datetime
from botocore import auth
now = auth.get_current_datetime
auth.get_current_datetime = lambda *args, **names: now(*args, **names) - datetime.timedelta(hours=1)
"""


def refused(site: Site, says: str) -> None:
    """The run ends before it has begun, says why, and leaves nothing."""
    done = site.run()
    assert done.returncode != 0
    assert says in done.stdout
    assert not site.results.exists()
    assert not site.pods.exists()
    assert site.names() == []
    for secret in (WRITER.secret, site.keys.secret):
        assert secret not in done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def test_wrong_keys(folder: Path, server: SeaweedFS) -> None:
    refused(
        Site(folder, server, "wrong", keys=Keys(WRITER.access, "no-such-secret")), "does not accept the keys"
    )


def test_missing_bucket(folder: Path, server: SeaweedFS) -> None:
    store = server.location("no-such-bucket", "store")
    refused(Site(folder, server, "missing", settings={"store": store}), "There is no such bucket. Create it")


def test_wrong_clock(folder: Path, server: SeaweedFS, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_HOUR_BEHIND)
    site = Site(folder, server, "clock")
    site.variables["PYTHONPATH"] = f"{tmp_path}:{site.environment['PYTHONPATH']}"
    refused(site, "clock is wrong by more than 15 minutes")


def test_a_store_that_other_machines_do_not_have(folder: Path, server: SeaweedFS) -> None:
    refused(
        Site(folder, server, "folder", settings={"store": "results/store"}), "what they compute would be lost"
    )


def test_nowhere_to_publish_to(folder: Path, server: SeaweedFS) -> None:
    """Said before anything is computed, and not at the end."""
    publish = server.location("no-such-bucket", "results")
    refused(
        Site(folder, server, "nowhere", settings={"publish": publish}),
        "publish: s3://no-such-bucket/results/: There is no such bucket. Create it",
    )
