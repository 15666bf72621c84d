"""Snakemake as users start it: a process of its own, with the plugin's settings on its command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakefold.clusters.emulator import API_KEY

SNAKEFILE = """
N = int(config["jobs"])

rule all:
    input:
        expand("out/{i}.bin", i=range(N)),

rule request:
    output:
        request="in/{i}.json",
        data="in/{i}.bin",
    run:
        import json
        with open(output.request, "w") as stream:
            json.dump({"i": int(wildcards.i), "seconds": float(config.get("seconds", 0.05))}, stream)
        with open(output.data, "w") as stream:
            stream.write("data of " + wildcards.i)

rule fold:
    input:
        request="in/{i}.json",
        data="in/{i}.bin",
    output:
        archive="out/{i}.bin",
    params:
        execution_record="executions/{i}.json",
    log:
        "logs/{i}.log",
    benchmark:
        "benchmarks/{i}.tsv",
    resources:
        runpod_endpoint="fold",
        runtime=2,
        dollars_per_second="0.001",
    shell:
        "exit 1 # runs on RunPod"
"""


def prepare(folder: Path, jobs: int, seconds: float = 0.05, **more: Any) -> None:
    """The workflow with its requests made already; `more` is in each of them."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "in").mkdir(exist_ok=True)
    for i in range(jobs):
        (folder / f"in/{i}.json").write_text(json.dumps({"i": i, "seconds": seconds, **more}))
        (folder / f"in/{i}.bin").write_text(f"data of {i}")


def command(
    folder: Path, url: str, jobs: int, *more: str, poll: float = 0.1, locked: bool = False
) -> list[str]:
    return [
        *(sys.executable, "-m", "snakemake", "--executor", "runpod", "--jobs", "1000", "--cores", "2"),
        *("--directory", str(folder), "--snakefile", str(folder / "Snakefile")),
        *("--runpod-endpoints", "fold=fold", "--runpod-base-url", url, "--runpod-poll-interval", str(poll)),
        *("--rerun-incomplete", "--scheduler", "greedy", "--rerun-triggers", "mtime"),
        *([] if locked else ["--nolock"]),
        *("--config", f"jobs={jobs}"),
        *more,
    ]


def environment(folder: Path, key: str | None = API_KEY, **more: str) -> dict[str, str]:
    """An environment without anything of the caller's that matters here."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    found = {**kept, "HOME": str(folder), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **more}
    return found if key is None else {**found, "RUNPOD_API_KEY": key}


def start(folder: Path, arguments: list[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it in a process group of its own, with Ctrl-C as a terminal would have it."""

    def own_group() -> None:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with (folder / "snakemake.log").open("ab") as log:
        return subprocess.Popen(
            arguments,
            cwd=folder,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=own_group,  # noqa: PLW1509 (no threads hold locks that the child needs)
        )


def run(
    folder: Path, arguments: list[str], variables: Mapping[str, str], timeout: float = 1200
) -> tuple[int, str]:
    """Run it to its end; returns the exit code and what it said."""
    process = start(folder, arguments, variables)
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise AssertionError(f"Snakemake did not end:\n{said(folder)}") from None
    return code, said(folder)


def said(folder: Path) -> str:
    return (folder / "snakemake.log").read_text(errors="replace")


def result(i: int, seconds: float, **more: Any) -> bytes:
    from workers import expected

    return expected({"i": i, "seconds": seconds, **more}, [f"data of {i}".encode()])


def settings_of(more: Mapping[str, Any]) -> list[str]:
    return [
        text for name, value in more.items() for text in (f"--runpod-{name.replace('_', '-')}", str(value))
    ]
