"""`snakefold deploy`: endpoints of engines that have an image of their own, and one endpoint among others."""

from __future__ import annotations

import pytest

from snakefold import engines
from snakefold.clusters.runpod.deploy.desired import image_cuda, version_of
from snakefold.engines.spec import locked

NAME = "boltz2"
OWN = {"engine": NAME, "gpu_classes": ["ampere_24"], "endpoint_per_class": True}
IMAGE = ("--image", "other=registry/engine:1")


@pytest.fixture
def both(place):
    """A file with an endpoint of an engine's own, `other`, besides the usual ones."""
    place.write(endpoints__other=OWN)
    return place


def images(place):
    return {name: record["image"] for name, record in place.records().items() if name != "theirs"}


def test_an_engines_endpoint_is_left_out_until_it_has_an_image(both):
    code, said = both.run("apply", "--yes")
    assert code == 0
    assert set(images(both)) == {"test-fold-ampere_24", "test-fold-ada_48_pro", "test-mmseqs"}
    assert "note: endpoint other: is left as it is: no image is set" in said
    assert f"build_and_push.sh --engine={NAME}" in said and "--image other=IMAGE" in said
    code, said = both.run("apply", "--yes", *IMAGE)
    assert (code, "2 to create, 0 to update, 0 to delete" in said) == (0, True)
    assert images(both) == {
        **dict.fromkeys(["test-fold-ampere_24", "test-fold-ada_48_pro", "test-mmseqs"], "registry/worker:1"),
        "test-other-ampere_24": "registry/engine:1",
    }
    # Without its image it is not asked for, and stays all the same.
    before = both.writes()
    assert both.run("apply", "--yes")[0] == 0
    assert both.writes() == before


def test_an_engines_image_may_be_the_only_one(both):
    both.write(image="", endpoints__other=OWN)
    assert both.run("apply", "--yes", *IMAGE)[0] == 0
    assert images(both) == {"test-other-ampere_24": "registry/engine:1"}
    assert "other-ampere_24" in both.run("status")[1]


def test_the_driver_must_suit_the_engines_own_cuda(both):
    """Its build of PyTorch may need a newer one than the image that it is built on."""
    both.run("apply", "--yes", *IMAGE)
    (version,) = locked(engines.get(NAME).environment.lock)["nvidia-cuda-runtime"]
    asked = both.records()["test-other-ampere_24"]["gpu"]["minCudaVersion"]
    assert version.startswith(f"{asked}.") and version_of(asked) > version_of(image_cuda())
    assert both.records()["test-fold-ampere_24"]["gpu"]["minCudaVersion"] == image_cuda()
    both.write(endpoints__other={**OWN, "min_cuda_version": image_cuda()})
    said = both.run("plan", *IMAGE)[1]
    assert f"min_cuda_version is {image_cuda()}, and snakefold's image is built on CUDA {asked}" in said


def test_one_endpoint_is_changed_and_deleted_alone(both):
    both.run("apply", "--yes", *IMAGE)
    both.write(endpoints__fold__workers_max=1, endpoints__mmseqs=None, endpoints__other=OWN)
    code, said = both.run("apply", "other", "--yes", "--image", "other=registry/engine:2")
    assert (code, "0 to create, 2 to update, 0 to delete" in said) == (0, True)
    assert images(both)["test-other-ampere_24"] == "registry/engine:2"
    assert both.records()["test-fold-ampere_24"]["workers"]["max"] == 2
    code, said = both.run("destroy", "other", "--yes")
    assert code == 0
    assert set(images(both)) == {"test-fold-ampere_24", "test-fold-ada_48_pro", "test-mmseqs"}
    code, said = both.run("destroy", "other", "--with-volume", "--yes")
    assert (code, "share the network volume" in said) == (2, True)
    # All of the file: what is no longer in it goes.
    assert "1 to delete" not in both.run("plan", "fold")[1]
    assert "2 to delete" in both.run("plan")[1]


@pytest.mark.parametrize(
    ("arguments", "changes", "said"),
    [
        (["other"], {}, "endpoint other: no image is set"),
        (["others"], {}, "endpoint others: is not in endpoints.yaml, which has: fold, mmseqs, other"),
        (["--image", "others=x"], {}, "there is no endpoint others"),
        ([], {"image": ""}, "so there is nothing to deploy"),
        (IMAGE, {"endpoints__other": {**OWN, "engine": "boltz9"}}, "engine boltz9: expected an engine that"),
        (IMAGE, {"endpoints__other": {**OWN, "engine": "alphafold2"}}, "has an environment of its own: "),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(both, arguments, changes, said):
    before = both.writes()
    both.write(**{"endpoints__other": OWN, **changes})
    code, text = both.run("apply", "--yes", *arguments)
    assert (code, both.writes()) == (2, before)
    assert said in text


def test_an_endpoint_that_no_run_uses_is_told(both):
    (both.file.with_name("settings.yaml")).write_text("runpod: {endpoint: fold}\n")
    said = both.run("plan", *IMAGE)[1]
    assert (
        f"whose jobs a run sends nowhere. In settings.yaml of the profile set runpod.endpoints.{NAME}" in said
    )
    (both.file.with_name("settings.yaml")).write_text(f"runpod: {{endpoints: {{{NAME}: other}}}}\n")
    assert "settings.yaml" not in both.run("plan", *IMAGE)[1]
