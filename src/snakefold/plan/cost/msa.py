"""CPU seconds of alignments: what a chain costs by its length and the databases, and a chunk besides.

Sources: benchmarks/msa_jackhmmer.json and benchmarks/msa_mmseqs.json (50 queries of 229 residues against
Swiss-Prot, 194 MB, CPU seconds of an x86-64 core); where those end, published ratios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from snakefold.msa.databases.presets import Database, load_preset, used
from snakefold.msa.settings import MsaSettings

Floats = NDArray[np.float64]

#: HMMER's programs, one iteration: 123.7 CPU s for 50 x 228.9 residues against 194.2 MB.
_HMMER = 5.57e-11
#: Our jackhmmer step, the same search: 47.6 CPU s.
_JACKHMMER = 2.14e-11
#: HHblits 3 is about 20 times as fast as HMMER 3 (Steinegger et al., BMC Bioinformatics 20:473, 2019) and
#: makes three iterations.
_HHBLITS = 3 * _HMMER / 20
#: mmseqs with an index: 50.8 CPU s (recipe colabfold) and 5.0 (simple); simple without: 1.75 a query.
_MMSEQS = {"colabfold": 2.29e-11, "colabfold_unfiltered": 2.29e-11, "simple": 2.27e-12}
_MMSEQS_WITHOUT_INDEX = 4.0e-11
#: Making an index: 83.2 CPU s for 194.2 MB. The recipe colabfold does it for every chunk if there is none.
_MMSEQS_INDEX = 4.28e-7
#: Bytes that a search compares with, of a prepared ColabFold database: representatives, neither members nor
#: index. Chosen to make it 50 times cheaper than AlphaFold's search (40 to 60: Mirdita et al., Nat Methods
#: 19:679, 2022).
_REPRESENTATIVES = 0.03
#: hhsearch in pdb70, CPU seconds a residue of the query. An estimate, not measured.
_HHSEARCH = 0.6
#: What ColabFold's client (1.6.3) reckons with for a sequence at its server, seconds.
_ASKED = 150.0
#: Makes the 3,000 rows that a server's filter keeps (`--diff 3000`).
_SERVER_BYTES = 1e10
#: CPU seconds of a process that starts, reads settings and writes its results; and of each chain's files.
_CHUNK, _CHAIN = 0.6, 0.01


@dataclass(frozen=True, slots=True)
class SearchCost:
    """CPU seconds of a search: `per_residue` of a query, besides `per_chain` and `per_chunk`."""

    per_residue: float
    per_chain: float
    per_chunk: float


def asked_seconds(queries: int) -> float:
    """Seconds that an MSA server takes for queries (chains, complexes), one after the other."""
    return _ASKED * queries


def database_bytes(settings: MsaSettings) -> float:
    """Bytes of all databases behind a search, as far as they decide how many rows are found."""
    if settings.tool in ("precomputed", "single_sequence"):
        return 0.0
    if settings.asks_server:
        return _SERVER_BYTES
    return float(sum(database_sizes(settings).values()))


def search_cost(
    settings: MsaSettings, database_bytes: Mapping[str, int] | None = None, *, pairing: bool = False
) -> SearchCost:
    """What a search with these settings costs by published figures.

    Args:
        database_bytes: sizes by name of database; None looks at the files, and takes the preset's sizes for
            those that are not there.
        pairing: databases for pairing the chains of a complex are searched as well.
    """
    residue, chunk = 0.0, _CHUNK
    for database in _databases(settings, pairing):
        size = _bytes(database) if database_bytes is None else database_bytes.get(database.name, 0)
        own_residue, own_chunk = _database_cost(database, float(size), settings)
        residue += own_residue
        chunk += own_chunk
    return SearchCost(residue, _CHAIN, chunk)


def database_sizes(settings: MsaSettings, *, pairing: bool = True) -> dict[str, int]:
    """Bytes of every database that a search reads: of its files, or else as the preset says."""
    return {database.name: _bytes(database) for database in _databases(settings, pairing)}


def chain_seconds(lengths: ArrayLike, cost: SearchCost) -> Floats:
    """CPU seconds of each chain."""
    return np.asarray(cost.per_chain + cost.per_residue * np.asarray(lengths, dtype=float), dtype=np.float64)


@cache
def _databases(settings: MsaSettings, pairing: bool) -> tuple[Database, ...]:
    # Reading the list of presets takes longer than everything else here, and is asked for chunk by chunk.
    # What a GPU takes was not measured: it is reckoned as the CPU's search of the same databases.
    mmseqs = settings.mmseqs.model_copy(update={"gpu": False})
    on_cpu = settings.model_copy(update={"mmseqs": mmseqs})
    return tuple(used(load_preset(settings.db_preset, settings.db_root), on_cpu, pairing=pairing))


def _database_cost(database: Database, size: float, settings: MsaSettings) -> tuple[float, float]:
    """CPU seconds a residue of the query, and a chunk."""
    if database.format in ("mmcif", "text"):
        return 0.0, 0.0
    if "mmseqs" in database.tools and settings.tool == "mmseqs":
        recipe = "simple" if database.pairing else settings.mmseqs_recipe
        if database.format == "mmseqs":
            return _MMSEQS[recipe] * size * _REPRESENTATIVES, 0.0
        if recipe == "simple":
            return _MMSEQS_WITHOUT_INDEX * size, 0.0
        return _MMSEQS[recipe] * size, _MMSEQS_INDEX * size
    if "jackhmmer" in database.tools and settings.tool in ("jackhmmer", "hhblits"):
        return _JACKHMMER * size, 0.0
    if "hhblits" in database.tools and settings.tool == "hhblits":
        return _HHBLITS * size, 0.0
    if settings.templates == "hhsearch" and "hhsearch" in database.tools:
        return _HHSEARCH, 0.0
    if settings.templates == "hmmsearch" and "hmmsearch" in database.tools:
        return _HMMER * size, 0.0
    return 0.0, 0.0


def _bytes(database: Database) -> int:
    if database.format in ("fasta", "hhsuite") and not database.missing:
        return sum(file.stat().st_size for file in database.files if file.is_file())
    return int(database.gigabytes * 1e9)
