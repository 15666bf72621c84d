"""Padded copies of MMseqs2 databases: what MMseqs2 searches on a GPU.

`makepaddedseqdb` sorts sequences by length and gives them new keys (its `.lookup` has the old ones). In an
expandable database the clusters of `_aln` go by these keys, so they get the new ones too, each with its
representative first, as `tsv2exprofiledb --gpu 1` of MMseqs2 18 makes them. Members (`_seq`) stay the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from snakefold.kernel import streams
from snakefold.kernel.errors import DatabaseMissingError
from snakefold.kernel.recipes import file_fingerprint
from snakefold.msa.bundle import Log
from snakefold.msa.databases import mmseqs

SUFFIX = "_pad"
#: Bits of a `.dbtype` (DBTYPE_EXTENDED_GPU and the compressed flag of MMseqs2's Parameters.h and DBReader.h).
_GPU, _COMPRESSED = 8 << 16, 1 << 31
#: What it was made of, beside the copy.
_MADE_OF = ".made_of.json"


def beside(prefix: Path, suffix: str) -> Path:
    """A file of a database: its prefix with a suffix."""
    return prefix.with_name(prefix.name + suffix)


def is_padded(prefix: Path) -> bool:
    """Whether the database `prefix` itself can be searched on a GPU, as ColabFold's prepared ones can."""
    return bool(_kind(prefix) & _GPU)


def copy_of(path: Path) -> Path:
    """Prefix of the padded copy of the database, or of the FASTA file, at `path`."""
    return beside(path, SUFFIX)


def is_stale(path: Path) -> bool:
    """Whether the padded copy is known to be made of other files than those that are at `path`."""
    try:
        made_of = json.loads(beside(copy_of(path), _MADE_OF).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    files = [file for file in _sources(path) if file.is_file()]
    return bool(files) and made_of != [file_fingerprint(file) for file in files]


def gpu_bytes(prefix: Path) -> int:
    """Memory that a padded database takes on a GPU: its residues, and 12 bytes of every sequence for its
    place and length (gpuserver of MMseqs2 18)."""
    index = beside(prefix, ".index")
    with index.open("rb") as stream:
        head = stream.read(1 << 20)
    lines = head.count(b"\n") * index.stat().st_size / max(1, len(head))
    data = prefix if prefix.is_file() else beside(prefix, ".0")
    return data.stat().st_size + round(12 * lines)


def make(path: Path, scratch: Path, threads: int, log: Log) -> Path:
    """Make the padded copy of an MMseqs2 database, or of a FASTA file, beside it.

    It is made in `scratch` (on the same disk) and moved to its place when it is whole.

    Returns:
        Its prefix.

    Raises:
        DatabaseMissingError: there is nothing at `path`.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    made_of = [file_fingerprint(file) for file in _sources(path) if file.is_file()]
    source, target = path, scratch / "made" / copy_of(path).name
    target.parent.mkdir()
    if not beside(path, ".dbtype").is_file():
        if not path.is_file():
            raise DatabaseMissingError(f"{path}: no such file, and no MMseqs2 database. Fetch it first.")
        source = scratch / "plain"
        mmseqs.create([_readable(path, scratch)], source, log)
    mmseqs.call(scratch, log, "makepaddedseqdb", source, target, "--threads", str(threads))
    if beside(source, "_aln.dbtype").is_file():
        _pad_clusters(source, target, scratch, threads, log)
    beside(target, _MADE_OF).write_text(json.dumps(made_of) + "\n", encoding="utf-8")
    # A database is there once its `.dbtype` is.
    last = beside(target, ".dbtype")
    for old in (beside(copy_of(path), ".dbtype"), *path.parent.glob(f"{copy_of(path).name}.idx*")):
        old.unlink(missing_ok=True)
    for file in [*(each for each in sorted(target.parent.iterdir()) if each != last), last]:
        file.replace(path.with_name(file.name))
    shutil.rmtree(scratch)
    return copy_of(path)


def _sources(path: Path) -> list[Path]:
    """Files that identify what is padded: a FASTA file, or the index of a database."""
    is_database = beside(path, ".dbtype").is_file()
    return [beside(path, ".index"), beside(path, "_aln.index")] if is_database else [path]


def _kind(prefix: Path) -> int:
    try:
        return int.from_bytes(beside(prefix, ".dbtype").read_bytes()[:4], "little")
    except OSError:
        return 0


def _readable(path: Path, scratch: Path) -> Path:
    """mmseqs reads plain and gzipped FASTA, not zstd."""
    if path.suffix != ".zst":
        return path
    plain = scratch / "plain.fasta"
    with plain.open("wb") as target:
        target.writelines(streams.blocks_of(path))
    return plain


def _pad_clusters(source: Path, target: Path, scratch: Path, threads: int, log: Log) -> None:
    clusters = beside(source, "_aln")
    if _kind(clusters) & _COMPRESSED:
        plain = scratch / "clusters"
        mmseqs.call(scratch, log, "decompress", clusters, plain, "--threads", str(threads))
        clusters = plain
    if any(_first(record) != key for key, record in _records(clusters)):
        clusters = _representatives_first(clusters, scratch / "ordered")
    keys = scratch / "keys"
    with beside(target, ".lookup").open(encoding="utf-8") as lookup, keys.open("w", encoding="utf-8") as out:
        for line in lookup:
            new, _, old = line.rstrip("\n").split("\t")
            out.write(f"{old}\t{new}\n")
    mmseqs.call(scratch, log, "renamedbkeys", keys, clusters, beside(target, "_aln"))
    for file in source.parent.glob(f"{source.name}_seq*"):
        beside(target, file.name.removeprefix(source.name)).symlink_to(file.name)


def _records(prefix: Path) -> Iterator[tuple[bytes, bytes]]:
    """Key and content of every record, in the order of the index."""
    files = [prefix] if prefix.is_file() else []
    while (part := beside(prefix, f".{len(files)}")).is_file():
        files.append(part)
    starts, end = [], 0
    for file in files:
        starts.append(end)
        end += file.stat().st_size
    opened = [file.open("rb") for file in files]
    try:
        with beside(prefix, ".index").open("rb") as index:
            for line in index:
                key, offset, length = line.split()
                number = max(each for each, start in enumerate(starts) if start <= int(offset))
                opened[number].seek(int(offset) - starts[number])
                yield key, opened[number].read(int(length))
    finally:
        for stream in opened:
            stream.close()


def _first(record: bytes) -> bytes:
    return record.partition(b"\t")[0]


def _representatives_first(clusters: Path, ordered: Path) -> Path:
    """The same clusters, each with its representative's own alignment in the first line."""
    end = 0
    with ordered.open("wb") as data, beside(ordered, ".index").open("wb") as index:
        for key, record in _records(clusters):
            lines = record.rstrip(b"\0").splitlines(keepends=True)
            lines.sort(key=lambda line, key=key: _first(line) != key)  # type: ignore[misc]
            written = data.write(b"".join(lines) + b"\0")
            index.write(b"%s\t%d\t%d\n" % (key, end, written))
            end += written
    shutil.copyfile(beside(clusters, ".dbtype"), beside(ordered, ".dbtype"))
    return ordered
