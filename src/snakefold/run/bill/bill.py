"""The bill: what a run cost, in `bill.tsv` line by line and in `bill.json` against the quote.

bill.tsv goes on from run to run in one results folder. An execution is known by its response, so that it is
written once however often the bill is; what was computed before the last plan stays, marked `earlier`.
Therefore bill.tsv is no declared output of the workflow: Snakemake would delete it before it is written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from snakefold.config import Config, read_recorded
from snakefold.kernel.contracts import Model
from snakefold.kernel.documents import read_document
from snakefold.kernel.errors import Reason, SnakefoldError
from snakefold.kernel.store import write_atomically
from snakefold.kernel.wording import count
from snakefold.msa.planned import plan_again
from snakefold.plan.quote.limits import rentable
from snakefold.plan.quote.model import Quote, Range
from snakefold.run.attempts import forget
from snakefold.run.benchmarks import Took, last_job
from snakefold.run.bill.execution import Execution, read_execution, read_record
from snakefold.run.bill.lines import EXECUTOR, LOST, Line, lines_of, lines_of_lost, read_lines, write_lines

THIS, EARLIER = "this", "earlier"
_LOCAL = "local"


class Sum(Model):
    """Lines added up. Shares are of the hours."""

    batches: int = 0
    computed: int = 0
    stored: int = 0
    reused: int = 0
    failed: int = 0
    hours: float = 0.0
    dollars: float = 0.0
    idle: float = 0.0
    compile: float = 0.0
    start: float = 0.0
    load: float = 0.0
    by_class: dict[str, float] = Field(default_factory=dict, description="Dollars by GPU class.")


class Against(Model):
    """An amount that was quoted, and what it came to."""

    quoted: Range
    billed: float
    ratio: float | None = Field(None, description="Billed by expected; empty where nothing was expected.")


class RunpodFigure(Model):
    """What RunPod billed for the endpoints of a run, `start` to `end` (RFC 3339, whole hours)."""

    dollars: float
    start: str
    end: str
    by_endpoint: dict[str, float] = Field(default_factory=dict, description="Dollars by endpoint id.")


#: The figure of the service that ran the jobs of a results folder, and why there is none.
ServiceFigure = Callable[[Path], tuple[RunpodFigure | None, str]]


class Bill(Model):
    """bill.json: `this` since the last plan, `earlier` what the folder's earlier plans cost."""

    version: Literal[1] = 1
    rehearsal: bool = False
    this: Sum
    earlier: Sum
    dollars: Against | None = None
    hours: Against | None = None
    msa_cpu_hours: Against | None = None
    msa_dollars: Against | None = Field(None, description="Of `dollars`: alignments on rented GPUs.")
    runpod: RunpodFigure | None = Field(None, description="RunPod's own figure, where it can be read.")
    runpod_missing: str = Field("", description="Why RunPod's own figure is not there.")
    warnings: list[str] = Field(default_factory=list)


class _Id(BaseModel):
    id: str


class _Target(BaseModel):
    target: _Id


class _Batch(BaseModel):
    """What a bill needs of a batch of the plan, of whatever release."""

    gpu: str | None = None
    targets: list[_Target] = Field(default_factory=list)


