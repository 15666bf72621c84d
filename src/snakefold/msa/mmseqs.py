"""MMseqs2: one batched search for all chains of a chunk.

Three recipes. `colabfold` is the chain of `colabfold_search` 1.6.3 (Mirdita et al., Nat Methods 19:679,
2022): a profile search of three iterations in the first database, whose profile then searches the others;
hits are expanded to cluster members, realigned and filtered. `colabfold_unfiltered` is its `--filter 0`,
which MSA servers call nofilter. `simple` is one sequence search: createdb, search, convertalis,
result2msa. Databases for pairing are always searched by `simple`, which keeps UniProt's names.
"""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakefold.kernel import streams
from snakefold.kernel.contracts import SearchStep
from snakefold.kernel.errors import DatabaseMissingError
from snakefold.msa import mmseqs_steps, programs
from snakefold.msa.bundle import Found, Hit, Log, RawMsa
from snakefold.msa.databases import presets
from snakefold.msa.databases.inside import explained
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.gpu_server import gpu_server
from snakefold.msa.names import first_word, text_of
from snakefold.msa.planned import PlannedChain
from snakefold.msa.programs import Background
from snakefold.msa.settings import MsaSettings

#: Sensitivity of the profile search. `colabfold_search` without `-s` means to set k-mer scores that match 8,
#: but passes them inside quotes, which MMseqs2 reads as unset: it runs at 5.7.
SENSITIVITY = 8.0

#: Flags by module; together with `SENSITIVITY` they are the recipe. MMseqs2's own limit, 300, cuts deep
#: alignments short: `max_seqs` of the settings takes its place.
_PROFILE = {
    "search": "--num-iterations 3 -a -e 0.1 --max-seqs {max_seqs} --prefilter-mode 0",
    "expandaln": "--expansion-mode 0 -e inf",
    "expandaln, first database": "--expand-filter-clusters 1 --max-seq-id 0.95",
    "align": "-e 10 --max-accept 100000 --alt-ali 10 -a",
    "filterresult": "--qid 0 --qsc 0.8 --diff 0 --max-seq-id 1.0 --filter-min-enable 100",
    "result2msa": "--msa-format-mode 6 --filter-msa 1 --filter-min-enable 1000 --diff 3000 "
    "--qid 0.0,0.2,0.4,0.6,0.8,1.0 --qsc 0 --max-seq-id 0.95",
}
_UNFILTERED = {
    **_PROFILE,
    "expandaln, first database": "--expand-filter-clusters 0 --max-seq-id 0.95",
    "align": "-e 10 --max-accept 1000000 --alt-ali 10 -a",
    "filterresult": _PROFILE["filterresult"].replace("--qsc 0.8", "--qsc -20.0"),
    "result2msa": _PROFILE["result2msa"].replace("--filter-msa 1", "--filter-msa 0"),
}
#: A GPU has an ungapped prefilter alone, which knows no sensitivity: flags of `search` in its place, as
#: `colabfold_search --gpu 1` has them.
_ON_GPU = "--gpu 1 --prefilter-mode 1"
#: Flags of the recipes that search a profile.
_PROFILES = {"colabfold": _PROFILE, "colabfold_unfiltered": _UNFILTERED}
_SIMPLE = {
    # Without -a, result2msa writes other, shorter alignments and says nothing.
    "search": "-a -e 0.0001",
    "search, index": "-s 5.7",
    # Without an index the ungapped prefilter is several times cheaper than building one.
    "search, no index": "--prefilter-mode 1",
    "result2msa": "--msa-format-mode 6 --filter-msa 0",
}
_COLUMNS = "query,target,evalue,pident,alnlen,theader"


def parameters(settings: MsaSettings) -> dict[str, Any]:
    """What an alignment depends on besides its sequence and databases (for the recipe)."""
    simple = {"flags": _simple_flags(settings), "max_seqs": settings.mmseqs.max_seqs}
    flags = _profile_flags(settings)
    sensitivity = {} if settings.on_gpu else {"sensitivity": SENSITIVITY}
    return {
        "recipe": settings.mmseqs_recipe,
        "version": programs.version("mmseqs", gpu=settings.on_gpu),
        **({"gpu": True} if settings.on_gpu else {}),
        "own": simple if flags is None else {"flags": flags, **sensitivity},
        "pairing": simple,
    }


