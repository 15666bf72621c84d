"""Sets over HTTP: a real server, real plans. What a run costs in time is in test_set_runs.py."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from snakefold.service.users import Quota
from tests.backbones import helix
from tests.service.served_sets import CHAIN, OTHER, REHEARSAL, Served, send, serving, until, wait

_FASTA = f">one\n{CHAIN}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that quotes, and runs nothing."""
    users = {
        "ada": Quota(),
        "bob": Quota(),
        "short": Quota(residues_per_day=len(CHAIN) + 10),
        "poor": Quota(dollars_per_day=0.5),
        "jobs": Quota(residues_per_day=3 * len(CHAIN) + 10),
        "many": Quota(residues_per_day=3 * len(CHAIN)),
    }
    workers = {"jobs": 0, "runs": 0, "quotes": 2, "searches": 0}
    limits = {"targets": 50, "upload_mb": 3, "body_mb": 1, "streams": 2}
    root = tmp_path_factory.mktemp("sets")
    (root / "my dbs").mkdir()
    configfile = root / "config.yaml"
    configfile.write_text(json.dumps({"msa": {"db_root": str(root / "my dbs")}}))
    more = {"configfile": str(configfile)}
    with serving(root, users, workers=workers, limits=limits, **more) as service:
        yield service


@pytest.fixture
def ada(served: Served) -> Iterator[httpx.Client]:
    with served.client("ada") as client:
        yield client


def test_a_set_is_quoted_and_waits(ada: httpx.Client) -> None:
    sent = send(ada, f">one\n{CHAIN}\n>two\n{CHAIN}\n>bad\nMKT1YIAKQRQISFVK\n", name="first set")
    assert sent["state"] == "QUOTING"
    assert sent["quote"] is None
    view = until(ada, sent["id"], "QUOTED")
    assert view["name"] == "first set"
    assert view["targets"] == {
        "total": 3, "to_do": 1, "stored": 0, "reused": 0, "duplicate_of": 1, "refused": 1,
    }  # fmt: skip
    quote = view["quote"]
    assert quote["residues"] == len(CHAIN)
    assert quote["dollars"] == {"low": 0.0, "expected": 0.0, "high": 0.0}
    assert 0 < quote["hours"]["low"] < quote["hours"]["expected"] < quote["hours"]["high"]
    (refused,) = quote["refused"]
    assert (refused["id"], refused["file"], refused["record"], refused["line"]) == (
        "bad",
        "first_set.fasta",
        3,
        6,
    )
    assert "'1'" in refused["reason"]
    assert view["progress"] is None
    assert view["started"] is None
    assert ada.get(view["links"]["self"]).json() == view


def test_a_set_that_cannot_be_planned_says_file_record_and_line(ada: httpx.Client) -> None:
    sent = send(
        ada, f">bad\nMKT1YIAKQRQISFVK\n>other\n{CHAIN}\n", settings={**REHEARSAL, "on_invalid": "stop"}
    )
    view = until(ada, sent["id"], "REFUSED")
    assert "pasted.fasta:2 (record 1: 'bad'): The digit '1' is in the sequence." in view["error"]
    assert "/" not in view["error"].partition("pasted.fasta")[0]  # nothing of this machine's folders
    assert view["ended"]
    assert ada.post(f"/api/runs/{sent['id']}/accept").status_code == 409


