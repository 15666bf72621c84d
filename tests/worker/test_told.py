"""Callbacks of folding jobs: who is told what of every target, and of a job that fails as a whole."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from snakefold.kernel import archive
from snakefold.kernel.contracts import Confidence, FoldResponse, ModelScores, TargetOutcome
from snakefold.kernel.envelope import digest_of
from snakefold.kernel.errors import Reason, TargetError, WeightsMissingError
from snakefold.kernel.store import Entry
from snakefold.worker import flat, poses
from snakefold.worker.endpoints import InvalidInput
from snakefold.worker.objects import read_object_settings
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import Context, new_context, perform
from tests.servers.seaweedfs import WRITER, serving
from tests.worker.conftest import envelope, fold_request, inline, inputs_of
from tests.worker.receiver import SCHEMA, SECRET, Receiver, receiving

SEQUENCES = {"a": "MKTAYIAKQRQISFVKSHF", "b": "GSHMFVKSHFSRQLEEMKT"}
ALONE = "version: 1\nsequences:\n- protein: {id: A, sequence: GSHMWWACDE, msa: empty}\n"


@pytest.fixture(scope="module")
def running() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def receiver(running: Receiver) -> Receiver:
    running.clear()
    return running


@pytest.fixture
def context(tmp_path: Path, receiver: Receiver, parameters: Path) -> Context:
    (tmp_path / "volume").mkdir()
    given = {
        "SNAKEFOLD_STORE": str(tmp_path / "store"),
        "SNAKEFOLD_WEIGHTS": str(parameters),
        "SNAKEFOLD_REHEARSAL_BLOCKS": "2",
        "RUNPOD_VOLUME_PATH": str(tmp_path / "volume"),
        "SNAKEFOLD_CALLBACK_SECRET": SECRET,
        "SNAKEFOLD_CALLBACK_HOSTS": f"http://{receiver.host}",
    }
    return new_context(read_settings(given))


def urls(receiver: Receiver, *names: str) -> dict[str, str]:
    return {name: f"http://{receiver.host}/{name}" for name in names or ("callback_url", "job_callback_url")}


def heard(receiver: Receiver, name: str = "callback_url") -> dict[str, dict[str, Any]]:
    """What was said at an address, by the key; each once."""
    found = [call.body for call in receiver.seen if call.path == f"/{name}"]
    for body in found if name == "callback_url" else []:
        jsonschema.validate(body, SCHEMA)
    assert len({body["idempotency_key"] for body in found}) == len(found)
    return {body["idempotency_key"]: body for body in found}


def test_a_batch_of_which_a_target_failed(context: Context, receiver: Receiver) -> None:
    """One target is in the store; with the other, a process died three times."""
    request = fold_request(("a", "b"))
    done, lost = request.targets
    context.store.put(Entry("fold", request.recipe, done.result_key), archive.pack({"x": b"REHEARSAL"}))
    context.store.put(Entry("attempt", request.recipe, lost.result_key), json.dumps({"count": 3}).encode())
    given = envelope(request, sink={"path": "runs/1/batch.tar.zst"}) | urls(receiver)
    answer = perform(given, context)
    assert answer["callback_failures"] == []
    result = answer["results"]["archive"]
    digest = digest_of(given["request"], {"inputs": given["files"]["inputs"]["sha256"]})
    assert heard(receiver) == {
        f"{digest}:0": {
            "idx": 0,
            "id": "a",
            "status": "done",
            "path": "runs/1/batch.tar.zst",
            "size": result["size"],
            "sha256": result["sha256"],
            "result_key": done.result_key,
            "rehearsal": True,
            "idempotency_key": f"{digest}:0",
        },
        f"{digest}:1": {
            "idx": 1,
            "id": "b",
            "status": "failed",
            "reason": "lost",
            "error": heard(receiver)[f"{digest}:1"]["error"],
            "rehearsal": True,
            "idempotency_key": f"{digest}:1",
        },
    }
    assert heard(receiver)[f"{digest}:1"]["error"].startswith("The process died 3 times")
    assert heard(receiver, "job_callback_url") == {
        f"{digest}:job": {
            "status": "done",
            "batch": "b0001",
            "total_items": 2,
            "successful_items": 1,
            "failed_items": 1,
            "rehearsal": True,
            "idempotency_key": f"{digest}:job",
        }
    }
    # It comes again, under a prefix of the caller's own, and the receiver is away: the job is done.
    receiver.clear()
    receiver.answers = [404] * 3
    again = perform({**given, "idempotency_prefix": "job_7"}, context)
    assert again["results"]["archive"]["path"] == "runs/1/batch.tar.zst"
    assert [each["idempotency_key"] for each in again["callback_failures"]] == [
        "job_7:0",
        "job_7:1",
        "job_7:job",
    ]


def test_a_batch_by_key(
    tmp_path: Path, context: Context, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Its alignments come from a bucket, its archive goes there, and the receiver hears where it is."""
    request = fold_request(("a", "b"))
    for target in request.targets:
        entry = Entry("fold", request.recipe, target.result_key)
        context.store.put(entry, archive.pack({"x": b"REHEARSAL"}))
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", "jobs") as server:
        given = {
            "STORAGE_S3_ENDPOINT": server.endpoint,
            "STORAGE_ACCESS_KEY": WRITER.access,
            "STORAGE_SECRET_KEY": WRITER.secret,
            "STORAGE_BUCKET": "jobs",
            "STORAGE_READ_PREFIXES": "inputs",
            "STORAGE_WRITE_PREFIXES": "outputs",
        }
        settings = replace(context.settings, objects=read_object_settings(given))
        context = replace(context, settings=settings)
        data = inputs_of(request)
        server.client().put_object(Bucket="jobs", Key="inputs/b1.tar.zst", Body=data)
        part = {**inline(data), "key": "inputs/b1.tar.zst"}
        del part["base64"]
        asked = envelope(request, sink={"key": "outputs/b1.tar.zst"}, part=part)
        answer = perform(asked | urls(receiver), context)
        result = answer["results"]["archive"]
        assert (result["bucket"], result["key"], result["stored"]) == ("jobs", "outputs/b1.tar.zst", True)
        written = server.client().get_object(Bucket="jobs", Key="outputs/b1.tar.zst")["Body"].read()
        assert hashlib.sha256(written).hexdigest() == result["sha256"]
        assert "response.json" in archive.unpack(written)
        assert {
            (body["id"], body["status"], body["output_key"], body["bucket"], body["sha256"])
            for body in heard(receiver).values()
        } == {(name, "done", "outputs/b1.tar.zst", "jobs", result["sha256"]) for name in "ab"}
        server.client().put_object(Bucket="jobs", Key="inputs/b1.tar.zst", Body=data[:-1] + b"?")
        # What was answered before needs no inputs.
        assert perform(asked, context)["results"] == answer["results"]
        other = envelope(fold_request(("a", "c")), sink={"key": "outputs/b1.tar.zst"}, part=part)
        receiver.clear()
        with pytest.raises(InvalidInput, match=r"files\.inputs: .* bytes that are not what"):
            perform({**other, **urls(receiver), "idempotency_prefix": "p"}, context)
        assert {body["reason"] for body in heard(receiver).values()} == {"invalid_input"}


