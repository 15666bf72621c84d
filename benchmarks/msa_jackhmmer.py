"""jackhmmer step against AlphaFold's way, in one run: rows, CPU seconds, wall time, memory, bytes read.

    python benchmarks/msa_jackhmmer.py [--queries 50] [--threads 2] [--rounds 2] [--hmmer FOLDER]

Queries are drawn with a fixed seed from Swiss-Prot 2014_01 (Debian's metastudent-data), which is searched.
AlphaFold's way is a process per query, `jackhmmer --cpu 8 -N 1 …`, one after the other. Our step searches all
queries in one process. Both are run on all cores and again on one, where threads cannot slow each other down.
--hmmer names a folder with another jackhmmer, such as HMMER with AlphaFold 3's patches: it is then a third
side, with the same flags. The filter's code is made for the processor at hand, so results are kept by
processor: msa_jackhmmer.json and msa_jackhmmer.md beside this file have the last of each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.msa import a3m, jackhmmer, programs
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

HERE = Path(__file__).resolve().parent
METASTUDENT = Path("/usr/share/metastudent-data/dataset_201401")
LENGTHS = range(50, 501)


def write_swissprot(path: Path) -> dict[str, str]:
    """Accession → sequence of the union of metastudent's three BLAST databases; also written as FASTA."""
    found: dict[str, str] = {}
    for branch in ("MFO", "BPO", "CCO"):
        source = str(METASTUDENT / branch / "goasp.fasta")
        command = ["blastdbcmd", "-db", source, "-entry", "all", "-outfmt", "%t\t%s"]
        for line in subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines():
            title, sequence = line.split("\t")
            found.setdefault(title.split("|")[0], sequence)
    with path.open("w") as stream:
        for name, sequence in found.items():
            stream.write(f">{name}\n")
            stream.writelines(f"{sequence[at : at + 60]}\n" for at in range(0, len(sequence), 60))
    return found


def draw_queries(sequences: dict[str, str], number: int) -> list[PlannedChain]:
    """Random proteins of 50 to 500 residues, no two alike."""
    fit = sorted(
        {text for text in sequences.values() if len(text) in LENGTHS and not set(text) & set("BJOUXZ")}
    )
    return [
        PlannedChain(key=sequence_key([text]), sequence=text)
        for text in random.Random(50).sample(fit, number)
    ]


def measured(command: list[str], core: int | None = None) -> dict[str, float]:
    """Run a command, on all cores or on one; CPU and wall seconds, peak memory, bytes that it had read."""
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # Wait without reaping: the counters of a process are gone with its entry in /proc.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall = time.perf_counter() - started
    counters = dict(line.split(": ") for line in Path(f"/proc/{process.pid}/io").read_text().splitlines())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": wall,
        "peak_mb": usage.ru_maxrss / 1024,
        "read_mb": int(counters["rchar"]) / 1e6,
    }


def processor() -> str:
    """The processor's name, family and model, and the widest vectors that it has."""
    about = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    fields = {
        name.strip(): value.strip() for name, value in (line.split(":", 1) for line in about.split("\n"))
    }
    flags = set(fields.get("flags", "").split())
    wide = next((name for name in ("avx512bw", "avx2") if name in flags), "sse4_1")
    family, model = fields.get("cpu family", "?"), fields.get("model", "?")
    return f"{fields.get('model name', platform.machine())} (family {family}, model {model}, {wide})"


def alphafolds_way(
    program: str, chains: list[PlannedChain], database: Path, folder: Path, core: int | None
) -> dict[str, float]:
    """A process per query."""
    runs = []
    for chain in chains:
        query, output = folder / f"{chain.key}.fasta", folder / f"{chain.key}.sto"
        query.write_text(f">{chain.key}\n{chain.sequence}\n")
        command = shlex.split(jackhmmer.command_line(database, str(output), str(query)))
        runs.append(measured([program, *command[1:]], core))
    total = {name: sum(run[name] for run in runs) for name in ("cpu_seconds", "wall_seconds", "read_mb")}
    return total | {"peak_mb": max(run["peak_mb"] for run in runs)}


