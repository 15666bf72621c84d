"""The README's example and the documented envelope."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
from flying import flying, wait
from running import environment, run
from workers import SmallWorker

from snakefold.clusters.emulator import EmulatorThread, StubWorkers

HERE = Path(__file__).resolve().parents[1]


async def model(job: dict[str, Any]) -> dict[str, Any]:
    """An endpoint that has never heard of envelopes."""
    return {"text": job["input"]["prompt"].upper()}


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    text = (HERE / "README.md").read_text()
    (snakefile,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    # A page of the plugin catalog has it too; twenty lines, not counting blank ones.
    assert snakefile in (HERE / "docs/further.md").read_text()
    assert len(list(filter(str.strip, snakefile.splitlines()))) <= 20
    started = re.search(r"^snakemake (--executor runpod .*)$", text, re.MULTILINE)
    assert started is not None
    (tmp_path / "Snakefile").write_text(snakefile)
    import sys

    with EmulatorThread({"abc123def456": StubWorkers(model, 0.1)}) as service:
        arguments = [sys.executable, "-m", "snakemake", *started[1].split(), "--runpod-poll-interval", "0.1"]
        code, said = run(tmp_path, arguments, environment(tmp_path, RUNPOD_API_BASE_URL=service.url))
    assert code == 0, said
    assert json.loads((tmp_path / "answers/hello.json").read_text()) == {"text": "RUNPOD SAYS HELLO"}


def test_what_is_sent_is_as_documented(tmp_path: Path) -> None:
    schema = json.loads((HERE / "docs/envelope.schema.json").read_text())
    with flying(tmp_path, worker=SmallWorker(seconds=0.5)) as found:
        trip = found.engine.carry(found.task(request={"a": [1, "ü"]}))
        wait(lambda: found.service.jobs != [])
        given = found.service.jobs[0].input
        jsonschema.validate(given, schema)
        policy = found.service.jobs[0].policy  # a runtime of one minute, and a day in the queue
        assert (policy.execution_timeout, policy.ttl) == (60, 60 + 86400 + 60)
        assert given["request"] == {"a": [1, "ü"]} and given["results"] == {"archive": {"inline": True}}
        wait(lambda: trip.finished)
        assert trip.error is None
