"""Programs older than this package, unchanged: their requests over HTTP, and only the keys that they read."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snakefold.clusters.emulator import EmulatorThread, ProcessWorkers, Scaling
from snakefold.msa import programs
from tests.backbones import helix

pytest.importorskip("runpod", reason="needs runpod: pip install -e .[worker]")
pytestmark = pytest.mark.slow

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
#: The same protein of four species, and another one.
RELATIVES = {
    "UniRef90_A": UBIQUITIN,
    "UniRef90_B": UBIQUITIN.replace("E", "D", 3),
    "UniRef90_C": f"MM{UBIQUITIN[4:70]}AA",
    "UniRef90_D": UBIQUITIN.replace("T", "S", 4),
    "UniRef90_X": "WKRNPWCHWYFKDGRWPNHCKWYRNDPGHWCFKRYNWPDGHKCWRFYNDWPKHG",
}
DATABASE = "".join(f">{name} a protein OS=x\n{sequence}\n" for name, sequence in RELATIVES.items())
FINAL = {"COMPLETED", "COMPLETED_WITH_ERRORS", "FAILED", "CANCELLED", "TIMED_OUT"}


@dataclass
class Program:
    """A program's client: submits, polls, and gives the output of a job that has completed."""

    service: EmulatorThread
    folder: Path
    workers: ProcessWorkers

    def job(self, **payload: Any) -> dict[str, Any]:
        sent = self.call("run", {"input": payload})
        while True:
            try:
                found = self.call(f"status/{sent['id']}")
            except urllib.error.HTTPError as error:
                assert error.code == 404
                sent = self.call("run", {"input": payload})
                continue
            if found["status"] in FINAL:
                return found
            time.sleep(0.05)

    def output(self, **payload: Any) -> dict[str, Any]:
        job = self.job(**payload)
        assert job["status"] in {"COMPLETED", "COMPLETED_WITH_ERRORS"}, job
        output: dict[str, Any] = job["output"]
        assert not output.get("error")
        assert str(output.get("status")).lower() not in {"error", "failed"}
        return output

    def log(self) -> str:
        ids = self.service.call(lambda emulator: list(emulator.endpoints["any"].workers))
        return "".join(self.workers.log(name) for name in ids)

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 (the emulator)
            f"{self.service.url}/any/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.service.api_key}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture(scope="module")
def program(
    tmp_path_factory: pytest.TempPathFactory, new_environment: Callable[[Path], dict[str, str]]
) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("older")
    workers = ProcessWorkers(
        [sys.executable, "-u", "-m", "snakefold.worker.handler"], env=new_environment(folder), ping_seconds=1
    )
    scaling = Scaling(workers_max=1, queue_delay=0.1, idle_timeout=300)
    endpoint = {"workers": workers, "scaling": scaling, "execution_timeout": 3600}
    with EmulatorThread({"any": endpoint}) as service:
        made = Program(service, folder, workers)
        built = made.output(
            task="build", target_db="uniref90", target_fasta=DATABASE, threads=2, use_gpu=False
        )
        assert built["built"] is True
        yield made


def search(**more: Any) -> dict[str, Any]:
    return {
        "task": "search",
        "query_fasta": f">design|1 T=0.1\n{UBIQUITIN}\n",
        "target_db": "uniref90",
        "threads": 2,
        "use_gpu": True,
        "include_taxonomy": False,
        **more,
    }


def a3m_of(output: dict[str, Any]) -> list[tuple[str, str]]:
    text = gzip.decompress(base64.b64decode(output["a3m_gz_b64"], validate=True)).decode()
    assert text.startswith(">")
    return [
        (name, rest) for name, _, rest in (each.rstrip().partition("\n") for each in text[1:].split("\n>"))
    ]


