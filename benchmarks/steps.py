"""What a run of the workflow costs besides the network: CPU seconds by step, before and now, in one run.

    python benchmarks/steps.py [--before 7d5ea0b] [--rounds 3]

Three small targets (two proteins and a complex) are aligned against the demo database and predicted as a
rehearsal, with one model and no recycle. Each side, the commit `--before` (as a worktree) and the working
tree, makes two kinds of runs, by turns:

- first: nothing exists; random parameters are drawn and programs compiled;
- again: random parameters and compiled programs are there; results are not. This is the run to compare.

The shells of the jobs tell what each step took (cpu_by_step.py). Figures are medians of the rounds.
"Everything but predict" leaves out that rule as a whole. The result is written to steps.json and steps.md
beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cpu_by_step import PREDICT, Taken, median_of, run

HERE = Path(__file__).resolve().parent
PLUGIN = "plugins/snakemake-executor-plugin-runpod/src"
FASTA = """>villin
LSDEDFKAVFGMTRSAFANLPLWKQQNLKKEKGLF
>zipper
GSWTWENGKWTWKGSWTWENGKWTWK
>pair
GSWTWENGKWTWK:LSDEDFKAVFGMTRSAF
"""
COMMAND = (
    *(str(Path(sys.executable).parent / "snakefold"), "run", "in.fasta", "--set", "weights=rehearsal"),
    *("--set", "rehearsal.models=[1]", "--set", "rehearsal.num_recycle=0"),
)
KINDS = ("first", "again")
#: What a second run finds; the folder of random parameters has the number of blocks in its name.
KEPT = (".snakefold/rehearsal-2-blocks", "results/store/compiled")


def main() -> None:
    """Measure both sides and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", default="7d5ea0b", help="commit to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="runs of the kind `again`, of each side")
    parser.add_argument(
        "--only-now", action="store_true", help="print figures of the working tree; write nothing"
    )
    options = parser.parse_args()
    with worktree(options.before) as before, tempfile.TemporaryDirectory() as work:
        sides = {"now": HERE.parent} if options.only_now else {"before": before, "now": HERE.parent}
        taken: dict[str, dict[str, list[Taken]]] = {side: {kind: [] for kind in KINDS} for side in sides}
        for number in range(options.rounds + 1):
            for side, code in sides.items():
                kind = KINDS[number > 0]
                folder = made(Path(work), side)
                taken[side][kind].append(run(COMMAND, folder, environment_of(code)))
                print(side, kind, taken[side][kind][-1], flush=True)
    result = {
        "before": options.before,
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "runs": {
            side: {kind: [asdict(one) for one in runs] for kind, runs in kinds.items()}
            for side, kinds in taken.items()
        },
        "medians": {
            side: {kind: median_of(runs) for kind, runs in kinds.items()} for side, kinds in taken.items()
        },
    }
    if options.only_now:
        print(json.dumps(result["medians"], indent=1))
        return
    (HERE / "steps.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "steps.md").write_text(report(result))


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """The code of a commit, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "code")
        git = ["git", "-C", str(HERE), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(path), commit], check=True)
        try:
            yield path
        finally:
            subprocess.run([*git, "remove", "--force", str(path)], check=True)


def environment_of(code: Path) -> dict[str, str]:
    """Variables that make `snakefold` the code of this folder, without anything of the user's."""
    paths = os.pathsep.join([str(code / "src"), str(code / PLUGIN)])
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": paths}


def made(work: Path, side: str) -> Path:
    """A folder to run in: always the same, with nothing but the parameters and the compiled programs.

    Before, the path of the folder of compiled programs was part of their names.
    """
    folder = work / side
    kept = [path for name in KEPT if (path := folder / name).is_dir()]
    away = [path.rename(work / f"kept-{number}") for number, path in enumerate(kept)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for source, path in zip(away, kept, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        source.rename(path)
    (folder / "in.fasta").write_text(FASTA)
    return folder


def report(result: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    lines = [
        "# Steps of a run",
        "",
        f"`python benchmarks/steps.py --rounds {result['rounds']}`, {result['cores']} cores, shared.",
        "",
        f"CPU seconds of three small targets, a rehearsal with one model: {result['before']} / now (ratio).",
        "First: random parameters are drawn and programs compiled; one run. Again: both are there; medians.",
        "`predict` includes the network, relaxation and the import of JAX. `metrics` was part of `report`.",
        "",
        "| step | jobs | first | again |",
        "|---|---|---|---|",
    ]
    before, now = result["medians"]["before"], result["medians"]["now"]

    def cell(kind: str, *path: str) -> str:
        old, new = before[kind], now[kind]
        for name in path[:-1]:
            old, new = old[name], new[name]
        # `metrics` was part of `report`.
        figures = [side.get(path[-1]) for side in (old, new)]
        shown = " / ".join("–" if figure is None else f"{figure:.1f}" for figure in figures)
        return shown if None in figures else f"{shown} ({figures[1] / figures[0]:.2f})"

    for name in now["again"]["steps"]:
        cells = [cell(kind, "steps", name) for kind in KINDS]
        lines.append(f"| {name} | {now['again']['jobs'].get(name, 1)} | {' | '.join(cells)} |")
    for title, name in (("everything", "cpu"), (f"everything but {PREDICT}", "without_prediction")):
        lines.append(f"| {title} | | {' | '.join(cell(kind, name) for kind in KINDS)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
