"""`snakefold run` without any database: an MSA server is asked, once, for everything."""

from __future__ import annotations

import csv
import json

import pytest

from tests.e2e.conftest import TRP_ZIPPER, VILLIN, Run
from tests.servers.msa_server import msa_server

pytestmark = pytest.mark.slow

FAST = ["rehearsal.models=[1]", "rehearsal.num_recycle=0", "relax.models_to_relax=none"]


def test_a_complex_is_folded_with_what_the_server_gives(run: Run) -> None:
    (run.folder / "set.fasta").write_text(f">pair\n{TRP_ZIPPER}:{VILLIN}\n")
    with msa_server() as server:
        settings = [
            *FAST,
            "msa.tool=server",
            f"msa.server.url={server.url}",
            "msa.server.contact=me@lab.example",
        ]
        options = [word for setting in settings for word in ("--set", setting)]
        done = run.call("run", "set.fasta", *options)
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert "1 target folded, 0 failed, 0 records refused" in output
        # Said by the plan, before the first query.
        assert f"The sequences of 2 chains are sent to {server.url}, whose operator can read them." in output
        assert output.index("are sent to") < output.index("(Rule: msa)")
        # Two jobs, one query at a time, each chain once.
        assert [len(server.submitted(kind)) for kind in ("msa", "pair")] == [1, 1]
        assert server.most_at_once == 1
        assert {each.agent.split("/")[0] for each in server.asked} == {"snakefold"}
        asked = len(server.asked)

        structure = run.results / "structures" / "pair"
        metas = json.loads((structure / "msa.json").read_text())
        assert [(meta["tool"], meta["depth"]) for meta in metas] == [("server", 6)] * 2
        assert all(server.url in used["fingerprint"] for meta in metas for used in meta["databases"])
        confidence = json.loads((structure / "confidence.json").read_text())
        assert not any("unpaired_msa" in warning for warning in confidence["warnings"])
        with (run.results / "plan" / "chains.tsv").open(newline="") as stream:
            missing = [row["missing"] for row in csv.DictReader(stream, delimiter="\t")]
        assert sorted(missing) == ["msa", "msa", "pairs"]
        methods = (run.results / "methods.md").read_text()
        assert f"MMseqs2 by the MSA server {server.url} (mode env; databases: the release" in methods

        # What is in the store is not asked for again.
        again = run.call(
            "run", "set.fasta", *options, "--set", "results=again", "--set", "store=results/store"
        )
        assert again.returncode == 0, again.stdout + again.stderr
        assert "are sent to" not in again.stdout + again.stderr
        assert len(server.asked) == asked
