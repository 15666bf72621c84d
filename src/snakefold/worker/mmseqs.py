"""The search of the MMseqs2 endpoint: one plain search in a persistent database."""

from __future__ import annotations

import json
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snakefold.kernel import recipes
from snakefold.kernel.envelope import digest_of
from snakefold.kernel.errors import DatabaseMissingError, InputError, Refusal
from snakefold.kernel.machine import has_gpu
from snakefold.kernel.unchanged import Watch
from snakefold.kernel.wording import count
from snakefold.molecules.targets import Target, read_records
from snakefold.msa import programs
from snakefold.msa.databases.inside import explained_mmseqs
from snakefold.msa.names import first_word, text_of
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.endpoints.mmseqs2 import (
    COLUMNS,
    TAXONOMY,
    SearchRequest,
    SearchResponse,
    SearchTexts,
)
from snakefold.worker.mmseqs_answers import Found, in_parts, in_texts
from snakefold.worker.responses import entry_for, remembered
from snakefold.worker.tasks import Context

PADDED = "_pad"


def beside(prefix: Path, suffix: str) -> Path:
    """A file of a database: its prefix with a suffix."""
    return prefix.with_name(prefix.name + suffix)


def is_ready(prefix: Path) -> bool:
    """Whether the database may be read: `.ready` is there, or `.dbtype` and nobody writes."""
    if beside(prefix, ".ready").is_file():
        return True
    return beside(prefix, ".dbtype").is_file() and not beside(prefix, ".lock").is_dir()


def find(name: str, roots: Sequence[Path]) -> Path:
    """Prefix of the first ready database called `name`.

    Raises:
        DatabaseMissingError: says where it was looked for.
    """
    for root in roots:
        if is_ready(root / name):
            return root / name
    being_written = [str(root) for root in roots if beside(root / name, ".lock").is_dir()]
    if being_written:
        raise DatabaseMissingError(
            f"{name}: is being built in {', '.join(being_written)}. Try again when it is done."
        )
    raise DatabaseMissingError(
        f"{name}: no such MMseqs2 database in {', '.join(map(str, roots))}. Copy it there, or send a request "
        'with `task: "build"`.'
    )


def find_padded(name: str, roots: Sequence[Path]) -> Path:
    """Prefix of the padded copy of a database, which is what GPUs search."""
    if name.endswith(PADDED):
        return find(name, roots)
    try:
        return find(f"{name}{PADDED}", roots)
    except DatabaseMissingError as error:
        raise DatabaseMissingError(
            f"{name}: has no padded copy ({name}{PADDED}), which GPU searches need. Make one: mmseqs "
            f"makepaddedseqdb {name} {name}{PADDED}; or search without use_gpu."
        ) from error


#: A chain is at least this long, residues; the longest known protein has 35,213.
_SHORTEST, _LONGEST = 2, 65_535
_TSV, _ALIGNMENTS, _FACTS = "hits.tsv", "alignments", "facts.json"


@dataclass
class Mmseqs:
    """Runs modules in a folder and keeps their command lines. `database` is looked at if one fails."""

    folder: Path
    context: Context
    threads: int
    database: Path | None = None
    commands: list[str] = field(default_factory=list)

    def __call__(self, module: str, *arguments: str | Path, threads: bool = True) -> None:
        tail = ["--threads", str(self.threads)] if threads else []
        program = programs.find("mmseqs")
        # At call depth 0 every module prints its full list of parameters.
        quiet = {"MMSEQS_CALL_DEPTH": "1"}

        def plain(line: str) -> str:
            return line.replace(shlex.quote(str(program)), "mmseqs", 1)

        def say(line: str) -> None:
            self.context.log(plain(line))

        command = [program, module, *arguments, *tail]
        try:
            ran = programs.run(command, self.folder, say, environment=quiet)
        except programs.ProgramError as error:
            raise explained_mmseqs(error, self.database) if self.database else error from error
        self.commands.append(plain(ran.command))


def search(request: SearchRequest, context: Context) -> SearchResponse | SearchTexts:
    """Search the queries; the same search in the same database is answered from the store.

    Raises:
        InputError: a sequence is refused.
        DatabaseMissingError: no such database, or no padded copy for the GPU.
        ChangedError: the database changed while it was searched.
        JobError: the answer is too large.
    """
    started = time.monotonic()
    found = _found(request, context)
    answer = in_parts(found, context) if request.version == 1 else in_texts(found, context)
    seconds = {**context.transfer.seconds, "total": round(time.monotonic() - started, 3)}
    return answer.model_copy(update={"seconds": seconds})


