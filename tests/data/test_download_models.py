"""containers/download_models.sh, with a mirror on this machine and a real S3 server."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snakefold.engines.alphafold2.models import all_models
from snakefold.kernel.errors import StoreError
from snakefold.kernel.paths import house
from snakefold.msa.databases import upload
from tests.data import site as faults
from tests.data.site import Site
from tests.engine.toys import TOY_PARAMETERS
from tests.servers.seaweedfs import READER, WRITER, Keys, SeaweedFS, serving

SCRIPT = house() / "containers" / "download_models.sh"
HERE = Path(__file__).parent
NAME = "alphafold_params_2022-12-06.tar"


def archive() -> bytes:
    """Files of the official names; each holds one small array."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as members:
        for number, name in enumerate(all_models()):
            content = io.BytesIO()
            np.savez(
                content,
                **{key: np.full(shape, float(number), np.float32) for key, shape in TOY_PARAMETERS.items()},
            )
            member = tarfile.TarInfo(f"./params_{name}.npz")
            member.size = len(content.getvalue())
            members.addfile(member, io.BytesIO(content.getvalue()))
    return stream.getvalue()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with serving(tmp_path_factory.mktemp("seaweedfs") / "server", "models") as running:
        yield running


def run(home: Path, *arguments: str, keys: Keys | None = None) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHONPATH": f"{HERE / 'small_parameters'}{os.pathsep}{HERE.parents[1]}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        "NO_PROXY": "127.0.0.1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **(keys.environment() if keys else {}),
    }
    command = [str(SCRIPT), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_models_arrive_on_a_volume_and_are_fetched_once(site: Site, tmp_path: Path) -> None:
    page = site.put(f"https://mirror.example/{NAME}", archive())
    page.faults = [faults.breaks_off(20_000)]
    mirror = f"--mirror={site.address}/mirror.example/{NAME}"
    done = run(tmp_path, str(tmp_path / "volume"), mirror)
    assert done.returncode == 0, done.stderr
    assert [asked for _, asked in site.gets()] == ["", "bytes=20000-"]
    files = sorted(path.name for path in (tmp_path / "volume").rglob("*") if path.is_file())
    assert files == sorted(f"params_{name}.npz" for name in all_models())
    assert run(tmp_path, str(tmp_path / "volume"), mirror).returncode == 0
    assert len(site.gets()) == 2


def test_the_parameters_of_another_engine_are_asked_of_it(flashabb_weights: Path, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    shutil.copytree(flashabb_weights / "flashabb", volume / "flashabb")
    for option in (["--engine=flashabb"], ["--engine", "flashabb"]):
        done = run(tmp_path, str(volume), *option)
        assert done.returncode == 0, done.stderr
        assert "flabb_weights.pt: complete, not fetched again" in done.stdout
    done = run(tmp_path, str(volume), "--engine=nosuch")
    assert done.returncode == 2
    assert "nosuch: neither an engine" in done.stderr


def test_models_arrive_on_s3_and_a_second_call_sends_nothing(
    site: Site, server: SeaweedFS, tmp_path: Path
) -> None:
    site.put(f"https://mirror.example/{NAME}", archive())
    options = (f"--mirror={site.address}/mirror.example/{NAME}", f"--work={tmp_path / 'work'}")
    location = server.location("models", "team/weights")
    done = run(tmp_path, location, *options, keys=WRITER)
    assert done.returncode == 0, done.stderr
    assert WRITER.secret not in done.stdout + done.stderr
    client = server.client()
    sums = client.get_object(Bucket="models", Key="team/weights/SHA256SUMS")["Body"].read().decode()
    assert len(sums.splitlines()) == len(all_models())
    for line in sums.splitlines():
        sha256, name = line.split("  ")
        content = client.get_object(Bucket="models", Key=f"team/weights/{name}")["Body"].read()
        assert hashlib.sha256(content).hexdigest() == sha256
        assert content == (tmp_path / "work" / name).read_bytes()

    # One object is lost, another is replaced by something shorter: these two are sent again, the others not.
    client.delete_object(Bucket="models", Key="team/weights/params/params_model_1.npz")
    client.put_object(Bucket="models", Key="team/weights/params/params_model_2.npz", Body=b"cut")
    again = run(tmp_path, location, *options, keys=WRITER)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("there already") == len(all_models()) - 2
    content = client.get_object(Bucket="models", Key="team/weights/params/params_model_2.npz")["Body"].read()
    assert content == (tmp_path / "work/params/params_model_2.npz").read_bytes()
    assert len(site.gets()) == 1


def test_a_file_that_arrives_damaged_is_not_listed(
    server: SeaweedFS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in WRITER.environment().items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "file"
    path.write_bytes(b"as it was sent")
    bucket = upload.open_bucket(server.location("models", "damaged"))
    place = {"Bucket": "models", "Key": "damaged/file"}

    def damage(**_: object) -> None:
        server.client().put_object(**place, Body=b"as it was SENT")

    # Between the upload and the reading back, by another client: what a bad disk would do.
    bucket._s3.meta.events.register("before-call.s3.GetObject", damage)
    with pytest.raises(StoreError, match="another sha256"):
        upload.send(bucket, "file", path, hashlib.sha256(path.read_bytes()).hexdigest())
    lines: list[str] = []
    assert upload.upload(tmp_path, server.location("models", "damaged"), lines.append) == ["file"]
    assert server.client().get_object(**place)["Body"].read() == b"as it was sent"
    assert upload.upload(tmp_path, server.location("models", "damaged"), lines.append) == []


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (("models", None), "There are no keys"),
        (("models", Keys("writer-key", "wrong-9a1c")), "does not accept the keys"),
        (("models", READER), "may not do this"),
        (("nowhere", WRITER), "no such bucket"),
    ],
)
def test_what_is_wrong_with_s3_is_said_before_anything_is_fetched(
    site: Site, server: SeaweedFS, tmp_path: Path, access: tuple[str, Keys | None], said: str
) -> None:
    bucket, keys = access
    mirror = f"--mirror={site.address}/mirror.example/{NAME}"
    done = run(tmp_path, server.location(bucket, "p"), mirror, f"--work={tmp_path / 'work'}", keys=keys)
    assert done.returncode == 2
    assert said in done.stderr
    assert keys is None or keys.secret not in done.stderr
    assert site.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "expected a folder"),
        (("a", "b"), "expected one target"),
        (("--colour", "a"), "no such option"),
        (("a", "--work"), "expected a value"),
        (("ftp://host/x",), "expected a folder or s3://"),
        (("/dev/null/x",), "cannot be made"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert "Examples: download_models.sh" in done.stdout


@pytest.mark.parametrize("checker", [("shellcheck",), ("shfmt", "-i", "2", "-ci", "-d")])
def test_the_script_is_clean(checker: tuple[str, ...]) -> None:
    command = [str(Path(sys.executable).with_name(checker[0])), *checker[1:], str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
