"""The same requests by hand: `snakefold task`, `--local` and `--self-test`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold.cli import main
from snakefold.kernel import archive
from tests.worker.conftest import XLA_FLAGS, fold_request, inputs_of

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


@pytest.fixture
def environment(
    tmp_path: Path, new_environment: Callable[[Path], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A worker's environment in this process; the folder that holds its folders."""
    for name, value in new_environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def write(folder: Path, **request: object) -> str:
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    return str(path)


def test_task_builds_and_searches(environment: Path) -> None:
    out = environment / "x.tar.zst"
    fasta = f">u\n{UBIQUITIN}\n"
    assert (
        main(["task", write(environment, task="build", target_db="u", target_fasta=fasta), "--out", str(out)])
        == 0
    )
    assert json.loads(archive.unpack(out.read_bytes())["response.json"])["built"] is True
    request = write(environment, task="search", target_db="u", query_fasta=fasta, return_a3m=True)
    assert main(["task", request, "--out", str(out)]) == 0
    files = archive.unpack(out.read_bytes())
    assert set(files) == {"response.json", "hits.tsv", "u.a3m"}
    assert files["hits.tsv"].decode().splitlines()[1].startswith("u\tu\t")
    response = json.loads(files["response.json"])
    assert response["tsv"]["size"] == len(files["hits.tsv"])
    assert "text" not in response["tsv"]


def test_task_says_what_is_wrong(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(environment / "x.tar.zst")
    for request, expected in (
        ({"sequence": "MK", "modle_preset": "auto"}, "did you mean 'model_preset'"),
        ({"task": "search", "target_db": "none", "query_fasta": ">a\nMKTAY\n"}, "database_missing"),
        ({"sequence": UBIQUITIN}, "weights_missing"),
        ({"engine": "alphafold2", "targts": []}, "did you mean 'targets'"),
    ):
        assert main(["task", write(environment, **request), "--out", out]) == 2
        assert expected in capsys.readouterr().err
    (environment / "request.json").write_text("{")
    assert main(["task", str(environment / "request.json"), "--out", out]) == 2
    assert not Path(out).exists()


@pytest.mark.slow
def test_task_finds_the_inputs_beside_a_batch(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = fold_request(("a",), recipe="7" * 16)
    path = environment / "request.json"
    path.write_text(request.model_dump_json())
    out = environment / "b.tar.zst"
    assert main(["task", str(path), "--out", str(out)]) == 2
    assert "inputs.tar.zst: no such file" in capsys.readouterr().err
    (environment / "inputs.tar.zst").write_bytes(inputs_of(request))
    assert main(["task", str(path), "--out", str(out)]) == 0
    assert f"targets/{request.targets[0].key}.tar.zst" in archive.unpack(out.read_bytes())


@pytest.mark.slow
def test_the_worker_folds_a_file_by_hand(environment: Path) -> None:
    fasta = environment / "input.fasta"
    fasta.write_text(f">one\n{UBIQUITIN[:30]}\n")
    command = [sys.executable, "-m", "snakefold.worker.handler", "--local", str(fasta), "--rehearsal"]
    done = subprocess.run(
        [*command, "--db-preset", "single_sequence", "--out", str(environment / "out")],
        capture_output=True, text=True, check=False, env={**os.environ, "RUNPOD_TEST_MODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer["rehearsal"] is True
    with tarfile.open(environment / "out" / "one.tar.gz") as tar:
        assert {"ranked_0.pdb", "ranking_debug.json"} <= set(tar.getnames())
    # The same by `snakefold task`; what the worker has folded is in their store.
    request = {"fasta": fasta.read_text(), "rehearsal": True, "db_preset": "single_sequence"}
    out = environment / "flat.tar.zst"
    assert main(["task", write(environment, **request), "--out", str(out)]) == 0
    files = archive.unpack(out.read_bytes())
    assert files["one.tar.gz"] == (environment / "out" / "one.tar.gz").read_bytes()
    assert json.loads(files["response.json"])["archive"]["rehearsal"] is True
    # What is missing is a failure with its reason, and exit code 1.
    refused = subprocess.run(command[:-1], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["reason"] == "weights_missing"


@pytest.mark.slow
def test_the_self_test(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "XLA_FLAGS": XLA_FLAGS,
        "RUNPOD_VOLUME_PATH": str(tmp_path),
        "HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "snakefold.worker.handler", "--self-test"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["ok"] is True
    assert {name: check["ok"] for name, check in report["checks"].items()} == {
        "imports": True, "volume": True, "weights": False, "fold": True, "mmseqs": True,
    }  # fmt: skip
    assert report["checks"]["fold"]["detail"]["rehearsal"] is True
