"""The MSA server's answers against a process of `colabfold_search` per ticket, both in this run.

    python benchmarks/msa_server.py [--tickets 20] [--queries 5] [--sequences 30000] [--threads 2]
        [--work FOLDER]

The database is a part of Swiss-Prot of January 2014 (Debian's metastudent-data; `blastdbcmd` of ncbi-blast+),
drawn with a fixed seed, clustered and indexed as ColabFold's are; queries are drawn from it. Both search with
sensitivity 8. Tickets are worked off one after the other by `answer`, which the server's workers call: HTTP
is left out. The second round asks for the same chains in tickets of other chains, as users do. CPU seconds
are user plus system time of this process and its children. Writes msa_server.json and msa_server.md beside
this file.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

from msa_jackhmmer import draw_queries, write_swissprot
from msa_mmseqs import Clock
from snakefold.kernel.store import open_store
from snakefold.msa import a3m, programs
from snakefold.msa.settings import MsaSettings
from snakefold.service.msa.answers import RESULT, answer
from snakefold.service.msa.queries import read_ticket
from snakefold.service.msa.settings import ServedMsa

NAME = "uniref30_2302_db"


def prepare(folder: Path, sequences: int, threads: int) -> dict[str, str]:
    """A database as ColabFold's setup makes them: consensus, members, their alignments; and its index.

    Returns:
        Its sequences by accession.
    """
    every = write_swissprot(folder / "all.fasta")
    drawn = random.Random(3).sample(sorted(every), min(sequences, len(every)))
    records = {name: every[name] for name in drawn}
    (folder / "all.fasta").write_text("".join(f">{name}\n{text}\n" for name, text in records.items()))

    def mmseqs(*arguments: str) -> None:
        tail = [] if arguments[0] in ("createdb", "rmdb") else ["--threads", str(threads)]
        programs.run([programs.find("mmseqs"), *arguments, *tail, "-v", "1"], folder, quiet)

    members = f"{NAME}_seq"
    mmseqs("createdb", "all.fasta", members)
    mmseqs("linclust", members, "clusters", "tmp", "--min-seq-id", "0.5")
    mmseqs("align", members, members, "clusters", f"{NAME}_aln", "-a", "-e", "inf")
    mmseqs("result2profile", members, members, f"{NAME}_aln", "profiles")
    mmseqs("profile2consensus", "profiles", NAME)
    mmseqs("createindex", NAME, "tmp", "--remove-tmp-files", "1")
    return records


def colabfold_search(tickets: list[list[str]], root: Path, out: Path, threads: int) -> list[list[int]]:
    """Rows of each query, from a process per ticket."""
    depths = []
    for number, ticket in enumerate(tickets):
        fasta = out / f"{number}.fasta"
        fasta.write_text("".join(f">{at}\n{text}\n" for at, text in enumerate(ticket)))
        command = [Path(sys.executable).with_name("colabfold_search"), fasta, root, out / str(number)]
        command += ["--db1", NAME, "--use-env", "0", "-s", "8", "--threads", str(threads)]
        command += ["--db-load-mode", "2", "--mmseqs", programs.find("mmseqs")]
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        depths.append([depth(out / str(number) / f"{at}.a3m") for at in range(len(ticket))])
    return depths


def depth(path: Path) -> int:
    return len(a3m.parse_a3m(path.read_text().replace("\0", "")))


def served(tickets: list[list[str]], settings: MsaSettings, folder: Path) -> list[list[int]]:
    """The same from the server's worker."""
    import tarfile

    config, store = ServedMsa(msa=settings), open_store(folder / "store")
    depths = []
    for number, ticket in enumerate(tickets):
        text = "".join(f">{at}\n{each}\n" for at, each in enumerate(ticket, 101))
        form = urllib.parse.urlencode({"q": text, "mode": "all"}).encode()
        payload = read_ticket("msa", form, config).model_dump(mode="json")
        place = folder / "tickets" / str(number)
        answer(payload, place, config, store, work=folder / "work", log=quiet)
        with tarfile.open(place / RESULT) as packed:
            stream = packed.extractfile("uniref.a3m")
            assert stream is not None  # noqa: S101
            blocks = stream.read().decode().split("\0")[:-1]
        depths.append([len(a3m.parse_a3m(block)) for block in blocks])
    return depths


def measure(work: Path, number: int, queries: int, sequences: int, threads: int) -> dict[str, Any]:
    root, out = work / "database", work / "theirs"
    root.mkdir()
    out.mkdir()
    records = prepare(root, sequences, threads)
    chains = [chain.sequence for chain in draw_queries(records, number * queries)]
    tickets = [chains[at : at + queries] for at in range(0, len(chains), queries)]
    mixed = random.Random(7).sample(chains, len(chains))
    again = [mixed[at : at + queries] for at in range(0, len(mixed), queries)]
    settings = MsaSettings(tool="mmseqs", db_preset="colabfold", db_root=str(root), threads=threads)
    with Clock() as theirs:
        reference = colabfold_search(tickets, root, out, threads)
    with Clock() as first:
        found = served(tickets, settings, work / "served")
    with Clock() as second:
        served(again, settings, work / "served")
    return {
        "tickets": number,
        "queries": queries,
        "database": {"sequences": len(records), "name": "Swiss-Prot, January 2014 (metastudent-data)"},
        "rows": {"colabfold_search": _sum(reference), "server": _sum(found)},
        "cpu_s": {"colabfold_search": theirs.cpu, "server": first.cpu, "server, same chains": second.cpu},
        "wall_s": {"colabfold_search": theirs.wall, "server": first.wall, "server, same chains": second.wall},
        "machine": {"cores": os.cpu_count(), "threads": threads},
        "mmseqs": programs.version("mmseqs"),
    }


def _sum(depths: list[list[int]]) -> int:
    return sum(map(sum, depths))


def quiet(line: str) -> None:
    """A log nobody reads."""


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    names = {
        "colabfold_search": "a process of `colabfold_search` per ticket",
        "server": "the server, chains that nobody asked for before",
        "server, same chains": "the server, other tickets of the same chains",
    }
    cpu, wall = result["cpu_s"], result["wall_s"]
    base = cpu["colabfold_search"]
    rows = [
        f"| {text} | {cpu[name]} | {wall[name]} | {base / cpu[name]:.1f} |" for name, text in names.items()
    ]
    found = result["rows"]
    return "\n".join(
        [
            "# The MSA server against a search process per ticket",
            "",
            f"{result['tickets']} tickets of {result['queries']} chains, against "
            f"{result['database']['sequences']:,} sequences of {result['database']['name']}, clustered and "
            f"indexed as ColabFold's; {result['machine']['cores']} cores. `python benchmarks/msa_server.py`.",
            "",
            "| | CPU s | wall s | times fewer CPU s |",
            "|---|---|---|---|",
            *rows,
            "",
            f"Rows of all alignments: {found['colabfold_search']:,} from colabfold_search, "
            f"{found['server']:,} from the server, which drops duplicate rows: queries are in the database.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tickets", type=int, default=20)
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--sequences", type=int, default=30_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=None, help="folder for the temporary files")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="msa_server.", dir=options.work) as folder:
        result = measure(Path(folder), options.tickets, options.queries, options.sequences, options.threads)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(result))
    print(table(result))


if __name__ == "__main__":
    main()
