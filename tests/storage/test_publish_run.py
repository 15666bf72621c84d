"""A run that publishes, with all else on this machine: jobs fail for good, and then a target fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakefold.run.publish.publisher import MANIFEST
from tests.attempts import gave_up
from tests.servers.s3_proxy import running
from tests.servers.seaweedfs import SeaweedFS
from tests.storage.published import named, there, writes

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
TRP_ZIPPER = "GSWTWENGKWTWKGSWTWENGKWTWK"


@pytest.mark.slow
def test_a_run_with_failures_is_published(server: SeaweedFS, s3_location: str, tmp_path: Path) -> None:
    (tmp_path / "deadly.fasta").write_text(f">deadly\n{TRP_ZIPPER[:20]}\n")
    (tmp_path / "own.a3m").write_text(f">own\n{TRP_ZIPPER}\n>row\n{TRP_ZIPPER[:-1]}-\n")
    results = tmp_path / "results"

    def run(xla_flags: str, *options: str, code: int = 1) -> str:
        settings = [
            *(f"publish={location}", "weights=rehearsal", "msa.tool=single_sequence", "predict.retries=0"),
            *("relax.models_to_relax=none", "rehearsal.models=[1]", "rehearsal.num_recycle=0"),
            "rehearsal.blocks=1",
        ]
        chosen = [word for item in settings for word in ("--set", item)]
        program = str(Path(sys.executable).with_name("snakefold"))
        done = subprocess.run(
            [program, "run", "deadly.fasta", "own.a3m", *chosen, "--", *options],
            cwd=tmp_path,
            env={**os.environ, "XLA_FLAGS": xla_flags},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def same_as_here() -> dict[str, bytes]:
        whole = named(there(server, s3_location))
        files = {name: data for name, data in whole.items() if name != "summary.txt"}
        assert files == {name: (results / name).read_bytes() for name in files}
        return whole

    with running(server) as proxy:
        location = s3_location.replace(server.endpoint, proxy.endpoint)
        # A flag that XLA does not know ends every prediction: the rest has its report, from the hook.
        run(QUICK, "--until", "plan", code=0)
        assert there(server, s3_location) == {}
        output = run("--xla_no_such_flag=1")
        assert "What failed, and why" in (results / "logs" / "run.log").read_text(), output
        whole = same_as_here()
        assert b"\nown\t" in whole["failures.tsv"], output
        assert b"failed:  2 targets\n" in whole["summary.txt"]
        assert "The same command tries them again." in output
        # What was lost is planned again; then one target fails, which ends the run after all else is done.
        gave_up(results, "deadly")
        output = run(QUICK)
        whole = same_as_here()
        assert b"done:    1 target\nfailed:  1 target\n" in whole["summary.txt"], output
        assert "structures/own/ranked_0.pdb" in whole
        assert (results / "published.txt").read_text().startswith(location)
        assert writes(proxy, s3_location)[-1] == MANIFEST
