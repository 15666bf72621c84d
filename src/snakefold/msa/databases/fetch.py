"""Fetching the databases of a preset: downloaded, verified, unpacked, moved into place, recorded.

What is not finished lies in `Entry.staging`, on the same disk; files are moved from there when all are whole.
Interrupt it anywhere: the next call goes on from the files that are there.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from snakefold.kernel import streams
from snakefold.kernel.download import FULL_DISK, DownloadError, Expected, download
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.kernel.store.atomic import write_atomically
from snakefold.kernel.streams import DamagedArchiveError
from snakefold.kernel.wording import count
from snakefold.msa.databases import mmseqs, pdb, record, space, unpack
from snakefold.msa.databases.known import Entry, Source, mirrored
from snakefold.msa.databases.progress import Reporter
from snakefold.msa.databases.unpack import Published

_NO_INDEX_YET = "createindex takes hours and as much memory as it can get; searches run without an index too."


@dataclass(frozen=True)
class Options:
    """How to fetch.

    Attributes:
        mirror: prefix of the addresses in place of `https://`; host and path follow.
        index: make an index of MMseqs2 databases.
        checksums: ask publishers for their lists of MD5s.
        force: start although the disk has too little room.
        timeout: seconds without a byte.
        pause: seconds before the first new attempt, doubled each time.
    """

    mirror: str | None = None
    index: bool = False
    checksums: bool = True
    force: bool = False
    threads: int = 4
    timeout: float = 60
    pause: float = 2.0


def choose(entries: Sequence[Entry], only: Sequence[str]) -> list[Entry]:
    """Those named in `only`, all if it is empty.

    Raises:
        ConfigError: a name is not in the preset.
    """
    names = [entry.database.name for entry in entries]
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise ConfigError(f"--only {', '.join(unknown)}: not in this preset. It has {', '.join(names)}.")
    return [entry for entry in entries if not only or entry.database.name in only]


def to_do(wanted: Sequence[Entry], options: Options) -> list[Entry]:
    """Those that are not there, or lack the index asked for.

    Raises:
        ConfigError: one is missing that nobody publishes.
    """
    for entry in wanted:
        if entry.source is None and entry.state == "missing":
            raise ConfigError(
                f"{entry.database.name}: not in {entry.root}, and not published for download: "
                f"{entry.database.get}"
            )
    return [each for each in wanted if each.source and (each.state != "there" or _lacks_index(each, options))]


def fetch(root: Path, wanted: Sequence[Entry], options: Options, reporter: Reporter) -> list[Entry]:
    """Fetch what is missing of `wanted` into `root`, one database after the other.

    Returns:
        The databases that something was done for.

    Raises:
        NoRoomError: before the first byte.
        DownloadError, DamagedArchiveError, ChecksumError, ProgramError: of one database; those before it are
            there.
    """
    missing = to_do(wanted, options)
    for left in (root / ".snakefold").glob("done.*"):
        shutil.rmtree(left, ignore_errors=True)
    if not missing:
        return []
    absent = [entry for entry in missing if entry.state != "there"]
    needs = space.needs(absent, options.mirror, index=options.index)
    for need in needs:
        reporter.log(str(need))
    if not options.force:
        space.check(root, needs)
    with alone(root):
        for entry in missing:
            with _full_disk_named(entry):
                if entry.state != "there":
                    _Fetch(entry, options, reporter).run()
                if _lacks_index(entry, options):
                    _index(entry, options, reporter)
    return missing


@contextmanager
def _full_disk_named(entry: Entry) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise space.NoRoomError(
            f"{entry.staging}: no room to unpack {entry.database.name} ({error.strerror}). Free disk space "
            "and run the command again."
        ) from error


def _name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def _lacks_index(entry: Entry, options: Options) -> bool:
    return options.index and entry.database.format == "mmseqs" and not mmseqs.is_indexed(entry.database.path)


@dataclass
class _Fetch:
    """One database on its way."""

    entry: Entry
    options: Options
    reporter: Reporter
    release: str | None = None
    fetched: list[record.Fetched] = field(default_factory=list)

    def run(self) -> None:
        entry = self.entry
        source = entry.source
        assert source is not None, entry.key  # noqa: S101 - to_do leaves out what comes with snakefold
        entry.staging.mkdir(parents=True, exist_ok=True)
        made = entry.staging / "made"
        if not (entry.staging / "ready").exists():
            had_all = all((entry.staging / _name(url)).exists() for url in source.urls)
            archives = self._download(source)
            # What was made of other archives is worth nothing; entries of the PDB are whole by themselves.
            if source.prepare == "createdb" or (source.prepare != "entries" and not had_all):
                shutil.rmtree(made, ignore_errors=True)
            made.mkdir(exist_ok=True)
            try:
                self._prepare(source, archives, made)
            except DamagedArchiveError as error:
                for archive in archives:
                    archive.unlink(missing_ok=True)
                raise DamagedArchiveError(
                    f"{error} The download was removed: run the command again, or name another --mirror."
                ) from error
            self._see_that_all_is_there(made)
            # From here on the files are only moved: a call that is stopped in between does not unpack again.
            write_atomically(entry.staging / "ready", self._recorded().model_dump_json().encode())
            for archive in archives:
                archive.unlink(missing_ok=True)
        self._place(made)

    def _download(self, source: Source) -> list[Path]:
        published = self._published(source)
        archives = []
        for url in source.urls:
            name = _name(url)
            archive = self.entry.staging / name
            said = published.get(name, Published())
            address = mirrored(url, self.options.mirror)
            if said.bytes is not None and archive.is_file() and archive.stat().st_size != said.bytes:
                archive.unlink()  # whole, but of the release before
            with self.reporter.task(f"{self.entry.database.name}: {name}") as progress:
                download(
                    address,
                    archive,
                    Expected(said.bytes, md5=said.md5),
                    progress,
                    timeout=self.options.timeout,
                    pause=self.options.pause,
                )
            self.fetched.append(record.Fetched(url=address, bytes=archive.stat().st_size, md5=said.md5))
            archives.append(archive)
        return archives

    def _published(self, source: Source) -> dict[str, Published]:
        self.release = source.release
        if source.md5 is None or not self.options.checksums:
            return {}
        address = mirrored(source.md5, self.options.mirror)
        version, files = unpack.read_metalink(address, self.options.timeout)
        self.release = version or source.release
        for url in source.urls:
            if files.get(_name(url), Published()).md5 is None:
                raise unpack.ChecksumError(
                    f"{address}: no MD5 of {_name(url)}. Leave checksums out with --no-checksums."
                )
        return files

    def _prepare(self, source: Source, archives: list[Path], made: Path) -> None:
        name, database = self.entry.database.name, self.entry.database
        if source.prepare == "entries":
            self._entries(source, archives[0], made / database.path.name)
            return
        with self.reporter.task(f"{name}: preparing") as progress:
            if source.prepare == "join":
                unpack.join(archives, made / database.path.name, source.keep, progress)
            elif source.prepare == "unpack":
                for archive in archives:
                    unpack.unpack(archive, made, progress, checksums=self.options.checksums)
            else:
                for archive in archives:
                    streams.check(archive, progress)
                mmseqs.create(archives, made / database.path.name, self.reporter.log)

    def _entries(self, source: Source, archive: Path, folder: Path) -> None:
        plain = archive.with_suffix("")
        try:
            unpack.join([archive], plain)
            entries = pdb.listed(plain.read_bytes())
        except ValueError as error:
            raise DamagedArchiveError(f"{archive}: {error}.") from error
        finally:
            plain.unlink(missing_ok=True)
        base = mirrored(source.urls[0], self.options.mirror).partition("/pub/pdb/")[0]
        with self.reporter.task(f"{self.entry.database.name}: entries", counts=True) as progress:
            gone = pdb.fetch(
                base, entries, folder, progress, timeout=self.options.timeout, pause=self.options.pause
            )
        if gone:
            lost = count(len(gone), "entry", "entries")
            self.reporter.log(f"{self.entry.database.name}: {lost} went obsolete meanwhile: {gone[:10]}")
        if len(gone) > len(entries) // 10:
            raise DownloadError(
                f"{base}: {len(gone)} of {len(entries)} entries are not there. Name another --mirror."
            )

    def _see_that_all_is_there(self, made: Path) -> None:
        database = self.entry.database
        lacking = [path.name for path in database.files if not (made / path.name).exists()]
        if lacking:
            raise DamagedArchiveError(
                f"{database.name}: {', '.join(lacking)} is not in {self.fetched[-1].url}; its publisher "
                "may have changed it."
            )

    def _recorded(self) -> record.Recorded:
        return record.Recorded(
            name=self.entry.database.name,
            release=self.release,
            fetched_at=datetime.now(UTC).isoformat(timespec="seconds"),
            sources=self.fetched,
            files={},
        )

    def _place(self, made: Path) -> None:
        entry, database = self.entry, self.entry.database
        facts = record.Recorded.model_validate_json((entry.staging / "ready").read_text())
        names = entry.staging / "names"
        if not names.exists():
            write_atomically(names, "\n".join(sorted(path.name for path in made.iterdir())).encode())
        folder = database.path.parent
        unpack.move(made, folder, [path.name for path in database.files])
        placed = [folder / name for name in names.read_text().splitlines()]
        files = record.identities(entry.root, placed)
        record.write(entry.root, entry.key, facts.model_copy(update={"files": files}))
        # A staging folder that is half removed would look like a fetch that had hardly begun.
        done = entry.root / ".snakefold" / f"done.{entry.staging.name}"
        entry.staging.rename(done)
        shutil.rmtree(done)
        self.reporter.log(f"{database.name}: {database.path}")


def _index(entry: Entry, options: Options, reporter: Reporter) -> None:
    reporter.log(f"{entry.database.name}: {_NO_INDEX_YET}")
    scratch = entry.root / ".snakefold" / "index"
    with reporter.task(f"{entry.database.name}: createindex"):
        placed = mmseqs.create_index(entry.database.path, scratch, options.threads, reporter.log)
    known = record.read(entry.root).get(entry.key)
    if known is not None:
        files = {**known.files, **record.identities(entry.root, placed)}
        record.write(entry.root, entry.key, known.model_copy(update={"files": files}))


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Two that make databases in one folder would write the same files.

    Raises:
        SnakefoldError: another is at work.
    """
    folder = root / ".snakefold"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SnakefoldError(
                f"{root}: another `snakefold db fetch` (or pad) is at work here. Wait for it."
            ) from error
        yield