def _found(request: SearchRequest, context: Context) -> Found:
    queries = read_sequences(request.query_fasta, "query_fasta")
    warnings: list[str] = []
    gpu = _on_gpu(request, warnings)
    name = request.database
    if name is None:
        targets = read_sequences(str(request.target_fasta), "target_fasta")
        database = None
        depends_on: dict[str, Any] = {"mmseqs": programs.version("mmseqs")}
    else:
        targets = []
        database = _database(request, name, context.settings.mmseqs_roots, gpu=gpu)
        depends_on = {"database": _identity(database)}
    columns = list(COLUMNS)
    if request.include_taxonomy:
        if database is not None and has_taxonomy(database):
            columns += TAXONOMY
        else:
            warnings.append(
                f"include_taxonomy: {database.name if database else 'target_fasta'} has no taxonomy (mmseqs "
                "createtaxdb makes one): tsv has none of its columns."
            )
    digest = digest_of(
        {
            "task": request.task,
            "query_fasta": request.query_fasta,
            "target_db": name,
            "use_gpu": gpu,
            "max_seqs": request.max_seqs,
            "return_a3m": request.return_a3m,
            **({"target_fasta": request.target_fasta} if name is None else {}),
            **({"columns": columns} if len(columns) > len(COLUMNS) else {}),
        }
    )
    watch = Watch(_files(database) if database else [])

    def compute() -> tuple[dict[str, bytes], bool]:
        files = _search(request, queries, database or targets, context, columns, gpu)
        watch.check()
        return files, True

    entry = entry_for("mmseqs2", digest, depends_on)
    files, before = remembered(context.store, entry, compute, context.log)
    if before:
        context.log(f"{name or 'target_fasta'}: searched before: taken from the store")
    facts: dict[str, Any] = json.loads(files[_FACTS])
    alignments = {query.id: files[f"{_ALIGNMENTS}/{query.id}.a3m"] for query in queries if request.return_a3m}
    return Found(
        request=request,
        queries=queries,
        digest=digest,
        tsv=files[_TSV],
        alignments=alignments,
        hits=facts["hits"],
        database=str(database or ""),
        commands=facts["commands"],
        warnings=warnings,
    )


def _on_gpu(request: SearchRequest, warnings: list[str]) -> bool:
    if request.use_gpu and request.version != 1 and not has_gpu():
        warnings.append("use_gpu: this worker has no GPU; its CPU searched.")
        return False
    return request.use_gpu


def _database(request: SearchRequest, name: str, roots: Sequence[Path], *, gpu: bool) -> Path:
    if gpu:
        return find_padded(name, roots)
    try:
        return find(name, roots)
    except DatabaseMissingError:
        # Meant for a GPU that is not there, the padded copy alone may be: it is searched on the CPU as well.
        if request.use_gpu:
            with suppress(DatabaseMissingError):
                return find_padded(name, roots)
        raise


def has_taxonomy(prefix: Path) -> bool:
    """Whether mmseqs can say of this database's sequences which species they are of."""
    return beside(prefix, "_mapping").is_file() and any(
        beside(prefix, suffix).is_file() for suffix in ("_taxonomy", "_nodes.dmp")
    )


def read_sequences(text: str, key: str) -> list[Target]:
    """The records of a FASTA text, one chain each; `key` is what the request calls it.

    Raises:
        InputError, InvalidInput: one of them is refused.
    """
    with tempfile.TemporaryDirectory(prefix="snakefold-input-") as folder:
        path = Path(folder) / "input.fasta"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        records = read_records([path], min_length=_SHORTEST, max_length=_LONGEST)
    refusals = [replace(each, file=key) for each in records if isinstance(each, Refusal)]
    if refusals:
        raise InputError(refusals)
    targets = [each for each in records if isinstance(each, Target)]
    for target in targets:
        if len(target.chains) > 1:
            raise InvalidInput(f"{key}: {target.id} has several chains; give each a record of its own.")
    return targets