def averaged(runs: list[dict[str, float]], rounds: int) -> dict[str, float]:
    """Of one round; of memory, the most."""
    sums = {name: sum(run[name] for run in runs) / rounds for name in runs[0] if name != "peak_mb"}
    return sums | {"peak_mb": max(run["peak_mb"] for run in runs)}


def prepare(job: Path, queries: int, threads: int) -> None:
    """Child process: database and queries. The parent stays small: a child's peak memory includes it."""
    database = job.parent / "swissprot.fasta"
    sequences = write_swissprot(database)
    chains = [chain.model_dump() for chain in draw_queries(sequences, queries)]
    written = {"database": str(database), "sequences": len(sequences), "threads": threads, "chains": chains}
    job.write_text(json.dumps(written))


def ours(job: Path) -> None:
    """Child process: the step as the workflow runs it, rows written next to `job`."""
    settings = json.loads(job.read_text())
    path = Path(settings["database"])
    database = Database(
        "swissprot", frozenset({"jackhmmer"}), "fasta", path, (path,), None, False, False, 0.2, ""
    )
    preset = Preset("benchmark", path.parent, (database,))
    chains = [PlannedChain.model_validate(chain) for chain in settings["chains"]]
    found = jackhmmer.search(
        chains,
        preset,
        MsaSettings(threads=settings["threads"]),
        job.parent,
        lambda line: print(line, file=sys.stderr),
    )
    for key, result in found.items():
        if isinstance(result, TargetError):
            raise result
        (job.parent / "ours" / f"{key}.sto").write_text(result[0].text)


def rows(path: Path) -> tuple[Any, ...]:
    """What AlphaFold reads from a Stockholm file: names (the query's apart), sequences, deletions."""
    from alphafold.data import parsers

    msa = parsers.parse_stockholm(path.read_text())
    return tuple(msa.descriptions[1:]), tuple(msa.sequences), tuple(map(tuple, msa.deletion_matrix))


def measure_sides(
    chains: list[PlannedChain], database: Path, root: Path, job: Path, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """All sides on all cores, then on one."""
    jackhmmer_program = str(programs.find("jackhmmer"))
    others = {"theirs": jackhmmer_program}
    if options.hmmer:
        (root / "patched").mkdir()
        others["patched"] = str(options.hmmer / "jackhmmer")
    sides: dict[str, dict[str, Any]] = {}
    for cores, core in (("all cores", None), ("one core", 0)):
        # Half of their queries before ours and half after, and again: the machine's other load drifts.
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in (*others, "ours")}

        def per_query(chains: list[PlannedChain], runs: Any = runs, core: int | None = core) -> None:
            for name, program in others.items():
                runs[name].append(alphafolds_way(program, chains, database, root / name, core))

        for _ in range(options.rounds):
            per_query(chains[::2])
            runs["ours"].append(measured([sys.executable, __file__, "--child", "search", str(job)], core))
            per_query(chains[1::2])
        found = {name: averaged(each, options.rounds) for name, each in runs.items()}
        there, here = found["theirs"], found["ours"]
        sides[cores] = {
            "process_per_query": there,
            "snakefold": here,
            "cpu_ratio": here["cpu_seconds"] / there["cpu_seconds"],
            "wall_ratio": here["wall_seconds"] / there["wall_seconds"],
            "read_ratio": here["read_mb"] / there["read_mb"],
            "cpu_seconds_of_runs": {
                name: [run["cpu_seconds"] for run in each] for name, each in runs.items()
            },
        }
        if options.hmmer:
            patched = found["patched"]
            sides[cores]["patched"] = patched
            sides[cores]["cpu_ratio_to_patched"] = here["cpu_seconds"] / patched["cpu_seconds"]
    return sides


