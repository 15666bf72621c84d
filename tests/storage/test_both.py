"""What every store promises: the same tests on a folder and on a real S3 server."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard

from snakefold.kernel import archive
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.store.entry import wrap
from tests.storage.conftest import entry

Overwrite = Callable[[str, bytes], None]
Content = Callable[[], dict[str, bytes]]


def test_what_is_put_is_got(store: Store) -> None:
    one = entry(1)
    assert not store.has(one)
    assert store.get(one) is None
    assert store.check(one) is None
    for data in (b"", b"first", b"second" * 1000):
        store.put(one, data)
        assert store.has(one)
        assert store.get(one) == data
        assert store.check(one) is True
    store.remove(one)
    store.remove(one)
    assert not store.has(one)


def test_entries_have_the_same_names_and_bytes_everywhere(store: Store, content: Content) -> None:
    store.put(entry(1), b"data")
    assert content() == {f"fold/0123456789abcdef/01/{entry(1).key}": wrap(b"data")}


def test_an_archive_in_the_store_can_be_opened_as_one(store: Store, content: Content) -> None:
    packed = archive.pack({"a": b"content"})
    store.put(entry(1), packed)
    (kept,) = content().values()
    stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(kept), read_across_frames=True)
    assert stream.read() == zstandard.ZstdDecompressor().decompress(packed)


def test_a_store_is_what_lies_there(store: Store, location: str) -> None:
    store.put(entry(1), b"data")
    again = open_store(location)
    assert again.location == store.location
    assert again.get(entry(1)) == b"data"


def test_listing_names_what_is_there_and_nothing_else(store: Store, overwrite: Overwrite) -> None:
    entries = [
        *(entry(number) for number in (3, 1, 2)),
        entry(1, recipe="0123456789abcdef0"),
        entry(1, kind="folder"),
        entry(5, kind="msa", recipe="r"),
    ]
    assert list(store.listing()) == []
    for number, each in enumerate(entries):
        store.put(each, b"x" * number)
    key = entry(1).key
    for stray in (
        *("README", "fold/x", f"fold/r/{key}", f"fold/r/02/{key}", f"fold/r/01/{key}/more"),
        *(f"fold/r/01/.{key}.1.part", "compiled/jit_run-1", f"Fold/r/01/{key}", f"damaged/fold/r/{key}.1"),
    ):
        overwrite(stray, b"no entry")
    listed = list(store.listing())
    assert [each.entry for each in listed] == sorted(entries, key=lambda each: each.name)
    assert [each.entry for each in store.listing("fold")] == sorted(
        [each for each in entries if each.kind == "fold"], key=lambda each: each.name
    )
    sizes = {each: number + len(wrap(b"")) for number, each in enumerate(entries)}
    assert {each.entry: each.size for each in listed} == sizes
    assert [each.entry for each in store.listing(recipe="r")] == [entries[-1]]
    assert store.keys("fold", "0123456789abcdef") == {entry(number).key for number in (1, 2, 3)}
    assert store.keys("fold", "0123456789abcde") == set()
    assert store.keys("structure", "0123456789abcdef") == set()


def test_listing_says_when(store: Store) -> None:
    import time

    before = time.time()
    store.put(entry(1), b"data")
    (listed,) = store.listing()
    assert before - 2 <= listed.modified <= time.time() + 2


@pytest.mark.parametrize("place", [0, 3, 4, 20, 72, 80, -1])
def test_a_changed_byte_makes_the_entry_absent(
    place: int, store: Store, overwrite: Overwrite, content: Content
) -> None:
    damaged = bytearray(wrap(b"some content"))
    damaged[place] ^= 1
    overwrite(entry(1).name, bytes(damaged))
    assert store.has(entry(1))
    assert store.get(entry(1)) is None
    assert not store.has(entry(1))
    ((name, kept),) = content().items()
    assert name.startswith(f"damaged/fold/0123456789abcdef/{entry(1).key}.")
    assert kept == damaged
    (leftover,) = store.leftovers()
    assert (leftover.name, leftover.size, leftover.damaged) == (name, len(damaged), True)
    store.put(entry(1), b"again")
    assert store.get(entry(1)) == b"again"
    store.discard(leftover)
    store.discard(leftover)
    assert list(content()) == [entry(1).name]


@pytest.mark.parametrize("size", [0, 1, 71, 72, 75])
def test_an_entry_cut_short_is_absent(size: int, store: Store, overwrite: Overwrite) -> None:
    overwrite(entry(1).name, wrap(b"some content")[:size])
    assert store.check(entry(1)) is False
    assert store.check(entry(1)) is None
    assert not store.has(entry(1))


def test_two_writers_of_one_entry_leave_one_of_them_whole(store: Store, location: str) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"abcdef"]

    def write(data: bytes) -> bytes | None:
        mine = open_store(location)
        for _ in range(5):
            mine.put(entry(1), data)
        return mine.get(entry(1))

    with ThreadPoolExecutor(len(contents)) as pool:
        seen = list(pool.map(write, contents))
    assert set(seen) <= set(contents)
    assert store.get(entry(1)) in contents
    assert list(store.leftovers()) == []


def test_one_store_serves_many_threads(store: Store) -> None:
    def work(number: int) -> bytes | None:
        one = Entry("fold", "r", f"{number:064x}")
        store.put(one, bytes([number]) * 1000)
        return store.get(one)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(64))) == [bytes([number]) * 1000 for number in range(64)]
    assert len(store.keys("fold", "r")) == 64
