"""A whole run with its store on S3; a second run of the same targets elsewhere computes nothing."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakefold.kernel.store import open_store
from tests.servers.seaweedfs import WRITER


@pytest.mark.slow
def test_two_runs_share_a_store_on_s3(s3_location: str, tmp_path: Path) -> None:
    (tmp_path / "two.fasta").write_text(">a\nMKTAYIAKQRQISFVKSH\n>b\nGSHMKTAYIAKQRQISFVKAA\n")
    settings = [
        *(f"store={s3_location}", "weights=rehearsal", "msa.tool=single_sequence"),
        *("relax.models_to_relax=none", "rehearsal.models=[1]", "rehearsal.num_recycle=0"),
    ]
    seconds = {}
    for results in ("first", "second"):
        chosen = [word for item in [*settings, f"results={results}"] for word in ("--set", item)]
        subprocess.run(
            [str(Path(sys.executable).with_name("snakefold")), "run", "two.fasta", *chosen],
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            check=True,
        )
        with (tmp_path / results / "metrics.tsv").open(newline="") as table:
            rows = list(csv.DictReader(table, delimiter="\t"))
        assert [row["id"] for row in rows] == ["a", "b"]
        seconds[results] = [float(row["seconds"]) for row in rows]
    assert all(each > 0 for each in seconds["first"])
    assert seconds["second"] == [0, 0]
    assert {each.entry.kind for each in open_store(s3_location).listing()} == {"fold", "msa"}
    assert any((tmp_path / "cache").rglob("compiled"))
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in written if WRITER.secret.encode() in path.read_bytes()]
