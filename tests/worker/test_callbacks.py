"""Callbacks against a receiver that checks the secret: tries, refusals, addresses, and where no secret is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from snakefold.kernel.errors import SnakefoldError
from snakefold.worker.callbacks import Callbacks, in_threads, read_callback_settings
from snakefold.worker.endpoints import InvalidInput
from snakefold.worker.fetch import Network
from tests.worker.public_web import HOST, PUBLIC, Net, posted
from tests.worker.receiver import SCHEMA, SECRET, Receiver, receiving


@pytest.fixture(scope="module")
def running() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def receiver(running: Receiver) -> Receiver:
    running.clear()
    return running


class Lines(list[str]):
    """What was logged."""


def callbacks_to(
    url: str | None, hosts: str, *, network: Network | None = None, secret: str = SECRET, **changes: Any
) -> tuple[Callbacks, Lines]:
    given = {"SNAKEFOLD_CALLBACK_SECRET": secret, "SNAKEFOLD_CALLBACK_HOSTS": hosts}
    lines = Lines()
    settings = read_callback_settings(given)
    changes = {"job_url": None, "prefix": "job_123", "pauses": (0.0, 0.0)} | changes
    return Callbacks(settings, network or Network(), url, log=lines.append, **changes), lines


def told(receiver: Receiver, **changes: Any) -> tuple[Callbacks, Lines]:
    return callbacks_to(receiver.url, f"http://{receiver.host}", **changes)


@pytest.mark.parametrize("answers", [[], [503], [500, 500], [503, 429]])
def test_a_callback_arrives_in_the_end(receiver: Receiver, answers: list[int]) -> None:
    receiver.answers = list(answers)
    callbacks, lines = told(receiver)
    assert callbacks.item(3, "done", output_key="outputs/u/3.png", preview_key=None)
    assert [call.status for call in receiver.seen] == [*answers, 200]
    (body,) = {repr(sorted(call.body.items())): call.body for call in receiver.seen}.values()
    jsonschema.validate(body, SCHEMA)
    assert body == {
        "idx": 3,
        "status": "done",
        "output_key": "outputs/u/3.png",
        "idempotency_key": "job_123:3",
    }
    assert {call.headers["authorization"] for call in receiver.seen} == {f"Bearer {SECRET}"}
    assert {call.headers["idempotency-key"] for call in receiver.seen} == {"job_123:3"}
    assert (callbacks.failures, lines) == ([], [])


def test_tries_come_one_after_the_other(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("snakefold.worker.callbacks.time.sleep", waited.append)
    receiver.answers = [500, 500]
    callbacks, _ = told(receiver, pauses=(1.0, 5.0))
    assert callbacks.item(0, "done")
    assert [each for each in waited if each >= 1] == [1.0, 5.0]


@pytest.mark.parametrize(
    ("answers", "tries", "problem"),
    [
        ([500, 502, 503], 3, "answered with status 503"),
        ([404], 1, "answered with status 404"),
        ([302], 1, "answered with status 302: redirects are not followed"),
        ([307], 1, "redirects are not followed"),
    ],
)
def test_one_that_does_not_arrive_is_told_of(
    receiver: Receiver, answers: list[int], tries: int, problem: str
) -> None:
    receiver.answers = list(answers)
    callbacks, lines = told(receiver)
    assert not callbacks.item(0, "failed", error="the image is none")
    assert [call.path.partition("?")[0] for call in receiver.seen] == ["/jobs/job_123/callback"] * tries
    (failed,) = callbacks.failures
    assert (failed.idempotency_key, failed.tries, failed.status) == ("job_123:0", tries, answers[-1])
    assert failed.problem.endswith(problem)
    assert lines == [f"callback job_123:0: {failed.problem}"]
    assert "in-the-address" not in repr((callbacks, lines))


def test_a_wrong_secret_is_not_tried_again(receiver: Receiver) -> None:
    callbacks, lines = told(receiver, secret="another-secret-77aa")  # noqa: S106
    assert not callbacks.item(0, "done")
    assert [call.status for call in receiver.seen] == [401]
    (failed,) = callbacks.failures
    assert "SNAKEFOLD_CALLBACK_SECRET" in failed.problem
    assert "another-secret" not in repr((callbacks, lines, failed))


def test_a_receiver_that_is_away_or_silent(receiver: Receiver) -> None:
    nobody, _ = callbacks_to("http://127.0.0.1:9/x", "http://127.0.0.1:9")
    assert not nobody.item(0, "done")
    assert (nobody.failures[0].tries, nobody.failures[0].status) == (3, 0)
    assert "no answer (ConnectionRefusedError)" in nobody.failures[0].problem
    receiver.delay = 1.0
    silent, _ = told(receiver, timeout=0.2)
    assert not silent.item(0, "done")
    assert silent.failures[0].tries == 3
    assert "no answer (TimeoutError)" in silent.failures[0].problem


def test_a_receiver_that_stays_away_costs_little(receiver: Receiver) -> None:
    """Three targets are tried three times, seven once, the others not at all; one success ends that."""
    receiver.answers = [500] * 16
    callbacks, _ = told(receiver)
    assert [callbacks.item(number, "done") for number in range(30)] == [False] * 30
    assert [failed.tries for failed in callbacks.failures] == [3] * 3 + [1] * 7 + [0] * 20
    assert "not sent: 10 callbacks before it failed" in callbacks.failures[-1].problem
    receiver.answers = [500] * 12
    callbacks, _ = told(receiver)
    assert [callbacks.item(number, "done") for number in range(7)] == [False] * 6 + [True]
    receiver.answers = [500]
    assert callbacks.item(7, "done")  # with several tries again


def test_items_are_told_of_by_several_threads(receiver: Receiver) -> None:
    receiver.answers = [404] * 5
    callbacks, _ = told(receiver)
    in_threads(lambda number: callbacks.item(number, "done"), 20)
    keys = {f"job_123:{number}" for number in range(20)}
    assert {each.idempotency_key for each in callbacks.failures} | set(receiver.kept) == keys
    assert len(callbacks.failures) == 5


def test_the_end_of_a_job_is_told_only_where_that_was_asked_for(receiver: Receiver) -> None:
    callbacks, _ = told(receiver)
    assert callbacks.job("done", total_items=1)
    assert receiver.seen == []
    both, _ = told(receiver, job_url=receiver.url.replace("callback", "end"))
    both.item(0, "done")
    both.job("done", total_items=1)
    assert [(call.path.partition("?")[0], call.body["idempotency_key"]) for call in receiver.seen] == [
        ("/jobs/job_123/callback", "job_123:0"),
        ("/jobs/job_123/end", "job_123:job"),
    ]


@pytest.mark.parametrize(
    ("url", "hosts", "expected"),
    [
        ("http://127.0.0.1:8080/x", "", "only https addresses"),
        ("https://127.0.0.1:8080/x", "", "private or reserved"),
        ("https://169.254.169.254/x", "", "private or reserved"),
        ("https://user:pass@example.org/x", "", "has a user in it"),
        ("https://other.example.org/x", "api.example.org", "none of the hosts"),
        ("http://api.example.org/x", "api.example.org", "none of the hosts"),
        ("https://api.example.org:8443/x", "api.example.org:443", "none of the hosts"),
        ("https://10.0.0.1/x", "http://10.0.0.1", "none of the hosts"),
    ],
)
def test_addresses_that_may_not_be_called_refuse_the_job(url: str, hosts: str, expected: str) -> None:
    for name in ("callback_url", "job_callback_url"):
        given = {"url": url} if name == "callback_url" else {"job_url": url}
        with pytest.raises(InvalidInput, match=f"^{name}: .*{re.escape(expected)}") as caught:
            callbacks_to(given.pop("url", None), hosts, **given)
        assert "pass" not in str(caught.value)


def test_a_name_that_leads_inside_is_not_called(net: Net) -> None:
    net.names["inside.example.org"] = [["10.0.0.7"]]
    callbacks, _ = callbacks_to("https://inside.example.org/x", "", network=net.network())
    assert not callbacks.item(0, "done")
    assert callbacks.failures[0].tries == 1
    assert "private or reserved" in callbacks.failures[0].problem
    assert net.connected == []
    # Listed by the operator, it is.
    listed, _ = callbacks_to("https://inside.example.org/x", "inside.example.org", network=net.network())
    listed.item(0, "done")
    assert set(net.connected) == {"10.0.0.7"}


def test_hosts_trusted_with_files_are_not_trusted_with_the_secret(receiver: Receiver) -> None:
    trusting = Network(trusted=frozenset({receiver.host}))
    with pytest.raises(InvalidInput, match="only https"):
        callbacks_to(receiver.url, "", network=trusting)


def test_a_public_https_receiver(net: Net) -> None:
    callbacks, _ = callbacks_to(f"https://{HOST}/hook", "", network=net.network())
    posted.clear()
    assert callbacks.item(0, "done")
    assert net.connected == [PUBLIC]
    ((path, authorization, body),) = posted
    assert (path, authorization) == ("/hook", f"Bearer {SECRET}")
    assert body["idempotency_key"] == "job_123:0"


def test_a_worker_without_a_secret_refuses_the_job(receiver: Receiver) -> None:
    with pytest.raises(InvalidInput, match=r"callback_url: .*Set SNAKEFOLD_CALLBACK_SECRET"):
        told(receiver, secret="")
    callbacks_to(None, "", secret="")  # nobody is told


def test_the_older_name_of_the_secret() -> None:
    assert read_callback_settings({"GPU_CALLBACK_SECRET": "older-4711"}).secret == "older-4711"  # noqa: S105
    both = {"GPU_CALLBACK_SECRET": "older-4711", "SNAKEFOLD_CALLBACK_SECRET": "newer-0815"}
    assert read_callback_settings(both).secret == "newer-0815"  # noqa: S105
    assert "newer" not in repr(read_callback_settings(both))


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "with space", "naïve", "a\0b"])
def test_secrets_that_no_header_can_have(secret: str) -> None:
    with pytest.raises(SnakefoldError, match="SNAKEFOLD_CALLBACK_SECRET: expected printable") as caught:
        read_callback_settings({"SNAKEFOLD_CALLBACK_SECRET": secret})
    assert secret not in str(caught.value)


def test_errors_are_told_without_secrets(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_SECRET_KEY", "storage-secret-9931")
    callbacks, _ = told(receiver)
    callbacks.item(
        0, "failed", error="PUT https://b.example/x?X-Amz-Signature=12 storage-secret-9931" + "x" * 9000
    )
    error = receiver.seen[0].body["error"]
    assert error.startswith("PUT https://b.example/x?… ***x") and len(error) == 2000
