"""What can be known to be wrong from the settings is told before Snakemake starts, with exit code 2."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.backbones import helix

from snakefold.cli import main
from snakefold.config import Config, load_config
from snakefold.kernel.errors import ConfigError, SnakefoldError, WeightsMissingError
from snakefold.kernel.paths import house
from snakefold.msa.databases import padded
from snakefold.plan.executors import Executor, JobGpu, gpu_of_alignments
from snakefold.plan.preflight import check_run
from snakefold.plan.run import plan_run

WRONG = {
    "a setting": (["--set", "msa.tol=mmseqs"], "msa.tol: no such setting. Did you mean msa.tool?"),
    "a section": (["--set", "alphafold.num_recycle=1"], "Did you mean alphafold2?"),
    "a leaf": (["--set", "num_recycle=1"], "Did you mean alphafold2.num_recycle"),
    "parameters": (["--set", "weights=nowhere"], "weights: nowhere: no such folder."),
    "empty parameters": (["--set", "weights=empty"], "lacks params_model_1_ptm.npz"),
    "databases": (["--set", "msa.db_root=nowhere"], "files or folders are missing"),
    "a preset": (["--set", "msa.db_preset=nonsense"], "db_preset 'nonsense' is not in"),
    "a database of the tool": (["--set", "msa.tool=hhblits"], "has no database for hhblits"),
    "a GPU class": (["--set", "gpu.classes=[nonsense]"], "has no GPU class nonsense"),
    "kernels": (
        ["--set", "gpu.classes=[ampere_80]", "--set", "alphafold2.kernels=cuda_legacy"],
        "(ampere_80: sm_80, pallas)",
    ),
    "a store": (["--set", "store=file"], "store: file: cannot be written"),
    "a known structure": (["--set", "references.a=nowhere.pdb"], "references.a: nowhere.pdb: no such file"),
    "a profile": (["--profile", "nonsense"], "nonsense: no such profile"),
    "a key": (["--profile", "runpod"], "RUNPOD_API_KEY is not set"),
    "a scheduler": (["--profile", "slurm", "--set", "msa.allow_demo_database=true"], "squeue"),
    "an engine": (["--set", "engine=nonsense"], "no such engine is installed"),
}


@pytest.mark.parametrize(("arguments", "told"), WRONG.values(), ids=WRONG)
def test_one_paragraph_and_exit_code_2(arguments: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "my.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    done = subprocess.run(
        [Path(sys.executable).parent / "snakefold", "run", "my.fasta", *arguments],
        cwd=tmp_path,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert done.stderr.startswith("snakefold: ")
    assert "Traceback" not in done.stderr
    # Snakemake never ran.
    assert not (tmp_path / ".snakemake").exists()


def test_a_partial_folder_of_parameters_is_for_the_plan_to_judge(tmp_path: Path) -> None:
    # With several engines it is not known which of them gets targets, so only the folder itself is looked at.
    values = {
        "engines": ["flashabb", "alphafold2"],
        "weights": str(tmp_path),
        "store": str(tmp_path / "store"),
    }
    check_run(load_config(values), Executor())
    nowhere = tmp_path / "nowhere"
    commands = (
        f"`snakefold weights fetch flashabb {nowhere}` and `snakefold weights fetch alphafold2 {nowhere}`"
    )
    with pytest.raises(WeightsMissingError, match=f"no such folder.*: {commands}"):
        check_run(load_config({**values, "weights": str(nowhere)}), Executor())


@pytest.mark.parametrize(
    ("setting", "told"),
    {
        "design.control=nosuch.pdb": "design.control: nosuch.pdb: no such file. Expected a structure",
        "design.control=my.fasta": "design.control: my.fasta",
        "design.novelty=nope.fasta": "design.novelty: nope.fasta: no such file, and no MMseqs2 database",
    }.items(),
)
def test_a_plan_refuses_what_a_run_of_designs_cannot_compare_with(
    setting: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHFSRQ\n")
    Path("b.pdb").write_text(helix("GSHMEELLKKAEELLK"))
    words = ["b.pdb", "--set", "design.engine=proteinmpnn", "--set", "msa.allow_demo_database=true"]
    said = []
    for command in ("plan", "run"):
        assert main([command, *words, "--set", setting]) == 2
        said.append(capsys.readouterr().err)
    assert told in said[0] and said[0] == said[1]
    # The plan step of a run, wherever it is called from, as well.
    config = load_config({"input": "b.pdb", "design": {"engine": "proteinmpnn", **_pair(setting)}})
    with pytest.raises(SnakefoldError, match=told.split(":", maxsplit=1)[0]):
        plan_run(config, tmp_path / "plan", print, Executor())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.pdb", "my.fasta"]


def _pair(setting: str) -> dict[str, str]:
    name, _, value = setting.removeprefix("design.").partition("=")
    return {name: value}


def on_gpu(tmp_path: Path, **more: object) -> Config:
    return load_config(
        {
            "gpu": {"classes": ["ampere_80"]},
            "msa": {"tool": "mmseqs", "db_root": str(tmp_path / "databases"), "mmseqs": {"gpu": True}},
            **more,
        }
    )


def test_alignments_on_a_gpu_need_padded_databases_a_gpu_and_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is told before anything is started, with the command or the setting that helps."""
    root = Path(shutil.copytree(house() / "resources/demo/database", tmp_path / "databases"))
    config = on_gpu(tmp_path)
    command = f"snakefold db pad demo --root {root} --only swissprot"
    with pytest.raises(SnakefoldError, match=rf"swissprot\.fasta_pad\.dbtype .*{command}"):
        check_run(config, Executor("slurm"))
    with pytest.raises(SnakefoldError, match=command):
        plan_run(config, tmp_path / "plan", print)
    for name in ("swissprot", "uniprot"):
        padded.make(root / f"{name}.fasta", tmp_path / "scratch", 1, lambda line: None)
    with pytest.raises(SnakefoldError, match=r"built without CUDA"):
        check_run(config, Executor("slurm"))
    monkeypatch.setattr("snakefold.plan.preflight.has_gpu", lambda: False)
    for here in ("", "runpod"):
        monkeypatch.setenv("RUNPOD_API_KEY", "x")
        with pytest.raises(SnakefoldError, match=r"this machine, which makes the alignments, has no NVIDIA"):
            check_run(config, Executor(here))
    own = {"tool": "mmseqs", "db_root": str(root), "mmseqs": {"gpu": True, "gpu_class": "local"}}
    with pytest.raises(SnakefoldError, match=r"the MSA jobs' class local has no GPU"):
        check_run(on_gpu(tmp_path, msa=own), Executor("kubernetes"))
    check_run(config, Executor("kubernetes"))  # its images have programs of their own


