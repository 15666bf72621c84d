"""What a report of ten thousand targets takes, beside other reports of the same results.

    python benchmarks/report.py --foldreport VENV/bin/foldreport [--few 100] [--targets 10000]

Makes runs of `--few` and of `--targets` targets: proteins of 400 residues with five models each (all heavy
atoms, PAE), `_DISTINCT` different ones under many names. Nobody profits from that: every side works through
each target's files as if no other had the same. Measures, on the few, one side after the other: snakefold's
report; foldreport 0.1.0 (`pip install foldreport==0.1.0` into an environment of its own); and pages made as
nf-core/proteinfold makes them: one a target, with five superposed PDB texts, plotly figures of pLDDT and of
the best model's PAE, and a picture of the coverage, but without its template of 0.4 MB and plotly.js, which
it loads from the network. On the many: snakefold's report after the batches were collected, as in a run.
Chromium opens what was made.

Processor seconds say more than the clock on a machine that does other things as well; its load is told. The
result is written to report.json and report.md beside this file; `--part` measures few or many anew.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
OWN = [sys.executable, str(Path(__file__)), "--foldreport", "-"]
RESIDUES, MODELS = 400, 5
_DISTINCT = 4
#: Seconds that a page may take to load.
_PATIENCE = 60


def main() -> None:
    """Measure everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--foldreport", required=True, help="the program")
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=100)
    parser.add_argument("--part", choices=["few", "many"], help="measure this one, and keep the other")
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    parser.add_argument("--step", choices=["build", "proteinfold"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        {"build": build, "proteinfold": proteinfold}[options.step](options.keep)
        return
    kept = HERE / "report.json"
    result = json.loads(kept.read_text()) if options.part else {}
    with tempfile.TemporaryDirectory(prefix="report-") as temporary:
        folder = options.keep or Path(temporary)
        if options.part != "many":
            result["few"] = measure_few(folder / "few", options.few, options.foldreport)
        if options.part != "few":
            result["many"] = measure_many(folder / "many", options.targets)
    kept.write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "report.md").write_text(text(result))
    print(text(result))


def made(folder: Path, targets: int) -> Path:
    """The results of a run in `folder`, made unless they are there; without a report."""
    from tests.browser.make_many import make_many

    results = folder / "results"
    if not results.exists():
        make_many(folder, targets, _DISTINCT, RESIDUES, RESIDUES)
    shutil.rmtree(results / "report", ignore_errors=True)
    return results


def measure_few(folder: Path, targets: int, foldreport: str) -> dict[str, Any]:
    """All sides on the same targets."""
    results = made(folder, targets)
    own = run([*OWN, "--step", "build", "--keep", str(results)])
    data = results / "report" / "data"
    own |= {
        "bytes": size(results / "report"),
        "a_target": size(data) / targets,
        "to_open": max(path.stat().st_size for path in data.glob("*.js")),
        "open": opened(results / "report" / "index.html", "ready"),
    }
    pages = run([*OWN, "--step", "proteinfold", "--keep", str(results)])
    whole = size(results / "proteinfold")
    pages |= {"bytes": whole, "a_target": whole / targets, "to_open": whole / targets}
    single = folder / "foldreport.html"
    other = run([foldreport, str(as_colabfold(results, folder / "colabfold")), "--output", str(single)])
    other |= {"bytes": size(single), "a_target": size(single) / targets, "to_open": size(single)}
    other["open"] = opened(single, None)
    rows = {"snakefold": own, "foldreport": other, "proteinfold": pages}
    return {"targets": targets, "load": load(), "rows": rows}


def measure_many(folder: Path, targets: int) -> dict[str, Any]:
    """snakefold's report of a large run."""
    results = made(folder, targets)
    as_collected(results)
    found = run([*OWN, "--step", "build", "--keep", str(results)])
    assets, page = results / "report" / "assets", results / "report" / "index.html"
    index = assets / "run.js"
    found |= {
        "index": size(index) + size(page),
        "libraries": size(assets) - size(index),
        "to_open": max(path.stat().st_size for path in (results / "report" / "data").glob("*.js")),
        "bytes": size(results / "report"),
        "open": opened(page, "ready"),
    }
    again = run([*OWN, "--step", "build", "--keep", str(results)])
    return {"targets": targets, "load": load(), "built": found, "again": again}


def load() -> float:
    """Processes that waited for a core in the last 5 minutes, a core."""
    return round(os.getloadavg()[1] / (os.cpu_count() or 1), 1)


def build(results: Path) -> None:
    """snakefold's report."""
    from snakefold.report import build as make

    make(results)


def proteinfold(results: Path) -> None:
    """A page for every target, made as nf-core/proteinfold makes its own."""
    import base64
    import io

    import numpy as np
    import plotly.graph_objects as go
    from Bio import PDB
    from matplotlib.figure import Figure

    out = results / "proteinfold"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    parser = PDB.PDBParser(QUIET=True)
    for folder in sorted((results / "structures").glob("t*")):
        models = [parser.get_structure(str(rank), folder / f"ranked_{rank}.pdb") for rank in range(MODELS)]
        fixed = list(models[0].get_atoms())
        texts = []
        for model in models:
            imposer = PDB.Superimposer()
            imposer.set_atoms(fixed, list(model.get_atoms()))
            imposer.apply(model.get_atoms())
            writer, buffer = PDB.PDBIO(), io.StringIO()
            writer.set_structure(model)
            writer.save(buffer)
            texts.append(buffer.getvalue())
        scores = json.loads((folder / "confidence.json").read_text())["models"]
        curves = go.Figure([go.Scatter(y=model["plddt"], name=model["name"]) for model in scores])
        with np.load(folder / "pae.npz") as archive:
            matrix = archive["rank_0"] * 0.125
        errors = go.Figure([go.Heatmap(z=matrix.tolist(), colorscale="Greens_r", zmin=0, zmax=30)])
        rows = [line for line in (folder / "msa.a3m").read_text().splitlines() if not line.startswith(">")]
        letters = [[letter for letter in row if not letter.islower()] for row in rows]
        figure = Figure(figsize=(16, 10), dpi=100)
        alike = [np.mean([a == b for a, b in zip(row, letters[0], strict=True)]) for row in letters]
        shown = [
            [share if letter != "-" else np.nan for letter in row]
            for share, row in sorted(zip(alike, letters, strict=True), key=lambda pair: pair[0])
        ]
        figure.add_subplot().imshow(shown, aspect="auto", cmap="rainbow_r", vmin=0, vmax=1, origin="lower")
        image = io.BytesIO()
        figure.savefig(image, format="png")
        parts = [figure.to_html(full_html=False, include_plotlyjs="cdn") for figure in (curves, errors)]
        parts.append(f'<img src="data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}">')
        parts.append(f"<script>const MODELS = {json.dumps(texts)};</script>")
        (out / f"{folder.name}.html").write_text("\n".join(parts))


def as_colabfold(results: Path, out: Path) -> Path:
    """The same models as ColabFold names them, which is what foldreport reads."""
    import numpy as np

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    for folder in sorted((results / "structures").glob("t*")):
        scores = json.loads((folder / "confidence.json").read_text())["models"]
        with np.load(folder / "pae.npz") as archive:
            for rank, model in enumerate(scores):
                tail = f"rank_{rank + 1:03}_alphafold2_ptm_model_{rank + 1}_seed_000"
                pdb = out / f"{folder.name}_unrelaxed_{tail}.pdb"
                pdb.write_bytes((folder / f"ranked_{rank}.pdb").read_bytes())
                matrix = (archive[f"rank_{rank}"] * 0.125).round(2).tolist()
                content = {"plddt": model["plddt"], "ptm": model["ptm"], "pae": matrix, "max_pae": 31.75}
                (out / f"{folder.name}_scores_{tail}.json").write_text(json.dumps(content))
    return out


def as_collected(results: Path) -> None:
    """The files of all targets as `snakefold collect` leaves them.

    Made for some and written under the other names: their targets' files are the same. Some are held against
    what snakefold writes itself.
    """
    from snakefold.report.index import pages
    from snakefold.report.pages import Maker, prepare
    from snakefold.report.run import read_run

    ids = pages(results, read_run(results))
    data = results / "report" / "data"
    prepare(results, ids[:_DISTINCT])
    maker = Maker(results, data)
    for number, name in enumerate(ids[_DISTINCT:]):
        source = ids[number % _DISTINCT]
        head, _, body = (data / f"{source}.js").read_bytes().partition(b"\n")
        _, points, scripts = json.loads(head[2:-2])
        told = [maker._stamp(name), points, [script.replace(source, name) for script in scripts]]
        body = body.replace(source.encode(), name.encode())
        (data / f"{name}.js").write_bytes(f"/*{json.dumps(told)}*/\n".encode() + body)
        exact = (data / "pae" / f"{source}.js").read_bytes().replace(source.encode(), name.encode())
        (data / "pae" / f"{name}.js").write_bytes(exact)
    for name in ids[-2:]:
        copied = (data / f"{name}.js").read_bytes()
        maker.write(name)
        if (data / f"{name}.js").read_bytes() != copied:
            raise SystemExit(f"{name}: is not what `snakefold collect` would have written")


def run(command: Sequence[str]) -> dict[str, float]:
    """Seconds by the clock and of all processors, and the largest sum of the memory of its processes, MB."""
    import psutil

    start, peak, before = time.monotonic(), 0.0, children_seconds()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:

        def watch() -> None:
            nonlocal peak
            while process.poll() is None:
                try:
                    root = psutil.Process(process.pid)
                    found = [root, *root.children(recursive=True)]
                    peak = max(peak, sum(each.memory_info().rss for each in found) / 1e6)
                except psutil.Error:
                    pass
                time.sleep(0.05)

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        watcher.join()
    if code:
        raise SystemExit(f"{command[0]} failed ({code})")
    wall = time.monotonic() - start
    return {"wall": round(wall, 1), "cpu": round(children_seconds() - before, 1), "memory": round(peak)}


def children_seconds() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def opened(page: Path, mark: str | None) -> dict[str, float]:
    """Best of three: seconds by the clock, and of the page's thread, until `mark` (None: until loaded).

    Empty if it took more than `_PATIENCE`, or the page broke down.
    """
    from playwright.sync_api import Error as Broken
    from playwright.sync_api import sync_playwright
    from tests.browser.conftest import _ARGUMENTS

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_ARGUMENTS), timeout=120_000
        )
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 800})
            session = tab.context.new_cdp_session(tab)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            try:
                tab.goto(page.as_uri(), wait_until="load", timeout=_PATIENCE * 1000)
            except Broken:
                break
            if mark:
                tab.wait_for_selector("body[data-ready]", timeout=120_000)
            metrics = {
                item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]
            }
            entry = "performance.getEntriesByName('ready')[0].startTime"
            loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd"
            wall = tab.evaluate(entry if mark else loaded) / 1000
            found.append({"wall": round(wall, 2), "cpu": round(metrics["TaskDuration"], 2)})
            tab.close()
        browser.close()
    return min(found, key=lambda item: item["wall"], default={})


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return (
        path.stat().st_size
        if path.is_file()
        else sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    )


