"""Environments of engines' own: a toy engine's is installed for real, and a request runs in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold import engines
from snakefold.engines import environments
from snakefold.engines.environments import BASE, RELAXATION
from snakefold.engines.install import beside
from snakefold.engines.interpreters import find
from snakefold.engines.spec import Environment, locked
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxChoice, RelaxSettings, TargetInput
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import house
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, open_store
from snakefold.plan.executors import Executor, announce
from snakefold.plan.files import TargetRow, read_batch, read_rows, read_targets
from snakefold.plan.mark import is_marked
from snakefold.run.mend import mend
from snakefold.run.task import read_response

DISTRIBUTION = Path(__file__).with_name("own_environment")
NAME = "own_environment"
PACKAGE = "snakefold_own_environment"
SEQUENCE = "MKTAYIAKQRQISFVKSHFSR"


@dataclass
class Site:
    """Where the toy engine's distribution is, and a folder of environments."""

    packages: Path
    environments: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def everything(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(self.packages), environments.ROOT: str(self.environments)}
        return {**os.environ, **own, **self.variables}

    @property
    def lock(self) -> Path:
        return self.packages / PACKAGE / "environment.lock"

    @property
    def prefix(self) -> Path:
        (found,) = (path.parent for path in self.environments.glob(f"{NAME}/*/{environments.MARKER}"))
        return found

    def snakefold(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("snakefold"), *words],
            env=self.everything,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy's distribution, installed as another author's would be."""
    folder = tmp_path_factory.mktemp("packages")
    source = shutil.copytree(DISTRIBUTION, tmp_path_factory.mktemp("source") / "toy")
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", folder, source]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    return folder


@pytest.fixture(scope="module")
def installed(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The toy's environment, made by `snakefold engines install` from packages of an index."""
    site = Site(packages, tmp_path_factory.mktemp("engines"))
    done = site.snakefold("engines", "install", NAME)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def nowhere(packages: Path, tmp_path: Path) -> Site:
    """The distribution, a copy of it, without an environment."""
    return Site(shutil.copytree(packages, tmp_path / "packages"), tmp_path / "engines")


