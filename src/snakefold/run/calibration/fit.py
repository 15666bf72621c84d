"""Fit of the model's factors to what runs took: robust least squares, held back by the published figures.

In logarithms a part's measured seconds are its published seconds plus one number (and, for the network, plus
an exponent times the logarithm of the length). Residuals are weighed by `soft_l1`, so that a target that met
a busy machine counts little; the numbers themselves are pulled towards zero, that is towards the published
figures, as if these had been measured once with an error of `_TRUST`: few observations say little.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snakefold.plan.cost.calibration import REFERENCE_LENGTH, SHORTEST_SCALED, Calibration, Fitted
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import CostModel
from snakefold.run.calibration.observations import Observations

Floats = NDArray[np.float64]

#: Scatter of single measurements, natural logarithm: beyond it a residual counts less and less.
_SCATTER = 0.15
#: How wrong published figures may be: those of a GPU, and those of a CPU (there are faster and slower ones).
_TRUST = {"gpu": 0.5, "cpu": 1.0}
#: How far the growth with length may be off, and never beyond: the model must not fall with the length.
_EXPONENT_TRUST, _EXPONENT_LIMITS = 0.15, (-0.3, 0.6)
#: Nothing that a machine does takes less; keeps logarithms finite.
_SHORTEST_SECONDS = 1e-3
_QUANTILES = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Compared:
    """Observations of one part: measured and predicted wall seconds (`msa`: CPU seconds), and lengths.

    `engine` is the search tool where the part is `msa`, which has no class.
    """

    gpu: str
    engine: str
    part: str
    lengths: Floats
    measured: Floats
    predicted: Floats


def compare(found: Observations, classes: Mapping[str, GpuClass], model: CostModel) -> list[Compared]:
    """What the model says of each thing observed, by class, engine and part; alignments have no class."""
    rows: dict[tuple[str, str, str], list[tuple[float, float, float]]] = defaultdict(list)

    def add(key: tuple[str, str, str], length: float, measured: float, predicted: object) -> None:
        rows[key].append((length, measured, float(np.asarray(predicted))))

    for item in found.targets:
        gpu, work, n = classes[item.gpu], item.work, item.padded_length
        kind = (item.gpu, work.engine)
        add((*kind, "predict"), n, item.network, model.network_seconds(n, work, gpu))
        add((*kind, "features"), n, item.features, model.features_seconds(n, work, gpu))
        if item.relax is not None and work.relaxed:
            add((*kind, "relax"), item.length, item.relax, model.relax_seconds(item.length, work, gpu))
        if item.compile > 0:
            add((*kind, "compile"), n, item.compile, model.compile_seconds(n, work, gpu))
    for batch in found.batches:
        said = model.load_seconds(batch.work, classes[batch.gpu])
        add((batch.gpu, batch.work.engine, "load"), REFERENCE_LENGTH, batch.load, said)
    for chunk in found.chunks:
        lengths = np.full(chunk.chains, chunk.residues / chunk.chains)
        sizes = dict(chunk.database_bytes)
        said = model.msa_chunk_seconds(chunk.settings, sizes, pairing=chunk.pairing) + float(
            model.msa_seconds(lengths, chunk.settings, sizes, pairing=chunk.pairing).sum()
        )
        add(("", chunk.settings.tool, "msa"), chunk.residues / chunk.chains, chunk.cpu, said)
    return [
        Compared(*key, *(np.array(column) for column in zip(*values, strict=True)))
        for key, values in sorted(rows.items())
    ]


def fit(found: Observations, classes: Mapping[str, GpuClass], today: date | None = None) -> Calibration:
    """Calibration of every class and engine observed; parts that were not observed keep published figures."""
    fitted: dict[str, dict[str, dict[str, Fitted]]] = defaultdict(lambda: defaultdict(dict))
    for item in compare(found, classes, CostModel()):
        if item.part == "msa":
            continue
        trust = _TRUST[classes[item.gpu].device]
        fitted[item.gpu][item.engine][item.part] = fit_part(
            item.measured, item.predicted, trust, item.lengths if item.part == "predict" else None
        )
    msa = _fit_msa(found)
    return Calibration(
        made=today or date.today(), classes={gpu: dict(engines) for gpu, engines in fitted.items()}, msa=msa
    )


def fit_part(measured: Floats, published: Floats, trust: float, lengths: Floats | None = None) -> Fitted:
    """Factor (and exponent, given `lengths`) from published to measured seconds, and the scatter left."""
    residual = _log(measured) - _log(published)
    rows = [np.ones_like(residual)]
    trusts, limits = [trust], [(-np.inf, np.inf)]
    if lengths is not None:
        rows.append(np.log(np.maximum(lengths, SHORTEST_SCALED) / REFERENCE_LENGTH))
        trusts.append(_EXPONENT_TRUST)
        limits.append(_EXPONENT_LIMITS)
    design = np.stack(rows, axis=1)
    numbers = _solve(lambda x: residual - design @ x, np.array(trusts), limits)
    left = np.exp(residual - design @ numbers)
    low, high = _range(left)
    return Fitted(
        factor=float(np.exp(numbers[0])),
        exponent=float(numbers[1]) if lengths is not None else 0.0,
        observations=len(residual),
        low=low,
        high=high,
    )


def _fit_msa(found: Observations) -> dict[str, dict[str, Fitted]]:
    """Factors of a chain's and of a chunk's CPU seconds for each tool: their sum is what a chunk measures."""
    model, by_tool = CostModel(), defaultdict(list)
    for chunk in found.chunks:
        by_tool[chunk.settings.tool].append(chunk)
    fitted: dict[str, dict[str, Fitted]] = {}
    for tool, chunks in by_tool.items():
        overhead, chains = [], []
        for chunk in chunks:
            lengths, sizes = np.full(chunk.chains, chunk.residues / chunk.chains), dict(chunk.database_bytes)
            overhead.append(model.msa_chunk_seconds(chunk.settings, sizes, pairing=chunk.pairing))
            chains.append(
                float(model.msa_seconds(lengths, chunk.settings, sizes, pairing=chunk.pairing).sum())
            )
        measured, own, each = (
            _log(np.array([chunk.cpu for chunk in chunks])),
            np.array(overhead),
            np.array(chains),
        )

        def residual(
            x: Floats, measured: Floats = measured, own: Floats = own, each: Floats = each
        ) -> Floats:
            return np.asarray(measured - np.log(np.exp(x[0]) * own + np.exp(x[1]) * each))

        numbers = _solve(residual, np.full(2, _TRUST["cpu"]), [(-np.inf, np.inf)] * 2)
        low, high = _range(np.exp(residual(numbers)))
        fitted[tool] = {
            part: Fitted(factor=float(np.exp(number)), observations=len(chunks), low=low, high=high)
            for part, number in zip(("chunk", "rate"), numbers, strict=True)
        }
    return fitted


def _solve(
    residual: Callable[[Floats], Floats], trusts: Floats, limits: Sequence[tuple[float, float]]
) -> Floats:
    """Numbers that minimise the soft_l1 loss of residuals, each also held to zero by its trust."""
    from scipy.optimize import least_squares

    def loss(squares: Floats) -> Floats:
        # The last ones are the pulls towards published figures: these are no outliers, however strong.
        root = np.sqrt(1 + squares)
        soft = np.stack([2 * (root - 1), 1 / root, -0.5 / root**3])
        plain = np.stack([squares, np.ones_like(squares), np.zeros_like(squares)])
        return np.asarray(np.where(np.arange(len(squares)) < len(squares) - len(trusts), soft, plain))

    lower, upper = zip(*limits, strict=True)
    found = least_squares(
        lambda x: np.concatenate([residual(x) / _SCATTER, x / trusts]),
        np.zeros(len(trusts)),
        bounds=(lower, upper),
        loss=loss,
        x_scale=trusts,
        xtol=1e-10,
        ftol=1e-10,
        gtol=1e-10,
    )
    return np.asarray(found.x, dtype=np.float64)


def _range(ratios: Floats) -> tuple[float, float]:
    low, high = np.quantile(ratios, _QUANTILES)
    return float(low), float(high)


def _log(seconds: Floats) -> Floats:
    return np.asarray(np.log(np.maximum(seconds, _SHORTEST_SECONDS)))


_HEAD = ("class", "engine", "part", "n", "measured s", "predicted s", "median ratio", "10-90 %")


def comparison_table(items: Iterable[Compared]) -> str:
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


def plot_comparison(items: Sequence[Compared], path: Path, title: str) -> None:
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
