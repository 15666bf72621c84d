"""jackhmmer as AlphaFold runs it, and ours, in a form that can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snakefold.kernel.errors import TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.msa import jackhmmer, programs
from snakefold.msa.bundle import RawMsa
from snakefold.msa.databases.presets import Database, Preset, load_preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

Rows = tuple[list[str], list[str], list[list[int]]]


def chain(sequence: str) -> PlannedChain:
    return PlannedChain(key=sequence_key([sequence]), sequence=sequence)


def preset(path: Path, limit: int | None = None, name: str = "swissprot") -> Preset:
    database = Database(
        name, frozenset({"jackhmmer"}), "fasta", path, (path,), limit, False, False, 0.001, "restore it"
    )
    return Preset("test", path.parent, (database,))


def demo() -> Path:
    return load_preset("demo").root / "swissprot.fasta"


def searched(
    chains: Sequence[PlannedChain], where: Preset, work: Path, threads: int = 2
) -> dict[str, RawMsa]:
    found = jackhmmer.search(chains, where, MsaSettings(threads=threads), work, lambda line: None)
    assert list(found) == [each.key for each in chains]
    results = {}
    for key, result in found.items():
        assert not isinstance(result, TargetError), result
        (results[key],) = result
    return results


def by_alphafold(sequence: str, database: Path, folder: Path, limit: int | None = None) -> str:
    """Stockholm text by AlphaFold's wrapper around the real program; limit as its `*_max_hits`."""
    from alphafold.data.tools import jackhmmer as wrapper

    query = folder / "query.fasta"
    query.write_text(f">{sequence_key([sequence])}\n{sequence}\n")
    program = wrapper.Jackhmmer(binary_path=str(programs.find("jackhmmer")), database_path=str(database))
    text: str = program.query(str(query), limit)[0]["sto"]
    return text


def rows(text: str) -> Rows:
    """Names, aligned rows and insertions, as AlphaFold reads them."""
    from alphafold.data import parsers

    msa = parsers.parse_stockholm(text)
    return list(msa.descriptions), list(msa.sequences), [list(row) for row in msa.deletion_matrix]
