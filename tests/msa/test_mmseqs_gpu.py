"""Searches on a GPU: padded databases, command lines, the server.

There is no GPU here: the CPU searches the padded databases, and a stand-in takes the flags that need one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from families import (
    NATURAL,
    THIOREDOXIN,
    UBIQUITIN,
    chain,
    database,
    expandable_database,
    mmseqs,
    write_fasta,
)
from gpu_mmseqs import stand_in
from one_database import one_database

from snakefold.kernel.errors import DatabaseMissingError, MissingProgramError
from snakefold.msa import mmseqs as step
from snakefold.msa import programs, search
from snakefold.msa.bundle import RawMsa
from snakefold.msa.databases import padded, presets
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.gpu_server import gpu_server
from snakefold.msa.settings import MsaSettings

SHARED = Path("/dev/shm")  # noqa: S108 (where shared memory is)


def silent(line: str) -> None:
    """A log nobody reads."""


def preset(*databases: Database) -> Preset:
    return Preset("test", databases[0].path.parent, databases)


def settings(recipe: str = "simple", *, gpu: bool = True) -> MsaSettings:
    return MsaSettings(tool="mmseqs", mmseqs_recipe=recipe, threads=2, mmseqs={"gpu": gpu})


def rows(msa: RawMsa) -> dict[str, str]:
    """Aligned residues by name."""
    records = re.split(r"^>", msa.text, flags=re.MULTILINE)[2:]
    return {record.split()[0]: record.split("\n")[1] for record in records}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A FASTA file, a plain and an expandable database, each with its padded copy."""
    folder = tmp_path_factory.mktemp("padded")
    write_fasta(database(seed=3), folder / "all.fasta")
    mmseqs(folder, "createdb", "all.fasta", "plain")
    expandable_database(folder, "family", seed=1)
    for name in ("all.fasta", "plain", "family"):
        padded.make(folder / name, folder / "scratch", 2, silent)
    return folder


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An MMseqs2 with CUDA on PATH; the file has its command lines."""
    folder = stand_in(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "calls"


def called(calls: Path, module: str) -> list[list[str]]:
    lines = (json.loads(line) for line in calls.read_text().splitlines())
    return [line[1:] for line in lines if line[0] == module]


def test_a_padded_copy_is_known_by_its_type(made: Path) -> None:
    assert not padded.is_padded(made / "plain")
    assert not padded.is_padded(made / "all.fasta")
    assert all(padded.is_padded(made / f"{name}_pad") for name in ("all.fasta", "plain", "family"))
    assert not (made / "scratch").exists()


@pytest.mark.parametrize(
    ("name", "recipe"), [("plain", "simple"), ("family", "simple"), ("family", "colabfold")]
)
def test_the_cpu_finds_the_same_rows_in_a_padded_copy(
    made: Path, tmp_path: Path, name: str, recipe: str
) -> None:
    """Clusters are found by new keys: with the old ones other members would be the rows, or none."""
    query = chain(THIOREDOXIN)
    found = []
    for path in (made / name, made / f"{name}_pad"):
        only = preset(one_database(path, "db", "mmseqs", "mmseqs"))
        [msa] = step.search([query], only, settings(recipe, gpu=False), tmp_path, silent)[query.key]
        found.append(rows(msa))
    assert found[0] == found[1]
    assert len(found[0]) > 5


def test_a_representative_comes_first_in_its_cluster(tmp_path: Path) -> None:
    """As in clusters that `mmseqs align` wrote without sorting; what is thinned out depends on it."""
    expandable_database(tmp_path, "db", seed=1)
    records = dict(padded._records(tmp_path / "db_aln"))
    several = {key: record for key, record in records.items() if record.count(b"\n") > 1}
    with (tmp_path / "db_aln").open("wb") as data, (tmp_path / "db_aln.index").open("w") as index:
        end = 0
        for key, record in records.items():
            lines = record.rstrip(b"\0").splitlines(keepends=True)[::-1]
            length = data.write(b"".join(lines) + b"\0")
            index.write(f"{key.decode()}\t{end}\t{length}\n")
            end += length
    for part in tmp_path.glob("db_aln.[0-9]"):
        part.unlink()
    padded.make(tmp_path / "db", tmp_path / "scratch", 2, silent)
    lookup = (line.split("\t") for line in (tmp_path / "db_pad.lookup").read_text().splitlines())
    old_of = {new.encode(): old.encode() for new, _, old in lookup}
    after = {old_of[key]: record for key, record in padded._records(tmp_path / "db_pad_aln")}
    assert len(several) > 5
    assert set(after) == set(records)
    for key, record in after.items():
        assert record.split(b"\t")[0] == key
        assert sorted(record.rstrip(b"\0").splitlines()) == sorted(records[key].rstrip(b"\0").splitlines())


def test_command_lines_are_those_of_colabfold_search(made: Path, tmp_path: Path, calls: Path) -> None:
    """`colabfold_search --gpu 1 --gpu-server 1` of colabfold 1.6.3, and the server that its README starts."""
    databases = preset(
        one_database(made / "family", "uniref30", "mmseqs", "mmseqs"),
        replace(one_database(made / "all.fasta", "uniprot", "fasta", "mmseqs", pairing=True), limit=50_000),
    )
    query = chain(UBIQUITIN)
    found = step.search([query], databases, settings("colabfold"), tmp_path, silent, pairing=True)[query.key]
    own, pairing = called(calls, "search")
    assert own[1] == str(made / "family_pad")
    flags = "--db-load-mode 0 --num-iterations 3 -a -e 0.1 --max-seqs 10000 --gpu 1 --prefilter-mode 1"
    assert " ".join(own[4:]) == f"{flags} --gpu-server 1 --threads 2"
    assert pairing[1] == str(made / "all.fasta_pad")
    flags = "--db-load-mode 0 -a -e 0.0001 --gpu 1 --prefilter-mode 1 --max-seqs 50000"
    assert " ".join(pairing[4:]) == f"{flags} --gpu-server 1 --threads 2"
    options = ["--db-load-mode", "0", "--prefilter-mode", "1"]
    assert called(calls, "gpuserver") == [
        [own[1], "--max-seqs", "10000", *options],
        [pairing[1], "--max-seqs", "50000", *options],
    ]
    assert [len(rows(msa)) > 20 for msa in found] == [True, True]
    assert any(re.search(r"mmseqs gpuserver \S+family_pad .* &$", line) for line in found[0].commands)
    assert [len(msa.steps) for msa in found] == [3, 1]
    assert not any(re.fullmatch(r"\d+", path.name) for path in SHARED.iterdir())


def test_a_recipe_says_that_a_gpu_searched(made: Path, calls: Path) -> None:
    assert "site-packages" not in str(programs.find("mmseqs", gpu=True))
    only = preset(one_database(made / "plain", "db", "mmseqs", "mmseqs"))
    on_gpu, on_cpu = (search.recipe(settings("colabfold", gpu=gpu), only) for gpu in (True, False))
    assert on_gpu["parameters"]["mmseqs"]["gpu"]
    assert "gpu" not in on_cpu["parameters"]["mmseqs"]
    assert "sensitivity" not in on_gpu["parameters"]["mmseqs"]["own"]
    assert [file["name"] for file in on_gpu["databases"][0]["files"]] == [
        "plain_pad.dbtype",
        "plain_pad.index",
    ]


def test_a_server_that_ends_takes_its_search_with_it(
    made: Path, tmp_path: Path, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search would wait for ever for an answer."""
    monkeypatch.setenv("SERVES", "1")
    monkeypatch.setenv("SEARCHES", "600")
    only = preset(one_database(made / "plain", "db", "mmseqs", "mmseqs"))
    with pytest.raises(programs.ProgramError, match=r"(?s)gpuserver .*ended with status 1.*out of memory"):
        step.search([chain(UBIQUITIN)], only, settings(), tmp_path / "work", silent)
    assert not list((tmp_path / "work").iterdir())


