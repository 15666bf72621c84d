"""profiles/runpod: from `snakefold deploy apply` to a run whose predictions are on the endpoints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from snakefold import engines
from snakefold.cli import main
from snakefold.clusters.emulator import EmulatorThread, ProcessWorkers, StubWorkers
from snakefold.config import load_config

from .helpers import environment_of

HOUSE = Path(__file__).resolve().parents[2]
PLUGIN = HOUSE / "plugins" / "snakemake-executor-plugin-runpod" / "src"
SECRET = "s3-secret-that-nobody-may-see"  # noqa: S105
FASTA = ">one\nMKTAYIAKQRQISFVKSHFSRQ\n"
LIGAND = (
    "version: 1\nsequences:\n- ligand: {id: A, smiles: CCO}\n- protein: {id: B, sequence: MKTAYIAKQRQISFVK}\n"
)
CHEAP = (
    "input=one.fasta",
    "weights=rehearsal",
    "msa={tool: single_sequence}",
    "rehearsal={models: [1], num_recycle: 0}",
    "relax={models_to_relax: none}",
)


class Place:
    """A folder to run in, the profile installed, and an account with what its endpoints.yaml asks for."""

    def __init__(self, service: EmulatorThread, folder: Path):
        self.service, self.folder = service, folder
        self.profile = folder / "config" / "snakemake" / "runpod"
        (folder / "one.fasta").write_text(FASTA)
        self.environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ
        } | environment_of(
            service,
            XDG_CONFIG_HOME=str(folder / "config"),
            PYTHONPATH=str(PLUGIN),
            AWS_SECRET_ACCESS_KEY=SECRET,
        )
        self.snakefold("profiles", "install", "--copy", "runpod")
        self.snakefold("deploy", "apply", "--yes", "--image", "registry/worker:1", *self.file)

    @property
    def file(self):
        return "--file", str(self.profile / "endpoints.yaml")

    def snakefold(self, *arguments):
        return self.run("-c", "import sys; from snakefold.cli import main; sys.exit(main())", *arguments)

    def snakemake(self, *arguments, code=0):
        snakefile = str(HOUSE / "workflow" / "Snakefile")
        return self.run("-m", "snakemake", "--snakefile", snakefile, *arguments, code=code)

    def snakemake_in_the_checkout(self, *arguments):
        """Snakemake finds the Snakefile, and the profile by its name; results are not for the checkout."""
        return self.run("-m", "snakemake", "--directory", str(self.folder), *arguments, cwd=HOUSE)

    def run(self, *arguments, code=0, cwd=None):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=1800,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def holds(self, secret):
        """Files that a secret is in."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.slow