def test_a_search_gives_a_text_and_an_a3m(program: Program) -> None:
    wanted = {"return_a3m": True, "a3m_max_return_bytes": 5 << 20, "a3m_format_mode": 0}
    output = program.output(**search(**wanted, max_seqs=None))
    rows = [line.split("\t") for line in output["tsv"].splitlines()]
    assert [len(row) for row in rows] == [5] * 4
    assert {row[0] for row in rows} == {"design|1"}
    assert {row[1] for row in rows} == {"UniRef90_A", "UniRef90_B", "UniRef90_C", "UniRef90_D"}
    for _, target, evalue, pident, alnlen in rows:
        assert float(evalue) < 1e-3 and int(alnlen) > 60
        assert (float(pident) == 100) == (target == "UniRef90_A")
    (query, sequence), *hits = a3m_of(output)
    assert (query, sequence) == ("design|1", UBIQUITIN)
    assert [name for name, _ in hits] == [row[1] for row in rows]
    assert {len([letter for letter in hit if not letter.islower()]) for _, hit in hits} == {len(UBIQUITIN)}
    # Whoever looks at the worker's log sees what was run, a line a command.
    lines = [line for line in program.log().splitlines() if "$ mmseqs " in line]
    modules = {line.partition("$ mmseqs ")[2].split()[0] for line in lines}
    assert modules >= {"createdb", "search", "convertalis", "result2msa"}
    # The search is said by the payload of the seed's document too; 6 is what programs sent earlier.
    plain = {key: value for key, value in search(return_a3m=True).items() if key != "include_taxonomy"}
    again = program.output(**plain)
    assert again["tsv"] == output["tsv"]
    assert a3m_of(again) == a3m_of(output)
    scored = program.output(**search(return_a3m=True, a3m_format_mode=6))
    assert "\t" in a3m_of(scored)[1][0]


def test_an_a3m_over_the_limit_is_named_and_placed(program: Program) -> None:
    output = program.output(**search(return_a3m=True, a3m_max_return_bytes=20, a3m_format_mode=0))
    assert output["tsv"].count("\n") == 4
    part = output["a3m_gz_b64"]
    data = (program.folder / "volume" / part["path"]).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (part["size"], part["sha256"])
    assert gzip.decompress(data).startswith(b">design|1\n")


def test_a_search_in_the_callers_sequences(program: Program) -> None:
    given = {key: value for key, value in search(return_a3m=True).items() if key != "target_db"}
    output = program.output(**given, target_fasta=DATABASE)
    assert output["tsv"] == program.output(**given)["tsv"]  # uniref90 is where programs search by default


def test_taxonomy_is_columns_of_a_database_that_has_one(program: Program) -> None:
    taxa = {1: ("root", 1, "no rank"), 2: ("Bacteria", 1, "domain"), 562: ("Escherichia coli", 2, "species")}
    folder = program.folder / "taxa"
    folder.mkdir()
    (folder / "nodes.dmp").write_text(
        "".join(f"{n}\t|\t{up}\t|\t{rank}\t|\n" for n, (_, up, rank) in taxa.items())
    )
    (folder / "names.dmp").write_text(
        "".join(f"{n}\t|\t{name}\t|\t\t|\tscientific name\t|\n" for n, (name, _, _) in taxa.items())
    )
    (folder / "merged.dmp").write_text("")
    (folder / "mapping").write_text("".join(f"{name}\t562\n" for name in RELATIVES))
    program.output(task="build", target_db="taxa", target_fasta=DATABASE)
    made = [programs.find("mmseqs"), "createtaxdb", program.folder / "mmseqsdb" / "taxa", folder / "tmp"]
    options = ["--ncbi-tax-dump", folder, "--tax-mapping-file", folder / "mapping"]
    subprocess.run([*map(str, [*made, *options])], check=True, capture_output=True)
    output = program.output(**search(target_db="taxa", include_taxonomy=True))
    rows = [line.split("\t") for line in output["tsv"].splitlines()]
    assert [row[5:7] for row in rows] == [["562", "Escherichia coli"]] * 4
    assert rows[0][7].endswith("Escherichia coli")
    without = program.output(**search(include_taxonomy=True))
    assert {len(line.split("\t")) for line in without["tsv"].splitlines()} == {5}
    assert any("uniref90 has no taxonomy" in text for text in without["warnings"])


