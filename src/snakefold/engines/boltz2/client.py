"""Boltz-2 on RunPod for a program: one assembly a job, its scores and poses back.

    service = RunPodService()                       # RUNPOD_API_KEY, RUNPOD_ENDPOINT_ID
    given = service.prepare_boltz_input("job-1", "complex.yaml", {})
    job = service.submit_job(given, "job-1")
    service.wait_for_job_completion(job)
    found = service.parse_boltz_output(service.get_job_output(job), "results/job-1")

Without a key and an endpoint, or with USE_RUNPOD=false, jobs run on this machine, after a warning. Every
status and every output says where: `"where": "runpod"` or `"local"`. A score that Boltz-2 did not give is
None.

| variable | default | meaning |
|---|---|---|
| RUNPOD_API_KEY, RUNPOD_ENDPOINT_ID | | key and endpoint |
| USE_RUNPOD | true | false: this machine, whatever else is set |
| RUNPOD_POLL_INTERVAL | 5 | seconds between looks at a job |
| RUNPOD_TIMEOUT | 1800 | seconds that a job is waited for |
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold.clusters.runpod import jobs
from snakefold.clusters.runpod.parts import Part, described, fetch, safe_name
from snakefold.clusters.runpod.session import (
    AccessError,
    JobError,
    NotFinishedError,
    ResultError,
    RunpodError,
    Session,
    open_session,
)
from snakefold.kernel import archive
from snakefold.kernel.names import shown
from snakefold.kernel.store import write_atomically

log = logging.getLogger(__name__)

POLL_INTERVAL, TIMEOUT = jobs.POLL_INTERVAL, jobs.TIMEOUT
#: Scores of an answer; None where Boltz-2 gave none.
SCORES = ("affinity_pred_value", "affinity_probability_binary", "confidence_score")
_CONFIG = {"devices": 1, "accelerator": "gpu", "diffusion_samples": 1, "use_msa_server": False}
_COMPLETED, _RUNNING = "COMPLETED", "IN_PROGRESS"
_OFF = {"0", "false", "no", "off"}
#: `snakefold`, whichever folder its script is in.
_TASK = "import sys; from snakefold.cli import main; sys.exit(main())"
#: Bytes that a pose or another file of an answer has at the most.
_LARGEST_FILE = 1 << 30


@dataclass
class _LocalJob:
    """A job on this machine: the worker's own request, in a process of its own."""

    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]
    cancelled: bool = False

    @property
    def state(self) -> str:
        code = self.process.poll()
        if self.cancelled:
            return "CANCELLED"
        if code is None:
            return _RUNNING
        return _COMPLETED if code == 0 else "FAILED"

    def output(self) -> dict[str, Any]:
        """What the worker answered."""
        packed = (Path(self.folder.name) / "answer.tar.zst").read_bytes()
        found: dict[str, Any] = json.loads(archive.unpack(packed)["response.json"])
        return found

    def error(self) -> str:
        """The last line of what it said."""
        said = (Path(self.folder.name) / "log").read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(said) if line.strip()), "it said nothing")


