"""What `make demo` costs: wall and CPU seconds, by step, of a first run.

    python benchmarks/demo.py [--rounds 1]

Runs the command of `make demo` in a fresh folder: no results, no compiled programs, no random parameters.
flash-abb's parameters must be there, as after `make weights`; the download is not part of the figures. The
shells of the jobs tell what each step took (cpu_by_step.py). The result is written to demo.json and demo.md
beside this file.

CPU seconds say what the demo costs. Wall seconds depend on what else the machine does: the load average is
beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cpu_by_step import Taken, median_of, run

HERE = Path(__file__).resolve().parent
COMMAND = ("snakefold", "run", "--configfile", "config/demo.yaml")
#: Folders that the demo's settings and databases name relative to the current folder.
LINKED = ("config", "resources")
CPU_GOAL, WALL_GOAL = 240, 180


def main() -> None:
    """Run, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    taken = []
    for _ in range(options.rounds):
        taken.append(once())
        print(taken[-1], flush=True)
    result = {
        "command": " ".join(COMMAND),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "goals": {"cpu": CPU_GOAL, "seconds": WALL_GOAL},
        "runs": [asdict(each) for each in taken],
        "medians": median_of(taken),
    }
    (HERE / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "demo.md").write_text(report(result))


def once() -> Taken:
    """One run in an empty folder, with the code beside this file."""
    with tempfile.TemporaryDirectory() as work:
        for name in LINKED:
            Path(work, name).symlink_to(HERE.parent / name)
        program = str(Path(sys.executable).parent / COMMAND[0])
        source = os.pathsep.join(
            str(HERE.parent / each) for each in ("src", "plugins/snakemake-executor-plugin-runpod/src")
        )
        # What the user's cache folder has is not used either.
        environment = {**os.environ, "PYTHONPATH": source, "XDG_CACHE_HOME": str(Path(work, "cache"))}
        return run((program, *COMMAND[1:]), Path(work), environment)


def report(result: dict[str, Any]) -> str:
    """The table, in Markdown."""
    runs, medians = result["runs"], result["medians"]
    loads = ", ".join(f"{one['load'][0]:.1f} to {one['load'][1]:.1f}" for one in runs)
    walls = statistics.median(one["seconds"] for one in runs)
    lines = [
        "# The demo",
        "",
        f"`python benchmarks/demo.py`: `{result['command']}` in a fresh folder, {result['cores']} cores,",
        f"Python {result['python']}. Random parameters are drawn and all programs compiled; flash-abb's",
        "parameters are there.",
        "",
        "| | measured | goal |",
        "|---|---|---|",
        f"| CPU seconds | {medians['cpu']:.0f} | {CPU_GOAL} |",
        f"| wall seconds, load average {loads} | {walls:.0f} | {WALL_GOAL} on two idle cores |",
        "",
        "| step | jobs | CPU seconds |",
        "|---|---|---|",
    ]
    lines += [
        f"| {name} | {medians['jobs'].get(name, 1)} | {seconds:.1f} |"
        for name, seconds in medians["steps"].items()
    ]
    lines.append(f"| everything but `predict` | | {medians['without_prediction']:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
