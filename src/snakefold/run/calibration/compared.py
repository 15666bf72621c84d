"""Predicted against measured, as a table for the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from snakefold.run.calibration.fit import Compared

_HEAD = ("class", "engine", "part", "n", "measured s", "predicted s", "median ratio", "10-90 %")


def table(items: Iterable[Compared]) -> str:
    """One row a part: how many observations, sums of seconds, and measured over predicted."""
    rows = [_HEAD]
    for item in items:
        ratios = item.measured / item.predicted
        low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
        rows.append(
            (
                item.gpu or "any CPU",
                item.engine,
                item.part,
                str(len(ratios)),
                f"{item.measured.sum():.1f}",
                f"{item.predicted.sum():.1f}",
                f"{middle:.2f}",
                f"{low:.2f}-{high:.2f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def plot(items: Sequence[Compared], path: Path, title: str) -> None:
    """Measured over predicted seconds on logarithmic axes, a colour a part; the format is the suffix's."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 6), layout="constrained")
    for item in items:
        name = " ".join(filter(None, (item.gpu, item.engine, item.part)))
        axes.loglog(item.predicted, item.measured, "o", alpha=0.7, label=f"{name} ({len(item.measured)})")
    ends = np.array(
        [min(min(x.predicted.min(), x.measured.min()) for x in items), max(x.measured.max() for x in items)]
    )
    axes.loglog(ends, ends, color="grey", linewidth=1)
    axes.fill_between(ends, ends / 1.2, ends * 1.2, color="grey", alpha=0.15, label="within 20 %")
    axes.set(xlabel="predicted, s", ylabel="measured, s", title=title)
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)
