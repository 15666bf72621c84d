"""Boltz-2 as the second seed's programs call it: a YAML in, scores and poses out, nothing invented."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import pytest

from snakefold.clusters.emulator import EmulatorThread, ProcessWorkers, Scaling
from snakefold.engines import environments
from snakefold.engines.boltz2.client import RunPodService
from snakefold.kernel.errors import SnakefoldError
from snakefold.worker import poses
from snakefold.worker.endpoints import PoseRequest, read_input
from snakefold.worker.endpoints.checked import InvalidInput
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import new_context, perform
from tests.worker.conftest import told

Worker = Callable[..., dict[str, Any]]
COMPLEX = """version: 1
sequences:
- protein: {id: A, sequence: MKTAYIAKQRQISFVK}
- ligand: {id: B, smiles: "CCO"}
properties:
- affinity: {binder: B}
"""
ALONE = "version: 1\nsequences:\n- protein: {id: A, sequence: GSHMWWACDE, msa: empty}\n"
#: The keys that the seed's own client reads.
READ = {
    "affinity_pred_value",
    "affinity_probability_binary",
    "confidence_score",
    "pose_files",
    "output_files",
}
needs_boltz = pytest.mark.needs("boltz2")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def decoded(answer: dict[str, Any], kind: str) -> dict[str, bytes]:
    return {name: base64.b64decode(data, validate=True) for name, data in answer[kind].items()}


@needs_boltz
@pytest.mark.slow
def test_the_seeds_request_is_answered_with_its_keys(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "complex.yaml").write_text(COMPLEX)
    service = RunPodService({"USE_RUNPOD": "false"})
    given = service.prepare_boltz_input(
        "job-1", tmp_path / "complex.yaml", {"diffusion_samples": 2, "use_msa_server": True, "user": "x"}
    )
    answer = worker(**given, rehearsal=True)
    assert "error" not in answer, answer
    assert set(answer) >= READ
    assert all(isinstance(answer[name], float) for name in sorted(READ)[:3])
    assert (answer["job_id"], answer["request_data"]) == ("job-1", given["request_data"])
    assert answer["rehearsal"] is True and answer["warnings"][0].startswith("REHEARSAL")
    # The operator of this worker allows no MSA server, and it has no databases: both are said.
    assert any("SNAKEFOLD_MSA_SERVER is not set" in text for text in answer["warnings"])
    assert any("no alignment was searched for" in text for text in answer["warnings"])
    found = decoded(answer, "pose_files")
    assert sorted(found) == ["pose_0.cif", "pose_1.cif"]
    for data in found.values():
        assert b"REHEARSAL" in data
        model = gemmi.make_structure_from_block(gemmi.cif.read_string(data.decode()).sole_block())[0]
        assert len(model) == 2
    summaries = {name: json.loads(data) for name, data in decoded(answer, "output_files").items()}
    assert summaries["confidence_result.json"]["confidence_score"] == pytest.approx(
        answer["confidence_score"]
    )
    affinity = summaries["affinity_result.json"]
    assert affinity["affinity_pred_value"] == pytest.approx(answer["affinity_pred_value"])
    assert affinity["unit"] == "affinity_pred_value: log10(IC50 in µM)"
    parsed = service.parse_boltz_output(answer, tmp_path / "out")
    assert parsed["poses_generated"] == 2
    assert parsed["affinity_pred_value"] == answer["affinity_pred_value"]
    assert (tmp_path / "out" / "pose_0.cif").read_bytes() == found["pose_0.cif"]

    # Without RunPod the same request is done by a process here.
    job = service.submit_job({**given, "rehearsal": True})
    assert service.wait_for_job_completion(job, timeout=300)["where"] == "local"
    local = service.get_job_output(job)
    assert {name: local[name] for name in READ} == {name: answer[name] for name in READ}

    again = worker(**given, rehearsal=True)
    assert {name: again[name] for name in READ} == {name: answer[name] for name in READ}
    assert again["digest"] == answer["digest"]
    assert "1 target, 0 to predict" in again["log"]


@needs_boltz
@pytest.mark.slow
def test_a_program_on_runpod_gets_poses(
    tmp_path: Path, new_environment: Callable[[Path], dict[str, str]]
) -> None:
    """The client, the service, the SDK's own loop and the worker."""
    pytest.importorskip("runpod", reason="needs runpod: pip install -e .[worker]")
    command = [sys.executable, "-u", "-m", "snakefold.worker.handler"]
    variables = {**new_environment(tmp_path), environments.ROOT: str(environments.root())}
    workers = ProcessWorkers(command, env=variables, ping_seconds=1)
    scaling = Scaling(workers_max=1, queue_delay=0.5, idle_timeout=300)
    endpoint = {"workers": workers, "scaling": scaling, "execution_timeout": 3600}
    with EmulatorThread({"boltz": endpoint}) as emulator:
        service = RunPodService(
            {
                "RUNPOD_API_KEY": emulator.api_key,
                "RUNPOD_API_BASE_URL": emulator.url,
                "RUNPOD_ENDPOINT_ID": "boltz",
            }
        )
        assert not service.local
        (tmp_path / "alone.yaml").write_text(ALONE)
        given = {**service.prepare_boltz_input("job-1", tmp_path / "alone.yaml"), "rehearsal": True}
        job = service.submit_job(given, "job-1")
        service.wait_for_job_completion(job, 0.5, 600)
        found = service.parse_boltz_output(service.get_job_output(job), tmp_path / "out")
        assert (found["where"], found["poses_generated"], found["affinity_pred_value"]) == ("runpod", 1, None)
        assert isinstance(found["confidence_score"], float)

        wrong = service.submit_job({**given, "input_yaml": encoded("version: 1\nsequences: []\n")})
        with pytest.raises(RuntimeError, match="invalid_input"):
            service.wait_for_job_completion(wrong, 0.5, 600)

        # Nobody gets poses of random parameters who asked for real ones.
        unasked = service.submit_job({**given, "rehearsal": False})
        with pytest.raises(RuntimeError, match="weights_missing"):
            service.wait_for_job_completion(unasked, 0.5, 600)
        running = service.submit_job({**given, "config": {**given["config"], "seed": 7}})
        assert service.cancel_job(running) is True
        assert service.get_job_status(running)["status"] == "CANCELLED"
        # The worker goes on with the next.
        again = service.submit_job(given, "job-2")
        service.wait_for_job_completion(again, 0.5, 600)
        assert service.get_job_output(again)["confidence_score"] == found["confidence_score"]


