"""`snakefold deploy` against the emulated management API, by its command line: what it makes and keeps."""

from __future__ import annotations

import os
import subprocess
import sys

import yaml

from snakefold.clusters.runpod.deploy import api

from .deploying import SECRET
from .helpers import environment_of, session_of


def test_from_nothing_to_endpoints_and_back(place):
    before = place.writes()
    code, said = place.run("plan")
    assert (code, place.writes(), place.lock.exists()) == (0, before, False)
    assert "7 to create" in said
    assert place.run("plan", "--check")[0] == 1
    code, said = place.run("apply", "--yes")
    assert code == 0
    ids = yaml.safe_load(place.lock.read_text())
    assert sorted(ids["endpoints"]) == ["fold-ada_48_pro", "fold-ampere_24", "mmseqs"]
    made = place.records()["test-fold-ampere_24"]
    assert made["gpu"]["pools"] == ["AMPERE_24"]
    assert made["workers"] == {"min": 0, "max": 2, "idleTimeout": 10}
    assert made["env"] == {
        "SNAKEFOLD_THREADS": "8",
        "AWS_SECRET_ACCESS_KEY": "{{ RUNPOD_SECRET_s3_key }}",
    }
    assert (made["timeout"], made["flashboot"]) == (3_600_000, "FLASHBOOT")  # the API's: 300000, OFF
    assert made["networkVolumes"] == list(place.account.volumes)
    assert made["dataCenterIds"] == ["EU-RO-1"]
    assert place.records()["test-mmseqs"]["gpu"]["pools"] == ["ADA_24", "AMPERE_24"]
    assert place.records()["test-mmseqs"]["networkVolumes"] == []
    assert not any(one["startJupyter"] or one["startSsh"] for one in place.account.templates.values())

    after = place.writes()
    code, said = place.run("plan", "--check")
    assert (code, "7 as they should be" in said) == (0, True)
    place.run("apply", "--yes")
    assert place.writes() == after

    code, said = place.run("status")
    assert code == 0
    assert ids["endpoints"]["mmseqs"] in said
    assert "1.91" in said  # dollars an hour of an L40S: 0.00053 $/s
    code, said = place.run("destroy", "--yes")
    assert code == 0
    assert (list(place.records()), place.account.templates) == (["theirs"], {})
    assert len(place.account.volumes) == 1
    assert "kept, and paid for" in said
    assert place.run("destroy", "--yes", "--with-volume")[0] == 0
    assert place.account.volumes == {}
    assert place.run("destroy", "--yes")[1] == "nothing to delete\n"
    assert "nothing is deployed" in place.run("status")[1]


def test_nothing_happens_without_a_yes(place, monkeypatch):
    before = place.writes()
    code, said = place.run("apply")
    assert (code, "--yes" in said) == (2, True)
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert place.run("apply")[0] == 2
    assert place.writes() == before
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert place.run("apply")[0] == 0
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert place.run("destroy")[0] == 2
    assert len(place.records()) == 4


def test_what_somebody_changed_is_shown_and_put_right(place):
    place.run("apply", "--yes")
    ids = yaml.safe_load(place.lock.read_text())

    def meddle(emulator):
        endpoint = emulator.endpoints[ids["endpoints"]["mmseqs"]]
        endpoint.scaling.workers_max, endpoint.execution_timeout = 9, 60.0
        record = emulator.account.endpoints[ids["endpoints"]["fold-ampere_24"]]
        record["env"] = {"SNAKEFOLD_THREADS": SECRET, "TOKEN": SECRET}
        record["image"] = "registry/worker:0"
        record["args"] = SECRET
        emulator.account.templates[ids["templates"]["mmseqs"]]["startSsh"] = True

    place.service.call(meddle)
    code, said = place.run("plan", "--check")
    assert code == 1
    for line in (
        "workers.max: 9 → 1",
        "timeout: 60000 → 3600000",
        "env.SNAKEFOLD_THREADS: set → another value",
        "env.AWS_SECRET_ACCESS_KEY: unset → set",
        "env.TOKEN: set → unset",
        "image: registry/worker:0 → registry/worker:1",
        "startSsh: True → False",
        "args: others",
        "3 to update",
    ):
        assert line in said
    assert place.run("apply", "--yes")[0] == 0
    assert place.run("plan", "--check")[0] == 0
    assert SECRET not in place.writes() + place.lock.read_text()


