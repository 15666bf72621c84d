"""HHblits: the databases of clusters (BFD and UniRef30) searched together, a process per chain.

Flags are those of AlphaFold's `Hhblits` runner (alphafold/data/tools/hhblits.py), with a table of hits
in addition, which changes nothing in the alignment.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import DatabaseMissingError, Reason, TargetError
from snakefold.msa import programs
from snakefold.msa.bundle import Found, Hit, Log, RawMsa
from snakefold.msa.databases.inside import explained
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.names import text_of
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

#: AlphaFold's values; HHblits' own are 2, 0.001, 65535, 500, 20000 and 100.
FLAGS: Mapping[str, str] = {
    "-n": "3",
    "-e": "0.001",
    "-maxseq": "1000000",
    "-realign_max": "100000",
    "-maxfilt": "100000",
    "-min_prefilter_hits": "1000",
}
_PARTS = ("_a3m.ffdata", "_hhm.ffdata", "_cs219.ffdata")
_DEBIAN_HHLIB = Path("/usr/share/hhsuite")


def parameters(_settings: MsaSettings) -> dict[str, Any]:
    """What an alignment depends on besides its sequence and databases (for the recipe)."""
    return {"version": programs.version("hhblits"), **FLAGS}


def search(
    chains: Sequence[PlannedChain],
    preset: Preset,
    settings: MsaSettings,
    work: Path,
    log: Log,
    *,
    pairing: bool = False,
) -> Found:
    """One alignment (A3M, query first) per chain from all databases that hhblits reads.

    A chain without hits gets its query alone; one whose search fails gets a TargetError, and the others
    go on. `pairing` is taken for the same call as other tools': HHblits' databases have no rows to pair.

    Raises:
        DatabaseMissingError, MissingProgramError: nothing was searched.
    """
    databases = preset.select("hhblits", pairing=pairing)
    if not chains or not databases:
        return {chain.key: [] for chain in chains}
    _check(databases)
    programs.find("hhblits")
    work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Sequence[RawMsa] | TargetError] = {}
    for number, chain in enumerate(chains, start=1):
        log(f"hhblits: chain {number} of {len(chains)}, {len(chain.sequence)} residues")
        scratch = Path(tempfile.mkdtemp(prefix="hhblits.", dir=work)).resolve()
        try:
            found[chain.key] = [_search_one(chain, databases, settings.threads, scratch, log)]
        except programs.ProgramError as error:
            found[chain.key] = TargetError(
                Reason.MSA_FAILED,
                str(explained(error, databases)),
                "Look at the command's output; run it by hand with more memory.",
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return found


def _check(databases: Sequence[Database]) -> None:
    missing = [
        f"  {path}: missing ({database.get})"
        for database in databases
        for part in _PARTS
        if not (path := database.path.with_name(database.path.name + part)).is_file()
    ]
    if missing:
        raise DatabaseMissingError("HHblits' databases are not complete:\n" + "\n".join(missing))


def _search_one(
    chain: PlannedChain, databases: Sequence[Database], threads: int, scratch: Path, log: Log
) -> RawMsa:
    fasta, a3m, table = scratch / "query.fasta", scratch / "msa.a3m", scratch / "hits.tsv"
    fasta.write_text(f">{chain.key}\n{chain.sequence}\n")
    arguments: list[str | Path] = [programs.find("hhblits"), "-i", fasta, "-cpu", str(threads)]
    arguments += ["-oa3m", a3m, "-o", "/dev/null", "-blasttab", table]
    arguments += [part for flag in FLAGS.items() for part in flag]
    arguments += [part for database in databases for part in ("-d", str(database.path.resolve()))]
    ran = programs.run(arguments, scratch, log, environment=_environment())
    text = text_of(a3m.read_bytes())
    return RawMsa(
        database="+".join(database.name for database in databases),
        format="a3m",
        text=text,
        hits=_read_table(text_of(table.read_bytes())),
        found=text.count("\n>"),
        commands=[ran.command],
        seconds=ran.seconds,
    )


def _environment() -> dict[str, str]:
    """HHblits finds its context data below $HHLIB; Debian's package keeps them where it does not look."""
    if "HHLIB" in os.environ or not (_DEBIAN_HHLIB / "data").is_dir():
        return {}
    return {"HHLIB": str(_DEBIAN_HHLIB)}


def _read_table(text: str) -> list[Hit]:
    """Clusters of a BLAST-like table that are good enough for the alignment; the table lists poor ones too.

    Columns: query, target, identity, length, mismatches, gaps, four ends, E-value, bits.
    """
    hits = []
    for line in text.rstrip("\n").split("\n") if text.strip() else []:
        _, target, identity, length, *_, evalue, _ = line.split("\t")
        if float(evalue) <= float(FLAGS["-e"]):
            hits.append(Hit(target, float(evalue), round(100 * float(identity), 1), int(length)))
    return hits
