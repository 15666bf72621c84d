"""`snakefold deploy` against the emulated management API, by its command line."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakefold.cli import main
from snakefold.deploy import api
from snakefold.deploy.api import Account
from snakefold.deploy.desired import Deployment, read_deployment, resources
from snakefold.deploy.diff import compare
from snakefold.deploy.lock import Lock
from snakefold.errors import ConfigError
from snakefold.runpod import RejectedError
from tests.emulator import READ_ONLY_KEY, EmulatorThread, ManualClock, Scaling

from .helpers import environment_of, session_of

SECRET = "sk_live_this_is_a_secret"  # noqa: S105
BASE = {
    "prefix": "test",
    "image": "registry/worker:1",
    "volume": {"name": "test", "size_gb": 50, "data_center": "EU-RO-1"},
    "endpoints": {
        "fold": {
            "gpu_classes": ["ampere_24", "ada_48_pro"],
            "endpoint_per_class": True,
            "workers_max": 2,
            "env": {"SNAKEFOLD_THREADS": "8"},
            "secrets": {"AWS_SECRET_ACCESS_KEY": "s3_key"},
        },
        "mmseqs": {"gpu_classes": ["ada_24", "ampere_24"], "use_volume": False},
    },
}


class Place:
    """An account, endpoints.yaml, and the command."""

    def __init__(self, service: EmulatorThread, folder: Path, monkeypatch, capsys):
        self.service, self.file, self.capsys = service, folder / "endpoints.yaml", capsys
        self.lock = folder / "endpoints.lock.yaml"
        self.account = service.emulator.account
        self.account.secrets.append("s3_key")
        for name, value in environment_of(service).items():
            monkeypatch.setenv(name, value)
        self.write()

    def write(self, **changes):
        """endpoints.yaml, with entries changed: `endpoints__fold__workers_max=3`; None removes."""
        content = yaml.safe_load(yaml.safe_dump(BASE))
        for path, value in changes.items():
            *above, last = path.split("__")
            place = content
            for name in above:
                place = place[name]
            place[last] = value
            if value is None:
                del place[last]
        self.file.write_text(yaml.safe_dump(content))

    def run(self, action, *arguments):
        """Exit code and what was said, on both channels."""
        code = main(["deploy", action, "--file", str(self.file), *arguments])
        said = self.capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert self.service.api_key not in said.out + said.err
        return code, said.out + said.err

    def records(self):
        return {record["name"]: record for record in self.account.endpoints.values()}

    def writes(self):
        """What the account holds, to see that nothing was changed."""
        return repr((self.account.templates, self.account._endpoint_records(), self.account.volumes))


@contextlib.contextmanager
def account(tmp_path, monkeypatch, capsys, **settings):
    with EmulatorThread({"theirs": {"scaling": Scaling(workers_max=1)}}, **settings) as service:
        yield Place(service, tmp_path, monkeypatch, capsys)


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    with account(tmp_path, monkeypatch, capsys) as made:
        yield made


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
    assert (code, "1 job(s)" in said, place.writes()) == (2, True, before)
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


def test_an_endpoint_scaled_to_zero_is_told_and_raised(tmp_path, monkeypatch, capsys):
    with account(tmp_path, monkeypatch, capsys, clock=ManualClock()) as place:
        place.run("apply", "--yes")
        place.service.advance(8 * 86_400)
        assert "scaled to 0" in place.run("status")[1]
        said = place.run("plan")[1]
        assert "workers.max: 0 → 2" in said
        assert "after seven" in said
        place.run("apply", "--yes")
        assert place.records()["test-mmseqs"]["workers"]["max"] == 1


def test_the_quota_of_the_account_counts_other_endpoints(place):
    place.account.worker_quota = 6
    assert place.run("apply", "--yes")[0] == 0
    place.write(endpoints__fold__workers_max={"ampere_24": 3, "ada_48_pro": 2})
    code, said = place.run("plan")
    assert code == 2
    assert "error: workers_max adds up to 6, and 1 of other endpoints; the account's quota is 6" in said
    before = place.writes()
    assert place.run("apply", "--yes")[0] == 2
    assert place.writes() == before
    endpoint = yaml.safe_load(place.lock.read_text())["endpoints"]["mmseqs"]
    with pytest.raises(RejectedError, match="6 workers in all"):  # as the service would say it
        api.update(session_of(place.service), "endpoint", endpoint, {"workers": {"max": 2}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": ""}, "no image is set"),
        ({"volume__data_center": "MOON-1"}, "no data centre MOON-1"),
        ({"endpoints__fold__gpu_classes": ["b200"]}, "no GPU pool BLACKWELL_180"),
        ({"endpoints__fold__gpu_classes": ["local"]}, "no runpod_pool"),
        ({"endpoints__fold__gpu_classes": ["a100"]}, "no GPU class a100"),
        ({"endpoints__fold__secrets": {"A_KEY": "missing"}}, "no secret missing"),
        ({"endpoints__fold__env": {"A_KEY": SECRET}}, "looks like a secret"),
        ({"endpoints__fold__env": {"A": "https://u:pw@host/"}}, "looks like a secret"),
        ({"endpoints__fold__data_centers": ["US-KS-2"]}, "cannot mount it"),
        ({"endpoints__fold__colour": "red"}, "colour"),
        ({"endpoints__mmseqs__workers_max": {"ada_24": 1}}, "endpoint_per_class"),
    ],
)
def test_traps_are_said_before_anything_is_made(place, changes, said):
    before = place.writes()
    place.write(**changes)
    code, text = place.run("apply", "--yes")
    assert (code, place.writes()) == (2, before)
    assert said in text


def test_volumes_grow_and_never_move_or_shrink(place):
    place.run("apply", "--yes")
    place.write(volume__size_gb=60)
    assert "size: 50 → 60" in place.run("apply", "--yes")[1]
    place.write(volume__size_gb=50)
    assert "cannot shrink" in place.run("apply", "--yes")[1]
    place.write(volume__size_gb=60, volume__data_center="US-KS-2")
    code, said = place.run("apply", "--yes")
    assert (code, "cannot become US-KS-2" in said) == (2, True)


def test_workers_that_are_always_on_have_their_price_said(place):
    place.write(endpoints__mmseqs__workers_min=1)
    assert "$1.12 an hour" in place.run("plan")[1]


def test_two_of_one_name_are_not_guessed_between(place):
    place.run("apply", "--yes")
    session = session_of(place.service)
    for record in list(place.records().values()):
        if record["name"] == "test-mmseqs":
            api.create(
                session,
                "endpoint",
                {
                    "name": "test-mmseqs",
                    "type": "QUEUE",
                    "image": "x",
                    "gpu": {"pools": ["ADA_24"]},
                    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
                },
            )
    assert place.run("plan")[0] == 0  # the noted id tells them apart
    place.lock.unlink()
    code, said = place.run("plan")
    assert (code, "has 2 of that name" in said) == (2, True)


def test_keys_that_may_not(place, monkeypatch):
    monkeypatch.setenv("RUNPOD_API_KEY", READ_ONLY_KEY)
    assert place.run("plan")[0] == 0
    code, said = place.run("apply", "--yes")
    assert (code, "permission" in said, READ_ONLY_KEY in said) == (2, True, False)
    monkeypatch.delenv("RUNPOD_API_KEY")
    assert place.run("plan")[0] == 2


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
        "from snakefold.deploy import api\n"
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


# The comparison by itself


def wanted(**changes):
    return resources(Deployment.model_validate({**BASE, **changes}))


def as_made(asked):
    """An account that has what is asked for."""
    templates = {one.key: one for one in asked if one.kind == "template"}
    records = {"volume": [], "template": [], "endpoint": []}
    for number, one in enumerate(asked):
        body = dict(one.body)
        if one.kind == "endpoint":
            body |= {name: templates[one.key].body[name] for name in ("image", "env", "disk", "args")}
            body["networkVolumes"] = ["0"] if one.uses_volume else []
        records[one.kind].append({"id": str(number), **body})
    return Account(records, frozenset(), frozenset(), frozenset(), None)


@given(st.sampled_from(["reverse", "fb", "extra"]))
def test_what_means_the_same_is_no_difference(how):
    asked = wanted()
    there = as_made(asked)
    for record in there.records["endpoint"]:
        if how == "reverse":
            record["gpu"] = {**record["gpu"], "pools": record["gpu"]["pools"][::-1]}
        elif how == "fb":
            record["name"] += " -fb"
        else:
            record["somethingNew"] = 1
    assert {change.action for change in compare(asked, there, Lock(Path("none")))} == {"keep"}


def test_the_files_that_come_with_the_project():
    folder = Path(__file__).resolve().parents[2] / "profiles" / "runpod"
    deployment = read_deployment(folder / "endpoints.yaml", "registry/worker:1")
    keys = {one.key for one in resources(deployment) if one.kind == "endpoint"}
    workers = [one.body["workers"]["max"] for one in resources(deployment) if one.kind == "endpoint"]
    assert sum(workers) <= 5  # what a new account may have
    settings = yaml.safe_load((folder / "settings.yaml").read_text())["gpu"]
    assert {f"fold-{name}" for name in settings["classes"]} < keys
    assert settings["workers"] == dict.fromkeys(settings["classes"], 2)
    with pytest.raises(ConfigError, match="no image"):
        resources(read_deployment(folder / "endpoints.yaml"))
