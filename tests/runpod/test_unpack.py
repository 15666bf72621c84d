"""Archives and parts from elsewhere: taken whole and as they should be, or refused."""

from __future__ import annotations

import base64
import gzip
import os
import struct
import tarfile
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.clusters.runpod import ResultError, Session, save_results
from snakefold.clusters.runpod.parts import parts_of, safe_name
from snakefold.clusters.runpod.unpack import unpack

from .helpers import part_of, tar_of

FILES = {"a/ranked_0.pdb": b"ATOM" * 100, "a/ranking_debug.json": b"{}"}
SESSION = Session("rpa_x", patience=0.2)


def member(name, kind=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def everything_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("pack", ["gzip", "zstd", "zstd without size", "tar"])
def test_archives_of_every_kind(tmp_path, pack):
    raw = tar_of(FILES, compressed=False)
    sized, unsized = zstandard.ZstdCompressor(), zstandard.ZstdCompressor(write_content_size=False)
    data = {
        "gzip": gzip.compress(raw),
        "zstd": sized.compress(raw),
        "zstd without size": unsized.compress(raw),
        "tar": raw,
    }[pack]
    (tmp_path / "x").write_bytes(data)
    files = unpack(tmp_path / "x", tmp_path / "out")
    assert everything_in(tmp_path / "out") == sorted(FILES)
    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in files} == FILES


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("../evil")], "outside"),
        ([member("/evil")], "outside"),
        ([member("a/../../evil")], "outside"),
        ([member("..\\evil")], "outside"),
        ([member("a\x1b[31m")], "outside"),
        ([member("link", tarfile.SYMTYPE, link="/etc/passwd")], "no plain file"),
        ([member("link", tarfile.LNKTYPE, link="a/ranked_0.pdb")], "no plain file"),
        ([member("pipe", tarfile.FIFOTYPE)], "no plain file"),
        ([member("disk", tarfile.BLKTYPE)], "no plain file"),
        ([member("twice"), member("twice")], "twice"),
        ([member("twice"), member("TWICE")], "twice"),
        ([member("twice"), member("twice/below")], "unpacked"),
        ([member("x" * 300)], "unpacked"),
        ([member(f"f{number}") for number in range(51)], "more than 50 files"),
        ([member("large", size=2_000_000)], "more than 1000000 bytes"),
    ],
)
def test_hostile_archives_leave_nothing(tmp_path, members, said):
    (tmp_path / "x").write_bytes(tar_of(FILES, *members))
    with pytest.raises(ResultError, match=said):
        unpack(tmp_path / "x", tmp_path / "deep" / "out", most_bytes=1_000_000, most_files=50)
    assert everything_in(tmp_path) == ["x"]


def test_headers_do_not_fill_the_memory(tmp_path):
    header = member("h", tarfile.XHDTYPE, size=300_000_000).tobuf(tarfile.USTAR_FORMAT)
    (tmp_path / "x").write_bytes(gzip.compress(header + b"\0" * 20_000_000))
    with pytest.raises(ResultError, match="header"):
        unpack(tmp_path / "x", tmp_path / "out")


def test_a_sparse_file_is_refused(tmp_path):
    info = member("sparse", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:398] = b"00000000000\0"
    block[398:410] = b"00000000000\0"
    block[483:495] = b"77777777777\0"  # its size when written out
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x").write_bytes(gzip.compress(bytes(block) + b"\0" * 1024))
    with pytest.raises(ResultError):
        unpack(tmp_path / "x", tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 400), pack=st.sampled_from(["gzip", "zstd"]))
def test_what_is_cut_short_is_refused(tmp_path_factory, cut, pack):
    folder = tmp_path_factory.mktemp("cut")
    raw = tar_of({"random": os.urandom(2000)}, compressed=False)
    data = gzip.compress(raw) if pack == "gzip" else zstandard.ZstdCompressor().compress(raw)
    (folder / "x").write_bytes(data[:-cut])
    with pytest.raises(ResultError):
        unpack(folder / "x", folder / "out")
    assert everything_in(folder) == ["x"]


def test_the_checksum_of_gzip_counts(tmp_path):
    raw = tar_of(FILES, compressed=False)
    packed = zlib.compressobj(wbits=-15)
    body = packed.compress(raw) + packed.flush()
    wrong = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + struct.pack("<II", zlib.crc32(raw) ^ 1, len(raw))
    (tmp_path / "x").write_bytes(wrong)
    with pytest.raises(ResultError, match="damaged"):
        unpack(tmp_path / "x", tmp_path / "out")