def test_only_predictions_are_for_the_endpoints(tmp_path):
    with EmulatorThread({"theirs": StubWorkers()}) as service:
        place = Place(service, tmp_path)
        ids = yaml.safe_load((place.profile / "endpoints.lock.yaml").read_text())["endpoints"]
        assert set(ids) == {"fold-ampere_24", "fold-ada_48_pro", "mmseqs"}
        # `--config` of the command line does not take the profile's settings away.
        given = ["--config", *CHEAP]
        place.snakemake("--profile", "runpod", *given, "--", "results/plan/batches.tsv")
        for snakemake, profile in (
            (place.snakemake, ("--profile", "runpod")),
            (
                place.snakemake_in_the_checkout,
                ("--workflow-profile", "runpod", "--runpod-endpoints", "fold=x"),
            ),
        ):
            said = snakemake(*profile, *given, "--dry-run", "--quiet", "host")
            rules = dict(re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", said, re.MULTILINE))
            assert {name for name, text in rules.items() if "runpod_endpoint" in text} == {"predict"}
            assert "runpod_endpoint=fold" in rules["predict"]
            assert re.search(r"gpu_class=(ampere_24|ada_48_pro),", rules["predict"])
            assert "gpu=0" in rules["predict"]  # one GPU of this machine does not hold up those elsewhere
        # The plan knows the executor, and refuses what is for trying out before anything is computed.
        said = place.snakemake(
            *("--profile", "runpod", "--config", "input=one.fasta", "weights=rehearsal", "results=demo"),
            code=1,
        )
        assert "msa.db_preset is demo" in said
        assert "With executor runpod nothing is started" in said
        (tmp_path / "long.fasta").write_text(">long\n" + "MKTAYIAKQR" * 240 + "\n")
        long = ("input=long.fasta", *CHEAP[1:], "results=long")
        said = place.snakemake("--profile", "runpod", "--config", *long, code=1)
        assert "1 of the targets to predict are too large for requests to runpod" in said
        assert "runpod-volume and runpod-datacenter in the profile" in said
        assert service.jobs == []
        assert not place.holds(service.api_key)


def test_the_default_profile_sends_nothing():
    entries = yaml.safe_load((HOUSE / "profiles" / "default" / "config.yaml").read_text())
    assert "runpod" not in str(entries)
    settings = load_config({}).runpod
    assert not any(settings.endpoint_of(name) for name in engines.names())


@pytest.mark.slow
def test_each_engine_has_its_endpoint(tmp_path):
    """No flag says so; and nothing is sent while one of the endpoints is missing."""
    given = ["--config", *CHEAP, "input=[one.fasta,two.yaml]", "engines=[alphafold2,boltz2]"]
    given += ["predict={retries: 0}"]
    with EmulatorThread({"theirs": StubWorkers()}) as service:
        service.emulator.account.workers_for = lambda _: StubWorkers(lambda job: {"error": "not computed"})
        place = Place(service, tmp_path)
        (tmp_path / "two.yaml").write_text(LIGAND)
        said = place.snakemake("--profile", "runpod", *given, code=1)
        assert (
            "Jobs of engine boltz2 go to the endpoint boltz-ampere_24 (or boltz), and there is none" in said
        )
        assert "snakefold deploy apply --image boltz=IMAGE" in said
        assert service.jobs == [] and not (tmp_path / "results/plan/batches.tsv").exists()

        place.snakefold("deploy", "apply", "boltz", "--yes", "--image", "boltz=registry/boltz:1", *place.file)
        place.snakemake("--profile", "runpod", *given, code=1)
        ids = yaml.safe_load((place.profile / "endpoints.lock.yaml").read_text())["endpoints"]
        sent = {
            name: [
                job.input["request"]["engine"]
                for job in service.emulator.endpoints[number].jobs.records.values()
            ]
            for name, number in ids.items()
        }
        assert {name: found for name, found in sent.items() if found} == {
            "fold-ampere_24": ["alphafold2"],
            "boltz-ampere_24": ["boltz2"],
        }

        # The plan is there now: what it still has to predict needs the endpoint too.
        place.snakefold("deploy", "destroy", "boltz", "--yes", *place.file)
        said = place.snakemake("--profile", "runpod", *given, code=1)
        assert "there is none" in said and len(service.jobs) == 1


@pytest.mark.slow
def test_a_whole_run_on_what_was_deployed(tmp_path):
    backends = []

    def workers(_):
        store = str(tmp_path / "worker-store")
        command = [sys.executable, "-u", "-m", "snakefold.worker.handler"]
        backends.append(ProcessWorkers(command, env={"SNAKEFOLD_STORE": store}))
        return backends[-1]

    with EmulatorThread({"theirs": StubWorkers()}) as service:
        service.emulator.account.workers_for = workers
        place = Place(service, tmp_path)
        place.snakemake("--profile", "runpod", "--config", *CHEAP)
        assert "done:    1 target\nfailed:  0 targets\n" in (tmp_path / "results/summary.txt").read_text()
        (job,) = service.jobs
        assert job.state == "COMPLETED"
        (row,) = [
            line for line in (tmp_path / "results/bill.tsv").read_text().splitlines() if "batch\t" in line
        ][1:]
        assert row.endswith("executor")
        bill = json.loads((tmp_path / "results/bill.json").read_text())
        # RunPod's own figure has the starts and idle seconds besides, of whole hours.
        assert bill["runpod"]["dollars"] >= bill["this"]["dollars"] > 0, bill["runpod_missing"]
        ids = yaml.safe_load((place.profile / "endpoints.lock.yaml").read_text())["endpoints"]
        script = str(HOUSE / "client" / "submit_job.py")
        refused = place.run(
            *(script, "fold", "--sequence", "MK1", "--endpoint", ids["fold-ampere_24"]),
            *("--db-preset", "single_sequence", "--rehearsal"),
            code=1,
        )
        assert "(invalid_input)" in refused
        assert "fold-ampere_24" in place.snakefold("deploy", "status", *place.file)
        place.snakefold("deploy", "destroy", "--yes", "--with-volume", *place.file)
        assert list(service.emulator.endpoints) == ["theirs"]
        assert not place.holds(service.api_key)
        assert not place.holds(SECRET)


def test_profiles_are_linked_and_nothing_is_overwritten(tmp_path, capsys):
    install = ["profiles", "install", "--folder", str(tmp_path), "runpod"]
    assert main(install) == main(install) == 0
    assert (tmp_path / "runpod").resolve() == HOUSE / "profiles" / "runpod"
    (tmp_path / "runpod").unlink()
    (tmp_path / "runpod").symlink_to(tmp_path / "elsewhere")
    assert main(install) == 0
    assert (tmp_path / "runpod" / "config.v9+.yaml").is_file()
    (tmp_path / "runpod").unlink()
    (tmp_path / "runpod").mkdir()
    assert main(install) == 2
    assert "Move it away" in capsys.readouterr().err
    assert main(["profiles", "install", "--folder", str(tmp_path), "nothing"]) == 2
