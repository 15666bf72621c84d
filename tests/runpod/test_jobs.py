"""snakefold.clusters.runpod against the emulated service: what a client must survive."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket

import pytest

from snakefold.clusters.emulator import (
    NO_ACCESS_KEY,
    EmulatorThread,
    Fault,
    Faults,
    ManualClock,
    Scaling,
    StubWorkers,
)
from snakefold.clusters.runpod import (
    AccessError,
    JobError,
    NotFinishedError,
    NotFoundError,
    RejectedError,
    ResultError,
    UnavailableError,
    cancel_job,
    get_job_output,
    get_job_status,
    open_session,
    submit_job,
    wait_for_job_completion,
)

from .helpers import session_of


@contextlib.contextmanager
def running(*rules, workers=None, clock=None, **settings):
    """An emulator with its endpoint `fold`, and a session."""
    endpoints = {"fold": {"workers": workers or StubWorkers(), "scaling": Scaling(queue_delay=0.1)}}
    with EmulatorThread(endpoints, clock=clock, faults=Faults(rules)) as service:
        if clock is not None:  # time passes when the client sleeps
            settings |= {"sleep": service.advance, "clock": clock.now}
        yield service, session_of(service, **settings)


def finish(session, given=None, **settings):
    """Submit, wait; the output."""
    job = submit_job(session, "fold", given or {"n": 1})
    settings.setdefault("poll_interval", 0.05)
    return wait_for_job_completion(session, "fold", job, **settings).output


def test_a_job_from_submission_to_output():
    states = []
    with running(workers=StubWorkers(seconds=120), clock=ManualClock()) as (service, session):
        job = submit_job(session, "fold", {"n": 1}, execution_timeout=900)
        with pytest.raises(NotFinishedError):
            get_job_output(session, "fold", job)
        status = wait_for_job_completion(session, "fold", job, changed=lambda s: states.append(s.state))
        assert get_job_output(session, "fold", job) == status.output == {"echo": {"n": 1}}
        assert states == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]
        assert status.execution_seconds == pytest.approx(120)
        assert service.jobs[0].policy.execution_timeout == 900
        assert service.jobs[0].policy.ttl == 900 + 86_400  # it counts from submission: the queue is in it
        times = [call.time for call in service.calls if call.operation == "status"]
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        assert max(gaps) == pytest.approx(5, abs=0.1)
        assert service.emulator.busiest("status") <= 8


CALLS = ["status_before", "status_after", "reset_before", "reset_after", "malformed", "truncated", "empty"]


@pytest.mark.parametrize("call", ["run", "status"])
@pytest.mark.parametrize("fault", CALLS)
def test_calls_that_fail_for_the_time_being_are_repeated(call, fault):
    rule = Fault("status", call=call, nth=1) if fault == "status_before" else Fault(fault, call=call, nth=1)
    lines = []
    with running(rule, told=lines.append) as (service, session):
        assert finish(session) == {"echo": {"n": 1}}
        assert service.call(lambda emulator: emulator.count_calls(call)) >= 2
    assert lines
    assert "<html" not in " ".join(lines).lower()


def test_429_is_waited_out_and_an_answer_too_late_is_asked_for_again():
    late = Fault("timeout_after", call="status", nth=1, seconds=6)
    with running(Fault("status", call="run", times=2, status=429), late, timeout=3.0) as (service, session):
        assert finish(session) == {"echo": {"n": 1}}
        assert len(service.jobs) == 1


def test_a_lost_answer_can_stop_the_submission():
    with running(Fault("reset_after", call="run")) as (service, session):
        with pytest.raises(UnavailableError, match="may have been accepted"):
            submit_job(session, "fold", {"n": 1}, repeat_lost=False)
        assert len(service.jobs) == 1
        with running(Fault("status", call="run", status=429, times=1)) as (_, other):
            assert submit_job(other, "fold", {"n": 1}, repeat_lost=False)  # not taken: sent again


def test_a_service_that_stays_away_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    session = open_session(
        {"RUNPOD_API_KEY": "rpa_x", "RUNPOD_API_BASE_URL": f"http://127.0.0.1:{port}/v2"}, patience=0.2
    )
    with pytest.raises(UnavailableError, match="no connection"):
        submit_job(session, "fold", {"n": 1})


@pytest.mark.parametrize(("key", "said"), [("rpa_unknown", "knows"), (NO_ACCESS_KEY, "permission")])
def test_a_key_that_opens_nothing_says_what_to_set_and_does_not_show_itself(key, said):
    with running(api_key=key) as (service, session):
        with pytest.raises(AccessError, match="RUNPOD_API_KEY") as caught:
            submit_job(session, "fold", {"n": 1})
        assert said in str(caught.value)
        assert key not in f"{caught.value} {session!r}"
        assert service.call(lambda emulator: emulator.count_calls("run")) == 1  # not repeated


@pytest.mark.parametrize(
    ("environment", "error", "said"),
    [
        ({}, AccessError, "export RUNPOD_API_KEY"),
        ({"RUNPOD_API_KEY": "two words"}, AccessError, "character"),
        ({"RUNPOD_API_KEY": "a\nb"}, AccessError, "character"),
        ({"RUNPOD_API_KEY": "x", "RUNPOD_API_BASE_URL": "http://example.org"}, RejectedError, "https"),
        ({"RUNPOD_API_KEY": "x", "RUNPOD_API_BASE_URL": "https://u:p@example.org"}, RejectedError, "pass"),
    ],
)
def test_a_session_that_cannot_be(environment, error, said):
    with pytest.raises(error, match=said):
        open_session(environment)


def test_unknown_endpoints_and_jobs_are_told_apart():
    with running() as (_, session):
        with pytest.raises(NotFoundError):
            submit_job(session, "nothing", {"n": 1})
        with pytest.raises(NotFoundError, match="RUNPOD_ENDPOINT_ID"):
            get_job_status(session, "nothing", "some-job")
        with pytest.raises(NotFoundError, match="30 minutes"):
            cancel_job(session, "fold", "some-job")
        for endpoint, job in (("fold/../other", "x"), ("fold", "x/../../y"), ("..", "x"), ("fold", "x?y")):
            with pytest.raises(RejectedError, match="is no id"):
                get_job_status(session, endpoint, job)


def test_a_result_is_gone_after_retention():
    with running(clock=ManualClock()) as (service, session):
        job = submit_job(session, "fold", {"n": 1})
        service.advance(60)
        assert get_job_output(session, "fold", job)
        service.advance(31 * 60)
        with pytest.raises(NotFoundError, match="30 minutes"):
            get_job_output(session, "fold", job)


def worker_error(reason):
    text = json.dumps({"reason": reason, "message": "250 GB are too many", "log": "line 1\nline 2"})

    async def work(_):
        return {"error": text}

    return work


async def raising(_):
    raise ValueError("the handler broke")


@pytest.mark.parametrize(
    ("rule", "work", "reason", "said"),
    [
        (None, worker_error("out_of_memory"), "out_of_memory", "250 GB are too many"),
        (None, raising, "failed", "the handler broke"),
        (Fault("failed", error="CUDA error"), None, "failed", "CUDA error"),
        (Fault("timed_out", seconds=0.1), None, "timed_out", "execution timeout"),
        (Fault("cancelled", seconds=0.1), None, "cancelled", "Somebody cancelled"),
    ],
)
def test_failures_are_told_with_their_reason(rule, work, reason, said):
    workers = StubWorkers(work, seconds=0.5) if work else StubWorkers(seconds=0.5)
    with running(*([rule] if rule else []), workers=workers) as (_, session):
        with pytest.raises(JobError) as caught:
            finish(session)
        assert caught.value.reason == reason
        assert said in str(caught.value)
        assert (caught.value.log.startswith("line 1")) == (reason == "out_of_memory")


def test_completed_without_output_is_no_success():
    with running(Fault("no_output")) as (_, session), pytest.raises(ResultError, match="no output"):
        finish(session)


def test_a_job_that_vanishes_while_it_is_waited_for():
    rule = Fault("lost", seconds=20)
    with (
        running(rule, workers=StubWorkers(seconds=600), clock=ManualClock()) as (_, session),
        pytest.raises(NotFoundError, match="time-to-live"),
    ):
        finish(session, poll_interval=5)


def test_an_unknown_state_counts_as_alive():
    with running(Fault("unknown_state", call="status", times=3)) as (_, session):
        assert finish(session) == {"echo": {"n": 1}}


def test_waiting_ends_and_the_job_goes_on():
    with running(Fault("stuck"), clock=ManualClock()) as (service, session):
        with pytest.raises(NotFinishedError, match="IN_QUEUE"):
            finish(session, timeout=1800, poll_interval=60)
        assert len(service.live_jobs()) == 1
        assert cancel_job(session, "fold", service.jobs[0].id) == "CANCELLED"
        assert service.live_jobs() == []


def test_requests_over_the_limit_are_not_sent():
    with running() as (service, session):
        with pytest.raises(RejectedError, match="fasta_url"):
            submit_job(session, "fold", {"fasta": "A" * 10_000_000})
        assert service.calls == []


@pytest.mark.parametrize(
    ("seconds", "says"), [(60.0, "execution timeout"), (None, "before a worker took it")]
)
def test_timed_out_says_what_it_may_mean(seconds, says):
    from snakefold.clusters.runpod.jobs import JobStatus, _failure

    error = _failure(JobStatus("a", "TIMED_OUT", execution_seconds=seconds))
    assert says in str(error) and error.reason == "timed_out"
