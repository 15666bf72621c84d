"""`snakefold deploy`: what must be put right first is said, and nothing is made before."""

from __future__ import annotations

import pytest
import yaml

from snakefold.clusters.emulator import READ_ONLY_KEY, Fault, Faults, ManualClock
from snakefold.clusters.runpod import RejectedError, UnavailableError
from snakefold.clusters.runpod.deploy import api
from snakefold.clusters.runpod.deploy.desired import image_cuda
from snakefold.kernel.paths import house

from .deploying import SECRET, account
from .helpers import session_of


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


@pytest.mark.parametrize(
    ("fault", "said"), [("crash_loop", "workers fail while they start"), ("no_capacity", "no GPU of its")]
)
def test_workers_that_crash_are_told_from_gpus_that_are_missing(tmp_path, monkeypatch, capsys, fault, said):
    rule = Fault(fault, at=60, seconds=86_400)
    with account(tmp_path, monkeypatch, capsys, clock=ManualClock(), faults=Faults([rule])) as place:
        place.run("apply", "--yes")
        assert said not in place.run("status")[1]
        place.service.advance(61)
        endpoint = yaml.safe_load(place.lock.read_text())["endpoints"]["mmseqs"]
        place.service.call(lambda emulator: emulator.endpoints[endpoint].submit({"n": 1}))
        place.service.advance(20)
        (row,) = [row for row in place.run("status")[1].splitlines() if row.startswith("mmseqs ")]
        assert said in row


def test_a_key_that_may_not_see_secrets_or_limits_can_deploy(place):
    """What is not known is not held against the file."""
    place.account.refused |= {"/account/secrets", "/account/limits"}
    place.account.secrets.clear()
    place.write(endpoints__fold__workers_max=3)
    code, said = place.run("apply", "--yes")
    assert code == 0
    assert "note: not known: whether the account has the secrets s3_key" in said
    assert "not known: the account's quota of workers" in said
    assert place.run("plan", "--check")[0] == 0


def test_what_the_published_api_lacks_is_not_waited_for(place, monkeypatch):
    asked = []
    call = api.call

    def broken(session, method, url, body=None):
        if "/account/" in url:
            asked.append(url)
            raise UnavailableError("HTTP 503")
        return call(session, method, url, body)

    monkeypatch.setattr(api, "call", broken)
    code, said = place.run("plan")
    assert code == 0
    assert "not known" in said
    assert len(asked) == 2  # once each, and not for minutes


def test_cuda_is_that_of_the_image(place):
    own = image_cuda()
    assert f"nvidia/cuda:{own}" in (house() / "containers" / "Docker.base").read_text()
    place.write(endpoints__fold__min_cuda_version="12.4")
    said = place.run("apply", "--yes")[1]
    assert f"warning: endpoint test-fold-ampere_24: min_cuda_version is 12.4, and snakefold's image is built on CUDA {own}" in said  # fmt: skip # noqa: E501
    assert place.records()["test-fold-ampere_24"]["gpu"]["minCudaVersion"] == "12.4"
    # What is taken out of the file is what it would have been without.
    place.write()
    code, said = place.run("plan", "--check")
    assert (code, f"gpu.minCudaVersion: 12.4 → {own}" in said) == (1, True)
    assert "min_cuda_version" not in said
    place.run("apply", "--yes")
    assert place.records()["test-fold-ampere_24"]["gpu"]["minCudaVersion"] == own
    place.write(endpoints__fold__min_cuda_version="any")
    assert f"gpu.minCudaVersion: {own} → none" in place.run("apply", "--yes")[1]
    assert place.records()["test-fold-ampere_24"]["gpu"]["minCudaVersion"] is None
    assert place.run("plan", "--check")[0] == 0


def test_the_plan_says_what_the_profile_can_carry(place):
    assert "storage" not in place.run("plan")[1]  # no profile is beside the file
    profile = place.file.with_name("config.v9+.yaml")
    profile.write_text("executor: runpod\nrunpod-transfer: auto\n")
    said = place.run("plan")[1]
    assert "warning: the profile has no storage" in said
    assert "runpod-volume: ID and runpod-datacenter: EU-RO-1, or runpod-bucket" in said
    place.run("apply", "--yes")
    volume = yaml.safe_load(place.lock.read_text())["volumes"]["volume"]
    assert f"runpod-volume: {volume} and" in place.run("plan")[1]
    profile.write_text("executor: runpod\nrunpod-bucket: mine\n")
    assert "no storage" not in place.run("plan")[1]


@pytest.mark.parametrize(
    "limits",
    [{"serverlessWorkers": 5}, {"serverlessWorkers": {"max": 5}}, {"serverlessWorkers": {"limit": 5}}],
)
def test_the_quota_is_read_in_every_form(place, limits):
    place.account.limits = limits
    code, said = place.run("plan")
    assert (code, "the account's quota is 5" in said) == (2, True)  # 5, and 1 of another endpoint


def test_an_endpoint_that_may_start_workers_is_stopped_before_it_is_deleted(place):
    place.run("apply", "--yes")
    place.account.keeps_what_may_start = True
    assert place.run("destroy", "--yes")[0] == 0
    assert list(place.records()) == ["theirs"]