def test_a_failed_search_ends_the_server(made: Path, tmp_path: Path, calls: Path) -> None:
    with pytest.raises(ZeroDivisionError), gpu_server(made / "plain_pad", 300, tmp_path, silent) as server:
        assert server is not None
        server.check()
        raise ZeroDivisionError
    assert server.process.poll() == 0


def test_one_server_of_a_database_on_a_machine(made: Path, tmp_path: Path, calls: Path) -> None:
    """Two would answer each other's searches: the second job searches without one."""
    said: list[str] = []
    only = preset(one_database(made / "plain", "db", "mmseqs", "mmseqs"))
    with gpu_server(made / "plain_pad", 10_000, tmp_path, silent):
        [msa] = step.search([chain(UBIQUITIN)], only, settings(), tmp_path, said.append)[chain(UBIQUITIN).key]
    assert msa.found > 20
    assert len(called(calls, "gpuserver")) == 1
    assert "--gpu-server" not in called(calls, "search")[0]
    assert any("searched without a server" in line for line in said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_server_outlives_its_job(made: Path, tmp_path: Path, calls: Path, number: signal.Signals) -> None:
    code = f"""
        import time
        from pathlib import Path
        from snakefold.msa.gpu_server import gpu_server
        with gpu_server(Path({str(made / "plain_pad")!r}), 300, Path({str(tmp_path)!r}), print) as server:
            print(server.process.pid, flush=True)
            time.sleep(600)
    """
    job = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, process_group=0
    )
    assert job.stdout is not None
    job.stdout.readline()
    server = int(job.stdout.readline())
    shared = SHARED / str(server)
    assert shared.exists()
    job.send_signal(number)
    job.wait()
    for _ in range(6000):
        if not shared.exists():
            break
        signal.sigtimedwait([], 0.01)
    assert not shared.exists()
    job.stdout.close()