def test_a_refusal_names_what_the_service_has_and_not_where(served: Served, ada: httpx.Client) -> None:
    # The service's own settings contradict those of the user.
    sent = send(ada, _FASTA, settings={**REHEARSAL, "msa": {"tool": "server"}})
    view = until(ada, sent["id"], "REFUSED")
    assert "msa.db_root" in view["error"]
    top = f"'/{served.root.parts[1]}/"
    for path in (f"/api/runs/{sent['id']}", "/api/runs", f"/ga4gh/wes/v1/runs/{sent['id']}"):
        assert top not in ada.get(path).text, path
    assert f"'db_root': {top}" in served.log.read_text()  # whoever runs the service is told


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Send files or text"),
        ({"text": " \n"}, "Send files or text"),
        ({"text": _FASTA, "settings": "[1]"}, "settings: expected a JSON object"),
        ({"text": _FASTA, "settings": '{"a": NaN}'}, "NaN is not JSON"),
        ({"text": _FASTA, "settings": '{"engine": "flashabb", "engine": "alphafold2"}'}, "a key twice"),
        ({"text": _FASTA, "settings": '{"deadline": 1e999}'}, "too large"),
        ({"text": _FASTA, "settings": r'{"design": {"chains": "\ud800"}}'}, "half a character"),
        ({"text": _FASTA, "settings": '{"results": "/tmp/x"}'}, "results: is not taken from users"),
        (
            {"text": _FASTA, "settings": '{"msa": {"db_root": "/tmp"}}'},
            "msa.db_root: is not taken",
        ),
        ({"text": _FASTA, "settings": '{"msa": {"server": {}}}'}, "msa.server: is not taken from users"),
        ({"text": _FASTA, "settings": '{"weights": "/root"}'}, "weights: expected auto or rehearsal"),
        ({"text": _FASTA, "settings": '{"engine": "none"}'}, "no such engine is installed"),
        ({"text": _FASTA, "settings": '{"alphafold2": {"num_recycle": 99}}'}, "alphafold2.num_recycle"),
        ({"text": _FASTA, "accept": "true"}, "accept needs a budget"),
        ({"text": _FASTA, "accept": "true", "budget": "-1"}, "budget: expected dollars"),
        ({"text": _FASTA, "colour": "red"}, "colour: is no field"),
    ],
)
def test_what_is_wrong_is_said_at_once(ada: httpx.Client, fields: dict[str, str], said: str) -> None:
    answer = ada.post("/api/runs", data=fields, files={} if fields else {"name": (None, "x")})
    assert answer.status_code == 400
    assert said in answer.json()["detail"]


def test_names_of_files_are_made_safe_and_sheets_name_what_was_sent(
    served: Served, ada: httpx.Client
) -> None:
    secret = served.root / "secret.fasta"
    secret.write_text(f">secret\n{OTHER}\n")
    sheet = f"id,fasta\na,a.fasta\nb,{secret}\nc,../../../../secret.fasta\nd,set.json\n"
    yaml = (
        f"version: 1\nsequences:\n  - protein:\n      id: A\n      sequence: {OTHER}\n      msa: {secret}\n"
    )
    files = [
        ("files", ("../../evil name{}.fasta", f">e\n{OTHER}\n".encode())),
        ("files", ("sheet.csv", sheet.encode())),
        ("files", ("a.fasta", _FASTA.encode())),
        ("files", ("own.yaml", yaml.encode())),
        ("files", ("sheet.csv", b"id,sequence\nz,MQIFVKTLTGKTITLEVEPSDW\n")),
    ]
    answer = ada.post("/api/runs", files=files, data={"settings": json.dumps(REHEARSAL)})
    assert answer.status_code == 201, answer.text
    view = until(ada, answer.json()["id"], "QUOTED")
    folder = served.folder / "sets" / view["id"]
    assert sorted(path.name for path in (folder / "input").iterdir()) == [
        "a.fasta", "evil_name.fasta", "own.yaml", "sheet-2.csv", "sheet.csv",
    ]  # fmt: skip
    # a.fasta is what the sheet names: it is no target of its own.
    assert view["targets"]["to_do"] == 3
    assert {each["id"] for each in view["quote"]["refused"]} == {"b", "c", "d", "own"}
    assert "'../../evil name{}.fasta' is called evil_name.fasta here." in view["quote"]["notes"]
    rows = (folder / "plan" / "targets.tsv").read_text()
    assert "secret" not in rows.replace("secret.fasta", "")
    settings = (folder / "settings.yaml").read_text()
    assert "input/a.fasta" not in settings
    assert str(secret) not in settings


def test_a_quote_of_designs_is_of_both_stages(ada: httpx.Client) -> None:
    files = [
        ("files", ("my one.pdb", helix(CHAIN).encode())),
        ("files", ("sheet.csv", b"id,backbone\nx,my_one.pdb\ny,/etc/passwd.pdb\n")),
    ]
    settings = {**REHEARSAL, "design": {"engine": "proteinmpnn"}, "proteinmpnn": {"num_seq_per_target": 3}}
    answer = ada.post("/api/runs", files=files, data={"settings": json.dumps(settings)})
    view = until(ada, answer.json()["id"], "QUOTED")
    quote = view["quote"]
    assert view["targets"] == {
        "total": 2, "to_do": 1, "stored": 0, "reused": 0, "duplicate_of": 0, "refused": 1,
    }  # fmt: skip
    assert quote["engines"] == {"proteinmpnn": 1, "alphafold2": 3}
    assert quote["residues"] == 4 * len(CHAIN)
    assert "Then about 3 designs are folded." in quote["notes"]
    assert "not among the files that were sent" in quote["refused"][0]["reason"]


