"""The scripts around the images: what they would run, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from snakefold.engines.spec import locked

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
#: Notes how it was called, and does what a program in its place would leave behind.
RECORDER = f"""#!{sys.executable}
import io, json, pathlib, sys, tarfile
arguments = sys.argv[1:]
note = {{"arguments": arguments}}
if "--local" in arguments:
    note["fasta"] = pathlib.Path(arguments[arguments.index("--local") + 1]).read_text()
    out = pathlib.Path(arguments[arguments.index("--out") + 1])
    out.mkdir(parents=True)
    with tarfile.open(out / "t.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("ranked_0.pdb")
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"ATOM"))
    print("{{}}")
pathlib.Path(__file__).with_name("note.json").write_text(json.dumps(note))
"""


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "my protein.fasta"
    path.write_text(">a\r\nMKV\r\nLL\r\n>b\nGGG\n")
    return path


def call(script: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CONTAINERS / script, *arguments],
        env={"PATH": os.environ["PATH"], "ALPHAFOLD_DIR": "/nowhere", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def recorder(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(RECORDER)
    path.chmod(0o755)
    return folder


def noted(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "note.json").read_text())
    return found


def test_alphafolds_options_become_a_request(tmp_path: Path, fasta: Path) -> None:
    programs = recorder(tmp_path / "bin", "python")
    (tmp_path / "data" / "params").mkdir(parents=True)
    done = call(
        *(
            "run_alphafold.sh",
            fasta,
            tmp_path / "out",
            f"--data_dir={tmp_path}/data",
            "--db_preset",
            "full_dbs",
        ),
        *(
            "--models_to_relax=none",
            "--use_gpu_relax",
            "--random_seed",
            "7",
            "--max_template_date=2020-05-14",
        ),
        PATH=f"{programs}:{os.environ['PATH']}",
    )
    assert done.returncode == 0, done.stderr
    note = noted(programs)
    assert note["fasta"] == fasta.read_text()
    arguments = note["arguments"]
    assert isinstance(arguments, list)
    assert arguments[:2] == ["-m", "snakefold.worker.handler"]
    assert arguments[6:] == [
        *("--db-preset", "full_dbs", "--max-template-date", "2020-05-14"),
        *("--flag=--models_to_relax=none", "--flag=--use_gpu_relax", "--flag=--random_seed=7"),
    ]
    assert (tmp_path / "out" / "t" / "ranked_0.pdb").read_text() == "ATOM"
    assert done.stdout.splitlines() == [f"{tmp_path}/out/t/ranked_0.pdb"]
    assert json.loads((tmp_path / "out" / "response.json").read_text()) == {}


def test_the_records_of_a_multimer_are_its_chains(tmp_path: Path, fasta: Path) -> None:
    programs = recorder(tmp_path / "bin", "python")
    path = f"{programs}:{os.environ['PATH']}"
    done = call("run_alphafold.sh", fasta, tmp_path / "out", "--model_preset=multimer", PATH=path)
    assert done.returncode == 0, done.stderr
    assert noted(programs)["fasta"] == ">my protein\nMKVLL:GGG\n"


@pytest.mark.parametrize(
    ("options", "there", "absent"),
    [
        (
            ["--max_template_date=2020-05-14"],
            ["--db_preset=full_dbs", "--model_preset=monomer", "--pdb70_database_path={}/pdb70/pdb70",
             "--bfd_database_path={}/bfd/bfd_metaclust_clu_complete_id30_c90_final_seq.sorted_opt",
             "--uniref30_database_path={}/uniref30/UniRef30_2021_03", "--nouse_gpu_relax"],
            ["--small_bfd", "--pdb_seqres", "--uniprot"],
        ),
        (
            ["--max_template_date=2020-05-14", "--model_preset=multimer", "--db_preset=reduced_dbs",
             "--use_gpu_relax", "--benchmark=true"],
            ["--uniprot_database_path={}/uniprot/uniprot.fasta", "--use_gpu_relax", "--benchmark=true",
             "--small_bfd_database_path={}/small_bfd/bfd-first_non_consensus_sequences.fasta"],
            ["--nouse_gpu_relax", "--bfd_database", "--uniref30", "--pdb70"],
        ),
    ],
)  # fmt: skip
def test_deepminds_program_is_run_where_it_is_mounted(
    tmp_path: Path, fasta: Path, options: list[str], there: list[str], absent: list[str]
) -> None:
    mounted = recorder(tmp_path / "alphafold", "run_alphafold.py")
    data = tmp_path / "data"
    data.mkdir()
    given = [f"--data_dir={data}", *options]
    done = call("run_alphafold.sh", fasta, tmp_path / "out", *given, ALPHAFOLD_DIR=str(mounted))
    assert done.returncode == 0, done.stderr
    arguments = noted(mounted)["arguments"]
    assert isinstance(arguments, list)
    assert {f"--fasta_paths={fasta}", f"--output_dir={tmp_path}/out"} <= set(arguments)
    assert {each.format(data) for each in there} <= set(arguments)
    assert not [each for each in arguments if each.startswith(tuple(absent))]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected a FASTA file and a folder"),
        (["none.fasta", "out"], "none.fasta: not a file"),
        (["{empty}", "out"], "is empty"),
        (["{fasta}", "out", "monomer"], "monomer: expected an option"),
        (["{fasta}", "out", "--model_preset"], "--model_preset: expected a value"),
        (["{fasta}", "out", "--data_dir=/nowhere"], "--data_dir=/nowhere: no such folder"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    tmp_path: Path, fasta: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "empty.fasta").touch()
    places = {"fasta": fasta, "empty": tmp_path / "empty.fasta"}
    given = [each.format(**places).replace("out", f"{tmp_path}/out") for each in arguments]
    done = call("run_alphafold.sh", *given)
    assert done.returncode == 2
    assert said in done.stderr


def test_images_are_built_and_pushed_in_their_order() -> None:
    done = call(
        "build_and_push.sh", "--dry-run", REGISTRY="example.org/lab/", IMAGE_TAG="t1", BUILDER="podman"
    )
    assert done.returncode == 0, done.stderr
    base, final = "example.org/lab/snakefold-base:t1", "example.org/lab/snakefold:t1"
    assert done.stdout.splitlines() == [
        f"+ podman build -f containers/Docker.base --build-arg LOCK=worker-gpu.lock -t {base} .",
        f"+ podman build -f containers/Docker --build-arg BASE_IMAGE={base} -t {final} .",
        f"+ podman push {base}",
        f"+ podman push {final}",
        final,
    ]


def test_a_build_without_a_gpu_and_without_a_registry() -> None:
    done = call(
        "build_and_push.sh", "--dry-run", "--no-push", "--cpu", IMAGE_TAG="t1", BUILD_OPTIONS="--layers -q"
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert " build --layers -q -f containers/Docker.base" in first
    assert "LOCK=worker.lock" in first
    assert "BASE_IMAGE=docker.io/library/debian:bookworm-slim" in first
    assert "push" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "lock"), [([], "environment.lock"), (["--cpu"], "environment-cpu.lock")]
)
def test_an_engine_has_images_of_its_own(arguments: list[str], lock: str) -> None:
    words = ["--dry-run", "--no-push", "--engine=boltz2", *arguments]
    done = call("build_and_push.sh", *words, IMAGE_TAG="t1", BUILDER="buildah")
    assert done.returncode == 0, done.stderr
    base, worker, final = (f"snakefold-boltz2{name}:t1" for name in ("-base", "-worker", ""))
    lines = done.stdout.splitlines()
    # CUDA's libraries are in the engine's lock.
    assert "--build-arg LOCK=worker.lock" in lines[0] and lines[0].endswith(f"-t {base} .")
    assert lines[1:] == [
        f"+ buildah build -f containers/Docker --build-arg BASE_IMAGE={base} -t {worker} .",
        f"+ buildah build -f containers/Docker.engine --build-arg BASE_IMAGE={worker} "
        f"--build-arg ENGINE=boltz2 --build-arg LOCK={lock} -t {final} .",
        final,
    ]


@pytest.mark.parametrize("lock", ["environment-cpu.lock", "environment.lock"])
@pytest.mark.parametrize("engine", ["boltz2", "esmfold"])
def test_locks_of_one_image_agree(engine: str, lock: str) -> None:
    """An engine's lock is installed beside the worker's: what both name has one version."""
    base = locked(ROOT / "requirements" / "worker.lock")
    own = locked(ROOT / "src" / "snakefold" / "engines" / engine / lock)
    both = base.keys() & own.keys()
    assert {"numpy", "pydantic", "gemmi"} <= both
    assert {name: (own[name], base[name]) for name in both if not set(own[name]) <= set(base[name])} == {}


def test_settings_in_a_file_are_data_and_give_way_to_the_environment(tmp_path: Path) -> None:
    (tmp_path / "containers").mkdir()
    script = tmp_path / "containers" / "build_and_push.sh"
    script.write_bytes((CONTAINERS / "build_and_push.sh").read_bytes())
    script.chmod(0o755)
    marker = tmp_path / "ran"
    (tmp_path / ".env").write_text(
        f'# mine\nREGISTRY="example.org/lab"\nIMAGE_NAME=fold\nIMAGE_TAG=$(touch {marker})\nPATH=/nowhere\n'
    )
    refused = call(str(script), "--dry-run")
    assert (refused.returncode, marker.exists()) == (2, False)
    assert "IMAGE_TAG=$(touch" in refused.stderr
    done = call(str(script), "--dry-run", IMAGE_TAG="t2", BUILDER="docker")
    assert done.stdout.splitlines()[-1] == "example.org/lab/fold:t2"


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        ([], {}, "REGISTRY is not set"),
        (["--dry"], {}, "--dry: no such option"),
        (["--no-push"], {"IMAGE_NAME": "Fold It"}, "IMAGE_NAME=Fold It"),
        (["--no-push"], {"BUILDER": "kaniko"}, "BUILDER=kaniko"),
        (["--no-push", "--engine=../boltz2"], {}, "expected the name of an engine"),
        (["--no-push", "--engine=flashabb"], {}, "it has no packages of its own"),
    ],
)
def test_nothing_is_built_of_a_wrong_call(
    arguments: list[str], environment: dict[str, str], said: str
) -> None:
    done = call("build_and_push.sh", "--dry-run", *arguments, **environment)
    assert done.returncode == 2
    assert said in done.stderr
