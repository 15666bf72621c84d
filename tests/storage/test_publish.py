"""What is published of a results folder, on a real S3 server: all that belongs there, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.run.publish.publisher import MANIFEST
from tests.servers.s3_proxy import Proxy, running
from tests.servers.seaweedfs import WRITER, SeaweedFS
from tests.storage.conftest import BUCKET
from tests.storage.published import ALL, OTHERS, PRODUCTS, named, prefix_of, send, there, write, writes


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write(tmp_path / "results", {**PRODUCTS, **OTHERS})
    return tmp_path / "results"


@pytest.fixture
def proxy(server: SeaweedFS) -> Iterator[Proxy]:
    with running(server) as between:
        yield between


@pytest.fixture
def through(proxy: Proxy, server: SeaweedFS, s3_location: str) -> str:
    return s3_location.replace(server.endpoint, proxy.endpoint)


def test_products_are_there_and_nothing_else(server: SeaweedFS, results: Path, s3_location: str) -> None:
    done = send(results, s3_location)
    found = there(server, s3_location)
    assert named(found) == ALL
    assert set(found) == {*ALL, MANIFEST}
    sizes = sum(map(len, ALL.values()))
    assert (done.files, done.size, done.sent, done.sent_size) == (len(ALL), sizes, len(ALL), sizes)


def test_a_browser_is_told_what_it_gets(server: SeaweedFS, results: Path, s3_location: str) -> None:
    send(results, s3_location)
    expected = {
        "report/index.html": "text/html; charset=utf-8",
        "report/assets/run.js": "text/javascript; charset=utf-8",
        "figures/plddt.svg": "image/svg+xml",
        "metrics.tsv": "text/tab-separated-values; charset=utf-8",
        "structures/a/ranked_0.pdb": "chemical/x-pdb",
        "structures/a/pae.npz": "application/octet-stream",
        "workflow/Snakefile": "text/plain; charset=utf-8",
    }
    client, prefix = server.client(), prefix_of(s3_location)
    heads = {name: client.head_object(Bucket=BUCKET, Key=prefix + name) for name in expected}
    assert {name: head["ContentType"] for name, head in heads.items()} == expected


def test_what_is_there_is_not_sent_again(
    proxy: Proxy, results: Path, through: str, server: SeaweedFS
) -> None:
    send(results, through)
    first = writes(proxy, through)
    assert sorted(first) == sorted([*ALL, MANIFEST])
    assert first[-1] == MANIFEST
    # Neither here, nor where the copy of the manifest was lost, or files have another time.
    (results / MANIFEST).unlink()
    (results / "metrics.tsv").touch()
    for _ in range(2):
        assert send(results, through).sent == 0
    assert writes(proxy, through) == first


def test_what_changed_is_sent_after_the_manifest_is_taken_away(
    proxy: Proxy, results: Path, through: str, server: SeaweedFS
) -> None:
    send(results, through)
    proxy.seen.clear()
    changed = {
        "metrics.tsv": b"id\trehearsal\na\tTrue\nc\tTrue\n",  # as long as before
        "report/index.html": b"<h1>REHEARSAL, longer</h1>",
        "structures/c/ranked_0.pdb": b"REMARK REHEARSAL\n",
    }
    write(results, changed)
    (results / "figures" / "plddt.svg").unlink()
    assert send(results, through).sent == 3
    order = writes(proxy, through)
    assert (order[0], sorted(order[1:-1]), order[-1]) == (f"-{MANIFEST}", sorted(changed), MANIFEST)
    found = there(server, through)
    gone = {"figures/plddt.svg", "structures/b/ranked_0.pdb"}
    assert named(found) == {name: data for name, data in {**ALL, **changed}.items() if name not in gone}
    assert gone < set(found)  # not of this run any more, and not taken away


def test_a_file_that_is_only_gone_changes_the_manifest_alone(
    proxy: Proxy, results: Path, through: str, server: SeaweedFS
) -> None:
    send(results, through)
    proxy.seen.clear()
    (results / "figures" / "plddt.svg").unlink()
    assert send(results, through).sent == 0
    assert writes(proxy, through) == [MANIFEST]
    assert "figures/plddt.svg" not in named(there(server, through))


def test_a_file_of_the_same_size_and_time_is_not_read_again(results: Path, s3_location: str) -> None:
    """Unless it is so young that it may have been written twice at one time of the clock."""
    hour = 3600 * 10**9
    ages = {results / "report/data/a.js": -hour, results / "report/assets/run.js": hour}
    times = {path: time.time_ns() + age for path, age in ages.items()}
    for step in (bytes.lower, bytes.upper):
        for path, modified in times.items():
            path.write_bytes(step(path.read_bytes()))
            os.utime(path, ns=(modified, modified))
        done = send(results, s3_location)
    assert done.sent == 1


def test_what_others_did_to_it_is_put_right(server: SeaweedFS, results: Path, s3_location: str) -> None:
    """Removed, cut short, or overwritten by as many bytes, after the manifest was written."""
    send(results, s3_location)
    client, prefix = server.client(), prefix_of(s3_location)
    client.delete_object(Bucket=BUCKET, Key=prefix + "metrics.tsv")
    client.put_object(Bucket=BUCKET, Key=prefix + "config.yaml", Body=b"results")
    same = b"X" * len(PRODUCTS["report/data/a.js"])
    client.put_object(Bucket=BUCKET, Key=prefix + "report/data/a.js", Body=same)
    assert send(results, s3_location).sent == 3
    assert named(there(server, s3_location)) == ALL


@pytest.mark.parametrize(
    "damage", [b"", b"path\tsize\n", b"path\tsize\tsha256\nmetrics.tsv\tx\t1\nmetr", b"\xff\0"]
)
def test_a_damaged_manifest_proves_nothing(
    damage: bytes, server: SeaweedFS, results: Path, s3_location: str
) -> None:
    send(results, s3_location)
    server.client().put_object(Bucket=BUCKET, Key=prefix_of(s3_location) + MANIFEST, Body=damage)
    (results / MANIFEST).write_bytes(damage)
    assert send(results, s3_location).sent == 0
    assert named(there(server, s3_location)) == ALL


def test_two_runs_in_one_prefix(server: SeaweedFS, results: Path, s3_location: str, tmp_path: Path) -> None:
    """The manifest is of the later one; what only the earlier one had stays. Either can go again."""
    other = tmp_path / "other"
    theirs = {**PRODUCTS, "metrics.tsv": b"id\trehearsal\nz\tTrue\n", "structures/z/ranked_0.pdb": b"z"}
    write(other, theirs)
    send(results, s3_location)
    send(other, s3_location)
    found = there(server, s3_location)
    assert {"structures/z/ranked_0.pdb", "metrics.tsv"} < set(named(found))
    assert found["metrics.tsv"] == theirs["metrics.tsv"]
    assert "structures/a/ranked_0.pdb" in set(found) - set(named(found))
    send(results, s3_location)
    assert named(there(server, s3_location)) == ALL


NAMES = (
    "with space.pdb",
    "ünïcødé-折叠.pdb",
    "a+b&c=d?e#f%20.pdb",
    'it\'s "quoted".pdb',
    "-rf",
    "~",
    "a" * 250,
)


def test_names_of_all_kinds(server: SeaweedFS, results: Path, s3_location: str) -> None:
    files = {f"structures/a/{name}": name.encode() for name in NAMES}
    write(results, files)
    send(results, s3_location)
    assert named(there(server, s3_location)) == {**ALL, **files}
    assert send(results, s3_location).sent == 0


def test_nothing_is_followed_out_of_the_folder(
    server: SeaweedFS, results: Path, s3_location: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret"
    write(secret, {"key.pdb": b"secret"})
    folder = results / "structures" / "a"
    (folder / "file").symlink_to(secret / "key.pdb")
    (folder / "below").symlink_to(secret, target_is_directory=True)
    (folder / "nowhere").symlink_to(tmp_path / "nothing")
    (folder / "two\nlines").write_bytes(b"")
    os.mkfifo(folder / "pipe")
    (results / "workflow" / "Snakefile").unlink()
    (results / "workflow").rmdir()
    (results / "workflow").symlink_to(secret, target_is_directory=True)
    assert cli.main(["publish", str(results), s3_location]) == 0
    output = capsys.readouterr()
    left = [f"structures/a/{name}" for name in ("file", "below", "nowhere", "pipe")]
    for name in (*left, "workflow/", r"'structures/a/two\nlines'"):
        assert f"left out: {name}: " in output.err
    assert output.out.endswith("; 6 left out\n")
    found = there(server, s3_location)
    assert named(found) == {name: data for name, data in ALL.items() if name != "workflow/Snakefile"}
    assert b"secret" not in b"".join(found.values())


def test_large_files_go_in_parts(server: SeaweedFS, results: Path, s3_location: str) -> None:
    large = {"report/large.js": os.urandom(1 << 20) * 33, "report/medium.js": os.urandom(1 << 20) * 9}
    write(results, large)
    assert send(results, s3_location).sent == len(ALL) + 2
    head = server.client().head_object(Bucket=BUCKET, Key=prefix_of(s3_location) + "report/large.js")
    assert head["ETag"].strip('"').endswith("-2")
    assert named(there(server, s3_location)) == {**ALL, **large}
    assert send(results, s3_location).sent == 0


def test_the_command_says_what_it_did(
    server: SeaweedFS, results: Path, s3_location: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = results / "published.txt"
    command = ["publish", str(results), s3_location, "--out", str(out)]
    size = sum(map(len, ALL.values()))
    whole = f"{s3_location}: {len(ALL)} files, {size} bytes"
    for sent in (f"{len(ALL)} sent ({size} bytes)", "0 sent (0 bytes)"):
        assert cli.main(command) == 0
        output = capsys.readouterr()
        assert output.out == f"{whole}; {sent}\n"
        assert out.read_text() == f"{whole}\n"
    assert WRITER.secret not in output.out + output.err + b"".join(
        there(server, s3_location).values()
    ).decode(errors="replace")
