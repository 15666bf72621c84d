"""What the start of a run costs that goes on with finished results: all is looked at, nothing is wrong.

    python benchmarks/begin.py --targets 20000 --out benchmarks/begin.json
    python benchmarks/begin.py --targets 100000 --waiting

Makes a folder of finished targets (11 small files each), in batches of 100, and times `mend` on it: CPU
seconds and peak memory of a process of its own. The files are in the cache of the file system.

With `--waiting` nothing is predicted: every batch waits for its request, and the store has all alignments,
which are looked for.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry
from snakefold.kernel.store.folder import FolderStore
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.plan.mark import write_mark
from snakefold.run import products
from snakefold.run.mend import mend

FILES = (
    *(f"ranked_{n}.{kind}" for n in range(2) for kind in ("pdb", "cif")),
    *("unrelaxed_0.pdb", "confidence.json", "ranking_debug.json", "scores.json"),
    *("timings.json", "pae.npz", "msa.a3m"),
)
HEADER = (
    "batch\tkind\tengine\tgroup\tgpu\tbucket_edges\ttargets\tresidues\tshortest\tlongest\tchunks\tseconds\t"
    "dollars\tmemory_gb\truntime_seconds\n"
)


def make(results: Path, targets: int, size: int) -> None:
    """Finished results, as far as the start of a run looks at them."""
    for name in ("plan/batches", "tables", "predictions", "structures", "report"):
        (results / name).mkdir(parents=True)
    names = [f"t{number:06d}" for number in range(targets)]
    rows = []
    for first in range(0, targets, size):
        batch, members = f"b{first // size + 1:04d}-l0100", names[first : first + size]
        rows.append(
            f"{batch}\tpredict\talphafold2\tmonomer\tlocal\t100\t{len(members)}\t1\t1\t1\t\t1\t0\t1\t900\n"
        )
        for member in members:
            folder = results / "structures" / member
            folder.mkdir()
            for file in FILES:
                (folder / file).write_bytes(b"x")
        (results / "plan" / "batches" / f"{batch}.json").write_text("{}")
        products.archive_of(results, batch).write_bytes(b"x")
        table = [{"id": member, "state": "done", "reason": None} for member in members]
        pd.DataFrame(table).to_parquet(products.table_of(results, batch))
        products.note_batch(results, batch, table, ())
    (results / "plan" / "batches.tsv").write_text(HEADER + "".join(rows))
    (results / "plan" / "targets.tsv").write_text("id\n" + "\n".join(names) + "\n")
    write_mark(results / "plan" / "contents" / "0123456789abcdef", results / "plan")
    products.note_report(results)


def make_waiting(results: Path, targets: int, size: int) -> None:
    """Batches of chains that were stored when the plan was made: no request is there yet."""
    store, recipe = FolderStore(results / "store"), "1" * 16
    (results / "plan" / "batches").mkdir(parents=True)
    rows = []
    for first in range(0, targets, size):
        batch = f"b{first // size + 1:04d}-l0350"
        members = [
            TargetInput(id=f"t{number:06d}", key=sequence_key([sequence]), chains=[sequence])
            for number in range(first, min(first + size, targets))
            for sequence in [
                "M" * 340 + f"{number:010d}".translate(str.maketrans("0123456789", "ACDEFGHIKL"))
            ]
        ]
        for member in members:
            store.put(Entry("msa", recipe, member.key), b"x")
        planned = PlannedBatch(
            batch=batch,
            engine="alphafold2",
            recipe="0" * 16,
            msa_recipes={member.key: recipe for member in members},
            rehearsal=True,
            chunks=[],
            targets=[PlannedTarget(target=member) for member in members],
        )
        (results / "plan" / "batches" / f"{batch}.json").write_text(planned.model_dump_json(indent=1))
        rows.append(
            f"{batch}\tpredict\talphafold2\tmonomer\tlocal\t350\t{len(members)}\t1\t1\t1\t\t1\t0\t1\t900\n"
        )
    (results / "plan" / "batches.tsv").write_text(HEADER + "".join(rows))
    (results / "plan" / "chains.tsv").write_text("key\tlength\tmissing\tchunk\tbatch\n")
    write_mark(results / "plan" / "contents" / "0123456789abcdef", results / "plan")


def look(results: Path) -> None:
    """Time `mend`, and print what it took."""
    said: list[str] = []
    start, cpu = time.monotonic(), time.process_time()
    mend(results, str(results / "store"), said.append)
    took = {"cpu_seconds": round(time.process_time() - cpu, 2), "seconds": round(time.monotonic() - start, 2)}
    if said:
        raise SystemExit(f"nothing was wrong, and it said: {said}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps(took | {"peak_mb": round(peak)}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=100, help="targets of a batch")
    parser.add_argument("--waiting", action="store_true", help="nothing is predicted yet")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        look(options.look)
        return
    with tempfile.TemporaryDirectory() as folder:
        (make_waiting if options.waiting else make)(Path(folder), options.targets, options.batch)
        command = [sys.executable, __file__, "--look", folder]
        told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    text = json.dumps({"machine": machine, "targets": options.targets, "files": len(FILES)} | told, indent=1)
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
