"""Nothing is computed twice: what runs share by their store, and what makes them compute again."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from snakefold.kernel import archive
from snakefold.kernel.paths import house
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import open_store
from snakefold.plan.files import read_batch
from snakefold.run.collect import read_response
from tests.e2e.conftest import TRP_ZIPPER, VILLIN, Run

pytestmark = pytest.mark.slow

SETTINGS = {
    "rehearsal.models": "[1]",
    "rehearsal.num_recycle": "0",
    "rehearsal.blocks": "1",
    "relax.models_to_relax": "none",
    # One shape, so that the network is compiled once for all runs.
    "batch.bucket_edges": "[36]",
    "alphafold2.max_msa_clusters": "8",
}


class House:
    """Runs in folders of their own beside a store and a database that they share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(house() / "resources" / "demo" / "database", folder / "database")

    def run(
        self, name: str, sequences: dict[str, str], *words: str, **values: str
    ) -> subprocess.CompletedProcess[str]:
        run = Run(self.folder / name)
        run.folder.mkdir(exist_ok=True)
        text = "".join(f">{target}\n{sequence}\n" for target, sequence in sequences.items())
        if not (run.folder / "set.fasta").is_file() or (run.folder / "set.fasta").read_text() != text:
            (run.folder / "set.fasta").write_text(text)
        settings = SETTINGS | {
            "store": str(self.folder / "store"),
            "msa.db_root": str(self.folder / "database"),
        }
        settings |= {key.replace("__", "."): value for key, value in values.items()}
        options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        # What jobs ran is in Snakemake's words.
        return run.call("run", "set.fasta", "--verbose", *options, *words)

    def results(self, name: str) -> Path:
        return self.folder / name / "results"

    def targets(self, name: str) -> dict[str, dict[str, str]]:
        with (self.results(name) / "plan" / "targets.tsv").open(newline="") as stream:
            return {row["id"]: row for row in csv.DictReader(stream, delimiter="\t")}

    def predicted(self, name: str) -> set[str]:
        """Targets of the batches that ran, by what came back."""
        found = set()
        for path in (self.results(name) / "predictions").glob("*.tar.zst"):
            outcomes = read_response(archive.unpack(path.read_bytes())).outcomes
            found |= {each.id for each in outcomes if each.state == "done" and not each.stored}
        return found

    def scores(self, name: str, target: str) -> dict[str, Any]:
        text = (self.results(name) / "structures" / target / "confidence.json").read_text()
        return dict(json.loads(text))

    def stored(self) -> dict[str, set[str]]:
        """Names of entries, by kind."""
        found: dict[str, set[str]] = defaultdict(set)
        for listed in open_store(self.folder / "store").listing():
            found[listed.entry.kind].add(listed.entry.name)
        return found


def jobs(process: subprocess.CompletedProcess[str]) -> Counter[str]:
    """Jobs that a run finished, by rule."""
    words = (process.stdout + process.stderr).split("(Rule: ")[1:]
    return Counter(word.partition(")")[0] for word in words)


def check(process: subprocess.CompletedProcess[str], code: int = 0) -> None:
    assert process.returncode == code, process.stdout + process.stderr


