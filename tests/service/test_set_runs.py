"""Runs of sets, with the real workflow, and everything killed on the way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from snakefold.service.users import Quota
from tests.service.served_sets import CHAIN, OTHER, Served, finished_jobs, send, serving, until, wait

HOUSE = Path(__file__).resolve().parents[2]
_FASTA = f">one\n{CHAIN}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that runs one set at a time."""
    workers = {"jobs": 0, "runs": 1, "quotes": 1, "searches": 0}
    with serving(
        tmp_path_factory.mktemp("runs"), {"ada": Quota(), "bob": Quota()}, workers=workers
    ) as service:
        yield service


def _accept(client: httpx.Client, text: str) -> str:
    view = until(client, send(client, text)["id"], "QUOTED")
    answer = client.post(f"/api/runs/{view['id']}/accept", json={"budget": 5})
    assert answer.status_code == 200, answer.text
    return str(view["id"])


def _running(served: Served, name: str) -> int:
    """The process of a run, once it computes."""
    wait((served.folder / "sets" / name / "results" / "plan" / "batches.tsv").exists)
    found: int = wait(lambda: served.runs(name))[0]
    return found


def test_a_run_outlives_its_worker_the_server_and_itself(served: Served) -> None:
    with served.client("ada") as ada:
        name = _accept(ada, _FASTA)
        folder = served.folder / "sets" / name
        run = _running(served, name)
        environment = Path(f"/proc/{run}/environ").read_bytes()
        assert b"hidden" not in environment
        assert b"SNAKEFOLD_SERVICE=" not in environment
        assert served.tokens["ada"].encode() not in environment

        os.kill(served.worker("runs", name), signal.SIGKILL)
        wait((served.folder / "runs" / name / "attempt-2.json").exists)
        assert served.runs(name) == [run]  # its successor waits for it
        assert until(ada, name, "RUNNING")["progress"]["total"] == 1

        os.killpg(run, signal.SIGKILL)
        again = wait(lambda: [each for each in served.runs(name) if each != run])
        served.kill()
        served.start()
    with served.client("ada") as ada:
        with ada.stream("GET", f"/api/runs/{name}/events", timeout=None) as stream:
            views = [json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:")]
        assert views[-1]["state"] == "COMPLETE", views[-1]
        view = until(ada, name, "COMPLETE")
        assert again != [run]
        assert (view["progress"]["done"], view["progress"]["failed"], view["progress"]["total"]) == (1, 0, 1)
        assert view["progress"]["rehearsal"]
        assert view["started"] <= view["ended"]
        # The job of the prediction came to its end once, whatever was killed.
        assert finished_jobs(folder).count("predict") == 1
        paths = [each["path"] for each in ada.get(view["links"]["files"]).json()["files"]]
        assert {"metrics.tsv", "report/index.html", "structures/one/ranked_0.cif"} <= set(paths)
        assert "REHEARSAL" in ada.get(view["links"]["report"]).text
        _shows_no_path(served, ada, view)
        assert ada.post(f"/api/runs/{name}/cancel").json()["state"] == "COMPLETE"
        assert not served.runs(name)

    # The same target of somebody else is in the store: it is not computed again.
    with served.client("bob") as bob:
        sent = send(bob, f">mine\n{CHAIN}\n", accept="true", budget="1")
        view = until(bob, sent["id"], "COMPLETE")
        assert "predict" not in finished_jobs(served.folder / "sets" / view["id"])
        assert bob.get(f"{view['links']['files']}/structures/mine/ranked_0.cif").status_code == 200


def _shows_no_path(served: Served, client: httpx.Client, view: dict[str, Any]) -> None:
    """Nothing that the user gets of a run names a folder of the server's machine, though files of it do."""
    results = served.folder / "sets" / view["id"] / "results"
    own = [str(served.root).encode(), str(HOUSE).encode(), str(Path.home()).encode()]
    assert own[0] in (results / "provenance.json").read_bytes()
    with zipfile.ZipFile(io.BytesIO(client.get(view["links"]["zip"]).content)) as archive:
        assert archive.testzip() is None
        there = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert [name for name, data in there.items() if any(path in data for path in own)] == []
    for name in ("provenance.json", "config.yaml", "report/index.html", "logs/run.log"):
        assert client.get(f"{view['links']['files']}/{name}").content == there[name], name
    assert client.get(view["links"]["report"]).content == there["report/index.html"]
    for stream in ("stdout", "stderr"):
        said = client.get(f"/ga4gh/wes/v1/runs/{view['id']}/{stream}").content
        assert not any(path in said for path in own), stream
    crate = json.loads(there["ro-crate-metadata.json"])["@graph"]
    digests = {each["@id"]: each["sha256"] for each in crate if each["@id"] in there and "sha256" in each}
    assert {"config.yaml", "provenance.json", "metrics.parquet"} <= set(digests)
    assert digests == {name: hashlib.sha256(there[name]).hexdigest() for name in digests}


def test_a_run_that_is_cancelled_stops(served: Served) -> None:
    with served.client("bob") as bob:
        name, waiting = _accept(bob, f">two\n{OTHER}\n"), _accept(bob, f">three\n{OTHER}W\n")
        run = _running(served, name)
        assert bob.get(f"/api/runs/{waiting}").json()["state"] == "QUEUED"  # one at a time
        for each in (waiting, name):
            assert bob.post(f"/api/runs/{each}/cancel").json()["state"] == "CANCELLED"
        wait(lambda: not served.runs(name))
        wait(lambda: not _group(run))
        assert bob.get(f"/api/runs/{name}").json()["state"] == "CANCELLED"
        assert not (served.folder / "sets" / waiting / "results").exists()


def _group(number: int) -> list[int]:
    """Processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[2]) == number and words[0] != "Z":
            found.append(int(path.parent.name))
    return found
