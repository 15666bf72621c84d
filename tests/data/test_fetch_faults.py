"""Fetching from servers that misbehave: in the end the right files or none, and nothing is lost."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from snakefold.kernel.download import DownloadError
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.streams import DamagedArchiveError
from snakefold.msa.databases import record
from snakefold.msa.databases.fetch import Options, fetch
from snakefold.msa.databases.known import Entry
from snakefold.msa.databases.progress import Reporter
from snakefold.msa.databases.space import NoRoomError
from tests.data import site as faults
from tests.data.conftest import FASTA, preset
from tests.data.site import Fault, Site

URL = "https://publisher.example/pub/small.fasta.gz"
METALINK = "https://publisher.example/pub/RELEASE.metalink"
ARCHIVE = gzip.compress(FASTA, mtime=0)
OTHER = gzip.compress(FASTA[::-1].replace(b"\n>", b"\n"), mtime=0)


def metalink(content: bytes, name: str = "small.fasta.gz", version: str = "2026_05") -> bytes:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return (
        '<?xml version="1.0"?><metalink xmlns="http://www.metalinker.org/" version="3.0">'
        f'<version>{version}</version><files><file name="{name}"><size>{len(content)}</size><verification>'
        f'<hash type="md5">{md5}</hash>'
        "</verification></file></files></metalink>"
    ).encode()


def options(site: Site, timeout: float = 600) -> Options:
    return Options(mirror=site.address, timeout=timeout, pause=0.001)


def get(site: Site, entries: list[Entry], timeout: float = 600) -> list[Entry]:
    return fetch(entries[0].root, entries, options(site, timeout), Reporter())


def small(tmp_path: Path, **more: object) -> list[Entry]:
    return preset(tmp_path, {"path": "small/small.fasta", "urls": [URL], **more})


@pytest.mark.parametrize(
    ("content", "fault", "ranges"),
    [
        (
            ARCHIVE,
            (faults.breaks_off(100), faults.breaks_off(1), faults.breaks_off(0)),
            ["", "100", "101", "101"],
        ),
        (ARCHIVE, (faults.status(500), faults.status(503), faults.status(429)), ["", "", "", ""]),
        (ARCHIVE, (faults.stalls(50),), ["", "50"]),
        (ARCHIVE, (faults.lies(len(ARCHIVE) + 1000),), [""]),
        (ARCHIVE, (faults.lies(100),), ["", "100"]),
        (OTHER, (faults.changes(100, ARCHIVE),), ["", "100"]),
    ],
    ids=["breaks off", "errors", "stalls", "announces too much", "announces too little", "changes"],
)
def test_what_passes_is_waited_out(
    site: Site, tmp_path: Path, content: bytes, fault: tuple[Fault, ...], ranges: list[str]
) -> None:
    site.put(URL, content, faults=list(fault))
    site.put(METALINK, metalink(ARCHIVE))
    entries = small(tmp_path, md5=METALINK)
    get(site, entries, timeout=3)  # of silence
    assert entries[0].database.path.read_bytes() == FASTA
    asked = [asked for name, asked in site.gets() if name == "small.fasta.gz"]
    assert asked == [offset and f"bytes={offset}-" for offset in ranges]
    assert not entries[0].staging.exists()


def test_a_server_without_ranges_is_read_from_the_start(site: Site, tmp_path: Path) -> None:
    site.put(URL, ARCHIVE, ranges=False, faults=[faults.breaks_off(100)])
    entries = small(tmp_path)
    get(site, entries)
    assert site.gets() == [("small.fasta.gz", ""), ("small.fasta.gz", "bytes=100-")]
    assert entries[0].database.path.read_bytes() == FASTA


def test_a_server_that_knows_dates_but_no_tags_is_continued(site: Site, tmp_path: Path) -> None:
    dated = {"Last-Modified": "Wed, 01 Jul 2026 00:00:00 GMT"}
    site.put(URL, ARCHIVE, etag=None, headers=dated, faults=[faults.breaks_off(100), faults.breaks_off(50)])
    entries = small(tmp_path)
    get(site, entries)
    assert [asked for _, asked in site.gets()] == ["", "bytes=100-", "bytes=150-"]
    assert entries[0].database.path.read_bytes() == FASTA


def test_a_later_call_goes_on_where_the_first_was_stopped(site: Site, tmp_path: Path) -> None:
    site.put(URL, ARCHIVE, faults=[faults.breaks_off(100), *[faults.breaks_off(0)] * 5])
    entries = small(tmp_path)
    with pytest.raises(DownloadError, match="Run the command again"):
        get(site, entries)
    assert entries[0].state == "unfinished"
    assert not entries[0].database.path.exists()
    get(site, entries)
    assert site.gets()[-1] == ("small.fasta.gz", "bytes=100-")
    assert entries[0].database.path.read_bytes() == FASTA
    assert entries[0].state == "there"


@pytest.mark.parametrize(
    ("announced", "error", "said"),
    [
        (100, DamagedArchiveError, "cannot be unpacked"),
        (len(ARCHIVE) + 9, DownloadError, "bytes arrived, expected"),
    ],
)
def test_a_wrong_length_is_caught_without_checksums(
    site: Site, tmp_path: Path, announced: int, error: type[Exception], said: str
) -> None:
    site.put(URL, ARCHIVE, faults=[faults.lies(announced)])
    entries = small(tmp_path)
    with pytest.raises(error, match=said):
        get(site, entries)
    assert not entries[0].database.path.exists()
    get(site, entries)
    assert entries[0].database.path.read_bytes() == FASTA


def test_wrong_bytes_are_refused_and_fetched_anew(site: Site, tmp_path: Path) -> None:
    page = site.put(URL, ARCHIVE[:50] + b"X" + ARCHIVE[51:])
    site.put(METALINK, metalink(ARCHIVE))
    entries = small(tmp_path, md5=METALINK)
    with pytest.raises(DownloadError, match="MD5 is"):
        get(site, entries)
    assert not entries[0].database.path.exists()
    page.content, page.etag = ARCHIVE, '"two"'
    get(site, entries)
    assert entries[0].database.path.read_bytes() == FASTA


def test_a_page_in_place_of_the_archive_is_refused(site: Site, tmp_path: Path) -> None:
    site.put(URL, b"\x1f\x8b<html>Please log in</html>")
    entries = small(tmp_path)
    with pytest.raises(DamagedArchiveError, match="cannot be unpacked"):
        get(site, entries)
    assert not entries[0].database.path.exists()


def test_a_file_that_is_not_there_ends_it_at_once(site: Site, tmp_path: Path) -> None:
    entries = small(tmp_path)
    with pytest.raises(DownloadError, match=r"404.*mirror"):
        get(site, entries)
    assert len(site.gets()) == 1


def test_a_release_without_the_file_is_not_fetched_unchecked(site: Site, tmp_path: Path) -> None:
    site.put(URL, ARCHIVE)
    site.put(METALINK, metalink(ARCHIVE, name="another.gz"))
    with pytest.raises(SnakefoldError, match="--no-checksums"):
        get(site, small(tmp_path, md5=METALINK))
    assert [name for name, _ in site.gets()] == ["RELEASE.metalink"]


def test_a_new_release_between_two_calls_replaces_what_was_fetched(site: Site, tmp_path: Path) -> None:
    """The archive is whole, unpacking was stopped, and the publisher has a new release by then."""
    newer = gzip.compress(FASTA + b">new\nACDEFGHIKL\n", mtime=0)
    site.put(URL, newer, etag='"two"')
    site.put(METALINK, metalink(newer, version="2026_06"))
    entries = small(tmp_path, md5=METALINK)
    entries[0].staging.mkdir(parents=True)
    (entries[0].staging / "small.fasta.gz").write_bytes(ARCHIVE)
    get(site, entries)
    assert entries[0].database.path.read_bytes().endswith(b">new\nACDEFGHIKL\n")
    assert record.read(entries[0].root)[entries[0].key].release == "2026_06"


def test_too_little_room_is_said_before_the_first_byte(site: Site, tmp_path: Path) -> None:
    site.put(URL, ARCHIVE)
    entries = small(tmp_path, download=len(ARCHIVE) / 1e9, gigabytes=1e9)
    with pytest.raises(NoRoomError, match=r"are free(.|\n)*--force"):
        get(site, entries)
    assert site.gets() == []
    assert not entries[0].root.exists()
    fetch(entries[0].root, entries, Options(mirror=site.address, force=True), Reporter())
    assert entries[0].state == "there"
