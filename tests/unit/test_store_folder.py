"""A folder as a store: last use, several users, and several processes at once."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import random
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import Entry, open_store
from snakefold.kernel.store.entry import entry_of, unwrap, wrap
from snakefold.kernel.store.folder import FolderStore
from snakefold.kernel.store.maintenance import collect_garbage, verify
from snakefold.kernel.store.transfer import import_store

DAY = 86_400
ONE = Entry("fold", "0123456789abcdef", "ab" + "0" * 62)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_names_lead_back_to_their_entry(kind: str, recipe: str, key: str) -> None:
    entry = Entry(kind, recipe, key)
    assert entry_of(entry.name) == entry


@given(st.text(max_size=30) | st.lists(NAMES, max_size=5).map("/".join))
def test_any_name_is_an_entrys_own_or_none(name: str) -> None:
    entry = entry_of(name)
    assert entry is None or entry.name == name


@given(st.binary(max_size=100))
def test_any_bytes_are_whole_or_damaged(found: bytes) -> None:
    data = unwrap(found)
    assert data is None or wrap(data) == found
    assert unwrap(wrap(found)) == found


@pytest.mark.parametrize("kind", ["damaged", "compiled"])
def test_the_stores_own_folders_are_no_kinds(kind: str) -> None:
    with pytest.raises(StoreError, match="no kind of entry"):
        Entry(kind, "r", "k")


def aged(store: FolderStore, entry: Entry, days: float) -> float:
    when = time.time() - days * DAY
    os.utime(store.path(entry), (when, when))
    return store.path(entry).stat().st_mtime


def test_last_use_is_kept_to_the_day(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(ONE, b"data")
    recent = aged(store, ONE, 0.5)
    store.get(ONE)
    assert store.path(ONE).stat().st_mtime == recent
    old = aged(store, ONE, 40)
    store.has(ONE)
    store.check(ONE)
    store.get(ONE, used=False)
    store.keys("fold", ONE.recipe)
    assert store.path(ONE).stat().st_mtime == old
    store.get(ONE)
    assert time.time() - store.path(ONE).stat().st_mtime < DAY / 2


def test_gc_removes_what_nobody_used(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    entries = [Entry("fold", "r", f"{number:064x}") for number in range(4)]
    for entry in entries:
        store.put(entry, b"data")
        aged(store, entry, 40)
    store.get(entries[0])
    attempts = [Entry("attempt", "r", key) for key in ("young", "old", "older")]
    for attempt, days in zip(attempts, (3, 8, 40), strict=True):
        store.put(attempt, b"{}")
        aged(store, attempt, days)
    parts = [store.path(entries[0]).with_name(f".{name}.1.part") for name in ("young", "old")]
    for part, days in zip(parts, (0.5, 2), strict=True):
        part.write_bytes(b"part")
        os.utime(part, (time.time() - days * DAY,) * 2)
    done = collect_garbage(store, 30 * DAY, print)
    assert {each.entry for each in store.listing()} == {entries[0], *attempts[:2]}
    assert (done.entries, done.leftovers, done.kept) == (4, 1, 3)
    assert [part.exists() for part in parts] == [True, False]
    collect_garbage(store, 0, print)
    assert {each.entry for each in store.listing()} == {attempts[0]}


def test_an_entry_written_anew_while_it_was_read_is_not_moved_aside(tmp_path: Path) -> None:
    """Between reading a damaged entry and moving it aside another process puts a whole one there."""

    class Slow(FolderStore):
        def _read(self, path: Path) -> tuple[bytes, os.stat_result] | None:
            found = super()._read(path)
            if found and unwrap(found[0]) is None:
                FolderStore(tmp_path).put(ONE, b"whole")
            return found

    store = Slow(tmp_path)
    store.put(ONE, b"data")
    store.path(ONE).write_bytes(b"damaged")
    assert store.get(ONE) == b"whole"
    assert FolderStore(tmp_path).get(ONE) == b"whole"


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that other users can reach: pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="snakefold-shared-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_somebody_else() -> Iterator[None]:
    """Without root's rights, which no permission stops."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_a_store_that_may_only_be_read_serves(shared_folder: Path) -> None:
    store = FolderStore(shared_folder / "store")
    damaged = Entry("fold", "r", "d" * 64)
    for entry in (ONE, damaged):
        store.put(entry, b"data")
        aged(store, entry, 40)
    store.path(damaged).write_bytes(b"damaged")
    for path in [store.root, *store.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_somebody_else():
        assert store.get(ONE) == b"data"
        assert store.keys("fold", ONE.recipe) == {ONE.key}
        assert store.get(damaged) is None
        assert verify(store, print).damaged == [damaged]
        for act in (lambda: store.put(ONE, b"x"), lambda: store.remove(ONE)):
            with pytest.raises(StoreError, match="ermission"):
                act()
    assert store.has(damaged)


def test_a_store_that_may_not_be_listed_says_so(shared_folder: Path) -> None:
    store = FolderStore(shared_folder / "store")
    store.put(ONE, b"data")
    (store.root / "fold").chmod(0)
    with as_somebody_else():
        for act in (lambda: list(store.listing()), lambda: store.keys("fold", ONE.recipe)):
            with pytest.raises(StoreError, match="cannot be listed"):
                act()


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o002, 0o664, 0o775), (0o077, 0o600, 0o700)])
def test_umask_and_setgid_decide_who_may(umask: int, file: int, folder: int, tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(0o2775)
    before = os.umask(umask)
    try:
        FolderStore(root).put(ONE, b"data")
    finally:
        os.umask(before)
    path = FolderStore(root).path(ONE)
    assert stat.S_IMODE(path.stat().st_mode) == file
    for parent in path.parents[:3]:
        assert stat.S_IMODE(parent.stat().st_mode) == folder | stat.S_ISGID


_SHARED = [Entry("fold", "r", hashlib.sha256(bytes([number])).hexdigest()) for number in range(12)]


def _content(entry: Entry, number: int) -> bytes:
    return f"{entry.key} {number}".encode() * (number % 40 + 1)


def _use(root: Path, seed: int) -> None:
    """Put, get, remove, damage, list, verify and clean, in any order; what is got must be what was put."""
    store, dice = open_store(root), random.Random(seed)
    for number in range(150):
        entry = dice.choice(_SHARED)
        action = dice.choice(["put", "put", "put", "get", "get", "get", "remove", "list", "damage", "gc"])
        if action == "put":
            store.put(entry, _content(entry, number))
        elif action == "get":
            data = store.get(entry)
            if data is not None and not data.startswith(entry.key.encode()):
                os._exit(3)
        elif action == "remove":
            store.remove(entry)
        elif action == "list" and not store.keys("fold", "r") <= {each.key for each in _SHARED}:
            os._exit(4)
        elif action == "damage":
            (root / entry.name).parent.mkdir(parents=True, exist_ok=True)
            (root / entry.name).write_bytes(b"damaged")
        elif action == "gc":
            verify(store, print)
            collect_garbage(store, 3600, print)


def test_processes_do_what_they_like_with_one_store(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_use, args=(tmp_path, seed)) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    store = FolderStore(tmp_path)
    verify(store, print)
    collect_garbage(store, 3600, print)
    assert verify(store, print).damaged == []
    assert list(store.leftovers()) == []


@settings(max_examples=150)
@given(st.binary(max_size=2000))
def test_no_bytes_pass_as_an_export(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "x.tar")
        file.write_bytes(content)
        with pytest.raises(StoreError):
            import_store(FolderStore(Path(folder, "store")), file, print)
        assert not Path(folder, "store").exists()