@pytest.mark.parametrize("method", ["linclust", "cluster"])
def test_clusters_have_the_callers_names(program: Program, method: str) -> None:
    fasta = (
        f">sp|P0CG47|UBB human ubiquitin\n{UBIQUITIN}\n>h000002 x\n{UBIQUITIN[:-1]}\n"
        f">h000002\n{UBIQUITIN[1:]}\n"
        f">other=1,T=0.1 y\n{RELATIVES['UniRef90_X']}\n"
    )
    output = program.output(
        task="cluster",
        sequences_fasta=fasta,
        threads=2,
        cluster_method=method,
        return_representatives=True,
        min_seq_id=0.8,
        coverage=0.8,
        cov_mode=0,
        kmer_per_seq=20,
    )
    rows = [line.split("\t") for line in output["cluster_tsv"].splitlines()]
    names = {"sp|P0CG47|UBB", "h000002", "h000002-2", "other=1,T=0.1"}
    assert {member for _, member in rows} == names
    clusters = {first: {member for each, member in rows if each == first} for first, _ in rows}
    assert sorted(map(len, clusters.values())) == [1, 3]
    records = dict(each.split("\n")[:2] for each in output["representatives_fasta"][1:].split("\n>"))
    assert set(records) == set(clusters)
    assert set(records.values()) <= {UBIQUITIN, UBIQUITIN[:-1], UBIQUITIN[1:], RELATIVES["UniRef90_X"]}
    assert any("h000002-2" in text for text in output["warnings"])
    assert any(f"$ mmseqs {method} " in line for line in program.log().splitlines())


def test_what_cannot_be_done_is_an_error_that_names_the_key(program: Program) -> None:
    ran = program.log().count("$ mmseqs ")
    cluster = {"task": "cluster", "sequences_fasta": DATABASE, "threads": 2}
    for given, says in (
        (search(return_a3m=True, a3m_format_mode=1), "a3m_format_mode: 1 is ca3m"),
        (search(target_db="uniref30"), "uniref30: no such MMseqs2 database"),
        ({**cluster, "min_seq_id": 1.5, "cov_mode": 9}, "min_seq_id"),
        (
            {"sequence": UBIQUITIN, "alphafold_extra_flags": "--num_recycles=3"},
            "--num_recycles is not allowed",
        ),
    ):
        job = program.job(**given)
        assert job["status"] == "FAILED" and says in job["error"], job
        output = job["output"]
        assert output["status"] in {"error", "failed"} and says in output["message"] and "details" in output
    assert program.log().count("$ mmseqs ") == ran
    # A job that nobody remembers is one to submit again.
    with pytest.raises(urllib.error.HTTPError, match="404"):
        program.call("status/gone")


def fold(**more: Any) -> dict[str, Any]:
    return {
        "model_preset": "monomer_ptm",
        "db_preset": "single_sequence",
        "max_template_date": "2020-05-14",
        "alphafold_extra_flags": "--models_to_relax=none --random_seed '1'",
        "rehearsal": True,
        **more,
    }


def best_of(ranking: dict[str, Any]) -> float:
    return float(ranking["plddts"][ranking["order"][0]])


