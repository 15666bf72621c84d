"""A design run: sequences are designed, and then folded. Each stage is a run of its own, with its own plan.

The first has its results in `design/` below those of the run, and both share one store. What a person asks
for is one command; each stage is Snakemake with the same profile: jobs, retries and bills are as ever.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from snakefold.cli._settings import settings_given
from snakefold.config import Config
from snakefold.engines import environments
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import count
from snakefold.plan.contents import OWN
from snakefold.plan.provenance import COMMAND
from snakefold.run.designs.made import write_sequences
from snakefold.run.designs.places import SEQUENCES, STAGE

_INTERRUPTED = 130


def run_stages(options: argparse.Namespace, config: Config) -> int:
    """Both stages, one after the other; the exit code is that of the one that went worse.

    Args:
        options: of `snakefold run`.
        config: the settings that they come to.
    """
    results = Path(config.results)
    given = settings_given(options)
    first = {**given, "results": str(results / STAGE), "store": config.store, "publish": None}
    began = time.monotonic()
    code = _stage(options, results, first, "sequences")
    if options.dry_run:
        print("The designs that this makes are planned and folded in a second stage.")
        return code
    if code in (_INTERRUPTED, 2) or not (results / STAGE / "structures").is_dir():
        return code
    number = write_sequences(results)
    print(f"{results / STAGE}: {count(number, 'design')}. Now they are folded.", flush=True)
    second = {**given, "input": [str(results / SEQUENCES)], "store": config.store}
    if config.budget is not None:
        left = config.budget - _billed(results / STAGE)
        if left <= 0:
            raise SnakefoldError(
                f"budget: the first stage has used all of ${config.budget:.2f}. The designs are in "
                f"{results / SEQUENCES}; raise the budget and run again to fold them."
            )
        second["budget"] = left
    if config.deadline is not None:
        second["deadline"] = config.deadline - (time.monotonic() - began) / 3600
        if second["deadline"] <= 0:
            raise SnakefoldError(
                f"deadline: the first stage took all of {config.deadline:g} hours. The designs are in "
                f"{results / SEQUENCES}; raise the deadline and run again to fold them."
            )
    return max(code, _stage(options, results, second, "structures"))


def _stage(options: argparse.Namespace, results: Path, values: dict[str, Any], stage: str) -> int:
    """Run one stage with these settings."""
    from snakefold.cli.run import write_settings

    path = results / OWN / f"{stage}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_settings(path, {**values, "design": {**values.get("design", {}), "stage": stage}})
    command = [sys.executable, "-c", environments.MAIN, "run", "--configfile", str(path)]
    command += ["--profile", options.profile]
    command += ["--cores", options.cores] if options.cores else []
    command += ["--verbose"] if options.verbose else []
    command += ["--dry-run"] if options.dry_run else []
    command += ["--", *options.passed_on] if options.passed_on else []
    environment = {**os.environ, COMMAND: shlex.join(["snakefold", *sys.argv[1:]])}
    with subprocess.Popen(command, env=environment) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the stage got it as well, and ends by itself
                continue


def _billed(results: Path) -> float:
    """Dollars that a stage has cost; 0 if nobody could say."""
    try:
        return float(json.loads((results / "bill.json").read_text(encoding="utf-8"))["dollars"]["billed"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0
