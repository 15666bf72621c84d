"""The demo, whose jobs share nothing but S3 with the machine that Snakemake runs on, or with each other.

The server is killed twice on the way: when it has half of the first target's result, and when it has half of
the first batch's archive. After the first it is back at once; after the second, when the job or the run has
given up. In the second case the same command is typed again, as a user would.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from Bio import SeqIO

from snakefold.kernel.paths import resource
from snakefold.kernel.store import open_store
from snakefold.kernel.store.maintenance import verify
from snakefold.run.publish.publisher import MANIFEST
from tests.s3.conftest import BUCKET, Site, wait_for
from tests.servers.s3_proxy import Proxy, running
from tests.servers.seaweedfs import WRITER, SeaweedFS
from tests.storage.published import named, there, writes

pytestmark = [pytest.mark.slow, pytest.mark.needs("snakemake_storage_plugin_s3")]

#: The demo, searched in three jobs, predicted in two, with the smallest network: what is tested is S3.
DEMO: dict[str, Any] = {
    "weights": "rehearsal",
    "rehearsal": {"blocks": 1, "models": [1], "num_recycle": 0},
    "relax": {"models_to_relax": "none"},
    "msa": {"threads": 1, "mem_mb": 500, "chunk_size": 7},
    "predict": {"threads": 2, "mem_mb": 1000},
}
REFUSED = "melittin_numbered"
TARGETS = {record.id for record in SeqIO.parse(resource("resources/demo/proteins.fasta"), "fasta")} - {
    REFUSED
}
#: One has the sequence of another.
DIFFERENT = len(TARGETS) - 1
CHAINS = 15

RESULT, ARCHIVE = "PUT .*/store/fold/", "PUT .*/files/results/predictions/"


@dataclass
class Finished:
    """A site after its first run: what its commands printed, and what was asked of the server."""

    site: Site
    proxy: Proxy
    log: str
    commands: int

    def written(self, kind: str) -> Counter[str]:
        """How many different contents each entry of the store was given: what is sent again has the same."""
        puts = [asked for asked in self.proxy.seen if (asked.method, asked.status) == ("PUT", 200)]
        entries = {(asked.path, asked.sha256) for asked in puts if f"/store/{kind}/" in asked.path}
        return Counter(path for path, _ in entries)


def run(site: Site, proxy: Proxy) -> int:
    """One command, to its end. The server comes back, after an archive's half when somebody has given up."""

    def has_given_up() -> bool:
        ended = [pod / "status" for pod in site.started("predict") if (pod / "status").exists()]
        return command.poll() is not None or any(status.read_text() != "0" for status in ended)

    command = site.start()
    try:
        while command.poll() is None or proxy.died.is_set():
            if proxy.died.wait(0.5):
                wait_for(lambda: bool(proxy.deaths) or has_given_up())
                proxy.died.clear()
                proxy.behind.start()
    finally:
        command.kill()
        site.end_pods()
    return command.wait()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    server = SeaweedFS(tmp_path_factory.mktemp("mortal") / "server")
    server.start()
    try:
        server.client().create_bucket(Bucket=BUCKET)
        with running(server) as proxy:
            folder = tmp_path_factory.mktemp("site")
            site = Site(folder, server, "demo", proxy.endpoint, tries=10)
            site.write({**DEMO, "store": site.store, "publish": site.published})
            proxy.deaths = [RESULT, ARCHIVE]
            log, commands, code = "", 0, 1
            # What a death ends, the same command, typed again, goes on with.
            while code and commands < 3:
                code = run(site, proxy)
                commands += 1
                log += (site.folder / "run.log").read_text()
            assert code == 0, log + "".join((pod / "log").read_text() for pod in site.pods.iterdir())
            yield Finished(site, proxy, log, commands)
    finally:
        server.stop()


def test_all_targets_have_structures_here(finished: Finished) -> None:
    site = finished.site
    assert set(site.metrics()) == TARGETS
    for name in TARGETS:
        assert "REHEARSAL" in (site.results / "structures" / name / "ranked_0.pdb").read_text()
        assert (site.results / "structures" / name / "confidence.json").is_file()
    with (site.results / "failures.tsv").open(newline="") as table:
        assert [row["id"] for row in csv.DictReader(table, delimiter="\t")] == [REFUSED]
    assert (site.results / "report" / "index.html").is_file()
    assert (site.results / "summary.txt").is_file()


def same_as_here(site: Site) -> dict[str, bytes]:
    """What is published, byte for byte what is in results/; but for the summary, which names no place."""
    whole = named(there(site.server, site.published))
    files = {name: data for name, data in whole.items() if name != "summary.txt"}
    assert files == {name: (site.results / name).read_bytes() for name in files}
    return whole