def test_sets_are_their_users(served: Served, ada: httpx.Client) -> None:
    view = until(ada, send(ada, _FASTA)["id"], "QUOTED")
    with served.client("bob") as bob:
        for path in ("", "/events", "/files", "/files/metrics.tsv", "/results.zip", "/report/"):
            assert bob.get(f"/api/runs/{view['id']}{path}").status_code == 404, path
        for path in ("accept", "cancel"):
            assert bob.post(f"/api/runs/{view['id']}/{path}").status_code == 404, path
        assert bob.get("/api/runs").json() == {"runs": []}
    assert until(ada, view["id"], "QUOTED") == view
    assert httpx.get(f"{served.address}/api/runs/{view['id']}").status_code == 401
    for name in ("..", "2" * 40, ".of", "%2e%2e", "A" * 24):
        assert ada.get(f"/api/runs/{name}").status_code == 404, name


def test_a_quote_outlives_its_worker(served: Served, ada: httpx.Client) -> None:
    name = send(ada, _FASTA)["id"]
    wait(lambda: served.runs(name))
    os.kill(served.worker("quotes", name), signal.SIGKILL)
    until(ada, name, "QUOTED")
    assert (served.folder / "quotes" / name / "attempt-2.json").exists()
    # Both plans ended. The first may still be a zombie: its parent is dead, and who inherited it may be slow.
    assert not served.runs(name)


def test_lists_go_from_the_newest_to_the_oldest(served: Served) -> None:
    with served.client("bob") as bob:
        names = [send(bob, _FASTA, name=f"set {number}")["id"] for number in range(3)]
        for name in names:
            until(bob, name, "QUOTED")
        first = bob.get("/api/runs", params={"limit": 2}).json()["runs"]
        assert [each["id"] for each in first] == [names[2], names[1]]
        rest = bob.get("/api/runs", params={"limit": 2, "before": names[1]}).json()["runs"]
        assert [each["id"] for each in rest] == [names[0]]
        for name in names:
            assert bob.post(f"/api/runs/{name}/cancel").json()["state"] == "CANCELLED"


def test_a_quota_lets_one_of_two_through(served: Served) -> None:
    with served.client("short") as client, ThreadPoolExecutor(8) as pool:
        names = [send(client, text)["id"] for text in (_FASTA, f">two\n{OTHER}\n")]
        for name in names:
            until(client, name, "QUOTED")
        # Each is in the quota, both are not; and each is asked for several times at once.
        answers = list(pool.map(lambda name: client.post(f"/api/runs/{name}/accept"), names * 8))
        codes = [answer.status_code for answer in answers]
        assert codes.count(200) == 1
        assert set(codes) == {200, 409, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.headers["x-snakefold-refused"] == "quota"
        said = refused.json()["detail"]
        assert "quota is 32 of residues a day (UTC); 22 are accepted today" in said
        states = {client.get(f"/api/runs/{name}").json()["state"] for name in names}
        assert states == {"QUEUED", "QUOTED"}
        # What is accepted stays accepted, cancelled or not.
        for name in names:
            assert client.post(f"/api/runs/{name}/cancel").json()["state"] == "CANCELLED"
            assert client.post(f"/api/runs/{name}/accept").status_code == 409
        third = until(client, send(client, _FASTA)["id"], "QUOTED")
        assert client.post(f"/api/runs/{third['id']}/accept").status_code == 429


def test_jobs_that_predict_count_against_the_same_quota(served: Served) -> None:
    align = {"task": "align", "sequence": CHAIN, "db_preset": "single_sequence"}
    with served.client("jobs") as client:
        sent = client.post("/v2/fold/run", json={"input": {"sequence": f"{CHAIN}:{CHAIN}"}})
        assert sent.status_code == 200, sent.text
        name = until(client, send(client, _FASTA)["id"], "QUOTED")["id"]
        assert client.post(f"/api/runs/{name}/accept").status_code == 200
        assert client.post(f"/v2/fold/cancel/{sent.json()['id']}").json()["status"] == "CANCELLED"
        # Nothing but a job of less than ten residues is left, whichever way it is sent.
        fasta = {"fasta": _FASTA}
        for answer in (
            client.post("/v2/fold/run", json={"input": fasta}),
            client.post("/v2/fold/runsync", json={"input": fasta}),
            client.post("/run", json={"input": fasta}),
            client.post("/run", json=fasta),
            client.get("/openfold_predictions/model_0/", params={"tag": "a", "seq": CHAIN}),
            client.post("/protein-structure/alphafold2/predict-structure-from-MSA", json={"sequence": CHAIN}),
        ):
            assert answer.status_code == 429, answer.text
            assert answer.headers["x-snakefold-refused"] == "quota"  # clients repeat other 429
            assert "quota is 76 of residues a day (UTC); 66 are accepted today" in answer.json()["detail"]
            assert "this job has 22. Send it tomorrow" in answer.json()["detail"]
        second = until(client, send(client, f">two\n{OTHER}\n")["id"], "QUOTED")["id"]
        assert client.post(f"/api/runs/{second}/accept").status_code == 429
        assert client.post("/v2/fold/run", json={"input": align}).status_code == 200
        assert client.post("/v2/fold/run", json={"input": {"sequence": CHAIN[:10]}}).status_code == 200
        address = {"fasta_url": "https://example.org/a.fasta"}
        refused = client.post("/v2/fold/run", json={"input": address})
        assert refused.status_code == 400 and "fasta_url: its residues" in refused.json()["detail"]
    with served.client("ada") as client:
        for given in (fasta, address):
            assert client.post("/v2/fold/run", json={"input": given}).status_code == 200


def test_jobs_at_one_moment_do_not_share_what_is_left(served: Served) -> None:
    job = {"input": {"sequence": CHAIN}}
    with served.client("many") as client, ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: client.post("/v2/fold/run", json=job).status_code, range(16)))
    assert sorted(codes) == [200] * 3 + [429] * 13


