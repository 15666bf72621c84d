"""Counting, checking, cleaning up and moving, on both kinds of store."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold import cli
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.store.entry import wrap
from snakefold.kernel.store.folder import FolderStore
from snakefold.kernel.store.maintenance import collect_garbage, stats, verify
from snakefold.kernel.store.transfer import export_store, import_store
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.conftest import BUCKET, entry, prefix_of

DAY = 86_400
Overwrite = Callable[[str, bytes], None]
Content = Callable[[], dict[str, bytes]]


def quiet(line: str) -> None:
    raise AssertionError(f"progress of a second's work: {line}")


def fill(store: Store) -> dict[Entry, bytes]:
    filled = {
        **{entry(number): bytes([number]) * 100 for number in range(40)},
        **{entry(number, "msa", "r"): bytes([number]) for number in range(3)},
    }
    for each, data in filled.items():
        store.put(each, data)
    return filled


def test_stats_counts_by_kind_and_recipe(store: Store, overwrite: Overwrite) -> None:
    before = time.time()
    fill(store)
    overwrite("damaged/fold/r/x.1", b"123")
    found = stats(store, quiet)
    header = len(wrap(b""))
    counted = [(share.kind, share.recipe, share.entries, share.size) for share in found.shares]
    assert counted == [
        ("fold", "0123456789abcdef", 40, 40 * (100 + header)),
        ("msa", "r", 3, 3 * (1 + header)),
    ]
    assert (found.damaged.entries, found.damaged.size) == (1, 3)
    assert before - 2 < found.shares[0].oldest <= found.shares[0].newest < time.time() + 2


def test_verify_lists_what_is_damaged_and_moves_it_aside(store: Store, overwrite: Overwrite) -> None:
    filled = fill(store)
    assert verify(store, quiet).damaged == []
    broken = [entry(7), entry(33)]
    for each in broken:
        overwrite(each.name, wrap(b"whole")[:-1] + b"?")
    found = verify(store, quiet)
    assert (found.entries, found.damaged) == (len(filled), broken)
    assert verify(store, quiet).damaged == []
    assert store.keys("fold", "0123456789abcdef") == {
        each.key for each in filled if each.kind == "fold" and each not in broken
    }


def test_gc_empties_damaged_and_keeps_the_rest(store: Store, overwrite: Overwrite) -> None:
    filled = fill(store)
    overwrite("damaged/fold/r/x.1", b"123")
    for dry_run in (True, False):
        done = collect_garbage(store, DAY, quiet, dry_run=dry_run)
        assert (done.entries, done.leftovers, done.size, done.kept) == (0, 1, 3, len(filled))
    assert list(store.leftovers()) == []
    assert {each.entry for each in store.listing()} == set(filled)


def test_gc_removes_what_is_old_but_no_attempt_of_this_week(store: Store, content: Content) -> None:
    filled = fill(store)
    attempt = Entry("attempt", "r", "1" * 64)
    store.put(attempt, b"{}")
    time.sleep(1.1)  # S3 keeps times to the second
    assert collect_garbage(store, 0, quiet, dry_run=True).entries == len(filled)
    before = sum(map(len, content().values()))
    done = collect_garbage(store, 0, quiet)
    assert (done.entries, done.kept) == (len(filled), 1)
    assert done.size == before - sum(map(len, content().values()))
    assert list(content()) == [attempt.name]


def test_unfinished_uploads_are_leftovers(server: SeaweedFS, s3_location: str) -> None:
    store = open_store(s3_location)
    client = server.client()
    name = f"{prefix_of(store)}/{entry(1).name}"
    upload = client.create_multipart_upload(Bucket=BUCKET, Key=name)["UploadId"]
    client.upload_part(Bucket=BUCKET, Key=name, UploadId=upload, PartNumber=1, Body=b"part")
    (leftover,) = store.leftovers()
    assert (leftover.name, leftover.upload, leftover.damaged) == (entry(1).name, upload, False)
    assert collect_garbage(store, 0, quiet).leftovers == 0  # it may be going on
    store.discard(leftover)
    store.discard(leftover)
    assert list(store.leftovers()) == []


def test_a_store_moves_from_any_to_any(
    store: Store, s3_location: str, tmp_path: Path, content: Content
) -> None:
    filled = fill(store)
    store.put(Entry("attempt", "r", "1" * 64), b"{}")
    file = tmp_path / "store.tar"
    assert export_store(store, file, quiet).entries == len(filled)
    for number, location in enumerate([str(tmp_path / "other"), f"{s3_location}&addressing_style=path"]):
        other = open_store(location.replace("?", f"/other{number}?"))
        done = import_store(other, file, quiet)
        assert (done.taken, done.present) == (len(filled), 0)
        again = import_store(other, file, quiet)
        assert (again.taken, again.present) == (0, len(filled))
        assert {each.entry: other.get(each.entry) for each in other.listing()} == filled


def test_a_part_of_a_store_moves(store: Store, tmp_path: Path) -> None:
    fill(store)
    file = tmp_path / "part.tar"
    assert export_store(store, file, quiet, kind="msa").entries == 3
    assert export_store(store, file, quiet, recipe="0123456789abcdef").entries == 40
    assert export_store(store, file, quiet, kind="msa", recipe="0123456789abcdef").entries == 0
    assert import_store(FolderStore(tmp_path / "other"), file, quiet).taken == 0


def test_plain_tar_unpacks_a_store(store: Store, tmp_path: Path, content: Content) -> None:
    fill(store)
    export_store(store, tmp_path / "store.tar", quiet)
    with tarfile.open(tmp_path / "store.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "unpacked" / "manifest.tsv").unlink()
    unpacked = FolderStore(tmp_path / "unpacked")
    assert {
        each.entry.name: wrap(unpacked.get(each.entry) or b"") for each in unpacked.listing()
    } == content()


def test_damaged_entries_are_not_exported_and_said(
    store: Store, overwrite: Overwrite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store)
    overwrite(entry(7).name, b"damaged")
    file = tmp_path / "store.tar"
    assert cli.main(["store", "export", str(file), "--store", store.location]) == 1
    assert entry(7).name in capsys.readouterr().out
    assert import_store(FolderStore(tmp_path / "other"), file, quiet).taken == 42


def test_commands_say_what_they_did(
    store: Store, overwrite: Overwrite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        code = cli.main(["store", *arguments, "--store", store.location])
        return code, capsys.readouterr().out

    fill(store)
    code, text = run("stats")
    assert code == 0
    assert "43 entries, 7.1 kB (7099 bytes)" in text
    assert run("verify") == (0, f"{store.location}: 43 entries, 7.1 kB read, 0 damaged\n")
    overwrite(entry(7).name, b"damaged")
    code, text = run("verify")
    assert code == 1
    assert text.startswith(f"damaged: {entry(7).name}\n")
    file = tmp_path / "store.tar"
    assert run("export", str(file)) == (0, f"{file}: 42 entries, 6.9 kB\n")
    assert run("import", str(file)) == (
        0,
        f"{store.location}: 0 entries taken (0 bytes), 42 were there already\n",
    )
    code, text = run("gc", "--keep", "30d", "--dry-run")
    assert code == 0
    assert "would remove 0 entries and 1 leftover: 7 bytes to free" in text
    code, text = run("gc", "--keep", "30d")
    assert "removed 0 entries and 1 leftover: 7 bytes freed (7 bytes); 42 entries kept" in text
    assert ("S3 keeps no last use" in text) == (store.local is None)


def members(file: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(file) as archive:
        return [(member, (archive.extractfile(member) or io.BytesIO()).read()) for member in archive]


def rewritten(file: Path, found: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with tarfile.open(file, "w") as archive:
        for member, data in found:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def changed(how: str, file: Path) -> None:
    found = members(file)
    member, data = found[1]
    extra = tarfile.TarInfo("extra")
    if how == "cut short":
        os.truncate(file, file.stat().st_size // 2)
        return
    if how == "no tar":
        file.write_bytes(b"no tar" * 500)
        return
    if how == "empty":
        file.write_bytes(b"")
        return
    if how == "byte changed":
        found[1] = (member, data[:-1] + b"?")
    elif how == "member missing":
        del found[1]
    elif how == "member added":
        extra.name = entry(200).name
        found.insert(0, (extra, wrap(b"added")))
    elif how == "no manifest":
        del found[-1]
    elif how == "manifest of a later version":
        found[-1] = (found[-1][0], found[-1][1].replace(b"store 1", b"store 2"))
    else:
        {
            "path outside": lambda: setattr(extra, "name", "../../outside"),
            "absolute path": lambda: setattr(extra, "name", "/tmp/outside"),  # noqa: S108
            "wrong shard": lambda: setattr(extra, "name", entry(1).name.replace("/01/", "/02/")),
            "attempt": lambda: setattr(extra, "name", Entry("attempt", "r", "0" * 64).name),
            "folder": lambda: (
                setattr(extra, "name", entry(9).name),
                setattr(extra, "type", tarfile.DIRTYPE),
            ),
            "symbolic link": lambda: (
                setattr(extra, "name", entry(9).name),
                setattr(extra, "type", tarfile.SYMTYPE),
                setattr(extra, "linkname", "/etc/passwd"),
            ),
            "hard link": lambda: (
                setattr(extra, "name", entry(9).name),
                setattr(extra, "type", tarfile.LNKTYPE),
                setattr(extra, "linkname", found[0][0].name),
            ),
            "device": lambda: (
                setattr(extra, "name", entry(9).name),
                setattr(extra, "type", tarfile.CHRTYPE),
            ),
        }[how]()
        found.insert(1, (extra, b""))
    rewritten(file, found)


WRONG = {
    "cut short": "cut short|damaged",
    "no tar": "damaged",
    "empty": "damaged",
    "byte changed": "is damaged. Nothing was taken",
    "member missing": "does not hold what its manifest lists",
    "member added": "does not hold what its manifest lists",
    "no manifest": "cut short",
    "manifest of a later version": "newer version",
    "path outside": "no entry of a store",
    "absolute path": "no entry of a store",
    "wrong shard": "no entry of a store",
    "attempt": "no entry of a store",
    "folder": "no entry of a store",
    "symbolic link": "no entry of a store",
    "hard link": "no entry of a store",
    "device": "no entry of a store",
}


@pytest.mark.parametrize(("how", "says"), WRONG.items(), ids=WRONG)
def test_what_export_did_not_write_is_refused_whole(
    how: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    source, other = FolderStore(tmp_path / "source"), tmp_path / "other"
    fill(source)
    file = tmp_path / "store.tar"
    export_store(source, file, quiet)
    changed(how, file)
    assert cli.main(["store", "import", str(file), "--store", str(other)]) == 2
    assert re.search(says, capsys.readouterr().err)
    assert not other.exists()


def test_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    class Breaks(FolderStore):
        def get(self, entry: Entry, *, used: bool = True) -> bytes | None:
            raise KeyboardInterrupt

    fill(FolderStore(tmp_path / "store"))
    file = tmp_path / "out" / "store.tar"
    file.parent.mkdir()
    file.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        export_store(Breaks(tmp_path / "store"), file, quiet)
    assert [(path.name, path.read_bytes()) for path in file.parent.iterdir()] == [("store.tar", b"old")]


def test_long_work_shows_progress(tmp_path: Path) -> None:
    from snakefold.kernel.store.parallel import Progress

    lines: list[str] = []
    progress = Progress("verify", lines.append, every=0)
    for _ in range(3):
        progress.add(1_500_000)
    assert lines[-1] == "verify: 3 entries, 4.5 MB so far"


@pytest.mark.parametrize("action", ["stats", "verify", "gc", "export", "import"])
def test_every_action_has_help_with_an_example(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["store", action, "--help"])
    assert left.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Example: snakefold store {action} " in text
    options = cli.parse(text.partition("Example: snakefold ")[2].split())
    assert callable(options.function)


@pytest.mark.parametrize("keep", ["30", "d", "-1d", "30 d", "1y", "1e9d", ""])
def test_times_that_are_none_are_refused(keep: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        cli.parse(["store", "gc", "--keep", keep, "--store", str(tmp_path)])


@pytest.mark.parametrize("action", [["stats"], ["verify"], ["gc", "--keep", "1d"], ["export", "x.tar"]])
def test_a_folder_that_is_not_there_is_no_empty_store(
    action: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["store", *action, "--store", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_store_of_the_run_here_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FolderStore(tmp_path / "elsewhere").put(entry(1), b"data")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "config.yaml").write_text("store: elsewhere\n")
    assert cli.main(["store", "verify"]) == 0
    assert capsys.readouterr().out.startswith("elsewhere: 1 entry")
