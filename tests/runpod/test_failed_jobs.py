"""Jobs that RunPod fails for good: the rest has its report, and each target an honest row."""

from __future__ import annotations

import csv
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from snakefold.clusters.emulator import EmulatorThread, StubWorkers

from .helpers import part_of, tar_of
from .test_profile import CHEAP, HOUSE, Place

SEQUENCES = {"fails": "MKTAYIAKQRQISFVKSHFSRQ", "hostile": "GSWTWENGKWTWKGSWTWENGKWTWK" * 6}


def hostile_archive() -> bytes:
    """What a batch's archive is packed as, with a file that would leave its folder."""
    leaves = tarfile.TarInfo("../../../escaped")
    leaves.size = 1
    return zstandard.compress(tar_of({"response.json": b"{}"}, leaves, compressed=False))


async def spoiled(job):
    """One batch fails on its worker; the archive of the other is an attack with the right sha256."""
    given = job["input"]
    (target,) = given["request"]["targets"]
    if target["id"] == "fails":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    (name,) = given["results"]
    return {"version": 1, "digest": given["digest"], "results": {name: part_of(hostile_archive())}}


@pytest.mark.slow
def test_every_target_of_a_failed_job_is_a_row_that_says_why(tmp_path: Path) -> None:
    with EmulatorThread({"theirs": StubWorkers()}) as service:
        service.emulator.account.workers_for = lambda _: StubWorkers(spoiled)
        place = Place(service, tmp_path)
        (tmp_path / "one.fasta").write_text("".join(f">{name}\n{text}\n" for name, text in SEQUENCES.items()))
        more = ("predict={retries: 1}", "batch={max_targets: 1}")
        snakefile = str(HOUSE / "workflow" / "Snakefile")
        arguments = ("-m", "snakemake", "--snakefile", snakefile, "--profile", "runpod")
        said = place.run(*arguments, "--config", *CHEAP, *more, code=1)
        assert [job.state for job in service.jobs].count("FAILED") == 2  # once more, as `retries` says
        assert service.live_jobs() == []
        # The profile hides Snakemake's own account of errors; what a retry is for, and costs, is said.
        why = "try 1 of 2 failed: the job FAILED (internal): CUDA error: an illegal memory access"
        assert why in " ".join(said.split()) and "expected, $" in said
    text = (tmp_path / "results/failures.tsv").read_text()
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(text), delimiter="\t")}
    assert set(rows) == set(SEQUENCES)
    assert "CUDA error: an illegal memory access" in rows["fails"]["message"]
    assert "predict: " in rows["fails"]["message"] and "collect: " in rows["hostile"]["message"]
    assert "escaped" in rows["hostile"]["message"]
    assert "failures.tsv" in said and (tmp_path / "results/report/index.html").is_file()
    assert not list(tmp_path.rglob("escaped")) and not list(tmp_path.parent.glob("escaped"))
