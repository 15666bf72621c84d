"""The store: whole, verified, safe for several processes at once."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel import archive
from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import Entry, write_atomically
from snakefold.kernel.store.folder import FolderStore

ENTRY = Entry("fold", "0123456789abcdef", "ab" + "0" * 62)


def test_what_is_put_is_got(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert not store.has(ENTRY)
    assert store.get(ENTRY) is None
    for data in (b"", b"first", b"second" * 1000):
        store.put(ENTRY, data)
        assert store.has(ENTRY)
        assert store.get(ENTRY) == data
    store.remove(ENTRY)
    store.remove(ENTRY)
    assert not store.has(ENTRY)


def test_entry_has_the_documented_place(tmp_path: Path) -> None:
    FolderStore(tmp_path).put(ENTRY, b"data")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "fold" / "0123456789abcdef" / "ab" / ENTRY.key]


def test_archive_in_the_store_can_be_opened_as_one(tmp_path: Path) -> None:
    packed = archive.pack({"a": b"content"})
    store = FolderStore(tmp_path)
    store.put(ENTRY, packed)
    stream = zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO(store.path(ENTRY).read_bytes()), read_across_frames=True
    )
    assert stream.read() == zstandard.ZstdDecompressor().decompress(packed)


@pytest.mark.parametrize("place", [0, 3, 4, 20, 72, 80, -1])
def test_a_changed_byte_makes_the_entry_absent(place: int, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(ENTRY, b"some content")
    damaged = bytearray(store.path(ENTRY).read_bytes())
    damaged[place] ^= 1
    store.path(ENTRY).write_bytes(damaged)
    assert store.get(ENTRY) is None
    assert not store.has(ENTRY)
    (aside,) = (path for path in (tmp_path / "damaged").rglob("*") if path.is_file())
    assert aside.read_bytes() == damaged
    store.put(ENTRY, b"again")
    assert store.get(ENTRY) == b"again"


@pytest.mark.parametrize("size", [0, 1, 71, 72, 75])
def test_a_file_cut_short_makes_the_entry_absent(size: int, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(ENTRY, b"some content")
    store.path(ENTRY).write_bytes(store.path(ENTRY).read_bytes()[:size])
    assert store.get(ENTRY) is None
    assert not store.has(ENTRY)


@given(st.text(max_size=20))
def test_names_cannot_leave_the_folder(part: str) -> None:
    root = Path("/store")
    for parts in [(part, "r", "k"), ("fold", part, "k"), ("fold", "r", part)]:
        try:
            entry = Entry(*parts)
        except StoreError:
            continue
        path = FolderStore(root).path(entry)
        assert ".." not in path.parts
        assert path.is_relative_to(root)
        assert len(path.relative_to(root).parts) == 4


@pytest.mark.parametrize("part", ["", "..", "a/b", "/a", "A", "a b", "a\n", "\0", ".a", "-a", "x" * 129])
def test_names_are_plain(part: str) -> None:
    with pytest.raises(StoreError, match="is no store name"):
        Entry("fold", part, "k")


def _put_often(root: Path, text: str) -> None:
    store = FolderStore(root)
    for number in range(60):
        store.put(ENTRY, f"{text} {number}".encode() * 500)
        if store.get(ENTRY) is None:
            os._exit(1)


def test_several_writers_never_lose_the_entry(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("spawn").Process(target=_put_often, args=(tmp_path, text))
        for text in ("one", "two", "three")
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert FolderStore(tmp_path).get(ENTRY) is not None
    assert not (tmp_path / "damaged").exists()


def _put_forever(root: Path) -> None:
    store = FolderStore(root)
    while True:
        store.put(ENTRY, os.urandom(1 << 20))


def test_killed_writer_leaves_the_entry_whole(tmp_path: Path) -> None:
    for pause in (0, 0.003, 0.01, 0.02, 0.03):
        process = multiprocessing.get_context("spawn").Process(target=_put_forever, args=(tmp_path,))
        process.start()
        while not FolderStore(tmp_path).has(ENTRY):
            pass
        time.sleep(pause)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        data = FolderStore(tmp_path).get(ENTRY)
        assert data is not None
        assert len(data) == 1 << 20


def test_failed_write_leaves_no_trace(tmp_path: Path) -> None:
    folder = tmp_path / "out.txt"
    (folder / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomically(folder, b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        FolderStore(tmp_path / "file").put(ENTRY, b"data")


def test_store_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.path(ENTRY).mkdir(parents=True)
    assert not store.has(ENTRY)
    with pytest.raises(StoreError, match="cannot be read"):
        store.get(ENTRY)