def test_the_wheels_program_is_not_taken(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(MissingProgramError, match="built without CUDA, and a GPU is to be used"):
        programs.find("mmseqs", gpu=True)
    assert programs.version("mmseqs", gpu=True) == programs.version("mmseqs")


def test_a_database_without_a_padded_copy_is_refused(tmp_path: Path, made: Path) -> None:
    """Also an optional one: without it a search would find less, and say nothing."""
    (tmp_path / "all.fasta").write_bytes((made / "all.fasta").read_bytes())
    uniprot = replace(one_database(tmp_path / "all.fasta", "uniprot", "fasta", "mmseqs"), optional=True)
    only = Preset("colabfold", tmp_path, (uniprot,))
    presets.check(only, settings(gpu=False))
    command = f"snakefold db pad colabfold --root {tmp_path} --only uniprot"
    with pytest.raises(DatabaseMissingError, match=rf"all\.fasta_pad\.dbtype .*a GPU searches .*{command}"):
        presets.check(only, settings())
    padded.make(tmp_path / "all.fasta", tmp_path / "scratch", 1, silent)
    presets.check(only, settings())
    with (tmp_path / "all.fasta").open("a") as stream:
        stream.write(f">more\n{NATURAL['LYSC']}\n")
    with pytest.raises(
        DatabaseMissingError, match=rf"was made of other files than are there now: .*{command}"
    ):
        presets.check(only, settings())
    padded.make(tmp_path / "all.fasta", tmp_path / "scratch", 1, silent)
    presets.check(only, settings())


def test_a_database_that_is_padded_itself_is_searched_as_it_is(made: Path) -> None:
    own = one_database(made / "plain_pad", "db", "mmseqs", "mmseqs")
    assert presets.used(preset(own), settings()) == [own]
