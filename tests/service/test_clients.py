"""Programs that call RunPod, unchanged but for the address: SDK, client/submit_job.py, executor plugin."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold.kernel.paths import house
from snakefold.service import files, records, webhooks
from snakefold.service.queue import Queues, mend
from snakefold.service.records import State
from snakefold.service.settings import ServiceSettings
from snakefold.service.tally import Tally
from snakefold.service.users import User, add_token
from snakefold.worker.fetch import Network
from tests.service.served import (
    QUICK,
    SNAKEFOLD,
    Served,
    compiled,
    environment_of,
    new_environment,
    parameters,
    serving,
)

__all__ = ["compiled", "environment_of", "new_environment", "parameters"]  # fixtures
runpod = pytest.importorskip("runpod", reason="needs runpod: pip install -e .[worker]")
UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Keeps what is POSTed to it; answers with the statuses of its server, then with 200."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, json.loads(body)))  # type: ignore[attr-defined]
        statuses = self.server.statuses  # type: ignore[attr-defined]
        self.send_response(statuses.pop(0) if statuses else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiver(*statuses: int, handler: type[Receiver] = Receiver) -> Iterator[Any]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.got, server.statuses = [], list(statuses)  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def hook() -> Iterator[Any]:
    with receiver() as server:
        yield server


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
    environment_of: Callable[[Path], dict[str, str]],
    hook: Any,
) -> Iterator[Served]:
    """A service with one worker, which may call the receiver of webhooks."""
    folder = tmp_path_factory.mktemp("served")
    trusted = {"SNAKEFOLD_TRANSFER_HOSTS": f"127.0.0.1:{hook.server_address[1]}"}
    with serving(folder, {**environment_of(folder), **trusted}) as made:
        yield made


@pytest.fixture(scope="module")
def idle(
    tmp_path_factory: pytest.TempPathFactory, environment_of: Callable[[Path], dict[str, str]]
) -> Iterator[Served]:
    """A service without workers and with two users; what it is sent waits."""
    folder = tmp_path_factory.mktemp("idle")
    token = add_token(folder / "tokens.yaml", User(user="ada", priority=5))
    other = add_token(folder / "tokens.yaml", User(user="bob"))
    settings = {"tokens": str(folder / "tokens.yaml"), "workers": {"jobs": 0}}
    with serving(folder, environment_of(folder), **settings) as made:
        made.token = token
        made.other = other  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def sdk(served: Served, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The official SDK, which calls the service."""
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{served.url}/v2")
    monkeypatch.setattr(runpod, "api_key", "any")
    return runpod.Endpoint("fold")


def test_the_official_sdk(sdk: Any) -> None:
    job = sdk.run({"input": QUICK})
    output = job.output(timeout=120)
    assert output["a3m"].endswith(f"\n{QUICK['sequence']}\n")
    assert job.status() == "COMPLETED"
    assert job.cancel()["status"] == "COMPLETED"  # what has ended stays as it is
    assert sdk.run_sync({"input": QUICK}, timeout=120)["depth"] == 1
    health = sdk.health()
    assert health["jobs"]["completed"] >= 2 and health["jobs"]["failed"] == 0
    assert health["workers"]["idle"] + health["workers"]["running"] == 1
    assert sdk.purge_queue()["removed"] == 0