def test_a_quote_above_the_budget_waits_for_its_user(served: Served) -> None:
    settings = {**REHEARSAL, "deadline": 100}
    with served.client("poor") as client:
        sent = send(client, _FASTA, settings=settings, accept="true", budget="1")
        view = until(client, sent["id"], "QUOTED", "QUEUED")
        # Nothing is rented here: it is accepted, and its budget is the run's.
        view = until(client, sent["id"], "QUEUED")
        record = json.loads((served.folder / "runs" / view["id"] / "record.json").read_bytes())
        assert record["facts"] == {"budget": 1.0, "dollars": 0.0, "residues": len(CHAIN)}
        # As if the quote had been higher: it has not been accepted yet.
        other = until(client, send(client, _FASTA)["id"], "QUOTED")
        file = served.folder / "sets" / other["id"] / "quote.json"
        quote = json.loads(file.read_bytes())
        quote["dollars"]["expected"] = quote["dollars"]["high"] = 0.75
        file.write_text(json.dumps(quote))
        answer = client.post(f"/api/runs/{other['id']}/accept", json={"budget": 0.25})
        assert answer.status_code == 409
        assert "The quote is $0.75, above the budget of $0.25." in answer.json()["detail"]
        answer = client.post(f"/api/runs/{other['id']}/accept", json={"budget": 2})
        assert answer.status_code == 429
        assert "quota is $0.50 of dollars a day" in answer.json()["detail"]


