"""The nearest known sequence of each query, by one MMseqs2 search for all of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.errors import DatabaseMissingError
from snakefold.msa import programs
from snakefold.msa.bundle import Log
from snakefold.msa.databases.inside import explained_mmseqs
from snakefold.msa.names import first_word, text_of

#: Hits with a higher E-value are none.
MAX_EVALUE = 1e-3
#: `--alignment-mode 3`: without it identities are estimated from scores. `-s`: MMseqs2's own default.
_SEARCH = f"-s 5.7 -e {MAX_EVALUE} --alignment-mode 3"
_COLUMNS = "query,fident,qcov,evalue,theader"
#: Residues of the queries times bytes of the database, up to which all of it is aligned without gaps: an
#: index of k-mers takes seconds, however small the database.
_FEW = 1e10
#: Of the job's memory; the rest is for what MMseqs2 does not count. With less than this it fits no database.
_SHARE, _LEAST_MB = 0.8, 3000


@dataclass(frozen=True)
class Nearest:
    """The hit with the most identical residues.

    Attributes:
        name: first word of its header.
        identity: share of identical residues in the alignment, 0 to 1.
        coverage: share of the query's residues in the alignment, 0 to 1.
    """

    name: str
    identity: float
    coverage: float
    evalue: float

    @property
    def rank(self) -> tuple[float, float, str]:
        """The higher, the nearer: identical residues per residue of the query, then the E-value."""
        return (round(self.identity * self.coverage, 6), -self.evalue, self.name)


def check_database(path: Path) -> None:
    """See that a FASTA file or an MMseqs2 database is there.

    Raises:
        DatabaseMissingError: neither is.
    """
    if not _is_database(path) and not path.is_file():
        raise DatabaseMissingError(
            f"design.novelty: {path}: no such file, and no MMseqs2 database ({path}.dbtype). Name a FASTA "
            "file (plain or .gz) or the prefix of a database."
        )


def nearest(
    queries: Sequence[str], database: Path, work: Path, log: Log, *, threads: int = 1, mem_mb: int = 4000
) -> list[Nearest | None]:
    """The nearest sequence of each query in a database; None without a hit.

    Args:
        queries: sequences, each once.
        database: a FASTA file (plain or .gz), or the prefix of an MMseqs2 database.
        work: scratch files live in a folder below it that is removed afterwards.

    Raises:
        DatabaseMissingError: the database is not there.
        ProgramError: mmseqs failed. Where a file of the database is damaged, the text says which.
    """
    check_database(database)
    if not queries:
        return []
    work.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="nearest.", dir=work)).resolve()
    try:
        table = _search(queries, database.resolve(), scratch, log, threads=threads, mem_mb=mem_mb)
        found = _read(table)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return [found.get(number) for number in range(len(queries))]


def _search(
    queries: Sequence[str], database: Path, scratch: Path, log: Log, *, threads: int, mem_mb: int
) -> Path:
    fasta, query = scratch / "queries.fasta", scratch / "queries"
    # Numbers for names: mmseqs takes names apart that look like UniProt's.
    fasta.write_text("".join(f">q{number}\n{each}\n" for number, each in enumerate(queries)))
    hits, table = scratch / "hits", scratch / "hits.tsv"
    ours = _is_database(database)
    target = database if ours else scratch / "database"

    def call(module: str, *arguments: str | Path, own_threads: bool = True) -> None:
        tail = ["--threads", str(threads)] if own_threads else []
        # At call depth 0 every module prints its full list of parameters.
        quiet = {"MMSEQS_CALL_DEPTH": "1"}
        programs.run([programs.find("mmseqs"), module, *arguments, *tail], scratch, log, environment=quiet)

    call("createdb", fasta, query, "--shuffle", "0", "--dbtype", "1", own_threads=False)
    if not ours:
        call("createdb", database, target, "--dbtype", "1", own_threads=False)
    few = sum(map(len, queries)) * _size(target) <= _FEW
    options = [*_SEARCH.split(), "--split-memory-limit", f"{max(_LEAST_MB, int(_SHARE * mem_mb))}M"]
    options += ["--prefilter-mode", "1" if few else "0"]
    try:
        call("search", query, target, hits, scratch / "tmp", *options)
        call("convertalis", query, target, hits, table, "--format-output", _COLUMNS)
    except programs.ProgramError as error:
        raise explained_mmseqs(error, target) if ours else error from error
    return table


def _read(table: Path) -> Mapping[int, Nearest]:
    best: dict[int, Nearest] = {}
    with table.open("rb") as stream:
        for line in stream:
            query, identity, coverage, evalue, header = text_of(line).rstrip("\n").split("\t", 4)
            hit = Nearest(first_word(header), float(identity), float(coverage), float(evalue))
            number = int(query[1:])
            if number not in best or hit.rank > best[number].rank:
                best[number] = hit
    return best


def _size(database: Path) -> int:
    """Bytes of a database's sequences, which may be in several files."""
    parts = database.parent.glob(f"{database.name}.[0-9]*")
    return sum(path.stat().st_size for path in (database, *parts) if path.is_file())


def _is_database(path: Path) -> bool:
    return path.with_name(f"{path.name}.dbtype").is_file()