def test_the_official_sdk_with_a_wrong_key(idle: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{idle.url}/v2")
    monkeypatch.setattr(runpod, "api_key", "wrong")
    with pytest.raises(RuntimeError, match="401 Unauthorized"):
        runpod.Endpoint("fold").health()
    monkeypatch.setattr(runpod, "api_key", idle.token)
    assert runpod.Endpoint("fold").health()["jobs"]["failed"] == 0


def test_a_job_is_answered_in_one_call_or_later(served: Served) -> None:
    code, answer = served.call("/v2/fold/runsync", {"input": QUICK})
    assert code == 200 and answer["status"] == "COMPLETED", answer
    assert answer["id"].startswith("sync-")
    assert answer["output"]["depth"] == 1 and answer["executionTime"] >= 0 and answer["workerId"]
    assert served.call(f"/v2/mmseqs/status/{answer['id']}")[0] == 200
    for path, expected in (("/v2/none/health", 404), ("/v2/fold/status/gone-with-the-wind", 404)):
        assert served.call(path)[0] == expected


def test_what_a_worker_prints_is_in_the_log_with_its_job(served: Served) -> None:
    job = served.job({**QUICK, "sequence": "MKTAYIAKQRQISFVKSHFSRQLEER"})
    said = served.ended(job)["output"]["log"].splitlines()
    assert said
    logged = [line for line in served.lines() if line.get("record") == job]
    assert [line["message"] for line in logged if line["from"] == "jobs"] == said


def test_what_a_worker_refuses_is_said_before_or_as_on_runpod(served: Served) -> None:
    for given, says in (
        ({"task": "align"}, "sequence: this key is required"),
        ({"sequence": UBIQUITIN, "results": {"path": "a/b"}}, "results.path: this service has no"),
        ({"sequence": UBIQUITIN, "results": [{"path": "a/b"}]}, "results.0.path"),
        ({"sequence": UBIQUITIN, "results": {"key": "a/b"}}, "results.key: this service has no"),
    ):
        code, answer = served.call("/v2/fold/run", {"input": given})
        assert code == 400 and says in answer["detail"], answer
    code, answer = served.call("/v2/fold/run", {"input": QUICK, "s3Config": {"bucketName": "x"}})
    assert code == 400 and answer["detail"].startswith("s3Config:")
    job = served.ended(served.job({**QUICK, "db_preset": "none_such"}))
    assert job["status"] == "FAILED" and "knows no 'none_such'" in json.loads(job["error"])["message"]
    assert job["output"]["status"] == "failed" and "none_such" in job["output"]["message"]


def test_a_webhook_is_told_and_a_private_one_is_not(served: Served, hook: Any) -> None:
    url = f"http://127.0.0.1:{hook.server_address[1]}/told?secret=x"
    job = served.job(QUICK, webhook=url)
    output = served.ended(job)["output"]
    wait_for(lambda: hook.got)
    path, said = hook.got.pop()
    assert path == "/told?secret=x"
    assert (said["id"], said["status"], said["output"]) == (job, "COMPLETED", output)
    private = served.job(QUICK, webhook="https://localhost/told")
    assert served.ended(private)["status"] == "COMPLETED"
    kept = served.folder / "service" / "jobs" / private / webhooks.TOLD
    wait_for(kept.exists)
    assert json.loads(kept.read_text())["delivered"] is False
    assert "private or reserved" in json.loads(kept.read_text())["problem"]
    assert "secret=x" not in served.log()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file:///etc/passwd", "expected an https address"),
        ("https:///told", "expected an https address"),
        ("https://ada:word@hooks.example.org/told", "may not have a user"),
        ("http://localhost/told", "localhost: only https addresses are called"),
        ("http://hooks.example.org/told?secret=x", "hooks.example.org: only https addresses are called"),
        ("https://10.0.0.1/told", "private or reserved"),
        ("https://[::1]:8443/told", "private or reserved"),
    ],
)
def test_a_webhook_that_would_never_be_called_is_refused(served: Served, url: str, says: str) -> None:
    code, answer = served.call("/v2/fold/run", {"input": QUICK, "webhook": url})
    assert code == 422, answer
    assert answer["detail"].startswith("body.webhook: ") and says in answer["detail"]
    assert "told" not in answer["detail"]


def test_one_answer_has_the_policy_and_the_webhook_of_a_job(served: Served, hook: Any) -> None:
    url = f"http://127.0.0.1:{hook.server_address[1]}/run"
    more = {"webhook": url, "policy": {"executionTimeout": 60_000, "ttl": 20_000}}
    code, answer = served.call("/run", {"input": QUICK, **more})
    assert code == 200 and answer["output"]["depth"] == 1, answer
    wait_for(lambda: hook.got)
    path, said = hook.got.pop()
    assert (path, said["id"], said["output"]) == ("/run", answer["job_id"], answer["output"])
    kept = served.folder / "service" / "jobs" / answer["job_id"] / "record.json"
    facts = json.loads(kept.read_text())["facts"]
    assert (facts["execution_timeout"], facts["ttl"]) == (60.0, 20.0)
    wait = {"task": "wait", "job_id": answer["job_id"]}
    for given, status, says in (
        ({"input": QUICK, "webhook": "http://hooks.example.org/"}, 422, "webhook: hooks.example.org: only"),
        ({"input": QUICK, "policy": {"ttl": 1}}, 422, "policy.ttl: "),
        ({"input": QUICK, "s3Config": {"bucketName": "x"}}, 400, "s3Config: "),
        ({"input": wait, "webhook": url}, 400, "webhook: task `wait`"),
        ({**QUICK, "webhook": url}, 400, "unknown key 'webhook'"),
    ):
        code, answer = served.call("/run", given)
        assert code == status and answer["detail"].startswith(says), answer