def test_events_end_with_the_set(ada: httpx.Client) -> None:
    name = send(ada, ">bad\nMKT1YIAKQRQISFVK\n")["id"]
    with ada.stream("GET", f"/api/runs/{name}/events", timeout=60) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        views = [json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:")]
    assert [view["state"] for view in views][-1] == "REFUSED"
    assert all(before != after for before, after in pairwise(views))


def test_a_user_has_so_many_streams_at_once(served: Served, ada: httpx.Client) -> None:
    path = f"/api/runs/{until(ada, send(ada, _FASTA)['id'], 'QUOTED')['id']}/events"
    lines = []  # a stream is closed with its last iterator
    with ExitStack() as stack:
        for _ in range(2):
            stream = stack.enter_context(ada.stream("GET", path, timeout=60))
            assert stream.status_code == 200
            lines.append(stream.iter_lines())
            assert next(lines[-1]).startswith("data:")
        with ada.stream("GET", path, timeout=60) as refused:
            assert refused.status_code == 429
            refused.read()
        assert refused.headers["retry-after"] == "10"
        assert "2 of your events and archives are being sent" in refused.json()["detail"]
        with served.client("bob") as bob:
            other = until(bob, send(bob, _FASTA)["id"], "QUOTED")["id"]
            with bob.stream("GET", f"/api/runs/{other}/events", timeout=60) as stream:
                assert stream.status_code == 200  # those of others are their own

    def free() -> bool:
        with ada.stream("GET", path, timeout=60) as stream:
            return stream.status_code == 200

    wait(free)  # what is closed counts no longer


def test_too_much_is_refused(ada: httpx.Client) -> None:
    view = until(ada, send(ada, "".join(f">{n}\n{CHAIN}\n" for n in range(51)))["id"], "REFUSED")
    assert view["error"] == "The set has more than 50 targets, and this service takes no more."
    assert ada.post("/api/runs", data={"text": ">a\n" + "M" * 4_000_000}).status_code == 413
    assert ada.post("/v2/fold/run", json={"input": {"sequence": "M" * 2_000_000}}).status_code == 413


def _results(served: Served, name: str) -> Path:
    """Results that nobody computed."""
    results = served.folder / "sets" / name / "results"
    for path, text in {
        "metrics.tsv": "id\n",
        "structures/one/ranked_0.cif": "data_one\n" * 100_000,
        "report/index.html": "<title>report</title>",
        "report/assets/core.js": "1;",
        "predictions/b0001.tar.zst": "packed",
        ".snakefold/run.lock": "",
    }.items():
        (results / path).parent.mkdir(parents=True, exist_ok=True)
        (results / path).write_text(text)
    (results / "out").symlink_to(served.root)
    (results / "tokens.yaml").symlink_to(served.root / "tokens.yaml")
    return results


def test_files_are_those_of_the_results(served: Served, ada: httpx.Client) -> None:
    view = until(ada, send(ada, _FASTA, name='a "set"')["id"], "QUOTED")
    links = view["links"]
    assert ada.get(links["zip"]).status_code == 404
    assert ada.get(links["files"]).json() == {"files": []}
    results = _results(served, view["id"])
    listed = {each["path"]: each["size"] for each in ada.get(links["files"]).json()["files"]}
    assert listed == {
        path: (results / path).stat().st_size
        for path in (
            "metrics.tsv",
            "structures/one/ranked_0.cif",
            "report/index.html",
            "report/assets/core.js",
        )
    }
    for path, size in listed.items():
        assert len(ada.get(f"{links['files']}/{path}").content) == size
    assert ada.get(f"{links['files']}/metrics.tsv").headers["content-disposition"].startswith("attachment")
    answer = ada.get(links["zip"])
    assert answer.headers["content-disposition"] == 'attachment; filename="a_set.zip"'
    assert "content-length" not in answer.headers  # made while it was sent
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert {info.filename: info.file_size for info in archive.infolist()} == {
            f"a_set/{path}": size for path, size in listed.items()
        }
    page = ada.get(links["report"])
    assert page.text == "<title>report</title>"
    assert page.headers["content-type"].startswith("text/html")
    assert ada.get(f"{links['report']}assets/core.js").text == "1;"


_TRICKS = [
    "../set.json", "%2e%2e/set.json", "..%2fset.json", "structures/../../set.json", "/etc/passwd",
    "//etc/passwd", "%2fetc%2fpasswd", "tokens.yaml", "out/tokens.yaml", ".snakefold/run.lock",
    "structures", "a%0ab", "a%00b", "structures//one/ranked_0.cif", "predictions/b0001.tar.zst", "",
    "a" * 5000,
]  # fmt: skip


def test_paths_lead_nowhere_else(served: Served, ada: httpx.Client) -> None:
    view = until(ada, send(ada, _FASTA)["id"], "QUOTED")
    _results(served, view["id"])
    for base in ("files", "report"):
        for path in _TRICKS:
            if base == "report" and not path:
                continue  # its first page
            # As it is: a client library would tidy it up.
            request = ada.build_request("GET", f"/api/runs/{view['id']}/{base}/")
            request.url = request.url.copy_with(raw_path=f"/api/runs/{view['id']}/{base}/{path}".encode())
            answer = ada.send(request)
            assert answer.status_code in (400, 404, 414), (base, path, answer.text[:200])
            assert "sha256" not in answer.text


def test_engines_say_what_a_form_may_offer(served: Served, ada: httpx.Client) -> None:
    offer = ada.get("/api/engines").json()
    engines = {each["name"]: each for each in offer["engines"]}
    assert {"alphafold2", "flashabb", "proteinmpnn"} <= engines.keys()
    assert "reuse" not in engines
    assert engines["proteinmpnn"]["designs"]
    recycles = next(each for each in engines["alphafold2"]["settings"] if each["name"] == "num_recycle")
    assert (recycles["type"], recycles["default"], recycles["minimum"], recycles["maximum"]) == (
        "integer",
        3,
        0,
        48,
    )
    assert recycles["doc"]
    names = {f"{each['section']}.{each['name']}".strip(".") for each in offer["settings"]}
    assert {"engine", "msa.tool", "relax.models_to_relax", "design.engine"} <= names
    assert not {"results", "store", "input", "publish", "msa.db_root", "gpu.table", "design.stage"} & names
    assert served.client("ada").get("/api/engines").json() == offer