class RunPodService:
    """Jobs of one endpoint, or of this machine.

    Attributes:
        api_key, endpoint_id: from the environment; empty if not set.
        local: jobs run on this machine.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, session: Session | None = None) -> None:
        given = os.environ if environment is None else environment
        self.api_key = given.get("RUNPOD_API_KEY", "").strip()
        self.endpoint_id = given.get("RUNPOD_ENDPOINT_ID", "").strip()
        self.poll_interval = _seconds(given, "RUNPOD_POLL_INTERVAL", POLL_INTERVAL)
        self.timeout = _seconds(given, "RUNPOD_TIMEOUT", TIMEOUT)
        self._jobs: dict[str, _LocalJob] = {}
        self._session = session
        why = ""
        if given.get("USE_RUNPOD", "true").strip().lower() in _OFF:
            why = "USE_RUNPOD is false"
        elif missing := [name for name in ("RUNPOD_API_KEY", "RUNPOD_ENDPOINT_ID") if not given.get(name)]:
            why = f"{' and '.join(missing)} not set"
        elif session is None:
            try:
                self._session = open_session(given, told=log.warning)
            except AccessError as error:
                why = str(error)
        self.local = bool(why)
        if why:
            log.warning("Boltz-2 runs on this machine, not on RunPod: %s.", why.rstrip("."))

    # ---- jobs --------------------------------------------------------------------------------------------
    def submit_job(self, input_data: Mapping[str, Any], job_name: str | None = None) -> str:
        """Submit an input (`prepare_boltz_input`); the job's id.

        Args:
            job_name: for people; it is the job's `job_id` if the input has none.

        Raises:
            RunpodError: the service does not take it, or cannot be reached.
        """
        given = dict(input_data)
        if job_name and not given.get("job_id"):
            given["job_id"] = job_name
        if not self.local:
            return jobs.submit_job(self._opened, self.endpoint_id, given)
        folder = tempfile.TemporaryDirectory(prefix="snakefold-job-")
        request = Path(folder.name) / "request.json"
        request.write_text(json.dumps(given), encoding="utf-8")
        command = [sys.executable, "-c", _TASK, "task", str(request)]
        command += ["--out", str(Path(folder.name) / "answer.tar.zst")]
        with (Path(folder.name) / "log").open("wb") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
            )
        job = f"local-{uuid.uuid4()}"
        self._jobs[job] = _LocalJob(process, folder)
        return job

    def get_job_status(self, job_id: str) -> dict[str, Any]:
        """`id`, `status`, `where`; `output` of a COMPLETED job, `error` of a FAILED one.

        Raises:
            RunpodError: there is no such job, or the service cannot be reached.
        """
        if job_id not in self._jobs:
            found = jobs.get_job_status(self._remote(job_id), self.endpoint_id, job_id)
            told: dict[str, Any] = {"id": job_id, "status": found.state, "where": "runpod"}
            if found.output is not None:
                told["output"] = _with_place(_parsed(found.output), "runpod")
            if found.error is not None:
                told["error"] = found.error
            return told
        job = self._jobs[job_id]
        told = {"id": job_id, "status": job.state, "where": "local"}
        if told["status"] == _COMPLETED:
            told["output"] = _with_place(job.output(), "local")
        if told["status"] == "FAILED":
            told["error"] = job.error()
        return told

    def get_job_output(self, job_id: str) -> dict[str, Any]:
        """Output of a COMPLETED job.

        Raises:
            ValueError: it is not COMPLETED; the text has its state.
            ResultError: it has no output.
        """
        status = self.get_job_status(job_id)
        if status["status"] != _COMPLETED:
            why = f": {status['error']}" if status.get("error") else ""
            raise ValueError(f"Job {job_id} is {status['status']}, not {_COMPLETED}{why}.")
        if not isinstance(status.get("output"), dict):
            raise ResultError(
                f"Job {job_id} is {_COMPLETED} and has no output: RunPod drops results over 10 MB. Submit it "
                "again: what was computed is in the endpoint's store."
            )
        output: dict[str, Any] = status["output"]
        return output

    def cancel_job(self, job_id: str) -> bool:
        """Cancel a job. Returns whether it has not ended otherwise."""
        if job_id not in self._jobs:
            state = jobs.cancel_job(self._remote(job_id), self.endpoint_id, job_id)
            return state not in {_COMPLETED, "FAILED", "TIMED_OUT"}
        job = self._jobs[job_id]
        if job.state != _RUNNING:
            return job.cancelled
        job.cancelled = True
        _end(job.process)
        return True

    def wait_for_job_completion(
        self,
        job_id: str,
        poll_interval: float | None = None,
        timeout: float | None = None,
        *,
        changed: Callable[[str], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Wait until a job is COMPLETED; its status.

        Args:
            poll_interval, timeout: seconds; by default those of the environment, or 5 and 1,800.
            changed: is told of every new state.

        Raises:
            TimeoutError: it is not done in time. It goes on.
            RuntimeError: it is FAILED, CANCELLED or TIMED_OUT; the text says why.
        """
        wait = self.poll_interval if poll_interval is None else poll_interval
        most = self.timeout if timeout is None else timeout
        if job_id in self._jobs:
            try:
                self._jobs[job_id].process.wait(most)
            except subprocess.TimeoutExpired as error:
                raise TimeoutError(f"Job {job_id} is {_RUNNING} after {most:g} s. It continues.") from error
            status = self.get_job_status(job_id)
            changed(status["status"])
            if status["status"] != _COMPLETED:
                raise RuntimeError(f"Job {job_id} {status['status']}: {status.get('error', 'cancelled')}")
            return status
        try:
            jobs.wait_for_job_completion(
                self._remote(job_id),
                self.endpoint_id,
                job_id,
                poll_interval=wait,
                timeout=most,
                changed=lambda status: changed(status.state),
            )
        except NotFinishedError as error:
            raise TimeoutError(str(error)) from error
        except JobError as error:
            raise RuntimeError(str(error)) from error
        return self.get_job_status(job_id)

    # ---- what travels ------------------------------------------------------------------------------------
    def prepare_boltz_input(
        self, job_id: str, yaml_path: str | Path, request_data: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The `input` of a job that predicts the assembly of a Boltz YAML.

        Args:
            request_data: travels with the job; `diffusion_samples`, `accelerator`, `devices` and
                `use_msa_server` in it are settings of the prediction.

        Raises:
            OSError: the file cannot be read.
        """
        data = dict(request_data or {})
        config = {name: data.get(name, value) for name, value in _CONFIG.items()}
        encoded = base64.b64encode(Path(yaml_path).read_bytes()).decode()
        return {"job_id": job_id, "input_yaml": encoded, "request_data": data, "config": config}

    def parse_boltz_output(self, runpod_output: Any, output_dir: str | Path) -> dict[str, Any]:
        """Write the files of an answer into a folder.

        Returns:
            affinity_pred_value (log10 of IC50 in µM), affinity_probability_binary, confidence_score (0 to 1),
            each None where there is none; `pose_files`, names in the folder; `poses_generated`; `where`;
            `rehearsal`: parameters were random, and nothing of it means anything; `warnings`.

        Raises:
            ResultError: a name leads out of the folder, a file is damaged, a score is no number, or no
                structure is there.
        """
        output = _parsed(runpod_output)
        if not isinstance(output, Mapping):
            raise ResultError("The output of the job is no object.")
        if output.get("error"):
            raise ResultError(f"The job failed: {output['error']}")
        folder = Path(output_dir)
        scores = {name: _score(output, name) for name in SCORES}
        poses = self._files(output, "pose_files")
        if not poses:
            raise ResultError("The output of the job has no structure (pose_files is empty).")
        for name, data in {**poses, **self._files(output, "output_files")}.items():
            write_atomically(folder / name, data)
        return {
            **scores,
            "pose_files": sorted(poses),
            "poses_generated": len(poses),
            "where": output.get("where"),
            "rehearsal": bool(output.get("rehearsal", False)),
            "warnings": list(output.get("warnings") or ()),
        }

    def _files(self, output: Mapping[str, Any], kind: str) -> dict[str, bytes]:
        """Files of an answer by name: inline, or where large results go, checked by size and sha256."""
        given = output.get(kind) or {}
        if not isinstance(given, Mapping):
            raise ResultError(f"{kind} of the output is no object.")
        found = {}
        for name, value in given.items():
            if safe_name(name) != name:
                raise ResultError(f"{kind}: {shown(str(name), 60)!r} is no file name. Nothing was written.")
            found[name] = self._bytes(name, value)
        return found

    def _bytes(self, name: str, value: Any) -> bytes:
        what = described(value) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            part = Part(name, "base64", value)
        elif what is not None:
            part = Part(name, *what)
        else:
            raise ResultError(f"{name}: neither bytes nor where they are. Nothing was written.")
        # Answers of this machine name no address, for which alone a session is needed.
        session = self._session or Session("local")
        with tempfile.TemporaryDirectory(prefix="snakefold-file-") as scratch:
            place = Path(scratch) / "file"
            fetch(session, part, place, most_bytes=_LARGEST_FILE)
            return place.read_bytes()

    @property
    def _opened(self) -> Session:
        if self._session is None:
            raise RunpodError("RUNPOD_API_KEY and RUNPOD_ENDPOINT_ID must be set.")
        return self._session

    def _remote(self, job_id: str) -> Session:
        if self.local or job_id.startswith("local-"):
            raise RunpodError(f"{shown(job_id, 80)}: no job of this machine; RunPod is not used.")
        return self._opened


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a job on this machine with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        # A prediction of Lightning's does not end on SIGTERM for minutes.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(given.get(name) or default)
    except ValueError as error:
        raise ValueError(f"{name}: expected seconds, found {shown(given[name], 40)!r}.") from error
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}: expected seconds above 0, found {value:g}.")
    return value


def _parsed(output: Any) -> Any:
    """An output; one that is JSON text is read."""
    if not isinstance(output, str):
        return output
    try:
        return json.loads(output)
    except (ValueError, RecursionError) as error:
        raise ResultError("The output of the job is text, and no JSON.") from error


def _score(output: Mapping[str, Any], name: str) -> float | None:
    value = output.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ResultError(f"{name}: expected a number or null, found {shown(repr(value), 40)}.")
    return float(value)


def _with_place(output: Any, where: str) -> Any:
    return {**output, "where": where} if isinstance(output, dict) else output
