"""What goes wrong while results are published: said in words, or got over, and never called whole."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snakefold import cli
from snakefold.config import load_config
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.kernel.store.bucket import Bucket
from snakefold.kernel.store.location import S3Location, parse_location
from snakefold.run.publish import open_destination, publish
from snakefold.run.publish.publisher import MANIFEST
from tests.servers.s3_proxy import Proxy, running
from tests.servers.seaweedfs import READER, WRITER, Keys, SeaweedFS, serving
from tests.storage.conftest import BUCKET
from tests.storage.published import ALL, PRODUCTS, named, send, there, write, writes

Choose = Callable[[Keys | None], None]
#: An upload of the middle.
LAST = "PUT .*/structures/b/ranked_0.pdb"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path / "results", PRODUCTS)
    return tmp_path / "results"


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server that a test may kill."""
    with serving(tmp_path_factory.mktemp("mortal") / "server", BUCKET) as server:
        yield server


@pytest.fixture
def proxy(mortal: SeaweedFS) -> Iterator[Proxy]:
    with running(mortal) as between:
        yield between


@pytest.fixture
def through(proxy: Proxy, tmp_path: Path) -> str:
    return f"s3://{BUCKET}/{tmp_path.name}?endpoint_url={proxy.endpoint}&region=us-east-1"


def test_killed_in_the_middle_and_again(mortal: SeaweedFS, proxy: Proxy, results: Path, through: str) -> None:
    """There is no manifest then, and what had arrived is not sent again."""
    send(results, through)
    proxy.seen.clear()
    proxy.deaths = [LAST]
    changed = {name: data + b"changed" for name, data in PRODUCTS.items() if name.startswith(("rep", "str"))}
    write(results, changed)
    program = Path(sys.executable).with_name("snakefold")
    publisher = subprocess.Popen([program, "publish", results, through])
    while not proxy.died.wait(0.1):
        assert publisher.poll() is None
    publisher.kill()
    publisher.wait()
    mortal.start()
    assert MANIFEST not in there(mortal, through)
    before = writes(proxy, through)
    proxy.seen.clear()
    send(results, through)
    assert named(there(mortal, through)) == {**ALL, **changed}
    after = writes(proxy, through)
    assert before[0] == f"-{MANIFEST}"
    assert after[-1] == MANIFEST
    # What is in neither had arrived when the server died, and could not say so.
    assert not set(before) & set(after)
    assert {*before[1:], *after[:-1]} <= set(changed)


def test_a_server_that_is_away_for_a_while(
    mortal: SeaweedFS, proxy: Proxy, results: Path, through: str
) -> None:
    place = parse_location(through)
    assert isinstance(place, S3Location)
    proxy.deaths = [LAST]
    bucket = Bucket(place, tries=200)  # a busy machine may take minutes to start a server
    failed: list[Exception] = []

    def work() -> None:
        try:
            publish(results, bucket, print)
        except SnakefoldError as error:
            failed.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert proxy.died.wait(600)
    time.sleep(1)
    mortal.start()
    worker.join()
    assert failed == []
    assert named(there(mortal, through)) == ALL