@pytest.fixture
def here(nowhere: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The engine found by this process."""
    monkeypatch.syspath_prepend(nowhere.packages)
    monkeypatch.setenv(environments.ROOT, str(nowhere.environments))
    engines.forget()
    yield nowhere
    engines.forget()
    for name in [each for each in sys.modules if each.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def write_request(folder: Path) -> Path:
    target = TargetInput(id="a", key=sequence_key([SEQUENCE]), chains=[SEQUENCE])
    request = FoldRequest(
        batch="b1",
        engine=NAME,
        recipe="0" * 16,
        relax=RelaxSettings(models_to_relax=RelaxChoice.NONE),
        targets=[target],
    )
    path = folder / "request.json"
    path.write_text(request.model_dump_json())
    (folder / "inputs.tar.zst").write_bytes(archive.pack({}))
    return path


def test_the_package_is_not_snakefolds() -> None:
    """Else nothing here says where the engine ran."""
    with pytest.raises(PackageNotFoundError):
        version("inflection")


def test_a_task_runs_in_the_engines_environment(installed: Site, tmp_path: Path) -> None:
    write_request(tmp_path)
    words = ["task", "request.json", "--store", "my store", "--weights", "none", "--out", "out.tar.zst"]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("snakefold"), *words], cwd=tmp_path, env=installed.everything
    )
    assert process.wait() == 0
    files = archive.read(tmp_path / "out.tar.zst")
    (outcome,) = read_response(files).outcomes
    assert outcome.state == "done"
    result = archive.unpack(files[f"targets/{outcome.result_key}.tar.zst"])
    drawn_by = json.loads(result["drawn_by.json"])
    assert Path(drawn_by["prefix"]).samefile(installed.prefix)
    assert Path(drawn_by["cwd"]).samefile(tmp_path)
    assert drawn_by["pid"] == process.pid  # so that signals reach it
    assert not [path for path in drawn_by["path"] if path.startswith(sys.prefix)]
    assert json.loads(result["confidence.json"])["scores"]["ordinal"] == "21st"


def test_its_exit_code_is_the_tasks(installed: Site, tmp_path: Path) -> None:
    request = write_request(tmp_path)
    done = installed.snakefold("task", request, "--store", request, "--out", tmp_path / "out.tar.zst")
    assert done.returncode == 2
    assert str(request) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_task_without_it_says_what_to_do(nowhere: Site, tmp_path: Path) -> None:
    done = nowhere.snakefold("task", write_request(tmp_path), "--out", tmp_path / "out.tar.zst")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"snakefold: engine {NAME}: its environment is not installed: snakefold engines install {NAME}"
    ]
    assert not (tmp_path / "out.tar.zst").exists()


def test_it_never_starts_itself_forever(here: Site, installed: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if its interpreter were one of another environment."""
    monkeypatch.setenv(environments.ROOT, str(installed.environments))
    monkeypatch.setenv(environments.STARTED, str(installed.prefix))
    with pytest.raises(SnakefoldError, match="was started and runs in"):
        environments.enter(engines.get(NAME), ["task"])


def test_a_worker_tests_itself_with_it(installed: Site, tmp_path: Path) -> None:
    """As the last step of an image's build."""
    words = [sys.executable, "-m", "snakefold.worker.handler", "--self-test", "--engine"]
    done = subprocess.run(
        [*words, NAME], env=installed.everything, capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ok"] and set(said["checks"]) == {"volume", "predict"}
    assert said["checks"]["predict"]["detail"]["engine"] == NAME
    lost = {**installed.everything, environments.ROOT: str(tmp_path / "nowhere")}
    done = subprocess.run([*words, NAME], env=lost, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert "its environment is not installed" in json.loads(done.stdout)["checks"]["predict"]["detail"]


def test_installing_again_does_nothing(installed: Site) -> None:
    done = installed.snakefold("engines", "install", NAME)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert "nothing to do" in line
    assert str(installed.prefix) in line


def test_list_and_doctor_say_where_it_is(installed: Site, nowhere: Site) -> None:
    listed = installed.snakefold("engines", "list")
    (row,) = (line for line in listed.stdout.splitlines() if line.startswith(NAME))
    assert row.endswith(f"own environment: {installed.prefix}")
    assert re.search(r"^alphafold2 .* here$", listed.stdout, re.MULTILINE)

    asked = nowhere.snakefold("engines", "doctor", NAME)
    assert (asked.returncode, asked.stdout.splitlines()[-1]) == (1, "1 fault")


def test_what_is_damaged_is_named_and_made_again(installed: Site) -> None:
    (module,) = installed.prefix.glob("lib/python*/site-packages/inflection*/__init__.py")
    module.unlink()  # uv's cache has the same file
    module.write_text("raise ImportError('half of it is missing')\n")
    (zstandard,) = installed.prefix.glob("lib/python*/site-packages/zstandard")
    shutil.rmtree(zstandard)
    done = installed.snakefold("engines", "doctor", NAME)
    assert done.returncode == 1
    assert f"{NAME}: inflection: ImportError: half of it is missing: snakefold engines install" in done.stdout
    assert f"{NAME}: zstandard: ModuleNotFoundError" in done.stdout
    # By pip, which may not be what made it.
    assert installed.snakefold("engines", "install", NAME, "--pip").returncode == 0
    assert installed.snakefold("engines", "doctor", NAME).returncode == 0
    pip = [installed.prefix / "bin" / "pip", "--version"]
    assert str(installed.prefix) in subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    assert [path.name for path in installed.prefix.parent.iterdir()] == [installed.prefix.name]


def test_a_half_made_one_is_not_used(here: Site) -> None:
    """As an installation leaves it that was killed."""
    engine = engines.get(NAME)
    assert engine.environment is not None
    prefix = environments.prefix_of(engine, engine.environment)
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(sys.executable)
    assert "is not installed" in environments.place_of(engine).missing
    left = prefix.with_name(f".new-{prefix.name}-left")
    left.mkdir()
    with beside(prefix) as new:
        assert not left.exists()
    assert not new.exists()


def test_an_interpreter_that_is_gone_is_named(installed: Site) -> None:
    """As after an upgrade of the system."""
    python = installed.prefix / "bin" / "python"
    kept = python.with_name("kept")
    python.rename(kept)
    try:
        listed = installed.snakefold("engines", "list").stdout
    finally:
        kept.rename(python)
    assert f"the interpreter of {installed.prefix} is gone: snakefold engines install {NAME}" in listed


def _with_other_hashes(lock: str) -> str:
    return re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock)


def _without_the_base(lock: str) -> str:
    (own,) = re.findall(r"(?m)^inflection==.*\n(?: .*\n)*?(?=\w)", lock)
    return str(own).rstrip().removesuffix("\\")


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (_with_other_hashes, "failed with exit code"),
        (_without_the_base, "zstandard: ModuleNotFoundError"),
    ],
)
def test_nothing_is_left_of_what_cannot_be_installed(
    nowhere: Site, damage: Callable[[str], str], text: str
) -> None:
    before = nowhere.lock.read_text()
    nowhere.lock.write_text(damage(before))
    assert nowhere.lock.read_text() != before
    done = nowhere.snakefold("engines", "install", NAME)
    assert done.returncode == 2
    assert text in done.stderr
    assert not list((nowhere.environments / NAME).iterdir())