def test_nobody_is_told_who_did_not_ask(context: Context, receiver: Receiver) -> None:
    request = fold_request(("a",))
    entry = Entry("fold", request.recipe, request.targets[0].result_key)
    context.store.put(entry, archive.pack({"x": b"REHEARSAL"}))
    assert "callback_failures" not in perform(envelope(request), context)
    only = perform(envelope(request) | urls(receiver, "job_callback_url"), context)
    assert only["callback_failures"] == []
    assert [call.path for call in receiver.seen] == ["/job_callback_url"]


def test_what_ends_a_job_ends_all_of_its_targets(context: Context, receiver: Receiver) -> None:
    given = envelope(fold_request(("a", "b"), rehearsal=False)) | urls(receiver)
    with pytest.raises(WeightsMissingError):
        perform({**given, "idempotency_prefix": "p"}, context)
    assert {key: (body["id"], body["status"], body["reason"]) for key, body in heard(receiver).items()} == {
        "p:failed:0": ("a", "failed", "weights_missing"),
        "p:failed:1": ("b", "failed", "weights_missing"),
    }
    assert list(heard(receiver, "job_callback_url")) == ["p:failed:job"]
    (end,) = heard(receiver, "job_callback_url").values()
    assert (end["status"], end["reason"], end["total_items"]) == ("failed", "weights_missing", 2)


@pytest.mark.parametrize("name", ["callback_url", "job_callback_url"])
@pytest.mark.parametrize("given", ["envelope", "fasta", "sequences", "input_yaml"])
def test_an_address_that_may_not_be_called_is_refused_before_anything_is_computed(
    context: Context, name: str, given: str
) -> None:
    asked: dict[str, Any] = {
        "envelope": envelope(fold_request(("a",))),
        "fasta": {"fasta": f">a\n{SEQUENCES['a']}\n", "rehearsal": True},
        "sequences": {"sequences": [{"id": "a", "sequence": SEQUENCES["a"]}], "rehearsal": True},
        "input_yaml": {"input_yaml": base64.b64encode(ALONE.encode()).decode(), "rehearsal": True},
    }[given]
    with pytest.raises(InvalidInput, match=f"^{name}: 10.0.0.7: is none of the hosts"):
        perform({**asked, name: "https://10.0.0.7/hook?token=abc"}, context)
    assert not list(context.store.listing("fold"))