def test_an_upload_that_is_lost(mortal: SeaweedFS, proxy: Proxy, results: Path, through: str) -> None:
    """The server says that it is done, and has nothing: it is sent again before the manifest is written."""
    proxy.lost = [LAST]
    send(results, through)
    assert named(there(mortal, through)) == ALL


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between passes."""
    monkeypatch.setattr("snakefold.run.publish.publisher.wait", lambda _: None)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_keeps_nothing(proxy: Proxy, results: Path, through: str) -> None:
    proxy.lost = [LAST] * 5
    with pytest.raises(SnakefoldError, match=r"structures/b/ranked_0.pdb: was sent 5 times"):
        send(results, through)
    proxy.lost = [f"PUT .*/{MANIFEST}"]
    with pytest.raises(SnakefoldError, match=f"{MANIFEST}: was sent, and the server does not have it"):
        send(results, through)


def test_a_service_that_refuses_deletes(mortal: SeaweedFS, proxy: Proxy, results: Path, through: str) -> None:
    """The manifest is emptied instead, before anything else is written."""
    proxy.refused = ("DELETE",)
    send(results, through)
    write(results, {"metrics.parquet": b"other"})
    proxy.seen.clear()
    send(results, through)
    assert writes(proxy, through) == [MANIFEST, "metrics.parquet", MANIFEST]
    assert named(there(mortal, through)) == {**ALL, "metrics.parquet": b"other"}


def test_only_the_plainest_requests_are_made(proxy: Proxy, results: Path, through: str) -> None:
    for _ in range(2):
        send(results, through)
    assert {asked.method for asked in proxy.seen} == {"GET", "PUT", "HEAD", "POST", "DELETE"}
    multi = [asked.path.partition("?")[2] for asked in proxy.seen if asked.method in ("POST", "DELETE")]
    assert {query.partition("=")[0] for query in multi} == {"uploads", "uploadId"}


def _upload_and(bucket: Bucket, then: Callable[[str], None]) -> Bucket:
    upload = bucket.upload

    def changed(name: str, content: bytes | Path, **headers: Any) -> None:
        upload(name, content, **headers)
        then(name)

    bucket.upload = changed  # type: ignore[method-assign]
    return bucket


@pytest.mark.usefixtures("impatient")
def test_a_file_that_changes_while_it_is_published(mortal: SeaweedFS, results: Path, through: str) -> None:
    page, times = results / "report/index.html", [1, 2]

    def write_again(name: str) -> None:
        if name == "report/index.html" and times:
            page.write_text(f"version {times.pop()}")

    publish(results, _upload_and(open_destination(through), write_again), print)
    assert named(there(mortal, through)) == {**ALL, "report/index.html": b"version 1"}


def test_a_file_that_goes_away_while_it_is_published(mortal: SeaweedFS, results: Path, through: str) -> None:
    def remove(name: str) -> None:
        (results / "report/data/a.js").unlink(missing_ok=True)

    publish(results, _upload_and(open_destination(through), remove), print)
    assert named(there(mortal, through)) == {
        name: data for name, data in ALL.items() if name != "report/data/a.js"
    }


@pytest.mark.usefixtures("impatient")
def test_a_file_that_never_stops_changing(mortal: SeaweedFS, results: Path, through: str) -> None:
    versions = iter(range(100))

    def write_again(name: str) -> None:
        if name == "report/index.html":
            (results / name).write_text(f"version {next(versions):03}")

    with pytest.raises(SnakefoldError, match=r"index.html: was sent 5 times. Either it is being changed"):
        publish(results, _upload_and(open_destination(through), write_again), print)
    assert MANIFEST not in there(mortal, through)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (Keys(WRITER.access, "no-such-secret"), "does not accept the keys"),
        (READER, "The keys may not do this"),
        (None, "There are no keys"),
    ],
)
def test_keys_that_will_not_do(  # noqa: PLR0917
    keys: Keys | None,
    says: str,
    server: SeaweedFS,
    s3_location: str,
    results: Path,
    only_these_keys: Choose,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Even those that may read are refused at once, and leave nothing behind."""
    only_these_keys(keys)
    assert cli.main(["publish", str(results), s3_location]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"snakefold: publish: s3://{BUCKET}/")
    assert says in said
    for secret in (WRITER.secret, READER.secret, "no-such-secret"):
        assert secret not in said
    assert there(server, s3_location) == {}
    assert not server.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads")


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("s3://no-such-bucket/x", "There is no such bucket. Create it"),
        ("results/published", "results/published: is a folder. Expected s3://"),
        ("s3://AKIA:secret@bucket/x", "has a user or a password in it"),
    ],
)
def test_places_that_are_none(
    location: str, says: str, server: SeaweedFS, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = f"?endpoint_url={server.endpoint}" if "no-such" in location else ""
    assert cli.main(["publish", str(results), location + endpoint]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "secret" not in said


@pytest.mark.parametrize("location", ["published", "gs://bucket/x", "s3://key:secret@bucket/x", "s3://b"])
def test_settings_that_name_no_bucket(location: str) -> None:
    with pytest.raises(ConfigError, match="publish: ") as error:
        load_config({"publish": location})
    assert "secret" not in str(error.value)
    assert load_config({}).publish is None


@pytest.mark.parametrize("name", ["report/index.html", "metrics.tsv"])
def test_results_that_are_not_finished(
    name: str, results: Path, s3_location: str, server: SeaweedFS, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / name).unlink()
    assert cli.main(["publish", str(results), s3_location]) == 2
    assert f"{name} not found" in capsys.readouterr().err
    assert there(server, s3_location) == {}
