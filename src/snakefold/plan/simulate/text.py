"""A simulated run in words, for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from snakefold.kernel.wording import count
from snakefold.plan.quote.model import money, seconds
from snakefold.plan.simulate.cluster import Cluster
from snakefold.plan.simulate.result import Result


def report(result: Result, cluster: Cluster, others: Sequence[Result] = ()) -> str:
    """What came out; `others` are runs in which the cost model is off as far as it may be, for the range."""
    return "\n".join(_lines(result, cluster, others))


def _lines(result: Result, cluster: Cluster, others: Sequence[Result]) -> Iterator[str]:
    jobs, searches = count(result.jobs, "batch", "batches"), count(result.searches, "chunk")
    workers = ", ".join(f"{pool.workers} x {name}" for name, pool in cluster.pools.items())
    yield (
        f"{count(result.targets, 'target')} ({result.residues:,} residues) in {jobs}, "
        f"{searches} of alignments; {workers}; {count(cluster.cores, 'core')}"
    )
    wall = _range([each.wall_seconds for each in others], seconds)
    yield f"Wall time       {seconds(result.wall_seconds)}{wall}"
    paid = _range([each.dollars for each in others], money)
    yield f"Paid            {money(result.dollars)}{paid}"
    yield f"                of which starts {money(result.start_dollars)}, idle {money(result.idle_dollars)}"
    shares = result.shares
    yield (
        f"GPU-busy        {shares['busy']:.1%} of the paid time; {shares['working']:.1%} with relaxation on "
        f"the CPU, {shares['occupied']:.1%} with loading and compilation too"
    )
    yield (
        f"The rest        compilation {shares['compile']:.1%}, loading {shares['load']:.1%}, "
        f"starts {shares['start']:.1%}, idle {shares['idle']:.1%}, lost {shares['lost']:.1%}"
    )
    if result.queue_seconds:
        waits = result.queue_seconds
        yield (
            f"Queue           {seconds(waits['median'])} median, {seconds(waits['p95'])} 95th percentile, "
            f"{seconds(waits['longest'])} longest wait of a batch for a worker"
        )
    yield _bottleneck(result, cluster)
    cut_short = {outcome: number for outcome, number in result.outcomes.items() if outcome != "done"}
    if cut_short:
        listed = ", ".join(f"{number} {outcome.replace('_', ' ')}" for outcome, number in cut_short.items())
        yield f"Cut short       {listed}; {count(result.lost_targets, 'target')} lost for good"
    if len(cluster.pools) > 1:
        for name, each in result.classes.items():
            yield (
                f"{name:<15} {count(each.jobs, 'batch', 'batches')}, "
                f"{count(each.started, 'worker')} started, "
                f"{seconds(each.paid_seconds)} paid, {money(each.dollars)}"
            )


def _bottleneck(result: Result, cluster: Cluster) -> str:
    limit = result.bottleneck
    alone = f"alignments {seconds(limit.msa_seconds)} alone, predictions {seconds(limit.gpu_seconds)}"
    if limit.asked:
        stage = "alignments" if limit.stage == "msa" else "predictions"
        return f"Bottleneck      {stage} ({alone}): an MSA server aligns, one query at a time"
    if limit.stage == "msa":
        return (
            f"Bottleneck      alignments ({alone}): {count(limit.balanced_cores, 'core')} would keep up with "
            f"these workers; these cores keep up with {limit.balanced_workers} of each class"
        )
    return (
        f"Bottleneck      predictions ({alone}): {count(limit.balanced_cores, 'core')} would do for these "
        f"workers; {count(cluster.cores, 'core')} would do for {limit.balanced_workers:,} of each class"
    )


def _range(values: Sequence[float], show: Callable[[float], str]) -> str:
    return f" (if the model is off: {show(min(values))} to {show(max(values))})" if values else ""
