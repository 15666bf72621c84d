"""What it takes to compare designs with their backbones, and to write their table.

    python benchmarks/designs.py --designs 100000 --backbones 100 --compared 1000

Writes the first stage of so many designs of 236 residues (helices), and structures of the first of them.
Times the list, one batch of structures, the table, and TM-align of one pair, in CPU seconds of one process.
Files are in the cache of the file system.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tmtools
from tests.backbones import helix
from tests.browser.make_results import helices
from tests.designed import drawn, write_backbone

from snakefold.config import DesignSettings
from snakefold.kernel.parquet import write_rows
from snakefold.run.designs.compare import compare_batch
from snakefold.run.designs.listed import LIST, read_list, read_positions, write_list
from snakefold.run.designs.table import write_designs

LENGTHS = (126, 110)


def timed(what: str, act: Callable[[], object], per: int = 0) -> None:
    """Print CPU seconds, or milliseconds per item."""
    start = time.process_time()
    act()
    seconds = time.process_time() - start
    print(f"{what}: {1000 * seconds / per:.1f} ms each" if per else f"{what}: {seconds:.1f} s")


def main() -> None:
    """Make, time, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--designs", type=int, default=100_000)
    parser.add_argument("--backbones", type=int, default=100)
    parser.add_argument("--compared", type=int, default=1000)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    heavy, light = ("".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in LENGTHS)
    pdb = helix(heavy, "A") + helix(light, "B", origin=(12, 0, 0))
    with tempfile.TemporaryDirectory(prefix="snakefold-designs-") as folder:
        results = Path(folder)
        for number in range(options.backbones):
            sequences = drawn(options.designs // options.backbones, seed=number, native=heavy)
            write_backbone(results, f"backbone{number}", sequences, pdb=pdb)
        timed("list", lambda: write_list(results))
        rows = []
        for design in read_list(results / LIST)[: options.compared]:
            place = results / "structures" / design.design
            place.mkdir(parents=True)
            (place / "ranked_0.pdb").write_text(
                helices(design.sequence.split(":"), np.full(sum(LENGTHS), 80.0))
            )
            rows.append({"id": design.design, "state": "done", "mean_plddt": 80.0, "engine": "none"})
        table, compared = results / "tables" / "b.parquet", results / "compared.parquet"
        table.parent.mkdir()
        write_rows(table, rows)
        timed(
            f"comparison of {len(rows)} designs",
            lambda: compare_batch(table, results / LIST, results, compared, print),
            len(rows),
        )
        points = read_positions(results, "backbone0").ca
        noisy = points + random.normal(0, 1.0, points.shape)
        timed(
            "TM-align of one pair", lambda: tmtools.tm_align(noisy, points, heavy + light, heavy + light), 1
        )
        timed("table", lambda: write_designs(results, DesignSettings(), [compared]))


if __name__ == "__main__":
    main()
