"""MMseqs2 with a prepared index against a jackhmmer process per query, both in this run, on Swiss-Prot.

    python benchmarks/msa_mmseqs.py [--queries 50] [--threads 2] [--work FOLDER]

Queries and database are those of msa_jackhmmer.py: drawn with a fixed seed from Swiss-Prot of January 2014
(Debian's metastudent-data; `blastdbcmd` of ncbi-blast+), which is searched. About 6 CPU minutes, and 4 GB of
disk under a temporary folder that is removed. CPU seconds are user plus system time of this process and its
children. Writes msa_mmseqs.json and msa_mmseqs.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from msa_jackhmmer import draw_queries, write_swissprot
from snakefold.msa import mmseqs, programs
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

GOAL = 15.0


class Clock:
    """CPU seconds (user and system, children included) and wall seconds of a `with` block."""

    def __enter__(self) -> Clock:
        self.started = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = self.started
        self.wall, self.cpu = round(time.perf_counter() - wall, 2), round(cpu_seconds() - cpu, 2)


def cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def jackhmmer(chains: list[PlannedChain], database: Path, folder: Path) -> dict[str, set[str]]:
    """Accessions found for each chain by AlphaFold's own runner: a process per query, --cpu 8."""
    from alphafold.data import parsers
    from alphafold.data.tools.jackhmmer import Jackhmmer

    runner = Jackhmmer(binary_path=str(programs.find("jackhmmer")), database_path=str(database))
    found = {}
    for chain in chains:
        query = folder / "query.fasta"
        query.write_text(f">query\n{chain.sequence}\n")
        rows = parsers.parse_stockholm(runner.query(str(query))[0]["sto"]).descriptions[1:]
        found[chain.key] = {row.partition("/")[0] for row in rows}
    return found


def share(found: dict[str, set[str]], reference: dict[str, set[str]]) -> dict[str, Any]:
    """How much of the reference's hits is found: pooled over queries, and the mean over queries with hits."""
    both = {key: len(found[key] & hits) for key, hits in reference.items()}
    parts = [both[key] / len(hits) for key, hits in reference.items() if hits]
    return {
        "hits": sum(map(len, found.values())),
        "share_pooled": round(sum(both.values()) / max(1, sum(map(len, reference.values()))), 4),
        "share_mean": round(sum(parts) / max(1, len(parts)), 4),
    }


def measure(work: Path, count: int, threads: int) -> dict[str, Any]:
    path = work / "swissprot.fasta"
    records = write_swissprot(path)
    chains = draw_queries(records, count)
    residues = sum(len(text) for text in records.values())
    sequences = len(records)
    del records

    prefix = work / "swissprot"
    options = ["--threads", str(threads), "-v", "1"]
    with Clock() as preparing:
        programs.run([programs.find("mmseqs"), "createdb", path, prefix], work, quiet)
        programs.run(
            [
                programs.find("mmseqs"),
                "createindex",
                prefix,
                work / "tmp",
                *options,
                "--remove-tmp-files",
                "1",
            ],
            work,
            quiet,
        )
    index = sum(file.stat().st_size for file in work.glob("swissprot.idx*"))
    database = Database(
        name="swissprot",
        tools=frozenset({"mmseqs"}),
        format="mmseqs",
        path=prefix,
        files=(prefix,),
        limit=None,
        pairing=False,
        optional=False,
        gigabytes=0.0,
        get="",
    )
    preset = Preset("benchmark", work, (database,))
    searches: dict[str, dict[str, Any]] = {}
    hits: dict[str, dict[str, set[str]]] = {}
    for recipe in ("simple", "colabfold"):
        settings = MsaSettings(tool="mmseqs", mmseqs_recipe=recipe, threads=threads)
        with Clock() as clock:
            found = mmseqs.search(chains, preset, settings, work, quiet)
        hits[recipe] = {key: {hit.target for hit in msas[0].hits} for key, msas in found.items()}
        searches[f"mmseqs {recipe}"] = {"cpu_s": clock.cpu, "wall_s": clock.wall}
    with Clock() as clock:
        reference = jackhmmer(chains, path, work)
    searches["jackhmmer, a process per query"] = {
        "cpu_s": clock.cpu,
        "wall_s": clock.wall,
        "hits": sum(map(len, reference.values())),
    }
    for recipe, found_hits in hits.items():
        row = searches[f"mmseqs {recipe}"]
        row |= share(found_hits, reference)
        row["times_fewer_cpu_s"] = round(clock.cpu / row["cpu_s"], 1)
    lengths = [len(chain.sequence) for chain in chains]
    return {
        "queries": count,
        "mean_length": round(sum(lengths) / count, 1),
        "database": {
            "name": "Swiss-Prot, January 2014 (metastudent-data)",
            "sequences": sequences,
            "residues": residues,
        },
        "prepared_once": {"cpu_s": preparing.cpu, "wall_s": preparing.wall, "index_bytes": index},
        "searches": searches,
        "goal": {"times_fewer_cpu_s": GOAL, "met": searches["mmseqs simple"]["times_fewer_cpu_s"] >= GOAL},
        "versions": {name: programs.version(name) for name in ("mmseqs", "jackhmmer")},
        "machine": {
            "cores": os.cpu_count(),
            "threads": threads,
            "processor": platform.processor() or platform.machine(),
        },
    }


def quiet(line: str) -> None:
    """A log nobody reads."""


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    once = result["prepared_once"]
    rows = [
        f"| {name} | {row['cpu_s']} | {row['wall_s']} | {row['hits']} | {row.get('share_pooled', 1):.1%} "
        f"| {row.get('share_mean', 1):.1%} | {row.get('times_fewer_cpu_s', 1)} |"
        for name, row in result["searches"].items()
    ]
    return "\n".join(
        [
            "# MMseqs2 with a prepared index against jackhmmer per query",
            "",
            f"{result['queries']} queries, mean {result['mean_length']} residues, against "
            f"{result['database']['sequences']:,} sequences of {result['database']['name']}; "
            f"{result['machine']['cores']} cores. `python benchmarks/msa_mmseqs.py`.",
            "",
            "| search | CPU s | wall s | hits | of jackhmmer's hits | mean of queries | times fewer CPU s |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"The index is made once: {once['cpu_s']} CPU s, {once['index_bytes'] / 1e9:.1f} GB, not in the "
            "figures above. `mmseqs colabfold` is ColabFold's recipe on a plain sequence database: three "
            "profile iterations, sensitivity 8, then filters that drop similar and poor rows on purpose.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=None, help="folder for the temporary files")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="msa_mmseqs.", dir=options.work) as folder:
        result = measure(Path(folder), options.queries, options.threads)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