def test_a_webhook_is_tried_three_times(tmp_path: Path) -> None:
    for statuses, delivered, tries in (((500, 302), True, 3), ((500, 500, 500), False, 3)):
        with receiver(*statuses) as server:
            host = f"127.0.0.1:{server.server_address[1]}"
            facts = {"webhook": f"http://{host}/", "base": "http://x"}
            record = records.create(tmp_path / "jobs", "job", "ada", facts=facts)
            records.end(record.folder, State.CANCELLED)
            said = webhooks.deliver(records.read(record.folder), Network(trusted=frozenset({host})), pause=0)
            assert (said["delivered"], said["tries"], len(server.got)) == (delivered, tries, tries)
            assert {body["status"] for _, body in server.got} == {"CANCELLED"}


def test_a_webhook_is_told_whoever_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, keys, begun, go_on = tmp_path / "jobs", [], threading.Event(), threading.Event()

    class Slow(Receiver):
        def do_POST(self) -> None:
            keys.append(self.headers["Idempotency-Key"])
            if len(keys) == 1:
                begun.set()
                go_on.wait(60)
            super().do_POST()

    with receiver(handler=Slow) as server:
        host = f"127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("SNAKEFOLD_TRANSFER_HOSTS", host)
        facts = {"webhook": f"http://{host}/", "base": "http://x"}
        webhooks.expect(root, "0" * 32)
        record = records.create(root, "job", "ada", name="0" * 32, facts=facts)
        assert webhooks.tell_again(root) == 0  # it has not ended
        records.end(record.folder, State.CANCELLED)  # here a process may die, before it tells anybody
        code = (
            "import sys, time; from pathlib import Path; from snakefold.service import webhooks\n"
            "webhooks.tell_again(Path(sys.argv[1])); time.sleep(60)"
        )
        with subprocess.Popen([sys.executable, "-c", code, str(root)]) as process:
            assert begun.wait(60)
            assert webhooks.tell_again(root) == 1  # a process that lives is at it: no call is made
            time.sleep(0.3)
            assert len(keys) == 1
            process.kill()
        go_on.set()

        def told() -> bool:
            webhooks.tell_again(root)
            return (record.folder / webhooks.TOLD).exists()

        wait_for(told)
        assert len(keys) == 2 and len(set(keys)) == 1
        assert json.loads((record.folder / webhooks.TOLD).read_text())["delivered"] is True
        wait_for(lambda: webhooks.tell_again(root) == 0)
        # A job that is retried has another end.
        webhooks.expect(root, record.id)
        records.reopen(record.folder)
        records.end(record.folder, State.CANCELLED)
        wait_for(lambda: webhooks.tell_again(root) == 0)
        assert len(keys) == 3 and len(set(keys)) == 2


def test_keys_and_jobs_of_others(idle: Served) -> None:
    job = idle.job(QUICK)
    other: str = idle.other  # type: ignore[attr-defined]
    for token in ("", "wrong"):
        assert idle.call(f"/v2/fold/status/{job}", token=token)[0] == 401
    for path in (f"status/{job}", f"stream/{job}"):
        assert idle.call(f"/v2/fold/{path}", token=other)[0] == 404
        assert idle.call(f"/v2/fold/{path}")[0] == 200
    for path in (f"cancel/{job}", f"retry/{job}"):
        assert idle.call(f"/v2/fold/{path}", b"", token=other)[0] == 404
    assert idle.call("/v2/fold/purge-queue", b"", token=other)[1]["removed"] == 0
    for _ in range(2):
        assert idle.call(f"/v2/fold/cancel/{job}", b"") == (200, {"id": job, "status": "CANCELLED"})
    assert idle.call(f"/v2/fold/retry/{job}", b"")[0] == 400
    waiting = [idle.job(QUICK), idle.job(QUICK)]
    assert idle.call("/v2/fold/health")[1]["jobs"]["inQueue"] == 2
    assert idle.call("/v2/fold/health", token=other)[1]["jobs"]["inQueue"] == 0
    assert idle.call("/v2/boltz/purge-queue", b"")[1]["removed"] == 0
    assert idle.call("/v2/fold/purge-queue", b"")[1] == {"removed": 2, "status": "completed"}
    assert {idle.ended(each)["status"] for each in waiting} == {"CANCELLED"}
    assert idle.call("/v2/fold/health")[1]["jobs"]["inQueue"] == 0