def _profile_flags(settings: MsaSettings) -> dict[str, str] | None:
    """Flags of the recipe by module, if it searches a profile."""
    flags = _PROFILES.get(settings.mmseqs_recipe)
    if flags is None:
        return None
    flags_of_search = flags["search"].format(max_seqs=settings.mmseqs.max_seqs)
    if settings.on_gpu:
        flags_of_search = flags_of_search.replace("--prefilter-mode 0", _ON_GPU)
    return {**flags, "search": flags_of_search}


def _simple_flags(settings: MsaSettings) -> dict[str, str]:
    """Flags of the plain search by module."""
    if not settings.on_gpu:
        return _SIMPLE
    return {"search": f"{_SIMPLE['search']} {_ON_GPU}", "result2msa": _SIMPLE["result2msa"]}


def search(
    chains: Sequence[PlannedChain],
    preset: Preset,
    settings: MsaSettings,
    work: Path,
    log: Log,
    *,
    pairing: bool = False,
    sensitivity: float = SENSITIVITY,
) -> Found:
    """Alignments (A3M, query first) of every chain in every database that mmseqs reads, in preset order.

    A chain without hits gets its query alone. With `pairing`, databases for pairing are searched as well.
    Scratch files live in a folder below `work` that is removed afterwards. `sensitivity` is that of the
    recipe `colabfold` (its `-s`).

    Raises:
        ProgramError: mmseqs failed; the search is one batch, so no chain of it has a result. Where a file of
            the database is damaged, the text says which.
    """
    if not chains:
        return {}
    work.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="mmseqs.", dir=work)).resolve()
    try:
        batch = _Batch(chains, scratch, settings, log)
        batch.create_queries()
        profile_flags = _profile_flags(settings)
        found: dict[str, list[RawMsa]] = {chain.key: [] for chain in chains}
        for database in presets.used(preset, presets.only(settings, "msa"), pairing=pairing):
            flags = None if database.pairing else profile_flags
            try:
                searched = _opened(batch, database)
                msas = (
                    _simple_search(batch, searched)
                    if flags is None
                    else _profile_search(batch, searched, sensitivity, flags)
                )
            except programs.ProgramError as error:
                raise explained(error, [database]) from error
            for chain, msa in zip(chains, msas, strict=True):
                found[chain.key].append(msa)
        return found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass
class _Batch:
    """The queries of one chunk and the commands run on them.

    `profile` is the query profile of the first profile search: later databases are searched with it.
    """

    chains: Sequence[PlannedChain]
    scratch: Path
    settings: MsaSettings
    log: Log
    commands: list[str] = field(default_factory=list)
    seconds: float = 0.0
    profile: Path | None = None

    @property
    def queries(self) -> Path:
        return self.scratch / "queries"

    def call(
        self, module: str, *arguments: str | Path, threads: bool = True, needs: Background | None = None
    ) -> None:
        """Run one mmseqs module; `needs` is the server that it asks."""
        tail = ["--threads", str(self.settings.threads)] if threads else []
        # At call depth 0 every module prints its full list of parameters.
        quiet = {"MMSEQS_CALL_DEPTH": "1"}
        program = programs.find("mmseqs", gpu=self.settings.on_gpu)
        command = [program, module, *arguments, *tail]
        ran = programs.run(command, self.scratch, self.log, environment=quiet, needs=needs)
        self.commands.append(ran.command)
        self.seconds += ran.seconds

    def create_queries(self) -> None:
        """Number i of the database is chain i: --shuffle 0 keeps the order of the FASTA."""
        fasta = self.scratch / "queries.fasta"
        fasta.write_text("".join(f">{chain.key}\n{chain.sequence}\n" for chain in self.chains))
        self.call("createdb", fasta, self.queries, "--shuffle", "0", "--dbtype", "1", threads=False)

    def call_search(
        self, source: Path, target: Path, folder: Path, options: Sequence[str], limit: int
    ) -> list[list[SearchStep]]:
        """Search, with the result `hits` in `folder`. A GPU keeps the database for all steps and chains.

        Returns:
            What the steps passed on, by chain.
        """
        hits, tmp = folder / "hits", folder / "tmp"
        arguments: list[str | Path] = [source, target, hits, tmp, *options]
        if not self.settings.on_gpu:
            self.call("search", *arguments)
        else:
            with gpu_server(target, limit, self.scratch, self.log) as server:
                if server is not None:
                    self.commands.append(f"{server.command} &")
                    arguments += ["--gpu-server", "1"]
                self.call("search", *arguments, needs=server)
        return mmseqs_steps.steps_of(tmp / "latest", hits, limit, len(self.chains))

    def take(self) -> tuple[list[str], float]:
        """Commands and seconds since the last call of `take`."""
        commands, seconds = self.commands, self.seconds
        self.commands, self.seconds = [], 0.0
        return commands, seconds