def plan(
    site: Site, folder: Path, executor: str, relax: str = "none", **others: Any
) -> subprocess.CompletedProcess[str]:
    """The plan step of a run, as Snakemake's process starts it."""
    fasta = folder / "set.fasta"
    fasta.write_text(f">a\n{SEQUENCE}\n")
    settings = {
        "input": str(fasta),
        "results": str(folder),
        "engine": NAME,
        "relax": {"models_to_relax": relax},
        "msa": {"allow_demo_database": True},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | others))
    announce(Executor(executor), site.variables)
    words = ["--out", folder / "plan", "--mark", folder / "plan" / "contents" / "mark"]
    return site.snakefold("plan", "--config", folder / "config.yaml", *words)


def plan_sheet(site: Site, folder: Path, *engines: str, **others: Any) -> subprocess.CompletedProcess[str]:
    """A plan of a sample sheet, a row per engine; an empty cell means AlphaFold2."""
    rows = [f"row{number},{SEQUENCE}{number * 'A'},{name}" for number, name in enumerate(engines)]
    (folder / "sheet.csv").write_text("\n".join(["id,sequence,engine", *rows, ""]))
    return plan(
        site,
        folder,
        "local",
        input=str(folder / "sheet.csv"),
        engine="alphafold2",
        weights="rehearsal",
        rehearsal={"blocks": 1},
        msa={"tool": "single_sequence"},
        **others,
    )


@pytest.mark.parametrize("executor", ["local", "slurm"])
def test_a_plan_is_refused_without_it(nowhere: Site, tmp_path: Path, executor: str) -> None:
    done = plan(nowhere, tmp_path, executor)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"snakefold: engine {NAME}: its environment is not installed: snakefold engines install {NAME}"
    ]
    assert not (tmp_path / "plan" / "batches.tsv").exists()


def states(folder: Path) -> dict[str, str]:
    rows = read_targets(folder / "plan", TargetRow)
    return {row.id: str(row.state) for row in rows}