def test_low_priority_goes_behind(idle: Served) -> None:
    low = idle.job(QUICK, policy={"lowPriority": True})
    high = idle.job(QUICK)
    queues = Queues(ServiceSettings(folder=idle.folder / "service"))
    taken = []
    while (task := queues.of("job").dequeue()) is not None:
        taken.append(Path(task.args[0]).name)
    assert taken.index(high) < taken.index(low)
    idle.call("/v2/fold/purge-queue", b"")


def test_a_job_that_waits_longer_than_its_ttl_ends(idle: Served, tmp_path: Path) -> None:
    for ttl in (9_999, 604_800_001):
        assert idle.call("/v2/fold/run", {"input": QUICK, "policy": {"ttl": ttl}})[0] == 422
    settings = ServiceSettings(folder=tmp_path)
    queues = Queues(settings)
    root = tmp_path / "jobs"
    late, early, taken = (
        records.create(root, "job", "ada", facts={"ttl": ttl}) for ttl in (1e-6, 100.0, 1e-6)
    )
    assert records.claim(taken.folder) == 1  # one that is at work is not ended
    mend(queues, [root], settings)
    assert records.read(late.folder).state is State.TIMED_OUT
    assert "time to live" in records.read(late.folder).error
    assert queues.waiting("job") == {f"jobs/{early.id}"}
    assert records.read(taken.folder).state is State.RUNNING


def test_health_does_not_read_what_has_ended(tmp_path: Path) -> None:
    root = tmp_path / "jobs"
    for number in range(80):
        user = "ada" if number % 4 else "bob"
        record = records.create(root, "job", user, facts={"endpoint": "fold"})
        records.end(record.folder, State.FAILED if number % 2 else State.DONE)
    waiting = records.create(root, "job", "ada", facts={"endpoint": "fold"})
    tally = Tally(root)
    for _ in range(3):
        found = tally.counts("ada", "fold")
        assert (found[State.DONE], found[State.FAILED], found[State.QUEUED]) == (20, 40, 1)
        assert tally.counts("bob", "fold")[State.DONE] == 20
    assert tally.read <= 6  # the one that waits
    # Who dies between the end of a record and its line in the journal leaves it to the next who looks.
    mark = root / ".open" / waiting.id
    journal = (root / records.ENDED).read_bytes()
    records.end(waiting.folder, State.TIMED_OUT)
    (root / records.ENDED).write_bytes(journal)
    mark.touch()
    for _ in range(2):
        assert tally.counts("ada", "fold")[State.TIMED_OUT] == 1
    assert not mark.exists()
    records.reopen(waiting.folder)
    again = tally.counts("ada", "fold")
    assert (again[State.TIMED_OUT], again[State.QUEUED]) == (0, 1)
    records.end(waiting.folder, State.CANCELLED)
    again = tally.counts("ada", "fold")
    assert (again[State.TIMED_OUT], again[State.CANCELLED], again[State.QUEUED]) == (0, 1, 0)
    assert tally.counts("ada", "boltz").total() == 0
    with (root / records.ENDED).open("ab") as stream:
        stream.write(b"a line that nobody wrote\n\xff\t\nhalf\tDONE")
    assert tally.counts("ada", "fold") == again


@pytest.fixture(scope="module")
def large(served: Served) -> dict[str, Any]:
    """The output of a search whose alignment is not to be inline."""
    database = "".join(f">{n}\n{UBIQUITIN.replace('E', n, 3)}\n" for n in "DNQ")
    built = served.ended(
        served.job({"task": "build", "target_db": "relatives", "target_fasta": database, "use_gpu": False})
    )
    assert built["status"] == "COMPLETED", built
    search = {
        "task": "search",
        "query_fasta": f">q\n{UBIQUITIN}\n",
        "target_db": "relatives",
        "return_a3m": True,
        "a3m_max_return_bytes": 20,
        "threads": 1,
    }
    job = served.ended(served.job(search))
    assert job["status"] == "COMPLETED", job
    return job