def main() -> None:
    """Measure both sides and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2, help="how often both are run, in turn")
    parser.add_argument("--hmmer", type=Path, metavar="FOLDER", help="of another jackhmmer: a third side")
    parser.add_argument("--child", nargs=2, metavar=("STEP", "JOB"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        step, job = options.child
        if step == "prepare":
            prepare(Path(job), options.queries, options.threads)
        else:
            ours(Path(job))
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for side in ("theirs", "ours"):
            (root / side).mkdir()
        job = root / "job.json"
        child = [
            sys.executable,
            __file__,
            "--queries",
            str(options.queries),
            "--threads",
            str(options.threads),
        ]
        subprocess.run([*child, "--child", "prepare", str(job)], check=True)
        described = json.loads(job.read_text())
        database = Path(described["database"])
        chains = [PlannedChain.model_validate(chain) for chain in described["chains"]]
        load = os.getloadavg()[0]
        sides = measure_sides(chains, database, root, job, options)
        depths = []
        for chain in chains:
            name = f"{chain.key}.sto"
            if rows(root / "theirs" / name) != rows(root / "ours" / name):
                raise SystemExit(f"rows differ for {chain.sequence}")
            depths.append(a3m.parse_stockholm((root / "ours" / name).read_text()).depth)
        result = {
            "queries": len(chains),
            "mean_length": statistics.mean(len(chain.sequence) for chain in chains),
            "queries_sha256": hashlib.sha256("".join(chain.key for chain in chains).encode()).hexdigest()[
                :16
            ],
            "database_sequences": described["sequences"],
            "database_mb": database.stat().st_size / 1e6,
            "median_depth": statistics.median(depths),
            "rows": sum(depths),
            "identical_rows": True,
            "rounds": options.rounds,
            "threads": options.threads,
            "cores": os.cpu_count(),
            "processor": processor(),
            "load_at_start": load,
            "jackhmmer_version": programs.version("jackhmmer"),
            **sides,
        }
    record = HERE / "msa_jackhmmer.json"
    results = json.loads(record.read_text()) if record.exists() else {}
    results[result["processor"]] = result
    record.write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(table(each) for each in results.values())
    (HERE / "msa_jackhmmer.md").write_text(text)
    print(text)


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        f"# jackhmmer: {result['queries']} queries (mean {result['mean_length']:.0f} residues) against "
        f"{result['database_sequences']:,} sequences ({result['database_mb']:.0f} MB)",
        "",
        f"{result['processor']}. One run of `python benchmarks/msa_jackhmmer.py`, both sides "
        f"{result['rounds']} times in turn on {result['cores']} cores, and again on one, load "
        f"{result['load_at_start']:.1f} before it. All {result['rows']:,} rows are identical, in the same "
        "order, with the same insertions.",
        "",
        "| | | a process per query (`--cpu 8`) | snakefold | ratio |",
        "|---|---|---|---|---|",
    ]
    for cores, name, key in (
        ("one core", "CPU seconds", "cpu_seconds"),
        ("all cores", "CPU seconds", "cpu_seconds"),
        ("all cores", "wall seconds", "wall_seconds"),
        ("all cores", "peak memory, MB", "peak_mb"),
        ("all cores", "read, MB", "read_mb"),
    ):
        there, here = result[cores]["process_per_query"][key], result[cores]["snakefold"][key]
        lines.append(f"| {name} | {cores} | {there:,.1f} | {here:,.1f} | {here / there:.2f} |")
    if "patched" in result["one core"]:
        for cores in ("one core", "all cores"):
            there = result[cores]["patched"]["cpu_seconds"]
            here = result[cores]["snakefold"]["cpu_seconds"]
            row = f"{there:,.1f} | {here:,.1f} | {here / there:.2f}"
            lines.append(f"| CPU seconds, the jackhmmer given | {cores} | {row} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