def test_a_row_is_refused_without_it(
    nowhere: Site, here: Site, installed: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only records name this engine: it keeps nobody else from being folded."""
    done = plan_sheet(nowhere, tmp_path, "", NAME)
    assert done.returncode == 0, done.stderr
    assert states(tmp_path) == {"row0": "to_do", "row1": "refused"}
    (refused,) = json.loads((tmp_path / "plan" / "refusals.json").read_text())
    assert refused["header"] == "row1"
    assert f"snakefold engines install {NAME}" in refused["message"]
    recorded = json.loads((tmp_path / "provenance.json").read_text())["recipe"]["predictions"]
    assert {item["engine"] for item in recorded} == {"alphafold2"}

    told: list[str] = []
    mend(tmp_path, str(tmp_path / "store"), told.append)
    assert (told, is_marked(tmp_path / "plan")) == ([], True)
    monkeypatch.setenv(environments.ROOT, str(installed.environments))
    mend(tmp_path, str(tmp_path / "store"), told.append)
    assert told[0] == f"{NAME}: installed since records were refused; the run is planned again."
    assert not is_marked(tmp_path / "plan")

    assert plan_sheet(installed, tmp_path, "", NAME).returncode == 0
    assert states(tmp_path) == {"row0": "to_do", "row1": "to_do"}


def test_a_plan_of_nothing_but_such_rows_is_refused(nowhere: Site, tmp_path: Path) -> None:
    done = plan_sheet(nowhere, tmp_path, NAME)
    assert done.returncode == 2
    assert f"snakefold engines install {NAME}" in done.stderr
    assert not (tmp_path / "plan" / "batches.tsv").exists()


def test_an_engine_that_the_configuration_names_too_ends_the_plan(nowhere: Site, tmp_path: Path) -> None:
    done = plan_sheet(nowhere, tmp_path, "", NAME, engines=["alphafold2", NAME])
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"snakefold: engine {NAME}: its environment is not installed: snakefold engines install {NAME}"
    ]


def test_what_is_stored_needs_no_environment(installed: Site, nowhere: Site, tmp_path: Path) -> None:
    """A row whose result is in the store is not refused."""
    assert plan_sheet(installed, tmp_path, "", NAME).returncode == 0
    (batch,) = (row.batch for row in read_rows(tmp_path / "plan") if row.engine == NAME)
    planned = read_batch(tmp_path / "plan", batch)
    entry = Entry("fold", planned.recipe, planned.targets[0].target.result_key)
    open_store(str(tmp_path / "store")).put(entry, archive.pack({"a": b""}))
    assert plan_sheet(nowhere, tmp_path, "", NAME).returncode == 0
    assert states(tmp_path) == {"row0": "to_do", "row1": "stored"}


def test_a_row_is_refused_without_packages_here(nowhere: Site, tmp_path: Path) -> None:
    """Of an engine that runs in snakefold's own interpreter, and says itself what it lacks."""
    module = nowhere.packages / PACKAGE / "__init__.py"
    lacking = "raise WeightsMissingError('The engine needs inflection: pip install inflection')"
    module.write_text(
        module.read_text()
        .replace("    environment = Environment", "    unused = Environment")
        .replace("self.environment.version", "self.unused.version")
        .replace("ENGINE = OwnEnvironment()", "")
        + "    def parameters(self, *given: Any, **named: Any) -> Any:\n"
        "        from snakefold.kernel.errors import WeightsMissingError\n"
        f"        {lacking}\n\n\nENGINE = OwnEnvironment()\n"
    )
    done = plan_sheet(nowhere, tmp_path, "", NAME)
    assert done.returncode == 0, done.stderr
    assert states(tmp_path) == {"row0": "to_do", "row1": "refused"}
    assert "pip install inflection" in (tmp_path / "plan" / "refusals.json").read_text()
    # As the configuration's only engine it ends the plan.
    done = plan(nowhere, tmp_path, "local")
    assert done.returncode == 2
    assert "pip install inflection" in done.stderr


def test_an_image_brings_what_its_engine_needs(nowhere: Site, tmp_path: Path) -> None:
    """So that nothing must be installed where a run on RunPod is planned."""
    assert plan(nowhere, tmp_path, "runpod").returncode == 0
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["packages"]["inflection"] == locked(nowhere.lock)["inflection"][0]


def test_a_plan_records_what_the_environment_has(installed: Site, tmp_path: Path) -> None:
    assert plan(installed, tmp_path, "local").returncode == 0
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["packages"]["inflection"] == locked(installed.lock)["inflection"][0]


def test_a_plan_that_relaxes_needs_what_relaxes(installed: Site, tmp_path: Path) -> None:
    done = plan(installed, tmp_path, "local", relax="best")
    assert done.returncode == 2
    assert f"engine {NAME} lacks {', '.join(RELAXATION)}" in done.stderr
    assert "relax.models_to_relax: none" in done.stderr


def test_an_image_needs_no_environment(here: Site) -> None:
    """Its interpreter has the packages, in the lock's versions."""
    folder = here.packages / "inflection-0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: inflection\nVersion: 0\n")
    assert environments.place_of(engines.get(NAME)).missing
    version = locked(here.lock)["inflection"][0]
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: inflection\nVersion: {version}\n")
    assert environments.place_of(engines.get(NAME)) == environments.Place()