@dataclass(frozen=True)
class _Searched:
    """A database as mmseqs modules take it.

    `search` is the prefix that is searched, `sequences` where hits' residues are, `clusters` the alignments
    of cluster members to their representative (None: a plain sequence database, nothing to expand).
    """

    database: Database
    search: Path
    sequences: Path
    clusters: Path | None
    load_mode: list[str]
    indexed: bool


def _with_suffix(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix)


def _opened(batch: _Batch, database: Database) -> _Searched:
    """Look what a database consists of; a FASTA becomes an mmseqs database in the scratch folder."""
    prefix = database.path.resolve()
    if database.format == "fasta":
        prefix = batch.scratch / f"target_{database.name}"
        batch.call("createdb", _readable_fasta(database, batch.scratch), prefix, threads=False)
    if not _with_suffix(prefix, ".dbtype").is_file():
        raise DatabaseMissingError(
            f"{prefix}.dbtype: no such file; expected an mmseqs database. {database.get}"
        )
    indexed = any(_with_suffix(prefix, name).is_file() for name in (".idx", ".idx.index"))
    expandable = _with_suffix(prefix, "_aln.dbtype").is_file()
    load_mode = ["--db-load-mode", "2" if indexed else "0"]
    if not expandable:
        return _Searched(database, prefix, prefix, None, load_mode, indexed)
    sequences, clusters = (".idx", ".idx") if indexed else ("_seq", "_aln")
    return _Searched(
        database, prefix, _with_suffix(prefix, sequences), _with_suffix(prefix, clusters), load_mode, indexed
    )


def _readable_fasta(database: Database, scratch: Path) -> Path:
    """mmseqs reads plain and gzipped FASTA, not zstd."""
    path = database.path.resolve()
    if path.suffix == ".gz":
        streams.check(path)
    if path.suffix != ".zst":
        return path
    plain = scratch / f"{database.name}.fasta"
    with plain.open("wb") as target:
        target.writelines(streams.blocks_of(path))
    return plain


def _profile_search(
    batch: _Batch, target: _Searched, sensitivity: float, flags: Mapping[str, str]
) -> list[RawMsa]:
    """ColabFold's chain. A plain database has no clusters to expand: its hits are realigned as they are."""
    call, queries, mode = batch.call, batch.queries, target.load_mode
    name = target.database.name
    folder = batch.scratch / name
    folder.mkdir()
    first = batch.profile is None
    source = batch.profile or queries
    hits, tmp = folder / "hits", folder / "tmp"
    sensitive = [] if batch.settings.on_gpu else ["-s", f"{sensitivity:.1f}"]
    options = [*mode, *flags["search"].split(), *sensitive]
    limit = batch.settings.mmseqs.max_seqs
    steps = batch.call_search(source, target.search, folder, options, limit)
    profile = tmp / "latest" / "profile_1"
    if batch.profile is None:
        batch.profile = batch.scratch / "profile"
        call("mvdb", profile, batch.profile, threads=False)
        call("lndb", _with_suffix(queries, "_h"), _with_suffix(batch.profile, "_h"), threads=False)
        profile = batch.profile
    if target.clusters is not None:
        expanded = folder / "expanded"
        # As in ColabFold, members of a cluster are thinned out in the first database only.
        thin = flags["expandaln, first database"].split() if first else []
        databases = (source, target.sequences, hits, target.clusters, expanded)
        call("expandaln", *databases, *mode, *flags["expandaln"].split(), *thin)
        hits = expanded
    realigned, filtered = folder / "realigned", folder / "filtered"
    call("align", profile, target.sequences, hits, realigned, *mode, *flags["align"].split())
    keep = flags["filterresult"].split()
    call("filterresult", queries, target.sequences, realigned, filtered, *mode, *keep)
    texts = _alignments(batch, filtered, target.sequences, [*mode, *flags["result2msa"].split()])
    return _collected(batch, target.database, texts, [list(read_hits(text)) for text in texts], steps)


