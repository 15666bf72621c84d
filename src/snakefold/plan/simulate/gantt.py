"""A picture of a simulated run: a line for every worker, and the cores that search below them."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO

import numpy as np

from snakefold.plan.simulate.cluster import Cluster
from snakefold.plan.simulate.result import Record

#: Okabe and Ito's colours, which people with any colour vision tell apart, and which differ in lightness.
COLOURS = {
    "start": "#E69F00",
    "load": "#CC79A7",
    "compile": "#56B4E9",
    "predict": "#0072B2",
    "lost": "#D55E00",
    "idle": "#F0E442",
}
_LABELS = {"predict": "predict, relax", "start": "start of a worker"}
_SEARCH = "#009E73"
#: Spans shorter than this share of the picture cannot be seen; they are drawn as part of a neighbour.
_COLUMNS = 1500
_UNITS = ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


def draw(record: Record, cluster: Cluster, *, title: str) -> bytes:
    """The picture as SVG; the same record gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch, PathPatch
    from matplotlib.path import Path

    last = max([record.wall, *(life.end for life in record.lives)], default=0.0) or 1.0
    unit, name = next((each for each in _UNITS if last >= 2 * each[0]), _UNITS[-1])
    lines = _lines(record, cluster)
    with mpl.rc_context({"svg.hashsalt": "snakefold", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(10, 2.6 + 0.16 * len(lines)), layout="constrained")
        workers, cores = figure.subplots(2, 1, sharex=True, height_ratios=[max(1.0, 0.16 * len(lines)), 0.9])
        for phase, colour in COLOURS.items():
            boxes = [
                _box(begin / unit, end / unit, number)
                for number, line in enumerate(lines.values())
                for each, begin, end in line
                if each == phase
            ]
            if boxes:
                # One path of many boxes makes a file a third as large as a path for each.
                codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(boxes)
                path = Path([point for box in boxes for point in box], codes)
                workers.add_patch(PathPatch(path, facecolor=colour, linewidth=0))
        workers.set_ylim(max(len(lines), 1) - 0.5, -0.5)
        workers.set_yticks(range(len(lines)), lines, fontsize=7)
        workers.set_title(title, fontsize=10, loc="left")
        times, busy = _searching(record, cluster)
        cores.fill_between(times / unit, busy, step="post", color=_SEARCH, linewidth=0)
        cores.set_ylim(0, cluster.cores * 1.05)
        cores.set_ylabel("cores that\nsearch")
        cores.set_xlabel(name)
        cores.set_xlim(0, last / unit)
        cores.axvline(record.wall / unit, color="black", linewidth=0.8, linestyle=":")
        patches = [Patch(color=colour, label=_LABELS.get(phase, phase)) for phase, colour in COLOURS.items()]
        patches.append(Patch(color=_SEARCH, label="search"))
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
        buffer = BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _box(left: float, right: float, line: int) -> list[tuple[float, float]]:
    top, bottom = line - 0.4, line + 0.4
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def _lines(record: Record, cluster: Cluster) -> dict[str, list[tuple[str, float, float]]]:
    """Spans by worker, those too short to be seen left to the span before them."""
    last = max((life.end for life in record.lives), default=0.0)
    lines: dict[str, list[tuple[str, float, float]]] = {}
    for life in sorted(record.lives, key=lambda life: (life.gpu, life.slot, life.begin)):
        name = f"{life.gpu} {life.slot + 1}" if len(cluster.pools) > 1 else f"worker {life.slot + 1}"
        drawn = lines.setdefault(name, [])
        drawn.extend(_visible(life.spans, last / _COLUMNS))
    return lines


def _visible(
    spans: Iterable[tuple[str, float, float]], shortest: float
) -> Iterable[tuple[str, float, float]]:
    held: tuple[str, float, float] | None = None
    for phase, begin, end in spans:
        drawn = "predict" if phase == "relax" else phase
        if held is not None and (drawn == held[0] or end - begin < shortest or held[2] - held[1] < shortest):
            longer = drawn if end - begin > held[2] - held[1] else held[0]
            held = (longer, held[1], end)
            continue
        if held is not None:
            yield held
        held = (drawn, begin, end)
    if held is not None:
        yield held


def _searching(record: Record, cluster: Cluster) -> tuple[np.ndarray, np.ndarray]:
    """Cores that search, [columns] times and numbers."""
    threads = min(cluster.msa_threads, cluster.cores)
    last = max([record.wall, *(end for _, end in record.searches)], default=1.0) or 1.0
    times = np.linspace(0, last, _COLUMNS // 3)
    begins = np.sort(np.array([begin for begin, _ in record.searches]))
    ends = np.sort(np.array([end for _, end in record.searches]))
    running = np.searchsorted(begins, times, "right") - np.searchsorted(ends, times, "right")
    return times, running * float(threads)