# ---- interpreters ----------------------------------------------------------------------------------------
def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_shim_that_fails_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = program(tmp_path / "shims" / "python3.97", "echo 'shim: no such command' >&2; exit 127")
    runs = program(tmp_path / "bin" / "python3.97", "echo 3.97.1 True /of/its/own/python3.97")
    monkeypatch.setenv("PATH", f"{shim.parent}:{runs.parent}")
    told: list[str] = []
    found = find("3.97", given=None, uv=None, log=told.append)
    assert (found.path, found.version) == ("/of/its/own/python3.97", "3.97.1")
    assert told == [f"passed over: {shim}: fails with exit code 127 (shim: no such command)"]


def test_what_pyenv_has_is_found_behind_its_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = program(tmp_path / "shims" / "python3.97", "echo 'pyenv: not selected' >&2; exit 127")
    versions = tmp_path / "pyenv" / "versions"
    for each in ("3.9.1", "3.97.2"):
        folder = versions / each / "bin"
        folder.mkdir(parents=True)
        program(folder / "python", f"echo {each} True /pyenv/python{each}")
    monkeypatch.setenv("PATH", str(shim.parent))
    monkeypatch.setenv("PYENV_ROOT", str(versions.parent))
    assert find("3.97", given=None, uv=None, log=print).path == "/pyenv/python3.97.2"
    assert find("3.9", given=None, uv=None, log=print).path == "/pyenv/python3.9.1"


def test_what_was_tried_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    program(folder / "python3.97", "echo 3.96.0 True /python")
    program(folder / "python3", "echo no Python at all")
    program(folder / "python", "echo 3.97.1 False /python")
    uv = program(folder / "uv", "echo 'nothing is managed' >&2; exit 2")
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(SnakefoldError) as caught:
        find("3.97", given=None, uv=None, log=print)
    text = str(caught.value)
    assert f"{sys.executable}: is Python {'.'.join(map(str, sys.version_info[:3]))}" in text
    assert "python3.97: is Python 3.96.0" in text
    assert "answers 'no Python at all'" in text
    assert "python3-venv" in text
    assert "--python PATH" in text
    assert find("3.97", given=None, uv=str(uv), log=print).path == "/python"
    (folder / "python").unlink()
    with pytest.raises(SnakefoldError, match="nothing is managed"):
        find("3.97", given=None, uv=str(uv), log=print)


def test_an_interpreter_that_is_given_is_the_only_one(nowhere: Site) -> None:
    done = nowhere.snakefold("engines", "install", NAME, "--python", "/bin/false")
    assert done.returncode == 2
    assert "/bin/false: fails with exit code 1" in done.stderr
    assert sys.executable not in done.stderr


# ---- locks -----------------------------------------------------------------------------------------------
def test_the_base_is_what_snakefold_asks_for() -> None:
    lines = (house() / "envs" / "base.in").read_text().splitlines()
    base = [line for line in lines if not line.startswith("#")]
    assert [re.split("[<>=]", line)[0] for line in base] == sorted(BASE)
    project = tomllib.loads((house() / "pyproject.toml").read_text())["project"]
    assert set(base) <= set(project["dependencies"])


def test_a_lock_tells_versions(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    lock.write_text(
        "some_thing[extra]==1.2 \\\n    --hash=sha256:00\n"
        "two==1 ; python_full_version < '3.12' \\\n    --hash=sha256:00\n"
        "two==2 ; python_full_version >= '3.12' \\\n    --hash=sha256:00\n"
    )
    environment = Environment("3.11", lock)
    assert environment.version("Some.Thing") == "1.2"
    with pytest.raises(SnakefoldError, match="has 1, 2 of it"):
        environment.version("two")
    with pytest.raises(SnakefoldError, match="lacks it"):
        environment.version("three")


@pytest.mark.parametrize("version", ["3.10", "2", "new"])
def test_snakefold_must_run_there_too(here: Site, version: str) -> None:
    with pytest.raises(SnakefoldError, match=r"3\.11 at least"):
        environments.prefix_of(engines.get(NAME), Environment(version, here.lock))