def test_a_large_result_has_a_signed_address(served: Served, large: dict[str, Any]) -> None:
    part = large["output"]["a3m_gz_b64"]
    assert part["stored"] is True and "path" not in part
    assert part["url"].startswith(f"{served.url}/files/{large['id']}/0-")
    path = part["url"].removeprefix(served.url)
    code, data = served.call(path, token="")
    assert code == 200 and len(data) == part["size"]
    place, _, query = path.partition("?")
    for wrong in (
        place,
        f"{path}x",
        path.replace("expires=", "expires=1"),
        f"{place.replace('/0-', '/1-')}?{query}",
        f"/files/{large['id']}/..%2Finput.json?{query}",
    ):
        assert served.call(wrong)[0] == 404, wrong
    secret = files.secret_of(served.folder / "service")
    past = int(time.time()) - 1
    name = place.rpartition("/")[2]
    signed = files.sign(secret, large["id"], name, past)
    assert served.call(f"{place}?expires={past}&signature={signed}")[0] == 404


def test_submit_job_gets_a_large_result(served: Served, large: dict[str, Any], tmp_path: Path) -> None:
    done = run_client(served, tmp_path, "fetch", large["id"], "--out", "hits")
    assert done.returncode == 0, done.stderr
    part = large["output"]["a3m_gz_b64"]
    saved = (tmp_path / "hits" / "alignments.a3m.gz").read_bytes()
    assert len(saved) == part["size"] and gzip.decompress(saved).startswith(b">q\n")
    (tmp_path / "request.json").write_text(json.dumps(QUICK))
    done = run_client(served, tmp_path, "json", "request.json", "--out", "answer")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "answer" / "response.json").read_text())["depth"] == 1
    assert run_client(served, tmp_path, "status", large["id"]).stdout.strip() == "COMPLETED"


def run_client(served: Served, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "RUNPOD_API_KEY": "any",
        "RUNPOD_API_BASE_URL": f"{served.url}/v2",
        "RUNPOD_ENDPOINT_ID": "fold",
    }
    return subprocess.run(
        [sys.executable, str(house() / "client" / "submit_job.py"), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_run_whose_worker_is_killed_amid_a_job(served: Served, tmp_path: Path) -> None:
    """`snakefold run --profile http`: the job is done once more, and its result arrives once."""
    (tmp_path / "two.fasta").write_text(">a\nMKTAYIAKQRQISFVKSHF\n>b\nGSHMFVKSHFSRQLEEMKT\n")
    settings = {
        "weights": "rehearsal",
        "rehearsal": {"models": [1], "num_recycle": 0, "max_msa_clusters": 8, "max_extra_msa": 8},
        "relax": {"models_to_relax": "none"},
        "msa": {"tool": "single_sequence"},
        "store": str(tmp_path / "store"),
    }
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={yaml_of(value)}")]
    with (tmp_path / "run.log").open("wb") as log:
        run = subprocess.Popen(
            [
                *(str(SNAKEFOLD), "run", "two.fasta", "--profile", "http", *given),
                *("--", "--runpod-base-url", f"{served.url}/v2", "--runpod-poll-interval", "0.5"),
            ],
            cwd=tmp_path,
            env={**os.environ, "RUNPOD_API_KEY": "any", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    jobs = served.folder / "service" / "jobs"

    def folding() -> list[Path]:
        found = [path for path in jobs.glob("*/attempt-1.json") if not (path.parent / "end.json").exists()]
        return [
            path.parent for path in found if "request" in json.loads((path.parent / "input.json").read_text())
        ]

    try:
        wait_for(lambda: folding() or run.poll() is not None)
        (job,) = folding()
        (worker,) = served.workers()
        os.kill(worker, signal.SIGKILL)
        assert run.wait(600) == 0, (tmp_path / "run.log").read_text()
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    record = records.read(job)
    assert (record.state, record.attempts) == (State.DONE, 2)
    assert served.call(f"/v2/fold/status/{job.name}")[1]["status"] == "COMPLETED"
    for name in "ab":
        text = (tmp_path / "results" / "structures" / name / "ranked_0.pdb").read_text()
        assert "REHEARSAL" in text
    assert len((tmp_path / "results" / "metrics.tsv").read_text().splitlines()) == 3
    assert len([path for path in jobs.glob("*/input.json") if is_batch(path)]) == 1


def is_batch(path: Path) -> bool:
    return "request" in json.loads(path.read_text())


def yaml_of(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def wait_for(true: Callable[[], Any], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.05)