def write_bill(results: Path, service: ServiceFigure | None = None) -> Bill:
    """Write bill.tsv and bill.json of a results folder; safe to run twice.

    Args:
        service: asks the service that ran the jobs for its own figure; None leaves it out.

    Raises:
        SnakefoldError: the folder holds no run, or its quote, or a record of an executor, is damaged.
    """
    if not (results / "config.yaml").is_file():
        raise SnakefoldError(f"{results}: not the results folder of a run (config.yaml is missing).")
    executions, warnings = _executions(results)
    write_lines(results / "bill.tsv", _all_lines(results, executions, run=THIS))
    lines = read_lines(results / "bill.tsv")  # sums are of what the file says
    quote = _quote(results / "plan" / "quote.json")
    this = _sum(line for line in lines if line.run == THIS)
    aligned = _alignment_dollars(results, quote)
    runpod, missing = service(results) if service is not None else (None, "")
    bill = Bill(
        rehearsal=quote.rehearsal if quote else False,
        this=this,
        earlier=_sum(line for line in lines if line.run == EARLIER),
        dollars=quote and _against(quote.dollars, this.dollars + aligned),
        hours=quote and _against(quote.hours, this.hours),
        msa_cpu_hours=quote and _against(quote.msa_cpu_hours, _alignment_hours(results)),
        msa_dollars=quote and _against(quote.msa_dollars, aligned),
        runpod=runpod,
        runpod_missing=missing,
        warnings=[*warnings, *_by_the_clock(line for line in lines if line.run == THIS)],
    )
    write_atomically(results / "bill.json", (bill.model_dump_json(indent=1) + "\n").encode())
    return bill


def close_bill(results: Path) -> list[str]:
    """Before a new plan: what was computed so far is of an earlier one.

    Records of executions are removed once they are in the bill, for the next plan gives their names to other
    batches; and so are archives of batches that were left out for the budget, which are still to do.

    Returns:
        Warnings: what could not be read, and is in no bill.
    """
    if not any((results / name).exists() for name in ("predictions", "executions", "bill.tsv")):
        return []
    executions, warnings = _executions(results)
    lines = _all_lines(results, executions, run=EARLIER)
    write_lines(results / "bill.tsv", [replace(line, run=EARLIER) for line in lines])
    for path in (results / "executions").glob("*.json"):
        path.unlink()
    forget(results)
    for batch, execution in executions.items():
        if any(item.reason is Reason.BUDGET for item in execution.response.outcomes):
            (results / "predictions" / f"{batch}.tar.zst").unlink()
    return warnings


def _executions(results: Path) -> tuple[dict[str, Execution], list[str]]:
    """By batch what can be read, and what is wrong with the rest: no run fails for its bill."""
    executions, warnings = {}, []
    for path in sorted((results / "predictions").glob("*.tar.zst")):
        batch = path.name.removesuffix(".tar.zst")
        try:
            executions[batch] = read_execution(results, batch)
        except SnakefoldError as error:
            warnings.append(f"Not in the bill: {error}")
    return executions, warnings


def _all_lines(results: Path, executions: Mapping[str, Execution], *, run: str) -> list[Line]:
    """Lines written before, in their order, and those of executions that are new.

    Lines of this run are made anew from what is there by now: a record may have come late, and a job without
    an archive may still bring one. What was merely fetched is no cost that must be kept.
    """
    written = read_lines(results / "bill.tsv")
    lines = {line.key: line for line in written if line.gpu and not _may_change(line)}
    prices = _prices(results)
    for batch, execution in executions.items():
        planned = _planned(results, batch)
        # Batches of earlier plans go by their names.
        gpu = (
            planned.gpu if planned and planned.gpu is not None else "" if batch[:1] in {"s", "r"} else _LOCAL
        )
        if _left_out(execution) or (not gpu and (not planned or run == EARLIER)):
            continue
        if gpu and execution.record is None and execution.response.device.lower() == "cpu":
            # Whatever was planned: nobody rented the GPU (an executor that fell back to this machine).
            gpu = _LOCAL
        found = lines_of(execution, gpu, prices.get(gpu, 0.0), run=run)
        lines |= {line.key: line for line in found if not _is_earlier(lines.get(line.key))}
    return [*lines.values(), *_lost_lines(results, run)]


def _may_change(line: Line) -> bool:
    return line.run == THIS and line.state == LOST


def _is_earlier(line: Line | None) -> bool:
    return line is not None and line.run == EARLIER


