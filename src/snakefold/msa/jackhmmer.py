"""jackhmmer as AlphaFold runs it, with each database read once for all chains of a chunk.

AlphaFold starts `jackhmmer -N 1` for every chain and database, so 100 GB are read again for every chain. Here
HMMER's own code (pyhmmer) gets one block of the database after the other, and every chain searches the block
while it is in memory. HMMER sees neither sequences that came before (`repeats`) nor those that its first
filter would reject (`ssv`). E-values need the number of sequences, which is known at the end: a block's hits
are judged by fewer sequences than there are, which keeps a superset, and all hits are judged again by all of
them (`hits`). Rows and their order are those of the program.
"""

from __future__ import annotations

import contextlib
import gc
import math
import queue
import shlex
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from snakefold.kernel import streams
from snakefold.kernel.errors import Reason, SnakefoldError, TargetError
from snakefold.kernel.streams import opened
from snakefold.kernel.wording import count
from snakefold.msa.bundle import Found, Hit, Log, RawMsa
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.hits import Hits, Judged, Thresholds, aligned, searchable, stockholm
from snakefold.msa.names import ReadableNames
from snakefold.msa.planned import PlannedChain
from snakefold.msa.repeats import Block, Repeats
from snakefold.msa.settings import MsaSettings
from snakefold.msa.ssv import Filter, Targets

#: AlphaFold's flags (alphafold.data.tools.jackhmmer).
FLAGS = {"--F1": 0.0005, "--F2": 5e-05, "--F3": 5e-07, "--incE": 0.0001, "-E": 0.0001}
#: The same for pyhmmer, and jackhmmer's own defaults for domains, which pyhmmer has otherwise.
_PIPELINE: dict[str, Any] = {name.lstrip("-"): value for name, value in FLAGS.items()} | {
    "domE": 10.0,
    "incdomE": 0.001,
    # As if nothing else were reported: all domains that can be included, in whatever database.
    "domZ": 1.0,
}
_THRESHOLDS = Thresholds(hit=FLAGS["-E"], domain=_PIPELINE["incdomE"])
#: Small enough that a few blocks in memory cost nothing, large enough that a task is worth a thread's while.
_BLOCK_RESIDUES = 4_000_000
_PROGRESS_SECONDS = 60.0


def parameters(_settings: MsaSettings) -> dict[str, Any]:
    """What an alignment depends on besides its sequence and databases (for the recipe)."""
    import pyhmmer

    return {"pyhmmer": pyhmmer.__version__, "iterations": 1, **FLAGS}


def search(
    chains: Sequence[PlannedChain],
    preset: Preset,
    settings: MsaSettings,
    work: Path,  # noqa: ARG001 - nothing is written; the call is the same for every tool
    log: Log,
    *,
    pairing: bool = False,
) -> Found:
    """Alignments (Stockholm, query first) of every chain in every database jackhmmer reads, in preset order.

    A chain without hits gets its query alone; one whose search fails gets a TargetError, the others go on.
    Memory is a few blocks of the database, the rows of all chains, and some 1 kB for each hit beyond a limit.

    Raises:
        SnakefoldError: a database cannot be read as FASTA (plain, .gz or .zst).
    """
    found: dict[str, list[RawMsa] | TargetError] = {chain.key: [] for chain in chains}
    for database in preset.select("jackhmmer", pairing=pairing) if chains else []:
        todo = [chain for chain in chains if not isinstance(found[chain.key], TargetError)]
        if not todo:
            break
        for chain, result in zip(todo, search_database(todo, database, settings.threads, log), strict=True):
            so_far = found[chain.key]
            if isinstance(result, TargetError):
                found[chain.key] = result
            elif isinstance(so_far, list):
                so_far.append(result)
    return found