def folded(targets: Any, config: Any, context: Context, *, rehearsal: bool) -> Any:
    """In place of the network: the first target has a structure, the second has none."""
    outcomes, results = [], {}
    for number, target in enumerate(targets):
        key = target.key
        facts: dict[str, Any] = {"id": target.id, "key": key, "result_key": key}
        if number == 1:
            failed = {"reason": Reason.OUT_OF_MEMORY, "message": "too large", "advice": "Take a larger GPU."}
            outcomes.append(TargetOutcome(**facts, state="failed", **failed))
            continue
        outcomes.append(TargetOutcome(**facts, state="done"))
        scores = ModelScores(name="m", plddt=[50.0], mean_plddt=50.0, ranking_confidence=50.0)
        confidence = Confidence(key=key, engine="x", rehearsal=True, chain_lengths=[1], models=[scores])
        files = {
            "ranking_debug.json": b'{"plddts": {"m": 50.0}, "order": ["m"]}',
            "confidence.json": confidence.model_dump_json().encode(),
            "m.cif": b"REHEARSAL",
            "m.json": b"{}",
        }
        results[f"targets/{key}.tar.zst"] = archive.pack(files)
    response = FoldResponse(
        batch="flat",
        engine="x",
        engine_version="1",
        recipe="0" * 16,
        rehearsal=rehearsal,
        outcomes=outcomes,
    )
    return response, results


def test_sequences_in_flat_form(
    context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flat, "fold_here", folded)
    fasta = "".join(f">{name}\n{sequence}\n" for name, sequence in SEQUENCES.items())
    given = {"fasta": fasta, "rehearsal": True, "db_preset": "single_sequence"}
    sinks = {"results": [{"path": "x/a.tar.gz"}, {"inline": True}]}
    plain = perform(given, context)
    answer = perform({**given, **sinks, **urls(receiver), "idempotency_prefix": "f"}, context)
    assert answer["digest"] == plain["digest"]  # who is told is no part of what is asked
    said = heard(receiver)
    assert (said["f:0"]["id"], said["f:0"]["status"], said["f:0"]["path"]) == ("a", "done", "x/a.tar.gz")
    assert (said["f:1"]["id"], said["f:1"]["reason"]) == ("b", "out_of_memory")
    assert said["f:1"]["error"] == "too large Take a larger GPU."
    assert said["f:0"]["rehearsal"] is said["f:1"]["rehearsal"] is True
    assert heard(receiver, "job_callback_url")["f:job"]["successful_items"] == 1
    # No bytes travel with a callback.
    assert "base64" not in json.dumps([call.body for call in receiver.seen])


def test_sequences_by_name(context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "fold_here", folded)
    named = [{"id": f"protein|{name}", "sequence": sequence} for name, sequence in SEQUENCES.items()]
    given = {"sequences": named, "rehearsal": True, "db_preset": "single_sequence"}
    answer = perform({**given, **urls(receiver), "idempotency_prefix": "s"}, context)
    assert answer["digest"] == perform(given, context)["digest"]
    assert {key: (body["id"], body["status"]) for key, body in heard(receiver).items()} == {
        "s:0": ("protein|a", "done"),
        "s:1": ("protein|b", "failed"),
    }


def test_one_assembly(context: Context, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"input_yaml": base64.b64encode(ALONE.encode()).decode(), "rehearsal": True, "job_id": "j-1"}
    told = {**given, **urls(receiver), "idempotency_prefix": "b"}

    monkeypatch.setattr(poses, "fold_here", folded)
    answer = perform(told, context)
    assert answer["callback_failures"] == [] and answer["job_id"] == "j-1"
    assert answer["digest"] == perform(given, context)["digest"]
    (said,) = heard(receiver).values()
    assert (said["idx"], said["id"], said["status"], said["rehearsal"]) == (0, "j-1", "done", True)

    def fails(targets: Any, config: Any, context: Context, *, rehearsal: bool) -> Any:
        raise TargetError(Reason.OUT_OF_MEMORY, "too large", "")

    monkeypatch.setattr(poses, "fold_here", fails)
    receiver.clear()
    with pytest.raises(TargetError, match="too large"):
        perform(told, context)
    # A queue may try it again, and it may then be done: that has another key.
    said = heard(receiver)["b:failed:0"]
    assert (said["id"], said["status"], said["reason"]) == ("j-1", "failed", "out_of_memory")