def _lost_lines(results: Path, run: str) -> list[Line]:
    lines = []
    for path in sorted((results / "executions").glob("*.json")):
        record = read_record(path)
        if record is None or (results / "predictions" / f"{path.stem}.tar.zst").is_file():
            continue
        planned = _planned(results, path.stem)
        ids = [item.target.id for item in planned.targets] if planned else []
        lines += lines_of_lost(path.stem, ids, record, run=run)
    return lines


def _left_out(execution: Execution) -> bool:
    return bool(execution.response.outcomes) and all(
        item.reason is Reason.BUDGET for item in execution.response.outcomes
    )


def _planned(results: Path, batch: str) -> _Batch | None:
    """What the plan has of a batch; None of one of an earlier plan."""
    path = results / "plan" / "batches" / f"{batch}.json"
    if not path.exists():
        return None
    return read_document(_Batch, path, what="a batch of a plan", advice=plan_again(path.parent.parent))


def _prices(results: Path) -> dict[str, float]:
    """Dollars a second of every class: an earlier plan may have used others than this one may."""
    config: Config = read_recorded(results)
    table = Path(config.gpu.table) if config.gpu.table else None
    return {gpu.name: gpu.dollars_per_second for gpu in rentable(table)}


def _by_the_clock(lines: Iterable[Line]) -> list[str]:
    """Rented classes without a record of who was paid."""
    found = [line for line in lines if line.dollars and line.source != EXECUTOR and line.level == "batch"]
    return [
        f"Nobody recorded what {count(sum(line.gpu == gpu for line in found), 'batch', 'batches')} on {gpu} "
        "cost: billed by the seconds measured here, at the price of the class that was planned."
        for gpu in sorted({line.gpu for line in found})
    ]


def _quote(path: Path) -> Quote | None:
    if not path.is_file():
        return None
    return read_document(Quote, path, what="a quote", advice=plan_again(path.parent))


def _sum(lines: Iterable[Line]) -> Sum:
    found = list(lines)
    batches = [line for line in found if line.level == "batch"]
    states = [line.state for line in found if line.level == "target"]
    seconds = sum(line.seconds for line in batches)

    def share(part: str) -> float:
        return min(1.0, sum(getattr(line, part) for line in batches) / seconds) if seconds else 0.0

    return Sum(
        batches=len(batches),
        computed=states.count("done"),
        stored=states.count("stored"),
        reused=states.count("reused"),
        failed=states.count("failed") + states.count(LOST),
        hours=seconds / 3600,
        dollars=sum(line.dollars for line in batches),
        idle=share("idle"),
        compile=share("compile"),
        start=share("start"),
        load=share("load"),
        by_class=_by_class(batches),
    )


def _by_class(batches: Sequence[Line]) -> dict[str, float]:
    dollars: dict[str, float] = {}
    for line in batches:
        if line.gpu:
            dollars[line.gpu] = dollars.get(line.gpu, 0.0) + line.dollars
    return dollars


def _against(quoted: Range, billed: float) -> Against:
    return Against(quoted=quoted, billed=billed, ratio=billed / quoted.expected if quoted.expected else None)


def _alignments(results: Path) -> list[Took]:
    """The jobs of the plan's alignments that ran in this folder, by Snakemake's benchmark files."""
    chunks = (path.stem for path in (results / "plan" / "chunks").glob("*.json"))
    return [last_job(results / "benchmarks" / "msa" / f"{chunk}.tsv") for chunk in chunks]


def _alignment_hours(results: Path) -> float:
    """CPU hours of alignments."""
    return sum(job.cpu or 0.0 for job in _alignments(results)) / 3600


def _alignment_dollars(results: Path, quote: Quote | None) -> float:
    """What alignments on rented GPUs cost, by the seconds of their jobs; failed attempts are not known."""
    if quote is None or not quote.msa_gpu:
        return 0.0
    price = _prices(results).get(quote.msa_gpu, 0.0)
    return price * sum(job.wall or 0.0 for job in _alignments(results))
