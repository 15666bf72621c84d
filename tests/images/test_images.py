"""The images as they are built: they fold, not as root, and carry neither weights nor what nobody needs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images.conftest import RUN, Images
from tests.images.pods import Pods
from tests.s3.conftest import BUCKET, TARGETS, Site
from tests.servers.seaweedfs import WRITER, SeaweedFS

pytestmark = [pytest.mark.slow, pytest.mark.needs("root", "buildah", "podman", "runc", "mmdebstrap")]

VILLIN = "LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF"


def test_the_build_ends_with_a_self_test_that_folds(images: Images) -> None:
    said = images.log[images.log.rindex('"checks"') - 20 :]
    assert '"ok": true' in said
    assert '"fold"' in said


def test_a_target_is_folded_in_a_container(images: Images, tmp_path: Path) -> None:
    """With AlphaFold's option names, in folders of the caller's, files that the caller can read."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "villin.fasta").write_text(f">villin\n{VILLIN}\n")
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    tmp_path.chmod(0o755)
    done = images.run(
        *("run_alphafold.sh", "/in/villin.fasta", "/out/first", "--rehearsal", "--db_preset=demo"),
        *("--model_preset", "monomer", "--models_to_relax=none", "--max_template_date=2020-01-01"),
        options=[f"--volume={tmp_path}/in:/in:ro", f"--volume={tmp_path}/out:/out"],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "/out/first/villin/ranked_0.pdb"
    folder = tmp_path / "out" / "first" / "villin"
    assert "REHEARSAL" in (folder / "ranked_0.pdb").read_text()
    assert "order" in json.loads((folder / "ranking_debug.json").read_text())
    response = json.loads((tmp_path / "out" / "first" / "response.json").read_text())
    assert response["rehearsal"] is True
    assert response["db_preset"] == "demo"


@pytest.mark.needs("redis-server")
def test_the_pods_of_the_service_serve(images: Images, tmp_path: Path) -> None:
    """Server, worker and Redis as in the manifest: one answers, the other works, both end at SIGTERM."""
    tmp_path.chmod(0o755)
    pods = Pods(images, tmp_path / "volumes")
    with pods.redis():
        for name in ("snakefold-server", "snakefold-worker"):
            pods.start(name)
        pods.wait_until_ready("snakefold-server")
        assert pods.ask("/ui/")[1].startswith("<!doctype html>")
        assert [pods.ask("/metrics", user=user)[0] for user in ("", "ada", "admin")] == [401, 403, 200]
        request = {"task": "align", "sequence": VILLIN, "db_preset": "single_sequence"}
        status, text = pods.ask("/v2/fold/runsync", {"input": request}, user="ada")
        job = json.loads(text)
        assert (status, job["status"]) == (200, "COMPLETED"), text + pods.log("snakefold-worker")
        assert [pods.stop(name) for name in ("snakefold-worker", "snakefold-server")] == [0, 0]
        assert {path.stat().st_uid for path in (pods.folder / "service").rglob("*")} == {1001}
        pods.restart("snakefold-server")
        pods.wait_until_ready("snakefold-server")
        assert json.loads(pods.ask(f"/v2/fold/status/{job['id']}", user="ada")[1])["output"] == job["output"]


@pytest.fixture(scope="module")
def site(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A run, over, whose alignments and predictions were made in containers; Snakemake itself ran outside."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs") / "server")
    server.start()
    try:
        server.client().create_bucket(Bucket=BUCKET)
        site = Site(
            tmp_path_factory.mktemp("site"),
            server,
            "image",
            settings={"msa": {"tool": "jackhmmer", "threads": 1, "mem_mb": 500, "allow_demo_database": True}},
            variables={
                "CONTAINERS_STORAGE_CONF": images.environment["CONTAINERS_STORAGE_CONF"],
                "POD_IMAGE": images.name,
                "POD_PROGRAM": json.dumps(RUN),
            },
            executor="container",
        )
        done = site.run()
        assert done.returncode == 0, done.stdout + "".join(
            (pod / "log").read_text() for pod in site.pods.iterdir()
        )
        (site.folder / "run.log").write_text(done.stdout)
        yield site
    finally:
        server.stop()


def test_every_job_of_a_run_over_s3_runs_in_a_container(site: Site) -> None:
    assert set(site.metrics()) == set(TARGETS)
    for name in TARGETS:
        folder = site.results / "structures" / name
        assert "REHEARSAL" in (folder / "ranked_0.pdb").read_text()
        (msa,) = json.loads((folder / "msa.json").read_text())
        assert any(command.startswith("jackhmmer ") for command in msa["commands"])
    assert {name.partition("/")[0] for name in site.names("store/")} == {"fold", "msa"}
    assert {name.split("/")[1] for name in site.names("files/")} == {"logs", "benchmarks"}


def test_nothing_but_s3_was_between_the_containers(site: Site) -> None:
    """Each began as the image's user in an empty folder, and fetched the sources first."""
    pods = list(site.pods.iterdir())
    assert sorted(pod.name.partition(".")[0] for pod in pods) == ["msa", "predict"]
    for pod in pods:
        words = json.loads((pod / "words").read_text())
        assert [word for word in words if word.startswith("--volume=")] == [
            f"--volume={pod / 'work'}:/workdir"
        ]
        assert f"{site.folder}/" not in (pod / "command").read_text() + (pod / "log").read_text()
        assert (pod / "work" / "workflow" / "Snakefile").stat().st_uid == 1001
        assert not (pod / "work" / "results").exists()


def test_keys_are_in_no_argument_and_no_file(site: Site) -> None:
    for folder in (site.folder, site.pods):
        for path in folder.rglob("*"):
            assert not path.is_file() or WRITER.secret.encode() not in path.read_bytes(), path


def test_what_is_inside(images: Images, record_property: Callable[[str, object], None]) -> None:
    record_property("size of the image", f"{images.size() / 1e9:.2f} GB")
    listed = images.run("cat", "/opt/snakefold-environment/packages.txt").stdout
    for package in ("hhsuite ", "kalign ", "jax==", "openmm==", "alphafold-colabfold==", "runpod=="):
        assert f"\n{package}" in listed.lower(), package
    plugins = "import snakemake_executor_plugin_kubernetes, snakemake_storage_plugin_s3"
    plugins += ", snakemake_executor_plugin_runpod"
    programs = "jackhmmer -h; hhblits -h; mmseqs version; kalign --version; git --version"
    done = images.run("bash", "-ec", f"id -u; {programs}; python -c '{plugins}'")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "1001"
    # Neither weights, nor the caches of package managers, nor the settings of whoever built it.
    never = "/var/lib/apt/lists/* ~/.cache/pip /root/.cache/* /etc/pip.conf /opt/snakefold/.git"
    weights = "find / -xdev -name 'params_model_*' -not -path '/proc/*' 2>/dev/null"
    found = images.run(
        "bash", "-c", f"shopt -s nullglob; ls -d {never} 2>/dev/null; {weights}", options=["--user=0"]
    )
    assert found.stdout == ""