FIRST = {"villin": VILLIN, "zipper": TRP_ZIPPER, "villin-again": VILLIN}
ALL = {**FIRST, "new": VILLIN[:-1]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> House:
    shared = House(tmp_path_factory.mktemp("store"))
    process = shared.run("first", FIRST)
    check(process)
    assert jobs(process)["predict"] == jobs(process)["msa"] == 1
    return shared


def test_same_set_in_another_folder_computes_nothing(shared: House) -> None:
    process = shared.run("same", FIRST)
    check(process)
    assert jobs(process) == Counter(
        ["configure", "plan", "restore", "collect", "metrics", "report", "summary", "all"]
    )
    for row in shared.targets("same").values():
        assert row["state"] == ("duplicate_of" if row["id"] == "villin-again" else "stored")
    assert "is in the store" in shared.targets("same")["villin"]["reason"]
    for name in FIRST:
        first, same = (shared.results(run) / "structures" / name for run in ("first", "same"))
        assert {path.name: path.read_bytes() for path in first.iterdir()} == {
            path.name: path.read_bytes() for path in same.iterdir()
        }
    shutil.rmtree(shared.results("same") / "structures" / "zipper")
    process = shared.run("same", FIRST, "--dry-run")
    assert "1 target (zipper): structure or table missing or changed; would be made" in process.stdout
    tables = set((shared.results("same") / "tables").iterdir())
    shared.run("same", FIRST, "--", "--summary")
    assert set((shared.results("same") / "tables").iterdir()) == tables, "only a run mends"
    process = shared.run("same", FIRST)
    assert jobs(process) == Counter(["collect", "metrics", "report", "summary", "all"])
    assert (shared.results("same") / "structures" / "zipper" / "ranked_0.pdb").is_file()
    assert jobs(shared.run("same", FIRST)) == Counter(), "a finished run has nothing left to do"


def test_one_more_record_costs_that_record(shared: House) -> None:
    structures = shared.results("first") / "structures"
    before = {path: path.stat().st_mtime_ns for path in structures.glob("*/*")}
    process = shared.run("first", ALL)
    check(process)
    done = jobs(process)
    assert (done["restore"], done["predict"], done["msa"]) == (1, 1, 1)
    targets = shared.targets("first")
    assert {name: row["state"] for name, row in targets.items()} == {
        "villin": "stored",
        "zipper": "stored",
        "villin-again": "duplicate_of",
        "new": "to_do",
    }
    plan = shared.results("first") / "plan"
    (chunk,) = (json.loads(path.read_text()) for path in (plan / "chunks").iterdir())
    assert [chain["sequence"] for chain in chunk["chains"]] == [ALL["new"]]
    batch = json.loads((plan / "batches" / f"{targets['new']['batch']}.json").read_text())
    assert [planned["target"]["id"] for planned in batch["targets"]] == ["new"]
    after = {path: path.stat().st_mtime_ns for path in structures.glob("*/*")}
    assert {path: time for path, time in after.items() if path.parent.name != "new"} == before
    assert (structures / "new" / "ranked_0.pdb").is_file()


def test_other_recycles_predict_again_and_search_nothing(shared: House) -> None:
    before = shared.stored()
    process = shared.run("recycles", FIRST, rehearsal__num_recycle="1")
    check(process)
    done = jobs(process)
    assert (done["msa"], done["predict"], done["restore"]) == (0, 1, 0)
    assert shared.predicted("recycles") == {"villin", "zipper"}
    reasons = {row["reason"].partition("; ")[2] for row in shared.targets("recycles").values()}
    assert reasons == {"its alignment is in the store", ""}  # "": the duplicate has its own reason
    after = shared.stored()
    assert after["msa"] == before["msa"]
    assert len(after["fold"] - before["fold"]) == 2
    scores = [shared.scores(run, "villin") for run in ("first", "recycles")]
    assert [model["recycles"] for score in scores for model in score["models"]] == [0, 1]
    assert scores[0]["msa_depth"] == scores[1]["msa_depth"]


def test_another_database_searches_and_predicts_again(shared: House) -> None:
    before = shared.stored()
    database = shared.folder / "database" / "swissprot.fasta"
    text = database.read_text()
    try:
        database.write_text(f"{text}>another\n{VILLIN[:-5]}\n")
        process = shared.run("database", {"villin": VILLIN})
    finally:
        database.write_text(text)
    check(process)
    done = jobs(process)
    assert (done["msa"], done["predict"], done["restore"]) == (1, 1, 0)
    assert shared.targets("database")["villin"]["reason"].endswith("; to align")
    after = shared.stored()
    assert [len(after[kind] - before[kind]) for kind in ("msa", "fold")] == [1, 1]
    depths = [shared.scores(run, "villin")["msa_depth"] for run in ("first", "database")]
    assert depths[1] == depths[0] + 1


def test_damaged_result_is_lost_once_and_computed_by_the_next_run(shared: House) -> None:
    zipper = shared.targets("first")["zipper"]
    recipe = read_batch(shared.results("first") / "plan", zipper["batch"]).recipe
    (entry,) = (shared.folder / "store" / "fold" / recipe).rglob(zipper["key"])
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    process = shared.run("damaged", FIRST)
    check(process, 1)
    failures = (shared.results("damaged") / "failures.tsv").read_text().splitlines()
    assert [line.split("\t")[3] for line in failures] == ["reason", "lost"]
    assert "The same command tries them again." in process.stdout + process.stderr
    assert jobs(process)["predict"] == 0
    assert (shared.results("damaged") / "structures" / "villin" / "ranked_0.pdb").is_file()
    process = shared.run("damaged", FIRST)
    check(process)
    assert (jobs(process)["predict"], jobs(process)["msa"]) == (1, 0)
    assert shared.targets("damaged")["zipper"]["state"] == "to_do"
    assert (shared.results("damaged") / "structures" / "zipper" / "ranked_0.pdb").is_file()
    assert jobs(shared.run("damaged", FIRST)) == Counter()


def test_nothing_starts_over_the_budget(shared: House) -> None:
    dear = {
        "gpu__classes": "[ampere_80]",
        "weights": "rehearsal",
        "budget": "0.0001",
        "rehearsal__num_recycle": "3",
    }
    process = shared.run("budget", FIRST, **dear)
    check(process, 2)
    output = process.stdout + process.stderr
    assert "budget" in output.lower()
    assert "dollars" in output
    results = shared.results("budget")
    assert not list(results.glob("plan/*.tsv")) and not list(results.glob("plan/batches/*"))
    assert not (results / "msa").exists() and not (results / "predictions").exists()
    assert jobs(process)["plan"] == 0


def test_nobody_pays_for_a_rehearsal_unasked(shared: House) -> None:
    process = shared.run("unasked", FIRST, gpu__classes="[local, ampere_24]", weights="auto")
    check(process, 2)
    output = process.stdout + process.stderr
    assert "ampere_24 would be paid for a rehearsal" in output
    assert "weights: rehearsal" in output
    assert not list(shared.results("unasked").glob("plan/*.tsv"))


def test_lost_alignments_are_searched_by_rule_msa(shared: House) -> None:
    """Deleted between two runs: one that was stored when the plan was made, and one that it had searched."""
    sequences = {"stored": VILLIN, "lost": VILLIN[:-2], "kept": VILLIN[:-3]}
    # Other recycles: the structure of `stored` is not taken from the store, but its alignment is.
    settings = {"rehearsal__num_recycle": "2", "msa__chunk_size": "1"}
    results, store = shared.results("lost"), open_store(shared.folder / "store")

    def run(*words: str) -> Counter[str]:
        process = shared.run("lost", sequences, *words, **settings)
        check(process)
        return jobs(process)

    def chunks() -> dict[str, str]:
        """The one sequence of each."""
        read = {path.stem: json.loads(path.read_text()) for path in (results / "plan" / "chunks").iterdir()}
        return {name: chain["sequence"] for name, chunk in read.items() for chain in chunk["chains"]}

    # A run that ends when its alignments are searched.
    run("--", "--until", "plan")
    assert sorted(chunks().values()) == sorted(sequences[name] for name in ("lost", "kept"))
    assert run("--", *(f"results/msa/{chunk}.json" for chunk in chunks()))["msa"] == 2
    gone = {sequence_key([sequences[name]]) for name in ("stored", "lost")}
    for listed in list(store.listing("msa")):
        if listed.entry.key in gone:
            store.remove(listed.entry)
    process = shared.run("lost", sequences, "--dry-run", **settings)
    assert (
        "2 targets (lost, stored): alignment or templates no longer in the store; would be planned"
        in process.stdout
    )
    done = run()
    assert (done["plan"], done["msa"], done["request"], done["predict"]) == (1, 2, 1, 1)
    assert shared.predicted("lost") == set(sequences)
    assert sorted(chunks().values()) == sorted(sequences[name] for name in ("stored", "lost"))
    for chunk in chunks():
        log = results / "logs" / "msa" / f"{chunk}.log"
        assert f"{chunk}: 1 chain, 0 in the store, 1 to align" in log.read_text()
        assert (results / "benchmarks" / "msa" / f"{chunk}.tsv").is_file()
    (log,) = (results / "logs" / "request").iterdir()
    assert log.read_text() == "", "nothing was searched there"
    assert run() == Counter()
