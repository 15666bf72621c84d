"""What a report of ten thousand targets takes, beside other reports of the same results.

    python benchmarks/report.py --foldreport VENV/bin/foldreport [--targets 10000] [--few 20] [--keep FOLDER]

Makes a run of `--few` proteins of 400 residues with five models each (all heavy atoms, PAE), and one of
`--targets` whose files are theirs under other names. Measures, on the few: snakefold's report; foldreport
0.1.0 (`pip install foldreport==0.1.0` into an environment of its own); and pages made as nf-core/proteinfold
makes them: one a target, with five superposed PDB texts, plotly figures of pLDDT and of the best model's PAE,
and a picture of the coverage, but without its template of 0.4 MB and plotly.js, which it loads from the
network. On the many: snakefold's report after the batches were collected, as in a run. Chromium opens what
was made.

Processor seconds say more than the clock on a machine that does other things as well. The result is written
to report.json and report.md beside this file.
"""

from __future__ import annotations

import argparse
import json
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
RESIDUES, MODELS = 400, 5
#: Seconds that a page may take to load.
_PATIENCE = 60


def main() -> None:
    """Measure everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--foldreport", required=True, help="the program")
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    parser.add_argument("--step", choices=["build", "proteinfold"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        {"build": build, "proteinfold": proteinfold}[options.step](options.keep)
        return
    with tempfile.TemporaryDirectory(prefix="report-") as temporary:
        result = measure(options.keep or Path(temporary), options)
    (HERE / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (HERE / "report.md").write_text(text(result))
    print(text(result))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The run in `folder`, made unless it is there."""
    from tests.browser.make_many import make_many

    folder.mkdir(parents=True, exist_ok=True)
    few, many = folder / "few" / "results", folder / "many" / "results"
    if not few.exists():
        make_many(few.parent, options.few, options.few, RESIDUES, RESIDUES)
    if not many.exists():
        make_many(many.parent, options.targets, options.few, RESIDUES, RESIDUES)
    shutil.rmtree(few / "report", ignore_errors=True)
    shutil.rmtree(many / "report", ignore_errors=True)
    own = [sys.executable, str(Path(__file__)), "--foldreport", "-"]
    rows = {"snakefold": run([*own, "--step", "build", "--keep", str(few)])}
    page = few / "report" / "index.html"
    rows["snakefold"] |= {
        "bytes": size(few / "report"),
        "a_target": size(few / "report" / "data") / options.few,
    }
    rows["snakefold"]["to_open"] = max(path.stat().st_size for path in (few / "report" / "data").glob("*.js"))
    rows["snakefold"]["open"] = opened(page, "ready")
    colabfold = as_colabfold(few, folder / "colabfold")
    single = folder / "foldreport.html"
    rows["foldreport"] = run([options.foldreport, str(colabfold), "--output", str(single)])
    rows["foldreport"] |= {
        "bytes": size(single),
        "a_target": size(single) / options.few,
        "to_open": size(single),
    }
    rows["foldreport"]["open"] = opened(single, None)
    rows["proteinfold"] = run([*own, "--step", "proteinfold", "--keep", str(few)])
    pages = size(few / "proteinfold")
    rows["proteinfold"] |= {"bytes": pages, "a_target": pages / options.few, "to_open": pages / options.few}
    as_collected(many, options.few)
    whole = run([*own, "--step", "build", "--keep", str(many)])
    assets = many / "report" / "assets"
    data = assets / "run.js"
    whole |= {
        "index": size(data) + size(many / "report" / "index.html"),
        "libraries": size(assets) - size(data),
        "bytes": size(many / "report"),
        "open": opened(many / "report" / "index.html", "ready"),
    }
    again = run([*own, "--step", "build", "--keep", str(many)])
    return {"targets": options.targets, "few": options.few, "rows": rows, "many": whole, "again": again}


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


def as_collected(results: Path, few: int) -> None:
    """The files of all targets as `snakefold collect` leaves them.

    Made for some and written under the other names: their targets' files are the same. Some are held against
    what snakefold writes itself.
    """
    from snakefold.report.index import pages
    from snakefold.report.pages import Maker, prepare
    from snakefold.report.run import read_run

    ids = pages(results, read_run(results))
    data = results / "report" / "data"
    prepare(results, ids[:few])
    maker = Maker(results, data)
    for number, name in enumerate(ids[few:]):
        source = ids[number % few]
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

    Empty if it took more than `_PATIENCE`.
    """
    from playwright.sync_api import TimeoutError as Late
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
            except Late:
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
    """The result as a table."""
    few, rows, many = result["few"], result["rows"], result["many"]
    lines = [
        f"# Reports of {few} and of {result['targets']:,} targets",
        "",
        f"`python benchmarks/report.py --few {few} --targets {result['targets']}`: proteins of {RESIDUES} "
        f"residues, {MODELS} models each. MB are 10^6 bytes. "
        "Chromium draws without a graphics card; foldreport starts a 3D view for every model.",
        "",
        f"{few} targets, built from nothing:",
        "",
        "| | snakefold | foldreport 0.1.0 | like nf-core/proteinfold |",
        "|---|---|---|---|",
    ]
    names = ("snakefold", "foldreport", "proteinfold")

    def line(title: str, show: Callable[[dict[str, Any]], str]) -> str:
        return f"| {title} | " + " | ".join(show(rows[name]) for name in names) + " |"

    lines += [
        line("CPU seconds a target", lambda row: f"{row['cpu'] / few:.2f}"),
        line("peak memory, MB", lambda row: f"{row['memory']:.0f}"),
        line("MB in all", lambda row: mb(row["bytes"])),
        line("MB a target", lambda row: mb(row["a_target"])),
        line("MB to look at one target", lambda row: mb(row["to_open"])),
        line("page loaded, s (of the page's thread)", lambda row: opening(row.get("open"))),
        line(
            f"MB in all for {result['targets']:,}",
            lambda row: (
                scaled(row, result) + (" (measured)" if row is rows["snakefold"] else " (in proportion)")
            ),
        ),
        "",
        f"snakefold with {result['targets']:,} targets (the few under other names), after their batches were "
        "collected:",
        "",
        "| | measured | goal |",
        "|---|---|---|",
        f"| build, s by the clock | {many['wall']} | 60 |",
        f"| build, CPU seconds | {many['cpu']} | |",
        f"| built again, s by the clock | {result['again']['wall']} | 60 |",
        f"| peak memory, MB | {many['memory']:.0f} | 1000 |",
        f"| index, MB | {mb(many['index'])} | 10 |",
        f"| libraries, once, MB | {mb(many['libraries'])} | 15 |",
        f"| largest file of a target, MB | {mb(rows['snakefold']['to_open'])} | 0.15 |",
        f"| index interactive, s by the clock | {many['open']['wall']} | 2 |",
        f"| index interactive, s of the page's thread | {many['open']['cpu']} | |",
        "",
    ]
    return "\n".join(lines)


def mb(value: float) -> str:
    return f"{value / 1e6:,.2f}"


def opening(found: dict[str, float] | None) -> str:
    if found is None:
        return "–"
    return f"{found['wall']} ({found['cpu']})" if found else f"over {_PATIENCE}"


def scaled(row: dict[str, Any], result: dict[str, Any]) -> str:
    whole = (
        result["many"]["bytes"] if row is result["rows"]["snakefold"] else row["a_target"] * result["targets"]
    )
    return f"{whole / 1e6:,.0f}"


if __name__ == "__main__":
    main()