def _search(  # noqa: PLR0917 (the parts of one search)
    request: SearchRequest,
    queries: list[Target],
    targets: Path | list[Target],
    context: Context,
    columns: list[str],
    gpu: bool,
) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="snakefold-mmseqs-") as scratch:
        folder = Path(scratch)
        mmseqs = Mmseqs(folder, context, request.threads or context.settings.threads)
        if isinstance(targets, Path):
            database = mmseqs.database = targets
        else:
            database = _made(mmseqs, targets, gpu)
        fasta, query, hits = folder / "queries.fasta", folder / "queries", folder / "hits"
        # Numbers for names: mmseqs takes names apart that look like UniProt's.
        write_fasta(fasta, ((f"q{number}", each.chains[0]) for number, each in enumerate(queries)))
        mmseqs("createdb", fasta, query, "--shuffle", "0", "--dbtype", "1", threads=False)
        # Without -a, result2msa writes other, shorter alignments and says nothing.
        options = ["--max-seqs", str(request.max_seqs), *(["-a"] if request.return_a3m else [])]
        options += ["--gpu", "1"] if gpu else []
        mmseqs("search", query, database, hits, folder / "tmp", *options)
        table = folder / "table.tsv"
        mmseqs(
            "convertalis", query, database, hits, table, "--format-output", ",".join([*columns, "theader"])
        )
        names = {f"q{number}": each.id for number, each in enumerate(queries)}
        full, rows = _rows(table, names, len(columns))
        files = {_TSV: "".join("\t".join(row) + "\n" for row in [columns, *rows]).encode()}
        if request.return_a3m:
            files |= _alignments(mmseqs, query, database, hits, queries=queries, full=full)
        found = Counter(row[0] for row in rows)
        asked = count(len(queries), "query", "queries")
        what = request.database or "target_fasta"
        context.log(f"{what}: {count(len(rows), 'hit')} of {len(found)} of {asked}")
        files[_FACTS] = json.dumps({"hits": len(rows), "commands": mmseqs.commands}).encode()
        return files


def _made(mmseqs: Mmseqs, targets: list[Target], gpu: bool) -> Path:
    """A database of these sequences, for one search."""
    fasta, made = mmseqs.folder / "targets.fasta", mmseqs.folder / "targets"
    write_fasta(fasta, ((each.header or each.id, each.chains[0]) for each in targets))
    mmseqs("createdb", fasta, made, "--dbtype", "1", threads=False)
    if gpu:
        mmseqs("makepaddedseqdb", made, beside(made, PADDED))
        return beside(made, PADDED)
    return made


def _alignments(
    mmseqs: Mmseqs, query: Path, database: Path, hits: Path, *, queries: list[Target], full: dict[str, str]
) -> dict[str, bytes]:
    msas, texts = mmseqs.folder / "msas", mmseqs.folder / "texts"
    texts.mkdir()
    mmseqs("result2msa", query, database, hits, msas, "--msa-format-mode", "6", "--filter-msa", "0")
    mmseqs("unpackdb", msas, texts, "--unpack-name-mode", "0", "--unpack-suffix", ".a3m")
    files = {}
    for number, target in enumerate(queries):
        text = text_of((texts / f"{number}.a3m").read_bytes().replace(b"\0", b""))
        _, *records = text.split("\n>")
        lines = [f">{target.id}\n{target.chains[0]}\n"]
        for record in records:
            name, tab, rest = record.partition("\t")
            lines.append(f">{full.get(name, name)}{tab}{rest.rstrip()}\n")
        files[f"{_ALIGNMENTS}/{target.id}.a3m"] = "".join(lines).encode()
    return files


def _rows(table: Path, names: dict[str, str], columns: int) -> tuple[dict[str, str], list[list[str]]]:
    """Full names by mmseqs' own, and the rows with both names as they were given."""
    full: dict[str, str] = {}
    rows = []
    with table.open("rb") as stream:
        for line in stream:
            query, target, *values, header = text_of(line).rstrip("\n").split("\t", columns)
            full[target] = first_word(header)
            rows.append([names[query], full[target], *values])
    return full, rows


def _identity(prefix: Path) -> list[dict[str, Any]]:
    return [recipes.file_fingerprint(file) for file in _files(prefix)]


def _files(prefix: Path) -> list[Path]:
    files = [beside(prefix, suffix) for suffix in (".dbtype", ".index", "")]
    return [file for file in files if file.is_file()]


def write_fasta(path: Path, records: Iterable[tuple[str, str]]) -> None:
    """Write (name, sequence) pairs."""
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in records), encoding="utf-8")
