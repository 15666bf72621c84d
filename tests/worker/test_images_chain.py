"""The whole chain: a message, the emulated RunPod, its SDK's loop, snakefold's worker, S3, and callbacks.

Nothing of the worker knows of images, and nothing of the images knows of RunPod. What may go wrong does: an
image is damaged, one is missing, the receiver fails twice, the worker is killed, the job comes twice.

The worker has the environment of the images, which `make test-images` makes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from snakefold.clusters.emulator import EmulatorThread, ProcessWorkers, Scaling
from snakefold.kernel.paths import house
from tests.servers.seaweedfs import WRITER, SeaweedFS, serving
from tests.worker.conftest import processes_of
from tests.worker.receiver import SCHEMA, SECRET, Receiver, receiving

PYTHON = house() / ".venv-images" / "bin" / "python"
LIBRARIES = sorted((house() / ".venv" / "lib").glob("python3.*/site-packages"))
BUCKET = "s3-images"
USER, JOB = "u_abc", "job_123"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs .venv-images: make test-images"),
]


@dataclass
class Chain:
    """All of it, with one worker."""

    folder: Path
    service: EmulatorThread
    workers: ProcessWorkers
    server: SeaweedFS
    receiver: Receiver

    def start(self, message: dict[str, Any]) -> Any:
        return self.service.call(lambda emulator: emulator.endpoints["images"].submit(message))

    def finished(self, job: Any) -> dict[str, Any]:
        wait_until(lambda: self.service.call(lambda _: job.state.final))
        assert job.state == "COMPLETED", job.error
        output: dict[str, Any] = job.output
        return output

    def put(self, idx: int, data: bytes) -> None:
        self.server.client().put_object(Bucket=BUCKET, Key=f"inputs/{USER}/{JOB}/{idx}.jpg", Body=data)

    def get(self, key: str) -> bytes:
        data: bytes = self.server.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def times(self) -> dict[str, Any]:
        """When each output was written."""
        listed = self.server.client().list_objects_v2(Bucket=BUCKET, Prefix="outputs/").get("Contents", [])
        return {each["Key"]: each["LastModified"] for each in listed}


def photograph(height: int, width: int, seed: int) -> bytes:
    """A JPEG of waves and noise, no two alike."""
    numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    phases = numbers.uniform(0, 6, (3, 2))
    waves = [np.sin(rows / 17 + down) + np.cos(columns / 23 + across) for down, across in phases]
    pixels = 128 + 45 * np.stack(waves, axis=-1) + numbers.normal(0, 6, (height, width, 3))
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def wait_until(true: Callable[[], Any], seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    draw = [str(PYTHON.with_name("snakefold-images")), "weights", "draw", str(folder / "models")]
    subprocess.run(draw, check=True)
    with serving(folder / "s3", BUCKET) as server, receiving() as receiver:
        environment = {
            "SNAKEFOLD_STORE": str(folder / "store"),
            "RUNPOD_VOLUME_PATH": str(folder / "none"),
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "MODEL_CACHE_DIR": str(folder / "models"),
            "STORAGE_S3_ENDPOINT": server.endpoint,
            "STORAGE_ACCESS_KEY": WRITER.access,
            "STORAGE_SECRET_KEY": WRITER.secret,
            "STORAGE_BUCKET": BUCKET,
            "STORAGE_READ_PREFIXES": "inputs/{user_id}/",
            "STORAGE_WRITE_PREFIXES": "outputs/{user_id}/{job_id}/,previews/{user_id}/{job_id}/",
            "GPU_CALLBACK_SECRET": SECRET,
            "SNAKEFOLD_CALLBACK_HOSTS": f"http://{receiver.host}",
            "BATCH_CONCURRENCY": "2",
            # Of RunPod's SDK and of boto3, which the environment of the images does not have.
            "PYTHONPATH": os.pathsep.join([str(house() / "src"), *map(str, LIBRARIES)]),
        }
        command = [str(PYTHON), "-u", "-m", "snakefold.worker.handler"]
        workers = ProcessWorkers(command, env=environment, ping_seconds=1)
        scaling = Scaling(workers_max=1, queue_delay=0.5, idle_timeout=300)
        endpoint = {"workers": workers, "scaling": scaling, "execution_timeout": 3600}
        with EmulatorThread({"images": endpoint}) as service:
            yield Chain(folder, service, workers, server, receiver)


def message(receiver: Receiver, count: int, **changes: Any) -> dict[str, Any]:
    """As the older program sends it."""
    items = [
        {
            "idx": idx,
            "input_key": f"inputs/{USER}/{JOB}/{idx}.jpg",
            "output_key": f"outputs/{USER}/{JOB}/{idx}_result.png",
            "preview_key": f"previews/{USER}/{JOB}/{idx}_thumb.jpg",
        }
        for idx in range(count)
    ]
    return {
        "job_id": JOB,
        "user_id": USER,
        "preset": "interior",
        "concepts": {
            "Wall": {"action": "recolor", "value": "offwhite_b"},
            "Floor": {"action": "recolor", "value": "oak_a"},
        },
        "protect": ["Grout"],
        "items": items,
        "callback_url": receiver.url,
        "idempotency_prefix": JOB,
        "batch_concurrency": 4,
        **changes,
    }


def test_from_a_message_to_callbacks_through_everything_that_may_go_wrong(chain: Chain) -> None:
    import jsonschema

    chain.receiver.clear()
    for idx in range(6):
        chain.put(idx, photograph(480, 640, seed=idx))
    chain.put(1, b"\xff\xd8\xff damaged")
    chain.server.client().delete_object(Bucket=BUCKET, Key=f"inputs/{USER}/{JOB}/2.jpg")
    # The receiver answers 500 twice, and the worker dies between two items.
    chain.receiver.answers = [500, 500]
    job = chain.start(message(chain.receiver, 6))
    wait_until(lambda: any(body["status"] == "done" for body in chain.receiver.kept.values()))
    before = chain.times()
    for process in processes_of(chain.folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    output = chain.finished(job)

    assert (output["total_items"], output["successful_items"], output["failed_items"]) == (6, 4, 2)
    assert [(each["idx"], each["reason"]) for each in output["errors"]] == [
        (1, "invalid_input"),
        (2, "invalid_input"),
    ]
    assert any("REHEARSAL" in each for each in output["warnings"])
    assert output["callback_failures"] == []
    assert {key: body["status"] for key, body in chain.receiver.kept.items()} == {
        f"{JOB}:{idx}": "failed" if idx in (1, 2) else "done" for idx in range(6)
    }
    for call in chain.receiver.seen:
        jsonschema.validate(call.body, SCHEMA)
        assert call.headers["authorization"] == f"Bearer {SECRET}"
    # What was written before the worker died was not written again.
    after = chain.times()
    assert before and all(after[key] == when for key, when in before.items())
    for idx in (0, 3, 4, 5):
        result = opened(chain.get(f"outputs/{USER}/{JOB}/{idx}_result.png"))
        assert (result.format, result.size) == ("PNG", (640, 480))
        assert "REHEARSAL" in str(result.info)
        preview = opened(chain.get(f"previews/{USER}/{JOB}/{idx}_thumb.jpg"))
        assert (preview.format, max(preview.size)) == ("JPEG", 512)

    # The same job again: nothing is computed, and every item is told of once more, under the same key.
    kept, seen = dict(chain.receiver.kept), len(chain.receiver.seen)
    again = chain.finished(chain.start(message(chain.receiver, 6)))
    assert (again["successful_items"], again["ready_items"]) == (4, 4)
    assert chain.times() == after and chain.receiver.kept == kept
    assert len(chain.receiver.seen) == seen + 6

    names = chain.service.call(lambda emulator: list(emulator.endpoints["images"].workers))
    log = "".join(map(chain.workers.log, names))
    for secret in (SECRET, WRITER.secret, WRITER.access, "in-the-address"):
        assert secret not in log + json.dumps([output, again])


def test_a_job_of_one_user_gets_nothing_of_another(chain: Chain) -> None:
    chain.put(0, photograph(96, 128, seed=0))
    stolen = message(chain.receiver, 1, user_id="u_xyz")
    job = chain.start(stolen)
    wait_until(lambda: chain.service.call(lambda _: job.state.final))
    assert job.state == "FAILED"
    assert json.loads(job.error)["reason"] == "invalid_input"
    assert f"inputs/{USER}/{JOB}/0.jpg: may not be read" in json.loads(job.error)["message"]


def test_a_snakemake_workflow_edits_twenty_images_through_the_executor_plugin(
    chain: Chain, tmp_path: Path
) -> None:
    client, keys = chain.server.client(), [f"inputs/{USER}/photos/{number:02d}.jpg" for number in range(20)]
    for number, key in enumerate(keys):
        client.put_object(Bucket=BUCKET, Key=key, Body=photograph(96, 128, seed=number))
    (tmp_path / "keys.txt").write_text("\n".join(keys))
    workflow = house() / "plugins" / "snakefold-images" / "workflow" / "runpod.smk"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "-s", str(workflow), "--directory", str(tmp_path)),
            *("--executor", "runpod", "--jobs", "4", "--cores", "1", "--runpod-poll-interval", "0.2"),
            *("--runpod-endpoints", "images=images", "--runpod-base-url", chain.service.url),
            *("--config", f"keys={tmp_path / 'keys.txt'}", f"user={USER}"),
        ],
        env={**os.environ, "RUNPOD_API_KEY": chain.service.api_key, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reports = [json.loads(path.read_text()) for path in sorted((tmp_path / "edited").glob("*.json"))]
    assert [report["successful_items"] for report in reports] == [10, 10]
    for batch, few in (("b000", keys[:10]), ("b001", keys[10:])):
        for key in few:
            result = opened(chain.get(f"outputs/{USER}/{batch}/{Path(key).stem}.png"))
            assert result.size == (128, 96)