def _simple_search(batch: _Batch, target: _Searched) -> list[RawMsa]:
    """One search, of an expandable database's representatives only."""
    call, mode = batch.call, target.load_mode
    folder = batch.scratch / target.database.name
    folder.mkdir()
    hits, table = folder / "hits", folder / "hits.tsv"
    flags = _simple_flags(batch.settings)
    prefilter = flags.get("search, index" if target.indexed else "search, no index", "")
    limit = max(batch.settings.mmseqs.max_seqs, target.database.limit or 0)
    options = [*mode, *f"{flags['search']} {prefilter}".split(), "--max-seqs", str(limit)]
    steps = batch.call_search(batch.queries, target.search, folder, options, limit)
    named = _representatives(target, folder)
    call("convertalis", batch.queries, named, hits, table, *mode, "--format-output", _COLUMNS)
    names, rows = _read_table(table)
    texts = _alignments(batch, hits, target.search, [*mode, *_SIMPLE["result2msa"].split()])
    full = [_with_full_names(text, names) for text in texts]
    listed = [rows.get(chain.key, []) for chain in batch.chains]
    return _collected(batch, target.database, full, listed, steps)


def _representatives(target: _Searched, folder: Path) -> Path:
    """The database without its members: convertalis takes names from `_seq` if there is one, by the same key.

    In a padded database, as ColabFold's are, the key is another sequence's there.
    """
    if target.clusters is None:
        return target.search
    alone = folder / "representatives"
    name = target.search.name
    own = re.compile(rf"{re.escape(name)}(_h)?(\.\d+|\.index|\.dbtype|\.lookup|\.source)?")
    for file in target.search.parent.glob(f"{glob.escape(name)}*"):
        if own.fullmatch(file.name):
            _with_suffix(alone, file.name.removeprefix(name)).symlink_to(file)
    return alone


def _alignments(batch: _Batch, hits: Path, sequences: Path, options: list[str]) -> list[str]:
    """A3M text of every chain, in order."""
    msas, texts = hits.with_name("msas"), hits.with_name("texts")
    texts.mkdir()
    call = batch.call
    call("result2msa", batch.queries, sequences, hits, msas, *options)
    call("unpackdb", msas, texts, "--unpack-name-mode", "0", "--unpack-suffix", ".a3m")
    return [
        text_of((texts / f"{number}.a3m").read_bytes().replace(b"\0", b""))
        for number in range(len(batch.chains))
    ]


def _collected(
    batch: _Batch,
    database: Database,
    texts: list[str],
    hits: list[list[Hit]],
    steps: list[list[SearchStep]],
) -> list[RawMsa]:
    commands, seconds = batch.take()
    return [
        RawMsa(
            database=database.name,
            format="a3m",
            text=text,
            hits=rows,
            found=max(0, text.count("\n>")),
            pairing=database.pairing,
            commands=commands,
            seconds=seconds / len(texts),
            steps=own,
            warnings=mmseqs_steps.warnings(database.name, own),
        )
        for text, rows, own in zip(texts, hits, steps, strict=True)
    ]


def read_hits(a3m: str) -> Iterator[Hit]:
    """Hits of an A3M with mmseqs' alignment columns in its names (name, bits, identity, E-value, …)."""
    for record in a3m.split("\n>")[1:]:
        header, _, row = record.partition("\n")
        name, _, identity, evalue, *_ = header.split("\t")
        yield Hit(name, float(evalue), round(100 * float(identity), 1), len(row.strip().strip("-")))


def _read_table(path: Path) -> tuple[dict[str, str], dict[str, list[Hit]]]:
    """Full names by mmseqs' own (`P62975` → `sp|P62975|UBIQ_RABIT`), and hits by query."""
    names: dict[str, str] = {}
    hits: dict[str, list[Hit]] = {}
    with path.open("rb") as stream:
        for line in stream:
            query, target, evalue, pident, alnlen, header = text_of(line).rstrip("\n").split("\t", 5)
            names[target] = first_word(header)
            hits.setdefault(query, []).append(Hit(names[target], float(evalue), float(pident), int(alnlen)))
    return names, hits


def _with_full_names(a3m: str, names: dict[str, str]) -> str:
    """Put UniProt's full names back: mmseqs keeps the accession alone, and pairing reads the species."""
    head, *records = a3m.split("\n>")
    renamed = []
    for record in records:
        name, tab, rest = record.partition("\t")
        renamed.append(f"{names.get(name, name)}{tab}{rest}")
    return "\n>".join([head, *renamed])