def command_line(database: Path, output: str, query: str = "query.fasta") -> str:
    """The command that AlphaFold runs for one chain, shell-quoted."""
    flags = [part for flag, value in FLAGS.items() for part in (flag, str(value))]
    arguments = ["jackhmmer", "-o", "/dev/null", "-A", output, "--noali", *flags, "--cpu", "8", "-N", "1"]
    return shlex.join([*arguments, query, str(database)])


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """For a search: half the cost of reading would be looks for cycles among sequences, which have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_garbage_collection()
def search_database(
    chains: Sequence[PlannedChain], database: Database, threads: int, log: Log
) -> list[RawMsa | TargetError]:
    """One pass over one database for all chains.

    Raises:
        SnakefoldError: the database cannot be read.
    """
    from pyhmmer.easel import Alphabet
    from pyhmmer.plan7 import Pipeline

    alphabet = Alphabet.amino()
    started = told = time.perf_counter()
    size = _megabytes(database.path)
    log(f"jackhmmer: {database.name}: {count(len(chains), 'chain')}, one pass over {size}")
    pipelines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for _ in range(threads):
        pipelines.put(Pipeline(alphabet, **_PIPELINE))
    pool = ThreadPoolExecutor(threads)
    try:
        # Long chains first: none of them is left over when the others are done with the last block.
        queries = [_Query(chain, alphabet, database.limit) for chain in chains]
        repeats = Repeats()
        order = sorted(queries, key=lambda query: len(query.chain.sequence), reverse=True)
        waiting: deque[tuple[Block, list[tuple[_Query, Future[Any]]]]] = deque()
        most_waiting = 1 + math.ceil(threads / len(chains))
        sequences = 0
        for read in _blocks(database.path, alphabet):
            block = repeats.split(read)
            targets = Targets.of(block.unique)
            searched = [
                (query, pool.submit(_search_block, query, targets, pipelines)) for query in order if query.ok
            ]
            waiting.append((block, searched))
            sequences += len(read)
            if len(waiting) > most_waiting:
                _collect(*waiting.popleft())
            if time.perf_counter() - told > _PROGRESS_SECONDS:
                told = time.perf_counter()
                log(f"jackhmmer: {database.name}: {sequences:,} sequences after {told - started:.0f} s")
        while waiting:
            _collect(*waiting.popleft())
        for done in [pool.submit(query.judge, pipelines) for query in order if query.ok]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
    seconds = time.perf_counter() - started
    log(f"jackhmmer: {database.name}: {sequences:,} sequences, done in {seconds:.1f} s")
    return [query.result(database, seconds / len(chains)) for query in queries]


@dataclass
class _Query:
    """One chain in one database: its profile, the hits so far, and what went wrong, if something did."""

    chain: PlannedChain
    alphabet: Any
    limit: int | None
    sequence: Any = None
    model: Any = None
    filter: Any = None
    hits: Hits = field(init=False)
    judged: Judged | None = None
    error: Exception | None = None

    def __post_init__(self) -> None:
        from pyhmmer.easel import TextSequence
        from pyhmmer.plan7 import Background, Builder

        self.hits = Hits(self.limit, _THRESHOLDS)
        if not self.chain.sequence:
            # HMMER does not refuse it: it ends the process.
            self.error = ValueError("the chain has no residue")
            return
        try:
            text = TextSequence(name=self.chain.key, sequence=self.chain.sequence)
            self.sequence = text.digitize(self.alphabet)
            builder = Builder(self.alphabet, architecture="hand")
            self.model, _, profile = builder.build(self.sequence, Background(self.alphabet))
            self.filter = Filter(self.model, profile, FLAGS["--F1"])
        except Exception as error:  # one chain's failure must not lose the others
            self.error = error

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong so far."""
        return self.error is None

    def judge(self, pipelines: queue.SimpleQueue[Any]) -> None:
        """Choose the rows, and search again what they need and was not kept; after the last block."""
        try:
            self.judged = self.hits.judged()
            if lacking := self.judged.lacking:
                self.judged.take(_hits(self, searchable(lacking, self.alphabet), pipelines))
        except Exception as error:  # one chain's failure must not lose the others
            self.error = error

    def result(self, database: Database, seconds: float) -> RawMsa | TargetError:
        """The alignment of all included domains, best hit first."""
        judged, self.judged = self.judged, None
        if judged is not None and self.error is None:
            try:
                text, hits, found = self._alignment(judged)
            except Exception as error:  # one chain's failure must not lose the others
                self.error = error
        if self.error is not None:
            return TargetError(
                Reason.MSA_FAILED,
                f"jackhmmer: {database.name}: {type(self.error).__name__}: {self.error}",
                "Run the command by hand to see more: " + command_line(database.path, "out.sto"),
            )
        return RawMsa(
            database=database.name,
            format="sto",
            text=text,
            hits=hits,
            found=found,
            pairing=database.pairing,
            commands=[command_line(database.path, f"{database.name}.sto")],
            seconds=seconds,
        )

    def _alignment(self, judged: Judged) -> tuple[str, list[Hit], int]:
        """Stockholm text of the rows that are wanted, all hits, and the number of their rows."""
        from pyhmmer.plan7 import Trace

        msa = aligned(judged, self.model).to_msa(
            self.alphabet,
            sequences=[self.sequence],
            traces=[Trace.from_sequence(self.sequence)],
            all_consensus_cols=True,
            digitize=True,
        )
        _free_domains()
        rows = [(0, self.chain.key), *judged.rows(msa.names)]
        return stockholm(msa, rows[: self.limit]), judged.listed(), judged.number_of_rows


def _search_block(query: _Query, targets: Targets, pipelines: queue.SimpleQueue[Any]) -> Any:
    return _hits(query, query.filter.passing(targets), pipelines)


def _hits(query: _Query, sequences: Sequence[Any], pipelines: queue.SimpleQueue[Any]) -> Any:
    """HMMER's TopHits among some sequences."""
    from pyhmmer.easel import DigitalSequenceBlock

    pipeline = pipelines.get()
    try:
        pipeline.clear()
        return pipeline.search_hmm(query.model, DigitalSequenceBlock(query.alphabet, sequences))
    finally:
        pipelines.put(pipeline)


def _free_domains() -> None:
    """Pyhmmer's domains and their alignments hold each other, and through them all hits of a block.

    These cycles are young, so that looking for them costs a millisecond, and nobody else does in a search.
    """
    gc.collect(0)


def _collect(block: Block, searched: list[tuple[_Query, Future[Any]]]) -> None:
    for query, future in searched:
        try:
            hits = future.result()
            if query.ok:
                query.hits.add(hits, block)
        except Exception as error:  # one chain's failure must not lose the others
            query.error = error
    _free_domains()


def _blocks(path: Path, alphabet: Any) -> Iterator[Any]:
    """Blocks of sequences of a FASTA file; a compressed one is unpacked on the way."""
    from pyhmmer.easel import SequenceFile

    names: ReadableNames | None = None
    try:
        with opened(path) as source:
            names = ReadableNames(source)
            with SequenceFile(cast("BinaryIO", names), "fasta", digital=True, alphabet=alphabet) as file:
                while block := file.read_block(residues=_BLOCK_RESIDUES):
                    yield block
    except Exception as error:
        first = (names and names.error) or error
        raise SnakefoldError(
            f"{path}: cannot be read as FASTA ({streams.problem(first)}). "
            "Expected protein sequences as plain text, .gz or .zst; get the database again."
        ) from first


def _megabytes(path: Path) -> str:
    return f"{path} ({path.stat().st_size / 1e6:,.1f} MB)"
