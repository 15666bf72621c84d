"""Unpacking: whole files or an error, wherever an archive was cut, and nothing outside the folder."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakefold.kernel.streams import DamagedArchiveError
from snakefold.msa.databases.pdb import listed
from snakefold.msa.databases.unpack import (
    ChecksumError,
    join,
    parse_md5sums,
    parse_metalink,
    read_metalink,
    unpack,
)
from tests.data.conftest import FASTA, tar

FILES = {"a.ffdata": b"A" * 5000, "b.ffindex": FASTA[:3000], "empty": b""}
MD5S = b"".join(
    b"%s  %s\n" % (md5, name)
    for md5, name in ((b"0" * 32, b"unknown"), (b"d41d8cd98f00b204e9800998ecf8427e", b"./sub/empty"))
)


COMPRESSED = {
    "gz": gzip.compress(tar(FILES), mtime=0),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress(tar(FILES)),
}


@pytest.mark.parametrize("form", ["gz", "zst"])
def test_files_come_out_whole(tmp_path: Path, form: str) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(COMPRESSED[form])
    seen: list[tuple[int, int]] = []
    written = unpack(archive, tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert {path.name: path.read_bytes() for path in written} == FILES
    assert seen[-1] == (len(COMPRESSED[form]), len(COMPRESSED[form]))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_archive_cut_anywhere_is_no_archive(tmp_path: Path, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["gz", "zst"]))
    whole = COMPRESSED[form]
    cut = data.draw(st.integers(5, len(whole) - 1))
    archive, out = tmp_path / "archive", tmp_path / f"{form}{cut}"
    archive.write_bytes(whole[:cut])
    with pytest.raises(DamagedArchiveError, match="cannot be unpacked"):
        unpack(archive, out)
    for path in out.iterdir():
        assert path.suffix == ".part" or path.read_bytes() == FILES[path.name]
    archive.write_bytes(whole)
    assert {path.name: path.read_bytes() for path in unpack(archive, out)} == FILES


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(5, 5000), st.sampled_from(["gz", "zst"]))
def test_a_cut_file_is_not_joined(tmp_path: Path, cut: int, form: str) -> None:
    make = gzip.compress if form == "gz" else zstandard.ZstdCompressor(write_checksum=True).compress
    whole = make(FASTA)
    source, target = tmp_path / "source", tmp_path / "target"
    target.unlink(missing_ok=True)
    source.write_bytes(whole[: min(cut, len(whole) - 1)])
    with pytest.raises(DamagedArchiveError):
        join([source], target)
    assert not target.exists()


def test_frames_and_members_one_after_the_other_are_all_read(tmp_path: Path) -> None:
    """pzstd and bgzip write files of many."""
    zst, gz = tmp_path / "zst", tmp_path / "gz"
    zst.write_bytes(
        b"".join(zstandard.ZstdCompressor().compress(FASTA[i : i + 9000]) for i in range(0, 50_000, 9000))
    )
    gz.write_bytes(b"".join(gzip.compress(FASTA[i : i + 9000]) for i in range(0, 50_000, 9000)))
    join([zst, gz], tmp_path / "joined")
    assert (tmp_path / "joined").read_bytes() == FASTA[:54_000] * 2


def test_flipped_bytes_are_seen(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(FASTA, mtime=0))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "source").write_bytes(whole)
    with pytest.raises(DamagedArchiveError):
        join([tmp_path / "source"], tmp_path / "target")


def test_a_list_of_md5s_in_the_archive_is_held_against_its_files(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(tar({**FILES, "x.md5sums": MD5S}))
    unpack(archive, tmp_path / "sound")
    archive.write_bytes(tar({**FILES, "empty": b"not empty", "x.md5sums": MD5S}))
    with pytest.raises(DamagedArchiveError, match="empty: not the MD5"):
        unpack(archive, tmp_path / "wrong")
    assert not (tmp_path / "wrong/empty").exists()


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "deep/down/evil"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(tar({name: b"x"}))
    unpack(archive, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["evil"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret", "..", "a/b"])
def test_links_that_lead_elsewhere_are_refused(tmp_path: Path, target: str) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(tar({"db": b"x"}, {"db_link": target}))
    with pytest.raises(DamagedArchiveError, match="link"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out/db_link").exists()


def test_links_to_a_file_beside_them_stay_links(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(tar({"db_h": b"x"}, {"db_seq_h": "db_h"}))
    unpack(archive, tmp_path / "out")
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out/db_seq_h").readlink() == Path("db_h")


def test_a_link_already_there_is_not_written_through(tmp_path: Path) -> None:
    """A member that comes after a link of its name replaces the link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        link = tarfile.TarInfo("db")
        link.type, link.linkname = tarfile.SYMTYPE, "other"
        archive.addfile(link)
        member = tarfile.TarInfo("db")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "archive").write_bytes(stream.getvalue())
    unpack(tmp_path / "archive", tmp_path / "out")
    assert (tmp_path / "out/db").read_bytes() == b"x"
    assert not (tmp_path / "out/other").exists()


def test_metalinks_and_md5sums() -> None:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><metalink version="3.0" xmlns="http://www.metalinker.org/">'
        '<version>2026_05</version><files><file name="a.gz"><size>12</size><verification><hash type="md5">'
        f"{'AB' * 16}</hash></verification></file><file name='b.gz'><verification><hash type='sha1'>x</hash>"
        "</verification></file></files></metalink>"
    )
    release, files = parse_metalink(text)
    assert release == "2026_05"
    assert (files["a.gz"].bytes, files["a.gz"].md5) == (12, "ab" * 16)
    assert files["b.gz"].md5 is None
    for wrong in ("", "<html></html>", '<!DOCTYPE a [<!ENTITY b "c">]><metalink>&b;</metalink>'):
        with pytest.raises(ValueError, match=r"."):
            parse_metalink(wrong)
    assert parse_md5sums(f"{'ab' * 16}  *dir/x\nnonsense\n") == {"x": "ab" * 16}


def test_a_list_that_cannot_be_had_says_what_to_do() -> None:
    with pytest.raises(ChecksumError, match="--no-checksums"):
        read_metalink("http://127.0.0.1:9/RELEASE.metalink", timeout=1)


@given(st.text(max_size=60))
def test_any_text_is_a_list_of_entries_or_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        listed(text.encode())


def test_entries_are_taken_by_their_form_alone() -> None:
    path = "/pub/pdb/data/structures/divided/mmCIF/ab/1abc.cif.gz"
    holdings = f'{{"1ABC": {{"mmcif": ["{path}", "/etc/../1xyz.cif.gz"], "pdb": ["{path}"]}}, "2": {{}}}}'
    assert listed(holdings.encode()) == {"1abc": path}
