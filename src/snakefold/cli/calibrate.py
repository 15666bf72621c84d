"""`snakefold calibrate`: what runs took becomes what the next ones are expected to take."""

from __future__ import annotations

import argparse
from pathlib import Path

from snakefold.cli._command import Commands, command


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "calibrate",
        _calibrate,
        summary="fit the cost model to the times of finished runs",
        example="snakefold calibrate results other/results --plot calibration.svg",
    )
    parser.add_argument("results", type=Path, nargs="+", help="results folders of finished runs")
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="calibration file to write; entries of classes that these runs did not use are kept; "
        "if not given, your own file, which every run reads",
    )
    parser.add_argument(
        "--table", type=Path, default=None, help="table of GPU classes; if not given, resources/gpus.yaml"
    )
    parser.add_argument(
        "--plot", type=Path, default=None, help="plot predicted against measured times (.svg, .png)"
    )


def _calibrate(options: argparse.Namespace) -> None:
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.kernel.store import write_atomically
    from snakefold.plan.cost.calibration import Calibration, read_calibration, user_calibration
    from snakefold.plan.cost.gpus import load_classes
    from snakefold.plan.cost.model import CostModel
    from snakefold.run.calibration.fit import compare, comparison_table, fit, plot_comparison
    from snakefold.run.calibration.observations import Observations, is_rehearsal, read_observations

    random = [folder for folder in options.results if is_rehearsal(folder)]
    if random and options.out is None:
        raise SnakefoldError(
            f"{', '.join(map(str, random))}: a rehearsal, with small random networks. Its times do not apply "
            "to predictions, and would replace your own calibration. To fit them anyway, give --out FILE; "
            "the setting `calibration` can name that file."
        )
    out = options.out or user_calibration()
    before = read_calibration(out) if out.is_file() else Calibration()
    found = sum((read_observations(folder) for folder in options.results), Observations())
    if not found:
        folders = ", ".join(map(str, options.results))
        raise SnakefoldError(
            f"{folders}: nothing was computed there that could be measured (all of it failed, or came from "
            "the store). Give a results folder of a run that computed something."
        )
    names = {item.gpu for item in found.targets} | {item.gpu for item in found.batches}
    classes = {gpu.name: gpu for gpu in load_classes(sorted(names), options.table)}
    calibration = before.merged(fit(found, classes))
    items = compare(found, classes, CostModel(calibration))
    print("Published figures:")
    print(comparison_table(compare(found, classes, CostModel())))
    print("\nCalibrated:")
    print(comparison_table(items))
    write_atomically(out, (calibration.model_dump_json(indent=1) + "\n").encode())
    print(f"\nWritten to {out}.")
    if options.plot:
        plot_comparison(items, options.plot, "Cost model after calibration")
        print(f"Picture: {options.plot}")
