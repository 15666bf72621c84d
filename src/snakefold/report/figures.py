"""The index's plots as pictures, for `snakemake --report` and for papers: results/figures/."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snakefold.kernel.store import write_atomically
from snakefold.report.run import Run, read_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: pLDDT bands, best first: lower edge and AlphaFold's colour.
_BANDS = ((90.0, "#0053d6"), (70.0, "#65cbf3"), (50.0, "#ffdb13"), (0.0, "#ff7d45"))
_BIN = 2.5
#: Above this many points they are an image within the picture: a browser is slow with thousands of paths.
_MANY = 2000


def write_figures(results: Path) -> list[Path]:
    """Write `figures/{lengths,plddt,depth,time}.svg`; equal results give equal files.

    Raises:
        SnakefoldError: a table of the run is missing or damaged.
    """
    run = read_run(results)
    figures: dict[str, Callable[[Axes, Run], None]] = {
        "lengths": _lengths,
        "plddt": _plddt,
        "depth": _depth,
        "time": _time,
    }
    written = []
    for name, draw in figures.items():
        path = results / "figures" / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, _picture(draw, run))
        written.append(path)
    return written


def _picture(draw: Callable[[Axes, Run], None], run: Run) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Ids within the file are drawn by chance unless there is a salt.
    with mpl.rc_context({"svg.hashsalt": "snakefold", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes, run)
        if run.rehearsal:
            figure.suptitle(run.rehearsal, color="#8a4b00")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None})
    return buffer.getvalue()


def _lengths(axes: Axes, run: Run) -> None:
    _scatter(axes, run, "length")
    axes.set(xlabel="Length, residues", xlim=(0, None))


def _depth(axes: Axes, run: Run) -> None:
    drawn = _scatter(axes, run, "msa_depth")
    axes.set(xlabel="Rows of the MSA", xscale="log" if drawn else "linear")


def _scatter(axes: Axes, run: Run, name: str) -> int:
    points = [(row[name], row["mean_plddt"]) for row in run.metrics if row[name] and row["mean_plddt"]]
    x, y = np.array(points, float).reshape(-1, 2).T
    many = len(points) > _MANY
    axes.scatter(
        x, y, c=[_colour(value) for value in y], s=6 if many else 24, rasterized=many,
        edgecolors="none" if many else "#5c6670", linewidths=0.5,
    )  # fmt: skip
    axes.set(ylabel="Mean pLDDT", ylim=(0, 100))
    return len(points)


def _plddt(axes: Axes, run: Run) -> None:
    values = [row["mean_plddt"] for row in run.metrics if row["mean_plddt"] is not None]
    counts, edges = np.histogram(values, np.arange(0, 100 + _BIN, _BIN))
    style: dict[str, Any] = {"edgecolor": "#5c6670", "linewidth": 0.5}
    axes.bar(edges[:-1], counts, _BIN, align="edge", color=[_colour(edge) for edge in edges[:-1]], **style)
    axes.set(xlabel="Mean pLDDT", ylabel="Targets", xlim=(0, 100))


def _time(axes: Axes, run: Run) -> None:
    steps = run.steps[::-1]
    axes.barh([step.name for step in steps], [step.seconds for step in steps], color="#0072b2")
    axes.set(xlabel="Seconds, of all jobs")


def _colour(plddt: float) -> str:
    return next((colour for edge, colour in _BANDS if plddt >= edge), _BANDS[-1][1])
