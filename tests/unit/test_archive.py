"""Archives: equal content gives equal bytes, and nothing hostile or damaged is unpacked."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel.archive import most_bytes, pack, unpack
from snakefold.kernel.errors import SnakefoldError

FILES = {"a.txt": b"x" * 3000, "b/c.bin": bytes(range(256)), "empty": b""}


def compressed(raw: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(raw)


def tar(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for member in members:
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return compressed(stream.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


names = st.lists(
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120
    ).filter(lambda part: part not in {".", ".."}),
    min_size=1,
    max_size=4,
).map("/".join)


@given(st.dictionaries(names, st.binary(max_size=200), max_size=6))
def test_what_is_packed_is_unpacked(files: dict[str, bytes]) -> None:
    packed = pack(files)
    assert unpack(packed) == files
    assert pack(dict(reversed(files.items()))) == packed


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a/..", ".", ""])
def test_names_that_lead_outside_are_refused(name: str) -> None:
    with pytest.raises(SnakefoldError, match="points outside"):
        unpack(tar(member(name)))
    with pytest.raises(SnakefoldError, match="points outside"):
        pack({name: b""})


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE]
)
def test_links_and_devices_are_refused(kind: bytes) -> None:
    with pytest.raises(SnakefoldError, match="no plain file"):
        unpack(tar(member("x", kind, "/etc/passwd")))


def test_folders_are_passed_over() -> None:
    assert unpack(tar(member("a", tarfile.DIRTYPE), member("a/x"))) == {"a/x": b""}


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(SnakefoldError, match="twice"):
        unpack(tar(member("a/x"), member("a/./x")))


@pytest.mark.parametrize("size", range(0, len(pack(FILES)), 7))
def test_archive_cut_short_is_refused(size: int) -> None:
    with pytest.raises(SnakefoldError, match=r"damaged|refused"):
        unpack(pack(FILES)[:size])


def test_large_archive_cut_between_blocks_is_refused() -> None:
    packed = pack({f"{number:03d}": os.urandom(10_000) for number in range(100)})
    for size in range(0, len(packed), len(packed) // 20):
        with pytest.raises(SnakefoldError, match=r"damaged|refused"):
            unpack(packed[:size])


@given(st.integers(0, len(pack(FILES)) - 1), st.integers(1, 255))
def test_changed_byte_is_noticed(place: int, change: int) -> None:
    data = bytearray(pack(FILES))
    data[place] ^= change
    with suppress(SnakefoldError):
        assert unpack(bytes(data)) == FILES


def test_more_after_the_archive_is_refused() -> None:
    for more in (b"x", pack(FILES)):
        with pytest.raises(SnakefoldError, match="damaged"):
            unpack(pack(FILES) + more)


def test_archive_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(SnakefoldError, match="1048576 bytes"):
        unpack(compressed(b"\0" * (2 << 20)), max_bytes=1 << 20)


def test_a_small_archive_does_not_take_much_memory() -> None:
    bomb = tar(member("x"), content=b"\0" * (200 << 20))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(
            SnakefoldError, match=r"bytes and does not unpack to \d+ bytes at the most: refused"
        ):
            unpack(bomb)
        # A header that lies about its size gains nothing.
        with pytest.raises(SnakefoldError, match=r"damaged|refused"):
            unpack(compressed(b"\0" * 2048) + bomb)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_what_repeats_itself_is_unpacked() -> None:
    rows = {"msa.a3m": b">row\nMKTAYIAKQRQISFVKSHFSRQ\n" * 2_000_000}
    packed = pack(rows)
    assert len(packed) * 1000 < len(rows["msa.a3m"]) < most_bytes(len(packed))
    assert unpack(packed) == rows


def test_archive_that_does_not_say_its_size_is_refused() -> None:
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    with pytest.raises(SnakefoldError, match="refused"):
        unpack(stream.compress(b"\0" * 10240) + stream.flush())


@pytest.mark.parametrize("content", [b"1\n0\n0\n".ljust(512, b"\0"), b""])
def test_file_that_says_it_has_terabytes_of_nothing_is_refused(content: bytes) -> None:
    info = member("x")
    info.size = len(content)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": str(1 << 42),
        "GNU.sparse.name": "y",
    }
    raw = info.tobuf(format=tarfile.PAX_FORMAT) + content + b"\0" * 1024
    with pytest.raises(SnakefoldError):
        unpack(compressed(raw))


@given(st.binary(max_size=3000))
def test_any_bytes_are_unpacked_or_refused(data: bytes) -> None:
    for packed in (data, compressed(data)):
        try:
            unpack(packed)
        except SnakefoldError:
            continue