def test_every_form_of_output(tmp_path):
    archive = tar_of(FILES)
    other = tar_of({"b/ranked_0.pdb": b"B"})
    text = {"size": 3, "sha256": part_of(b"q\tt")["sha256"], "text": "q\tt"}
    forms = {
        "flat": {"archive": part_of(archive, name="a.tar.gz", id="a")},
        "several": {"archives": [part_of(archive, name="a.tar.gz"), part_of(other, name="b.tar.gz")]},
        "bare": {"archives": [base64.b64encode(archive).decode(), base64.b64encode(other).decode()]},
        "envelope": {"version": 1, "results": {"archive": part_of(archive)}},
        "twice": {
            "archive": part_of(archive, name="a.tar.gz"),
            "archives": [part_of(archive, name="a.tar.gz")],
        },
        "texts": {
            "tsv": "q\tt",
            "cluster_tsv": "a\tb\n",
            "a3m_gz_b64": part_of(gzip.compress(b">q\nM\n"))["base64"],
        },
        "both": {"tsv": "t", "files": {"tsv": text}, "a3m_gz_b64": "QQ==", "a3m": {"q": part_of(b">q\nM\n")}},
        "search": {"tsv": text, "a3m": {"query one": part_of(b">q\nM\n")}, "commands": ["mmseqs …"]},
    }
    found = {}
    for name, output in forms.items():
        save_results(SESSION, output, tmp_path / name)
        found[name] = everything_in(tmp_path / name)
    assert found["twice"] == found["flat"]
    assert found["texts"] == ["alignments.a3m.gz", "clusters.tsv", "response.json", "tsv"]
    assert found["both"] == ["q", "response.json", "tsv"]
    assert found["flat"] == found["envelope"] == [*sorted(FILES), "response.json"]
    assert found["several"] == [*sorted(FILES), "b/ranked_0.pdb", "response.json"]
    bare = [*(f"archive/{name}" for name in FILES), "2-archive/b/ranked_0.pdb", "response.json"]
    assert found["bare"] == sorted(bare)
    assert found["search"] == ["query_one", "response.json", "tsv"]
    assert "base64" not in (tmp_path / "bare" / "response.json").read_text()[:40]
    assert len((tmp_path / "several" / "response.json").read_text()) < 2000  # names and sums, no bytes


def test_several_archives_do_not_overwrite_each_other(tmp_path):
    one, two = tar_of({"ranked_0.pdb": b"1"}), tar_of({"ranked_0.pdb": b"2"})
    output = {"archives": [part_of(one, name="t1.tar.gz"), part_of(two, name="t2.tar.gz")]}
    for _ in range(2):
        save_results(SESSION, output, tmp_path)
        assert everything_in(tmp_path) == ["response.json", "t1/ranked_0.pdb", "t2/ranked_0.pdb"]
    assert (tmp_path / "t2/ranked_0.pdb").read_bytes() == b"2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "0" * 64}, "sha256"),
        ({"size": 7}, "in place of 7"),
        ({"base64": "###"}, "no base64"),
        ({"base64": None, "url": "http://192.0.2.1/x"}, "only https"),
        ({"base64": None, "url": "file:///etc/passwd"}, "only https"),
        ({"base64": None, "path": "runs/1.tar.zst"}, "network volume"),
        ({"size": 2 << 40}, "more than"),
    ],
)
def test_damaged_parts_are_refused_and_the_others_kept(tmp_path, change, said):
    bad = {key: value for key, value in (part_of(tar_of(FILES)) | change).items() if value is not None}
    output = {"archives": [bad, part_of(tar_of({"good": b"1"}))]}
    with pytest.raises(ResultError, match=said):
        save_results(SESSION, output, tmp_path)
    assert everything_in(tmp_path) == ["good", "response.json"]


def test_signed_addresses_are_not_written(tmp_path):
    part = part_of(b"x") | {"url": "https://127.0.0.1:1/x?X-Amz-Signature=secret"}
    del part["base64"]
    with pytest.raises(ResultError) as caught:
        save_results(SESSION, {"archive": part}, tmp_path)
    assert "secret" not in str(caught.value) + (tmp_path / "response.json").read_text()


@given(st.text(max_size=300))
def test_names_are_names(text):
    name = safe_name(text)
    assert name == os.path.basename(name)  # noqa: PTH119
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert 0 < len(name) <= 150


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["base64", "url", "size", "sha256", "name", "archive", "archives", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_output_can_be_looked_through(output):
    names = [part.name for part in parts_of(output)]
    assert len(set(names)) == len(names)


def test_an_empty_archive(tmp_path):
    (tmp_path / "x").write_bytes(tar_of({}))
    assert unpack(tmp_path / "x", tmp_path / "out") == []
