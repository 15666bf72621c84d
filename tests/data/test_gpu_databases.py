"""Padding the databases of a preset, and what doctor says of searching them on a GPU.

nvidia-smi and an MMseqs2 with CUDA are stand-ins.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from snakefold.cli import main
from snakefold.kernel.errors import DatabaseMissingError
from snakefold.kernel.paths import house
from snakefold.msa.databases import gpu, known, padded
from snakefold.msa.databases.known import Entry
from tests.data.conftest import preset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The demo's databases in a folder of their own."""
    return Path(shutil.copytree(house() / "resources/demo/database", tmp_path / "databases"))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Programs on PATH: an MMseqs2 with CUDA, and an nvidia-smi that lists GPUs with so many MiB."""
    from gpu_mmseqs import stand_in

    folder = stand_in(tmp_path / "bin")

    def have(*mebibytes: int) -> None:
        lines = "".join(f"{n}, GPU-{n}, some, {size}, 8.6\\n" for n, size in enumerate(mebibytes))
        (folder / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{lines}'\n")
        (folder / "nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return have


def test_what_doctor_says_is_what_pad_makes(
    root: Path, machine: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    machine(24_000)
    doctor = ["db", "doctor", "demo", "--root", str(root), "--gpu", "--no-search"]
    assert main(doctor) == 1
    said = capsys.readouterr().out
    assert f"FAULT uniprot: {root / 'uniprot.fasta'} has no padded copy" in said
    assert f"Run: snakefold db pad demo --root {root} --only uniprot" in said
    assert main(["db", "pad", "demo", "--root", str(root), "--only", "uniprot"]) == 0
    assert main(["db", "pad", "demo", "--root", str(root)]) == 0
    assert f"uniprot: there already ({root / 'uniprot.fasta_pad'})" in capsys.readouterr().out
    assert main(doctor) == 0
    said = capsys.readouterr().out
    assert "ok    mmseqs on a GPU: finds NEDD8 by ubiquitin in the demo's Swiss-Prot (E-value" in said
    assert "ok    swissprot: takes 0.0 GB of GPU memory; there is room on 1 GPU with 25.2 GB" in said
    index = root / "swissprot.fasta_pad.index"
    index.write_bytes(index.read_bytes()[:-20])
    assert main(doctor) == 1
    assert f"FAULT swissprot: {root}: swissprot.fasta_pad.index" in capsys.readouterr().out


def entries(folder: Path) -> list[Entry]:
    return preset(folder, {"path": "db", "format": "mmseqs", "tools": ["mmseqs"], "files": ["db.dbtype"]})


@pytest.mark.parametrize(
    ("memory", "visible", "said"),
    [
        ([24_000], None, "too much for 1 GPU with 25.2 GB: every search reads it from main memory"),
        ([24_000, 24_000], None, "there is room on 2 GPUs with 50.3 GB"),
        ([24_000, 24_000], "1", "too much for 1 GPU with 25.2 GB"),
        ([], None, "no GPU to compare with"),
    ],
)
def test_memory_is_compared_with_the_databases_size(
    tmp_path: Path, request: pytest.FixtureRequest, memory: list[int], visible: str | None, said: str
) -> None:
    """30 million sequences of 1,000 residues on average: 30 GB, and 0.4 GB for their places."""
    request.getfixturevalue("machine")(*memory)
    if visible is not None:
        request.getfixturevalue("monkeypatch").setenv("CUDA_VISIBLE_DEVICES", visible)
    [entry] = entries(tmp_path)
    path = entry.database.path
    path.parent.mkdir(parents=True)
    with path.open("wb") as data:
        data.truncate(30_000_000_000)
    with path.with_name("db.index").open("wb") as index:
        index.write(b"10000000\t10000000\t1000\n" * 60_000)
        index.truncate(30_000_000 * 23)
    path.with_name("db.dbtype").write_bytes(b"\0\0\x08\0")
    assert gpu.gpu_memory() == [each * 2**20 / 1e9 for each in memory][: 1 if visible else None]
    finding = gpu._memory("db", padded.gpu_bytes(path) / 1e9, gpu.gpu_memory())
    assert "takes 30.4 GB of GPU memory" in finding.text
    assert said in finding.text
    assert ("msa.mem_mb of 34,360 or more" in finding.advice) == ("too much" in said)


def test_nothing_to_pad_is_told(tmp_path: Path) -> None:
    [entry] = entries(tmp_path)
    with pytest.raises(DatabaseMissingError, match=r"db\.dbtype is missing\. Get it first: nowhere"):
        gpu.pad(entry, 1, print)
    _, all_of_preset = known.entries("colabfold", tmp_path / "none")
    optional = next(each for each in all_of_preset if each.database.name == "uniprot")
    assert gpu.pad(optional, 1, print).endswith("and optional")
