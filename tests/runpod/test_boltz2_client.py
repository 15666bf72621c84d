"""The second seed's client: its calls, every state of a job, and answers that must not be trusted."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import logging
import sys
import time

import pytest

from snakefold.clusters.emulator import EmulatorThread, ManualClock, Scaling, StubWorkers
from snakefold.clusters.runpod import ResultError, RunpodError, Session, UnavailableError
from snakefold.engines.boltz2 import client
from snakefold.engines.boltz2.client import RunPodService

from .helpers import environment_of, part_of, session_of

YAML = "version: 1\nsequences:\n- protein: {id: A, sequence: MKTAYIAK, msa: empty}\n"
CIF = b"data_pose\n#\n"


def answer(**more):
    return {
        "affinity_pred_value": -1.25,
        "affinity_probability_binary": None,
        "confidence_score": 0.5,
        "pose_files": {"pose_0.cif": base64.b64encode(CIF).decode(), "pose_1.cif": part_of(CIF)},
        "output_files": {"confidence_result.json": base64.b64encode(b"{}").decode()},
        **more,
    }


@contextlib.contextmanager
def endpoint(work=lambda job: answer(), *, seconds=0.0, clock=None, **more):
    """The emulated service with an endpoint, and a service object as a program would make it."""
    settings = {"workers": StubWorkers(work, seconds), "scaling": Scaling(queue_delay=0.1)}
    with EmulatorThread({"boltz": settings}, clock=clock) as emulator:
        environment = environment_of(emulator, RUNPOD_ENDPOINT_ID="boltz", **more)
        session = session_of(emulator, sleep=emulator.advance, clock=clock.now) if clock is not None else None
        yield emulator, RunPodService(environment, session)


@pytest.fixture
def yaml_path(tmp_path):
    path = tmp_path / "complex.yaml"
    path.write_text(YAML)
    return path


def test_from_a_yaml_to_files(yaml_path, tmp_path):
    seen = []

    def work(job):
        seen.append(job["input"])
        return answer()

    with endpoint(work) as (_, service):
        assert not service.local and service.endpoint_id == "boltz"
        given = service.prepare_boltz_input("job-1", yaml_path, {"diffusion_samples": 2, "project": "x"})
        job = service.submit_job(given, "name")
        states = []
        status = service.wait_for_job_completion(job, poll_interval=0.05, changed=states.append)
        assert (status["status"], status["where"]) == ("COMPLETED", "runpod")
        assert states[-1] == "COMPLETED"
        found = service.parse_boltz_output(service.get_job_output(job), tmp_path / "out")
        # One that has ended is not cancelled.
        assert service.cancel_job(job) is False
    assert found == {
        "affinity_pred_value": -1.25,
        "affinity_probability_binary": None,
        "confidence_score": 0.5,
        "pose_files": ["pose_0.cif", "pose_1.cif"],
        "poses_generated": 2,
        "where": "runpod",
        "rehearsal": False,
        "warnings": [],
    }
    assert (tmp_path / "out" / "pose_1.cif").read_bytes() == CIF
    assert (tmp_path / "out" / "confidence_result.json").read_bytes() == b"{}"
    (sent,) = seen
    assert base64.b64decode(sent["input_yaml"]).decode() == YAML
    assert sent["job_id"] == "job-1" and sent["request_data"] == {"diffusion_samples": 2, "project": "x"}
    assert sent["config"] == {
        "devices": 1,
        "accelerator": "gpu",
        "diffusion_samples": 2,
        "use_msa_server": False,
    }


def test_an_output_that_is_json_text_is_read():
    with endpoint(lambda job: json.dumps(answer())) as (_, service):
        job = service.submit_job({"input_yaml": ""}, "a name")
        service.wait_for_job_completion(job, 0.05)
        assert service.get_job_output(job)["confidence_score"] == 0.5


def test_a_job_that_is_not_done_has_no_output_and_can_be_cancelled():
    with endpoint(seconds=1e6, clock=ManualClock()) as (emulator, service):
        job = service.submit_job({})
        assert service.get_job_status(job)["status"] == "IN_QUEUE"
        emulator.advance(60)
        assert service.get_job_status(job)["status"] == "IN_PROGRESS"
        with pytest.raises(ValueError, match=r"IN_PROGRESS, not COMPLETED"):
            service.get_job_output(job)
        with pytest.raises(TimeoutError, match="It continues"):
            service.wait_for_job_completion(job, timeout=30)
        assert service.cancel_job(job) is True
        with pytest.raises(RuntimeError, match="CANCELLED"):
            service.wait_for_job_completion(job)


def test_a_failed_job_says_why():
    def fail(job):
        raise RuntimeError("ligand over 128 atoms")

    with endpoint(fail) as (_, service):
        job = service.submit_job({})
        with pytest.raises(RuntimeError, match="ligand over 128 atoms"):
            service.wait_for_job_completion(job, 0.05)
        with pytest.raises(ValueError, match="is FAILED, not COMPLETED"):
            service.get_job_output(job)


def test_a_job_that_takes_too_long_is_timed_out():
    with endpoint(seconds=1e6, clock=ManualClock()) as (emulator, service):
        job = service.submit_job({})
        emulator.advance(86_400 * 8)
        with pytest.raises((RuntimeError, RunpodError), match=r"TIMED_OUT|does not know job"):
            service.wait_for_job_completion(job)


def test_the_environment_sets_how_long_a_job_is_waited_for():
    with endpoint(seconds=1e6, clock=ManualClock(), RUNPOD_TIMEOUT="90", RUNPOD_POLL_INTERVAL="7") as (
        _,
        service,
    ):
        assert (service.timeout, service.poll_interval) == (90.0, 7.0)
        with pytest.raises(TimeoutError, match="90 s"):
            service.wait_for_job_completion(service.submit_job({}))
    with pytest.raises(ValueError, match="RUNPOD_TIMEOUT: expected seconds"):
        RunPodService({"RUNPOD_TIMEOUT": "soon"})
    with pytest.raises(ValueError, match="above 0"):
        RunPodService({"RUNPOD_POLL_INTERVAL": "-1"})


def test_a_service_that_is_away_is_an_error_and_no_computation_here():
    """Whoever has an endpoint wants its GPUs: nothing is computed elsewhere unasked."""
    clock = itertools.count()
    session = Session(
        "k",
        jobs_url="http://127.0.0.1:9/v2",
        patience=3.0,
        sleep=lambda _: None,
        clock=lambda: float(next(clock)),
    )
    service = RunPodService({"RUNPOD_API_KEY": "k", "RUNPOD_ENDPOINT_ID": "e"}, session)
    assert not service.local
    for call in (
        lambda: service.submit_job({}),
        lambda: service.get_job_status("a"),
        lambda: service.cancel_job("a"),
        lambda: service.wait_for_job_completion("a"),
    ):
        with pytest.raises(UnavailableError, match="no connection"):
            call()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (answer(pose_files={"../../x.cif": "QQ=="}), "no file name"),
        (answer(pose_files={"/etc/x.cif": "QQ=="}), "no file name"),
        (answer(output_files={"a/b.json": "QQ=="}), "no file name"),
        (answer(output_files={".bashrc": "QQ=="}), "no file name"),
        (answer(pose_files={"pose.cif": "not base64"}), "no base64"),
        (answer(pose_files={"pose.cif": {**part_of(CIF), "sha256": "0" * 64}}), "sha256"),
        (answer(pose_files={"pose.cif": {"size": 3, "sha256": "0" * 64, "path": "p"}}), "network volume"),
        (answer(pose_files={"pose.cif": 5}), "neither bytes nor where they are"),
        (answer(pose_files={}), "no structure"),
        (answer(pose_files=None), "no structure"),
        (answer(confidence_score="-7.2"), "expected a number or null"),
        (answer(affinity_pred_value=float("nan")), "expected a number or null"),
        ({"error": "out of memory"}, "out of memory"),
        ([1], "no object"),
        ("no json", "no JSON"),
    ],
)
def test_an_answer_that_cannot_be_trusted_writes_nothing(output, says, tmp_path):
    service = RunPodService({"RUNPOD_API_KEY": "k", "RUNPOD_ENDPOINT_ID": "e"})
    with pytest.raises(ResultError, match=says):
        service.parse_boltz_output(output, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "RUNPOD_API_KEY and RUNPOD_ENDPOINT_ID not set"),
        ({"RUNPOD_API_KEY": "k"}, "RUNPOD_ENDPOINT_ID not set"),
        ({"RUNPOD_API_KEY": "k", "RUNPOD_ENDPOINT_ID": "e", "USE_RUNPOD": "False"}, "USE_RUNPOD is false"),
    ],
)
def test_without_runpod_it_warns_and_computes_here(environment, why, caplog, monkeypatch, tmp_path):
    # The worker's own answer to a request is tested with the worker.
    task = (
        "import json, sys; from snakefold.kernel import archive\n"
        "given = json.load(open(sys.argv[2]))\n"
        "if given['job_id'] == 'fails': sys.exit('no conformer')\n"
        "if given['job_id'] == 'long': import time; time.sleep(600)\n"
        f"answer = json.dumps({answer()!r}).encode()\n"
        "open(sys.argv[4], 'wb').write(archive.pack({'response.json': answer}))\n"
    )
    monkeypatch.setattr(client, "_TASK", task)
    with caplog.at_level(logging.WARNING):
        service = RunPodService(environment)
    assert service.local and why in caplog.text
    job = service.submit_job({"job_id": "works"})
    status = service.wait_for_job_completion(job)
    assert (status["status"], status["where"]) == ("COMPLETED", "local")
    found = service.parse_boltz_output(service.get_job_output(job), tmp_path / "out")
    assert (found["where"], found["poses_generated"]) == ("local", 2)
    with pytest.raises(RuntimeError, match="FAILED: no conformer"):
        service.wait_for_job_completion(service.submit_job({}, "fails"))
    long = service.submit_job({}, "long")
    with pytest.raises(TimeoutError):
        service.wait_for_job_completion(long, timeout=0.2)
    started = time.monotonic()
    assert service.cancel_job(long) is True and time.monotonic() - started < 60
    assert service.get_job_status(long)["status"] == "CANCELLED"
    with pytest.raises(RunpodError, match="RunPod is not used"):
        service.get_job_status("somebody-elses")


def test_it_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, snakefold.engines.boltz2.client\n"
        "print(sorted({'torch', 'rdkit', 'jax', 'numpy', 'pandas', 'runpod'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