def test_alignments_on_a_gpu_ask_schedulers_for_one(tmp_path: Path) -> None:
    slurm = {"gpus": {"ampere_80": {"partition": "gpu", "model": "a100"}, "ada_24": {"constraint": "l4"}}}
    more = {"slurm": slurm, "kubernetes": {"gpus": {"ampere_80": "p4d", "ada_24": "g6"}}}
    assert gpu_of_alignments(on_gpu(tmp_path, **more)) == JobGpu(1, "gpu", "a100", None, "p4d")
    msa = {"tool": "mmseqs", "mmseqs": {"gpu": True, "gpu_class": "ada_24"}}
    assert gpu_of_alignments(on_gpu(tmp_path, msa=msa, **more)) == JobGpu(1, None, None, "l4", "g6")
    assert gpu_of_alignments(on_gpu(tmp_path, msa={"tool": "mmseqs"}, **more)) == JobGpu()
    msa["mmseqs"]["gpu_class"] = "ampere_24"  # type: ignore[index]
    with pytest.raises(ConfigError, match=r"how to ask for ampere_24, msa\.mmseqs\.gpu_class"):
        on_gpu(tmp_path, msa=msa, **more)


def test_only_mmseqs_searches_on_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"msa\.tool is jackhmmer, which searches on CPUs"):
        on_gpu(tmp_path, msa={"mmseqs": {"gpu": True}})
