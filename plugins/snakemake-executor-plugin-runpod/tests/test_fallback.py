"""`fallback: local`: what RunPod cannot run, this machine does; what is wrong otherwise stays wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flying import flying, wait
from running import command, environment, prepare, result, run
from workers import service_of

from snakefold.clusters.emulator import Fault
from snakemake_executor_plugin_runpod.errors import NO_SERVICE
from snakemake_executor_plugin_runpod.here import Processes

LOCAL = ("--runpod-fallback", "local")


def prepared(folder: Path, jobs: int) -> None:
    """A workflow whose rule computes something else here than on RunPod, so that it shows where it ran."""
    prepare(folder, jobs)
    text = (folder / "Snakefile").read_text()
    text = text.replace("exit 1 # runs on RunPod", "echo here {threads} > {log}; cat {input.data} > {output}")
    (folder / "Snakefile").write_text(text)


def of(i: int) -> Callable[[Any], bool]:
    return lambda given: bool(given["request"]["i"] == i)


def ran_here(folder: Path, i: int) -> bool:
    return (folder / f"out/{i}.bin").read_text() == f"data of {i}"


def test_a_service_that_is_down_at_the_start(tmp_path: Path) -> None:
    prepared(tmp_path, 2)
    arguments = command(tmp_path, "http://127.0.0.1:9", 2, "--runpod-patience", "0.5")
    code, text = run(tmp_path, arguments, environment(tmp_path))
    assert code == 1 and "cannot be reached" in text, text
    code, text = run(tmp_path, [*arguments, *LOCAL], environment(tmp_path))
    assert code == 0 and "run on this machine" in text, text
    assert ran_here(tmp_path, 1)


def test_jobs_that_runpod_cannot_run_run_here_in_the_middle_of_a_run(tmp_path: Path) -> None:
    """0 finds no worker, 1 is lost each time, 2 fails by itself, 3 runs on RunPod."""
    faults = [
        Fault("stuck", job=of(0)),
        Fault("lost", job=of(1), seconds=0.5),
        Fault("failed", job=of(2), error="CUDA error"),
    ]
    with service_of(*faults) as service:
        prepared(tmp_path, 4)
        (tmp_path / "in/1.json").write_text(json.dumps({"i": 1, "seconds": 600}))  # lost before its end
        arguments = command(tmp_path, service.url, 4, *LOCAL, "--runpod-queue-timeout", "10", "--keep-going")
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 1, text
        assert service.live_jobs() == []
        ran = [job.input["request"]["i"] for job in service.jobs if job.input and job.state == "COMPLETED"]
        assert ran == [3]
    assert ran_here(tmp_path, 0) and ran_here(tmp_path, 1)
    assert text.count("runs on this machine now") == 2 and "no worker took the job in time" in text
    assert "CUDA error" in text and not (tmp_path / "out/2.bin").exists()
    assert (tmp_path / "out/3.bin").read_bytes() == result(3, 0.05)
    # What the rule's own command writes stands. 0 never cost anything; 1 was at work before it was lost.
    assert (tmp_path / "logs/0.log").read_text() == "here 1\n"
    records = {path.name: json.loads(path.read_text()) for path in (tmp_path / "executions").glob("*.json")}
    assert set(records) == {"1.json", "2.json", "3.json"}
    assert records["1.json"]["billed_seconds"] > 0 and records["1.json"]["attempts"] == 3


def test_an_endpoint_that_is_deleted_and_a_service_that_goes_away_in_the_middle_of_a_run(
    tmp_path: Path,
) -> None:
    gone = Fault("status", call="run", status=404, nth=1)
    with service_of(gone, Fault("status", call="run", status=503)) as service:
        prepared(tmp_path, 2)
        arguments = command(tmp_path, service.url, 2, *LOCAL, "--runpod-patience", "0.5")
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 0 and "HTTP 404" in text and "HTTP 503" in text, text
        assert service.jobs == []
    assert ran_here(tmp_path, 0) and ran_here(tmp_path, 1)


def test_a_key_that_is_refused_stops_the_run_all_the_same(tmp_path: Path) -> None:
    with service_of(Fault("status", call="run", status=401)) as service:
        prepared(tmp_path, 2)
        code, text = run(tmp_path, command(tmp_path, service.url, 2, *LOCAL), environment(tmp_path))
    assert code == 1 and "RUNPOD_API_KEY" in text, text
    assert not (tmp_path / "out/0.bin").exists()


def test_one_job_waits_for_an_absent_service_in_the_place_of_all(tmp_path: Path) -> None:
    with flying(
        tmp_path, Fault("status", call="run", status=503), patience=0.5, fallback=True, max_in_flight=1
    ) as found:
        trips = found.carry(*(found.task(i) for i in range(4)))
        assert all(trip.error is not None and trip.error.reason in NO_SERVICE for trip in trips)
        calls = [call.status for call in found.service.calls if call.operation == "run"]
        again = found.carry(found.task(4))
        assert again[0].error is not None
        assert len([call for call in found.service.calls if call.operation == "run"]) == len(calls) + 1
        # And is there again for all of them.
        found.service.call(lambda emulator: emulator.faults.clear())
        (trip,) = found.carry(found.task(5))
        assert trip.error is None and found.good(5)
    assert not list(tmp_path.glob("record/[0-4].json"))
    assert json.loads((tmp_path / "record/5.json").read_text())["attempts"] == 1


def test_this_machine_runs_what_its_cores_have_room_for(tmp_path: Path) -> None:
    processes = Processes(2)
    wanted = "touch begun-{}; while [ ! -e go-{} ]; do sleep 0.02; done; exit {}"
    ask = [
        processes.start(f"cd {tmp_path}; " + wanted.format(i, i, i), threads)
        for i, threads in enumerate((1, 1, 8, 1))
    ]

    def begun() -> list[str]:
        for code in ask:
            code()
        return sorted(path.name for path in tmp_path.glob("begun-*"))

    wait(lambda: begun() == ["begun-0", "begun-1"])
    (tmp_path / "go-1").touch()
    wait(lambda: ask[1]() == 1)
    assert begun() == ["begun-0", "begun-1"]  # the third has 8 threads, which is all that there is
    (tmp_path / "go-0").touch()
    wait(lambda: begun() == ["begun-0", "begun-1", "begun-2"])
    processes.end()
    ask.append(processes.start("exit 0"))
    assert [code() for code in ask] == [0, 1, -15, None, None]
    assert begun() == ["begun-0", "begun-1", "begun-2"]
