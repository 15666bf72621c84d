"""What a caller is told: six reasons, a text for people, the end of the log, and no secrets."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import ValidationError

from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.errors import (
    DatabaseMissingError,
    InputError,
    Reason,
    Refusal,
    StoreError,
    TargetError,
    WeightsMissingError,
)
from snakefold.worker import fold, jobs
from snakefold.worker.endpoints import Envelope, InvalidInput
from snakefold.worker.failures import JOB_REASONS, JobError, as_job_error, failure
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import new_context
from tests.worker.conftest import envelope, fold_request, inline, told

SECRET = "wJalrXUtnFEMI-made-up"  # noqa: S105
SIGNED = "https://bucket.example.org/key?X-Amz-Signature=5ecre7"


def validation_error() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        FoldRequest.model_validate({"batch": SECRET})
    return caught.value


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (InvalidInput("sequence: too short"), Reason.INVALID_INPUT, "too short"),
        (InputError([Refusal("fasta", 1, 2, "x", "digit", "a digit", "")]), Reason.INVALID_INPUT, "a digit"),
        (DatabaseMissingError("no uniref30"), Reason.DATABASE_MISSING, "no uniref30"),
        (WeightsMissingError("no params"), Reason.WEIGHTS_MISSING, "no params"),
        (TimeoutError("a writer"), Reason.TIMEOUT, "a writer"),
        (MemoryError(), Reason.OUT_OF_MEMORY, "memory ran out"),
        (
            TargetError(Reason.OUT_OF_MEMORY, "2000 residues", "Take a larger GPU."),
            Reason.OUT_OF_MEMORY,
            "larger",
        ),
        (TargetError(Reason.RELAX_FAILED, "no minimum"), Reason.INTERNAL, "no minimum"),
        (StoreError("cannot be written"), Reason.INTERNAL, "cannot be written"),
        (KeyError("surprise"), Reason.INTERNAL, "KeyError: 'surprise'"),
        (validation_error(), Reason.INTERNAL, "FoldRequest"),
        (JobError(Reason.TIMEOUT, "as it is"), Reason.TIMEOUT, "as it is"),
    ],
)
def test_every_failure_has_one_of_the_reasons(error: Exception, reason: Reason, said: str) -> None:
    found = as_job_error(error)
    assert (found.reason, said in found.message) == (reason, True)
    assert found.reason in JOB_REASONS
    assert SECRET not in found.message


def test_the_reasons_are_those_of_the_documentation() -> None:
    assert {str(reason) for reason in JOB_REASONS} == {
        "invalid_input",
        "out_of_memory",
        "database_missing",
        "weights_missing",
        "timeout",
        "internal",
    }


def test_no_secret_leaves_in_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("RUNPOD_AI_API_KEY", "rpa_0123456789")
    text = f"PUT {SIGNED} as {SECRET} with rpa_0123456789: s3://me:{SECRET}@bucket"
    answer = failure(as_job_error(StoreError(text)), log=f"line\n{text}\nlast line")
    assert all(each not in answer["error"] for each in (SECRET, "rpa_0123456789", "5ecre7"))
    details = told(answer)
    assert set(details) == {"reason", "message", "log"}
    assert details["log"].endswith("last line")


def test_a_long_log_is_told_from_its_end() -> None:
    log = "\n".join(f"line {number}" for number in range(10_000))
    details = told(failure(JobError(Reason.INTERNAL, "x" * 100_000), log))
    assert details["log"].endswith("line 9999")
    assert len(json.dumps(details)) < 10_000  # RunPod drops what is too large, and the job seems to run on


@pytest.mark.parametrize(
    ("variable", "value"), [("SNAKEFOLD_THREADS", "many"), ("SNAKEFOLD_JOB_TIMEOUT", "-3")]
)
def test_a_wrong_setting_of_the_endpoint_is_said(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(jobs._warm, "get", lambda: pytest.fail("a process was started"))
    answer = asyncio.run(jobs.handler({"id": "x", "input": {"sequence": "MKTAYIAK"}}))
    details = told(answer)
    assert (details["reason"], variable in details["message"]) == ("internal", True)


def hostile(*members: tuple[str, bytes, bytes]) -> bytes:
    """A tar.zst of (name, type, content)."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            info.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info, io.BytesIO(content))
    return zstandard.ZstdCompressor().compress(raw.getvalue())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (hostile(("../../evil", tarfile.REGTYPE, b"x")), "points outside"),
        (hostile(("/evil", tarfile.REGTYPE, b"x")), "points outside"),
        (hostile(("chains/link", tarfile.SYMTYPE, b"")), "no plain file"),
        (hostile(("a", tarfile.REGTYPE, b"1"), ("a", tarfile.REGTYPE, b"2")), "twice"),
        (archive.pack({"a": b"x" * 1000})[:-9], "damaged"),
        (b"no archive at all", "damaged"),
        # 5 GB of nothing in a few hundred kilobytes: refused by its header, before a byte is unpacked.
        (b"\x28\xb5\x2f\xfd\xe0" + (5 << 30).to_bytes(8, "little") + b"\0" * 64, "does not unpack"),
    ],
)
def test_hostile_inputs_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    settings = read_settings({"SNAKEFOLD_STORE": str(tmp_path / "store")})
    request = fold_request()
    sent: dict[str, Any] = envelope(request, part=inline(data))
    with pytest.raises(InvalidInput, match=f"files.inputs: .*{said}"):
        fold._inputs(Envelope.model_validate(sent), request, new_context(settings))
    assert not list(tmp_path.rglob("evil*"))


def test_an_answer_that_runpod_would_drop_is_a_typed_failure() -> None:
    answer = {"results": {"archive": {"text": "ü" * (jobs.LARGEST_ANSWER // 2)}}, "log": "the end of the log"}
    failed = told(jobs.checked_size(answer))
    assert failed["reason"] == "invalid_input" and "10 MB" in failed["message"]
    assert failed["log"] == "the end of the log"
    fits = {"results": {"archive": {"text": "ü" * (jobs.LARGEST_ANSWER // 2 - 100)}}}
    assert jobs.checked_size(fits) is fits