def text(result: dict[str, Any]) -> str:
    """The result as tables."""
    few, many = result["few"], result["many"]
    rows, count, most = few["rows"], few["targets"], many["targets"]
    built, again = many["built"], many["again"]

    def line(title: str, show: Callable[[dict[str, Any]], str]) -> str:
        names = ("snakefold", "foldreport", "proteinfold")
        return f"| {title} | " + " | ".join(show(rows[name]) for name in names) + " |"

    def at_most(row: dict[str, Any]) -> str:
        if row is rows["snakefold"]:
            return f"{built['bytes'] / 1e6:,.0f} (measured)"
        return f"{row['a_target'] * most / 1e6:,.0f} (in proportion)"

    return "\n".join(
        [
            f"# Reports of {count} and of {most:,} targets",
            "",
            f"`python benchmarks/report.py --few {count} --targets {most}`: proteins of {RESIDUES} residues, "
            f"{MODELS} models each. MB are 10^6 bytes. Chromium draws without a graphics card; foldreport "
            f"starts a 3D view for every model. Load of the machine: {few['load']} and {many['load']} "
            "processes a core, the one measured included.",
            "",
            f"{count} targets, built from nothing, one after the other in one run:",
            "",
            "| | snakefold | foldreport 0.1.0 | like nf-core/proteinfold |",
            "|---|---|---|---|",
            line("CPU seconds", lambda row: f"{row['cpu']:.1f}"),
            line("CPU seconds a target", lambda row: f"{row['cpu'] / count:.2f}"),
            line("peak memory, MB", lambda row: f"{row['memory']:,.0f}"),
            line("MB in all", lambda row: mb(row["bytes"])),
            line("MB a target", lambda row: mb(row["a_target"])),
            line("MB to look at one target", lambda row: mb(row["to_open"])),
            line("page loaded, s (of the page's thread)", lambda row: opening(row.get("open"))),
            line(f"MB in all for {most:,}", at_most),
            "",
            f"snakefold with {most:,} targets, after their batches were collected:",
            "",
            "| | measured | goal |",
            "|---|---|---|",
            f"| build, s by the clock | {built['wall']} | 60 |",
            f"| build, CPU seconds | {built['cpu']} | |",
            f"| built again, s by the clock | {again['wall']} | 60 |",
            f"| peak memory, MB | {built['memory']:.0f} | 1000 |",
            f"| index, MB | {mb(built['index'])} | 10 |",
            f"| libraries, once, MB | {mb(built['libraries'])} | 15 |",
            f"| largest file of a target, MB | {mb(built['to_open'])} | 0.15 |",
            f"| index interactive, s by the clock | {built['open']['wall']} | 2 |",
            f"| index interactive, s of the page's thread | {built['open']['cpu']} | |",
            "",
        ]
    )


def mb(value: float) -> str:
    return f"{value / 1e6:,.2f}"


def opening(found: dict[str, float] | None) -> str:
    if found is None:
        return "–"
    return f"{found['wall']} ({found['cpu']})" if found else f"over {_PATIENCE}"


if __name__ == "__main__":
    main()