def test_a_new_image_reaches_templates_and_endpoints(place):
    place.run("apply", "--yes")
    assert place.run("apply", "--yes", "--image", "registry/worker:2")[0] == 0
    assert {one["image"] for one in place.account.templates.values()} == {"registry/worker:2"}
    assert {one["image"] for name, one in place.records().items() if name != "theirs"} == {
        "registry/worker:2"
    }
    assert len(place.account.templates) == 3


def test_what_is_no_longer_asked_for_goes_but_not_with_jobs_in_it(place):
    place.run("apply", "--yes")
    gone = yaml.safe_load(place.lock.read_text())["endpoints"]["mmseqs"]

    def add_job(emulator):
        emulator.endpoints[gone].capacity = 0
        return emulator.endpoints[gone].submit({"n": 1})

    place.service.call(add_job)
    place.write(endpoints__mmseqs=None)
    assert "2 to delete" in place.run("plan")[1]
    before = place.writes()
    code, said = place.run("apply", "--yes")
    assert (code, "1 job waiting" in said, place.writes()) == (2, True, before)
    assert place.run("apply", "--yes", "--force")[0] == 0
    assert gone not in place.account.endpoints
    assert "mmseqs" not in yaml.safe_load(place.lock.read_text())["endpoints"]
    assert place.run("plan", "--check")[0] == 0


def test_a_lost_lock_is_found_again_by_names(place):
    place.run("apply", "--yes")
    noted, before = place.lock.read_text(), place.writes()
    place.lock.unlink()
    assert place.run("apply", "--yes")[0] == 0
    assert (place.lock.read_text(), place.writes()) == (noted, before)
    place.lock.write_text("endpoints: [")
    assert place.run("plan")[0] == 2


def test_an_endpoint_that_somebody_deleted_is_made_again(place):
    place.run("apply", "--yes")
    gone = yaml.safe_load(place.lock.read_text())["endpoints"]["mmseqs"]
    session = session_of(place.service)
    assert api.delete(session, "endpoint", gone)
    assert not api.delete(session, "endpoint", gone)
    assert "is gone" in place.run("status")[1]
    assert "2 to create" in place.run("plan")[1]
    assert place.run("apply", "--yes")[0] == 0
    assert yaml.safe_load(place.lock.read_text())["endpoints"]["mmseqs"] != gone


def test_a_creation_whose_answer_is_lost_is_found_and_not_repeated(place, monkeypatch):
    session = session_of(place.service)
    body = {"name": "v", "size": 10, "dataCenter": "EU-RO-1"}
    made = api._call
    lost = iter([True])

    def losing(session, method, path, body=None):
        answer = made(session, method, path, body)
        if method == "POST" and next(lost, False):
            raise api.UnavailableError("the connection was lost", taken=True)
        return answer

    monkeypatch.setattr(api, "_call", losing)
    record = api.create(session, "volume", body)
    assert [record["id"]] == list(place.account.volumes)


def test_an_apply_that_dies_goes_on_where_it_was(place):
    """Killed after every write in turn: nothing is made twice."""
    script = (
        "import os, sys\n"
        "from snakefold.clusters.runpod.deploy import api\n"
        "from snakefold.cli import main\n"
        "whole = api.create\n"
        "def dying(*arguments):\n"
        "    record = whole(*arguments)\n"
        "    os._exit(9)\n"
        "api.create = dying\n"
        "sys.exit(main(['deploy', 'apply', '--yes', '--file', sys.argv[1]]))\n"
    )
    for number in range(1, 8):
        done = subprocess.run(
            [sys.executable, "-c", script, str(place.file)],
            env=os.environ | environment_of(place.service),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 9, done.stderr
        assert len(place.account.volumes) + len(place.account.templates) + len(place.records()) - 1 == number
    assert place.run("apply", "--yes")[0] == 0
    assert place.run("plan", "--check")[0] == 0