@needs_boltz
@pytest.mark.slow
def test_what_boltz_does_not_say_is_null(worker: Worker) -> None:
    answer = worker(input_yaml=encoded(ALONE), rehearsal=True)
    assert answer["affinity_pred_value"] is None and answer["affinity_probability_binary"] is None
    assert isinstance(answer["confidence_score"], float)
    assert sorted(answer["output_files"]) == ["confidence_result.json"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"input_yaml": "no base64!"}, "input_yaml: expected base64 of a text in UTF-8"),
        ({"input_yaml": encoded("hello")}, "input_yaml"),
        ({"input_yaml": encoded("version: 1\n")}, "input_yaml"),
        ({"input_yaml": encoded(COMPLEX.replace("binder: B", "binder: C"))}, "there is no chain C"),
        ({"input_yaml": encoded(COMPLEX.replace("properties", "propertys"))}, "propertys"),
        (
            {"input_yaml": encoded(ALONE), "config": {"diffusion_sample": 2}},
            "did you mean 'diffusion_samples'",
        ),
        ({"input_yaml": encoded(ALONE), "config": {"diffusion_samples": 0}}, "config.diffusion_samples"),
        ({"input_yaml": encoded(ALONE), "config": {"accelerator": "tpu"}}, "config.accelerator"),
        ({"input_yaml": encoded(ALONE), "job": "x"}, "unknown key 'job'; did you mean 'job_id'?"),
        # It may name no file of the worker.
        ({"input_yaml": encoded(ALONE.replace("empty", "/etc/passwd"))}, "alignment"),
        ({"input_yaml": encoded(ALONE.replace("empty", "../store/x.a3m"))}, "alignment"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_starts(
    worker: Worker, given: dict[str, Any], says: str
) -> None:
    failed = told(worker(**given))
    assert failed["reason"] == "invalid_input"
    assert says in failed["message"], failed
    assert "root:" not in failed["message"]


def test_a_failed_prediction_is_an_error_and_no_answer(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snakefold.kernel.contracts import FoldResponse, TargetOutcome
    from snakefold.kernel.errors import Reason, TargetError

    def failed(targets: Any, config: Any, context: Any, *, rehearsal: bool) -> Any:
        outcome = TargetOutcome(
            id="x",
            key="0" * 64,
            result_key="0" * 64,
            state="failed",
            reason=Reason.OUT_OF_MEMORY,
            message="too large",
            advice="less",
        )
        return FoldResponse.model_construct(outcomes=[outcome], rehearsal=rehearsal), {}

    monkeypatch.setattr(poses, "fold_here", failed)
    context = new_context(read_settings())
    with pytest.raises(TargetError, match="too large"):
        perform({"input_yaml": encoded(ALONE)}, context)


def test_an_msa_server_is_asked_only_where_the_operator_allows_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = PoseRequest(input_yaml=encoded(COMPLEX), config={"use_msa_server": True})
    unasked = PoseRequest(input_yaml=encoded(COMPLEX))
    target = poses.assembly_of(COMPLEX)
    context = new_context(read_settings())
    assert poses._searched(asked, target, context).msa.tool == "single_sequence"
    monkeypatch.setenv("SNAKEFOLD_MSA_SERVER", "https://msa.example.org")
    allowed = dataclasses.replace(context, settings=read_settings())
    found = poses._searched(asked, target, allowed)
    assert (found.msa.tool, found.msa.server.url) == ("server", "https://msa.example.org")
    assert poses._searched(unasked, target, allowed).msa.tool == "single_sequence"
    # Nothing leaves for what needs no alignment.
    assert poses._searched(asked, poses.assembly_of(ALONE), allowed).msa.tool == "single_sequence"
    monkeypatch.setenv("SNAKEFOLD_MSA_SERVER", "https://api.colabfold.com")
    with pytest.raises(SnakefoldError, match="SNAKEFOLD_MSA_CONTACT is not set"):
        read_settings()
    monkeypatch.setenv("SNAKEFOLD_MSA_SERVER", "msa.example.org")
    with pytest.raises(SnakefoldError, match="an address that starts with https"):
        read_settings()


def test_keys_tell_the_contract() -> None:
    assert isinstance(read_input({"input_yaml": encoded(ALONE)}), PoseRequest)
    with pytest.raises(InvalidInput, match=r"`input_yaml` \(Boltz-2\)"):
        read_input({"yaml": "x"})