def test_results_are_published(finished: Finished) -> None:
    site = finished.site
    whole = same_as_here(site)
    below = {path for folder in ("structures", "report") for path in (site.results / folder).rglob("*")}
    names = {str(path.relative_to(site.results)) for path in below if path.is_file()}
    assert names <= set(whole)
    assert {"metrics.tsv", "metrics.parquet", "failures.tsv", "bill.tsv", "config.yaml"} < set(whole)
    assert {"ro-crate-metadata.json", "plan/targets.tsv", "plan/quote.json"} < set(whole)
    assert not {name.partition("/")[0] for name in whole} & {
        "msa",
        "requests",
        "predictions",
        "logs",
        "store",
    }
    assert f"done:    {len(TARGETS)} targets\nfailed:  0 targets\n" in whole["summary.txt"].decode()
    assert WRITER.secret.encode() not in b"".join(whole.values())


def test_nothing_was_lost_or_computed_twice(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """Not even what was in flight: a result whose upload broke off is sent again, not computed again."""
    site, proxy = finished.site, finished.proxy
    assert proxy.deaths == []
    for kind, number in {"msa": CHAINS, "fold": DIFFERENT}.items():
        assert sorted(finished.written(kind).values()) == [1] * number
    for name, value in WRITER.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    checked = verify(open_store(site.store), print)
    assert (checked.entries, checked.damaged) == (CHAINS + DIFFERENT, [])
    assert len(site.planned("chunks")) > 1
    assert len(site.planned("batches")) > 1
    ended = Counter((pod / "status").read_text() for pod in site.pods.iterdir())
    record_property("commands, and pods by exit status", f"{finished.commands}, {dict(ended)}")


def test_searches_and_predictions_ran_where_nothing_was(finished: Finished) -> None:
    """Every job began in an empty folder, and neither its command nor its log names this one."""
    site = finished.site
    assert {path.name.partition(".")[0] for path in site.pods.iterdir()} == {"msa", "predict"}
    for pod in site.pods.iterdir():
        assert f"{site.folder}/" not in (pod / "command").read_text() + (pod / "log").read_text()
        if (pod / "status").read_text() == "0":
            assert (pod / "work" / "workflow" / "Snakefile").is_file()  # fetched: the folder was empty
        assert not (pod / "work" / "results").exists()


def test_what_was_in_transit_is_removed(finished: Finished) -> None:
    """Logs and times stay, results are here and in the store. A command that gave up leaves its sources."""
    site = finished.site
    left = {name for name in site.names("files/") if not name.startswith("snakemake-workflow-sources.")}
    assert {name.split("/")[1] for name in left} == {"logs", "benchmarks"}, left
    for batch in site.planned("batches"):
        assert (site.results / "predictions" / f"{batch}.tar.zst").stat().st_size > 1000
        assert (site.results / "benchmarks" / "predict" / f"{batch}.tsv").is_file()
    assert {name.partition("/")[0] for name in site.names("store/")} == {"fold", "msa"}


def test_keys_are_written_nowhere(finished: Finished) -> None:
    site = finished.site
    written = [path for folder in (site.folder, site.pods) for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in written if WRITER.secret.encode() in path.read_bytes()]
    assert WRITER.secret not in finished.log


def test_a_second_run_has_nothing_to_do(finished: Finished) -> None:
    """Even if the checkout is new and the server's clock an hour ahead, here done by files an hour older."""
    site = finished.site
    pods = set(site.pods.iterdir())
    # structures/ is not known to Snakemake: with other times its files would be compared with the archives.
    for path in site.results.rglob("*"):
        if path.is_file() and "structures" not in path.relative_to(site.results).parts:
            status = path.stat()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns - 3600 * 10**9))
    for path in (site.folder / "workflow").rglob("*"):
        path.touch()
    before = writes(finished.proxy, site.published)
    again = site.run()
    assert again.returncode == 0, again.stdout
    assert set(site.pods.iterdir()) == pods
    assert writes(finished.proxy, site.published) == before
    assert "Nothing to be done" in again.stdout, again.stdout


def test_another_machine_goes_on_from_the_store(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The machine that Snakemake ran on is lost: nothing is computed again, no structure sent again."""
    proxy = finished.proxy
    folder = tmp_path_factory.mktemp("other")
    site = Site(folder, finished.site.server, "demo", proxy.endpoint)
    site.write({**DEMO, "store": site.store, "publish": site.published})
    before = len(writes(proxy, site.published))
    done = site.run()
    assert done.returncode == 0, done.stdout
    assert not site.pods.exists()
    same_as_here(site)
    sent = writes(proxy, site.published)[before:]
    assert sent[0] == f"-{MANIFEST}"
    assert not [name for name in sent if name.endswith((".pdb", ".cif", ".npz"))]
    assert {name: row["mean_plddt"] for name, row in site.metrics().items()} == {
        name: row["mean_plddt"] for name, row in finished.site.metrics().items()
    }
