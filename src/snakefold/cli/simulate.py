"""`snakefold simulate`: a whole run in simulated time, before anything is paid for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.cli._command import Commands, command
from snakefold.cli._settings import add_settings, settings_of
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.wording import count

if TYPE_CHECKING:
    from snakefold.config import Config
    from snakefold.plan.simulate.cluster import Cluster, Workload
    from snakefold.plan.simulate.prices import Prices

#: Smallest values that mean something.
_LEAST = {
    "number": 1,
    "cores": 1,
    "runs": 1,
    "seed": 0,
    "start": 0,
    "idle_timeout": 0,
    "queue_delay": 0,
    "in_flight": 1,
    "timeout": 1,
    "preemptions": 0,
    "jitter": 0,
}
_MADE_UP = ("cameo", "proteome", "mixed")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "simulate",
        _simulate,
        summary="simulate a run: hours, dollars, idle seconds and a Gantt chart",
        example="snakefold simulate proteins.fasta --workers 20 --gpu ada_24,ampere_80 --cores 32 "
        "--gantt run.svg",
    )
    add_settings(parser)
    work = parser.add_argument_group("targets, instead of sequences")
    work.add_argument(
        "--plan", type=Path, help="plan/ folder of a run: simulate all its batches, finished or not"
    )
    work.add_argument(
        "--lengths",
        choices=_MADE_UP,
        help="synthetic monomers with this length distribution, cut at the longest that fits a GPU",
    )
    work.add_argument("--number", type=int, default=10_000, help="number of synthetic monomers")
    where = parser.add_argument_group("machines")
    where.add_argument(
        "--gpu",
        help="GPU classes, separated by commas; if not given, the setting gpu.classes; a plan names its own",
    )
    where.add_argument(
        "--workers",
        help="workers of each class, or ada_24=20,ampere_80=2; if not given, the setting gpu.workers",
    )
    where.add_argument("--cores", type=int, default=32, help="CPU cores for the alignments")
    where.add_argument("--start", type=float, help="seconds of a cold start; if not given, the cost model's")
    where.add_argument("--idle-timeout", type=float, default=10.0, help="seconds before an idle worker stops")
    where.add_argument("--queue-delay", type=float, default=4.0, help="waiting seconds that start a worker")
    where.add_argument("--in-flight", type=float, default=3.0, help="maximum submitted jobs per worker")
    where.add_argument(
        "--timeout", type=float, help="seconds after which a job is stopped; if not given, never"
    )
    where.add_argument("--preemptions", type=float, default=0.0, help="preemptions per worker and hour")
    where.add_argument("--failures", type=float, default=0.0, help="share of jobs that die, 0 to 1")
    what = parser.add_argument_group("simulation")
    what.add_argument("--seed", type=int, default=0, help="random seed")
    what.add_argument("--jitter", type=float, default=0.05, help="spread of equal jobs (log-normal sigma)")
    what.add_argument(
        "--runs",
        type=int,
        default=1,
        help="with more than 1, the other runs vary the cost model and give a range",
    )
    what.add_argument("--gantt", type=Path, metavar="FILE.svg", help="write a Gantt chart")
    what.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")


def _simulate(options: argparse.Namespace) -> None:
    from snakefold.kernel.store import write_atomically
    from snakefold.plan.simulate.gantt import draw
    from snakefold.plan.simulate.model import simulate
    from snakefold.plan.simulate.result import summarise
    from snakefold.plan.simulate.text import report

    if sum(map(bool, (options.input, options.plan, options.lengths))) > 1:
        raise SnakefoldError("Give only one of: FASTA files, --plan FOLDER, or --lengths NAME --number N.")
    _check(options)
    config = _with_classes(settings_of(options), options)
    prices, workload, cluster = _prepare(config, options)
    record = simulate(workload, cluster, seed=options.seed)
    result = summarise(record, workload, cluster)
    others = [
        summarise(
            simulate(workload, cluster, seed=seed, factors=prices.uncertain_factors(seed)), workload, cluster
        )
        for seed in range(options.seed + 1, options.seed + options.runs)
    ]
    print(report(result, cluster, others))
    if options.json:
        values = {"runs": [each.as_dict() for each in (result, *others)]}
        write_atomically(options.json, (json.dumps(values, indent=1) + "\n").encode())
    if options.gantt:
        title = f"{count(result.targets, 'target')}, {count(result.jobs, 'batch', 'batches')}"
        write_atomically(options.gantt, draw(record, cluster, title=title))


def _check(options: argparse.Namespace) -> None:
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise SnakefoldError(f"--{name.replace('_', '-')} {value}: expected at least {least}.")


def _prepare(config: Config, options: argparse.Namespace) -> tuple[Prices, Workload, Cluster]:
    from snakefold.plan.cost.gpus import load_classes
    from snakefold.plan.cost.model import load_model
    from snakefold.plan.simulate import source
    from snakefold.plan.simulate.prices import prices_of
    from snakefold.plan.simulate.source import draw_lengths

    table = Path(config.gpu.table) if config.gpu.table else None
    # A plan may be of other settings than these: it names its engines and classes.
    named, chosen = source.names_in(options.plan) if options.plan else ([], [])
    classes = {gpu.name: gpu for gpu in load_classes(chosen or config.gpu.classes, table)}
    model = load_model(config.calibration)
    rehearsal = source.is_rehearsal(options.plan) if options.plan else False
    prices = prices_of(config, model, classes, rehearsal=rehearsal, named=named)
    cluster = _cluster(prices, options)
    if options.plan:
        return prices, source.from_plan(options.plan, prices), cluster
    if options.lengths:
        lengths = draw_lengths(options.lengths, options.number, seed=options.seed, longest=prices.longest)
        return prices, source.from_lengths(lengths, prices, cluster), cluster
    return prices, source.from_sequences(prices), cluster


def _cluster(prices: Prices, options: argparse.Namespace) -> Cluster:
    from snakefold.plan.quote.timing import worker_limits
    from snakefold.plan.simulate.cluster import Cluster, Pool

    config = prices.config
    workers = worker_limits(config, list(prices.classes.values()), options.cores)
    pools = {}
    for name, gpu in prices.classes.items():
        # This machine is always there: it neither starts nor is given back.
        here = not gpu.dollars_per_second
        start = prices.model.start_seconds(gpu) if options.start is None else options.start
        pools[name] = Pool(
            workers[name],
            start_seconds=0.0 if here else start,
            dollars_per_second=gpu.dollars_per_second,
            threads=config.predict.threads if here else 0,
            queue_delay=0.0 if here else options.queue_delay,
            idle_timeout=0.0 if here else options.idle_timeout,
        )
    try:
        return Cluster(
            pools,
            cores=options.cores,
            msa_threads=config.msa.threads,
            in_flight=options.in_flight,
            execution_timeout=options.timeout,
            preemptions_per_hour=options.preemptions,
            failure_rate=options.failures,
            retries=config.predict.retries,
            jitter=options.jitter,
        )
    except ValueError as error:
        raise SnakefoldError(f"{error}.") from error


def _with_classes(config: Config, options: argparse.Namespace) -> Config:
    changes: dict[str, object] = {}
    if options.gpu:
        changes["classes"] = [name.strip() for name in options.gpu.split(",") if name.strip()]
    if options.workers:
        changes["workers"] = _workers(options.workers)
    gpu = type(config.gpu).model_validate({**config.gpu.model_dump(), **changes})
    return config.model_copy(update={"gpu": gpu})


def _workers(text: str) -> int | Mapping[str, int]:
    try:
        if "=" not in text:
            return _positive(text)
        return {name.strip(): _positive(number) for name, _, number in map(_pair, text.split(","))}
    except ValueError:
        raise SnakefoldError(
            f"--workers {text}: expected a number above 0, or ada_24=20,ampere_80=2."
        ) from None


def _pair(item: str) -> tuple[str, str, str]:
    return item.partition("=")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