def test_a_sequence_is_one_archive(program: Program) -> None:
    output = program.output(sequence=UBIQUITIN[:30], **fold())
    entries = [each for each in output["archives"] if each["name"] and each["base64"]]
    assert len(entries) == 1
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(entries[0]["base64"])), mode="r:gz") as tar:
        files = {each.name: tar.extractfile(each).read() for each in tar if each.isfile()}  # type: ignore[union-attr]
    assert set(output["files"]) == set(files)
    (ranking,) = [json.loads(data) for name, data in files.items() if name.endswith("ranking_debug.json")]
    assert 0 < best_of(ranking) <= 100
    (model,) = [data for name, data in files.items() if name.endswith("ranked_0.pdb")]
    assert b"\nATOM " in model and b"REHEARSAL" in model and ranking["REHEARSAL"] is True
    assert entries[0]["rehearsal"] is True and output["warnings"][0].startswith("REHEARSAL")
    # Earlier releases have the same under `archive`.
    assert output["archive"]["base64"] == entries[0]["base64"]

    # All sequences in one request, answered by name: the same structure, which is not computed again.
    names = {"t1/tier 0.3": UBIQUITIN[:30], "protein|x": UBIQUITIN[:30]}
    given = fold(preset="monomer_ptm", resume_job_ids={"t1/tier 0.3": "a-job"})
    listed = program.output(sequences=[{"id": n, "sequence": s} for n, s in names.items()], **given)
    assert set(listed["results"]) == set(names)
    for found in listed["results"].values():
        assert found["ranked_0_pdb"] == model.decode()
        assert found["best_plddt"] == best_of(found["ranking_debug"]) == best_of(ranking)
        assert found["rehearsal"] is True
    assert listed["warnings"][0].startswith("REHEARSAL")
    assert "0 to predict" in listed["log"]
    refused = program.job(sequences=[{"id": "a", "sequence": "MKT1"}], **fold())
    assert "sequences (record 1: 'a')" in refused["error"]


def design(**more: Any) -> dict[str, Any]:
    """A payload as their design client makes it."""
    backbone = helix("GSHMEELLKKAEELLK", "A") + helix("GSHMEELLKKAEELLK", "B", origin=(10, 0, 0))
    return {
        "pdb_base64": base64.b64encode(backbone.encode()).decode(),
        "pdb_name": "two helices",
        "use_soluble_model": True,
        "model_name": "v_48_020",
        "num_seq_per_target": 3,
        "batch_size": 2,
        "sampling_temp": 0.1,
        "seed": 0,
        "backbone_noise": 0.0,
        "cleanup": True,
        **more,
    }


@pytest.fixture
def designing(program: Program, parameters: Path, proteinmpnn_weights: Path) -> Program:
    """The worker's folder of parameters has those of ProteinMPNN, too."""
    place = parameters / "proteinmpnn"
    if not place.exists():
        place.symlink_to(proteinmpnn_weights / "proteinmpnn")
    return program


def test_designs_are_native_and_samples(designing: Program) -> None:
    program = designing
    output = program.output(**design(pdb_path_chains="A", fixed_positions={"A": [1, 2, 3, 4]}))
    native, samples = output["native"], output["samples"]
    assert (native["name"], native["sequence"]) == ("two helices", "GSHMEELLKKAEELLK")
    assert native["header"].startswith("two helices, score=")
    # Exactly as many as asked, whatever the batch size: upstream's own program gives 2.
    assert [sample["sample"] for sample in samples] == [1, 2, 3]
    for sample in samples:
        assert len(sample["sequence"]) == 16 and sample["sequence"].startswith("GSHM")
        assert sample["header"].startswith(f"T=0.1, sample={sample['sample']}, score=")
        assert {"score", "recovery", "temperature", "seed"} <= set(sample)
    listed = program.output(
        **design(task="design", pdb_path_chains=["A"], fixed_positions={"A": [1, 2, 3, 4]})
    )
    assert listed["samples"] == samples
    everything = program.output(**design())
    assert all(sample["sequence"].count("/") == 1 for sample in everything["samples"])


def test_a_design_that_cannot_be_is_an_error_that_says_why(program: Program) -> None:
    for wrong, said in (
        ({"pdb_path_chains": "Q"}, "no protein chain 'Q'"),
        ({"fixed_positions": {"A": [17]}}, "no position 17"),
        ({"pdb_base64": base64.b64encode(b"HEADER").decode()}, "no protein chain"),
        ({"pdb_base64": "?"}, "base64"),
        ({"sampling_temp": 0}, "sampling_temp"),
    ):
        job = program.job(**design(**wrong))
        assert job["status"] == "FAILED"
        assert said in json.loads(job["error"])["message"]
